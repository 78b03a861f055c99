#!/bin/bash
# trim.sh TREE: takes out of a fresh Debian tree what no node needs. dpkg in it no longer tells the truth.
set -euo pipefail
tree=$1
# etcd is wanted as a program for its own image, and must not start in the node
install -D -m 755 "$tree/usr/bin/etcd" "$tree/kind/etcd"
rm -f "$tree"/usr/bin/etcd* "$tree"/usr/lib/systemd/system/etcd*.service "$tree"/etc/init.d/etcd "$tree"/etc/default/etcd
# xfsprogs brings Python for a checker that nobody runs here
rm -rf "$tree"/usr/lib/python3* "$tree"/usr/bin/python3*
rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,info,locale,lintian}/* "$tree"/var/log/*
mkdir -p "$tree"/var/cache/apt/archives/partial "$tree"/var/lib/apt/lists/partial
