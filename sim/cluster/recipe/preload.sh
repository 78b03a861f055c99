#!/bin/bash
# preload.sh TREE SCRATCH ARCHIVE...: unpacks image archives into the tree's /var/lib/containerd.
# The tree's own containerd runs for a moment on this machine, loaded by the tree's own loader, with its state inside
# the tree. Snapshots are plain directories, so they travel in the image; the layers themselves need not.
set -euo pipefail
tree=$1 scratch=$2; shift 2
rm -rf "$scratch"; mkdir -p "$scratch"
in_tree() { local program=$1; shift; "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$tree/usr/lib/x86_64-linux-gnu" "$tree/usr/bin/$program" "$@"; }
ctr() { in_tree ctr --address "$scratch/socket" -n k8s.io "$@"; }
cat >"$scratch/config.toml" <<END
version = 2
root = "$tree/var/lib/containerd"
state = "$scratch/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$scratch/socket"
END
in_tree containerd --config "$scratch/config.toml" >"$scratch/log" 2>&1 &
containerd=$!
trap 'kill $containerd 2>/dev/null || true; wait $containerd || true' EXIT
for _ in $(seq 100); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
ctr version >/dev/null || { tail -n 5 "$scratch/log"; exit 1; }
for archive; do ctr images import --snapshotter overlayfs "$archive" >/dev/null; done
for image in $(ctr images ls -q); do # the CRI shows managed images, and the kubelet never collects pinned ones
  ctr images label "$image" io.cri-containerd.image=managed io.cri-containerd.pinned=pinned >/dev/null
  echo "$image"
done
ctr content prune references >/dev/null
