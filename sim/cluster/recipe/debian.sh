#!/bin/bash
# debian.sh TREE PACKAGE...: a trimmed Debian 13 tree with these packages, from the archive this machine uses.
set -euo pipefail
tree=$1; shift
archive=
if [ "$(. /etc/os-release; echo "$ID")" = debian ]; then
  archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1 | sed 's#/*$##')
fi
packages=$(IFS=,; echo "$*")
debootstrap --variant=minbase --include="$packages" trixie "$tree" ${archive:+"$archive"}
bash "$(dirname "$0")/trim.sh" "$tree"
