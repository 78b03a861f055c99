#!/bin/bash
# take.sh TREE TARGET PROGRAM...: copies programs out of a Debian tree, with the libraries they load, as a small tree.
set -euo pipefail
tree=$1 target=$2; shift 2
mkdir -p "$target"/usr/{bin,sbin,lib,lib64} "$target"/{etc,tmp,var/lib,run,proc,sys,dev}
chmod 1777 "$target/tmp"
for name in bin sbin lib lib64; do ln -sfn usr/$name "$target/$name"; done
chroot "$tree" /bin/bash -euc '
  both() { echo ".$(readlink -f "$(dirname "$1")")/$(basename "$1")"; echo ".$(readlink -f "$1")"; } # a link and what it names
  for program; do [ -e "$program" ] || { echo "take: no $program" >&2; exit 1; }; both "$program"; done
  { ldd "$@" 2>/dev/null || true; } | grep -o "/[^ ]*\.so[^ ]*" | grep -v ":$" | sort -u | while read -r library; do both "$library"; done
' take "$@" | sort -u | tar -C "$tree" -cf - --hard-dereference -T - | tar -C "$target" -xf -
