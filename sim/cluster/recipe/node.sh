#!/bin/bash
# node.sh TREE PROGRAMS VERSION: turns a Debian tree into a node's: programs, units, configuration, little else that starts.
set -euo pipefail
here=$(dirname "$0") tree=$1 programs=$2 version=$3
rm -f "$tree/kind/etcd"
cp "$programs"/{kubeadm,kubelet,kubectl} "$tree/usr/bin/"
install -D -m 755 "$here/node/entrypoint" "$tree/usr/local/bin/entrypoint"
install -D -m 755 "$here/node/kubelet-cgroups" "$tree/kind/bin/kubelet-cgroups"
install -D -m 755 "$here/node/mount.nfs" "$tree/usr/sbin/mount.nfs"
ln -sf mount.nfs "$tree/usr/sbin/mount.nfs4"
install -D -m 644 "$here/node/containerd.toml" "$tree/etc/containerd/config.toml"
install -D -m 644 "$here/node/10-node.conflist" "$tree/etc/cni/net.d/10-node.conflist"
mkdir -p "$tree"/etc/kubernetes/manifests "$tree"/etc/default "$tree"/opt/cni "$tree"/etc/systemd/journald.conf.d
ln -sfn /usr/lib/cni "$tree/opt/cni/bin"
chmod u-s "$tree"/usr/bin/{mount,umount}
echo "$version" >"$tree/kind/version"
echo 'KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service' >"$tree/etc/default/kubelet"
printf '[Journal]\nReadKMsg=no\nStorage=volatile\n' >"$tree/etc/systemd/journald.conf.d/node.conf"
echo 'runtime-endpoint: unix:///run/containerd/containerd.sock' >"$tree/etc/crictl.yaml"
echo node >"$tree/etc/hostname"

units=$tree/usr/lib/systemd/system own=$tree/etc/systemd/system
rm -f "$units"/{multi-user,local-fs,basic,timers,getty}.target.wants/* \
  "$units"/sysinit.target.wants/systemd-tmpfiles-setup.service \
  "$units"/sockets.target.wants/*{udev,initctl,hostnamed,sysext,creds,pcr}* "$own"/*.wants/*
mkdir -p "$own/multi-user.target.wants" "$own/containerd.service.d"
for unit in systemd-binfmt.service systemd-firstboot.service systemd-modules-load.service ldconfig.service \
  sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount proc-sys-fs-binfmt_misc.automount; do
  ln -sf /dev/null "$own/$unit"
done
cp "$here"/node/kubelet.{service,slice} "$own/"
printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=1\n' >"$own/containerd.service.d/node.conf"
ln -sf /usr/lib/systemd/system/containerd.service /etc/systemd/system/kubelet.service "$own/multi-user.target.wants/"
ln -sf /usr/lib/systemd/system/multi-user.target "$own/default.target"
