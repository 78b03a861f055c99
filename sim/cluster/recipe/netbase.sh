#!/bin/bash
# netbase.sh TREE TARGET: a small tree with a shell, file, mount and packet filter tools, for pods that need them.
set -euo pipefail
here=$(dirname "$0") tree=$1 target=$2
b=/usr/bin s=/usr/sbin
bash "$here/take.sh" "$tree" "$target" $b/{bash,dash,mawk,cat,cp,mv,rm,ln,ls,mkdir,rmdir,chmod,chown,stat,touch,true,false,sleep,echo,env,id,date,dd,df,du,head,tail,cut,tr,sort,wc,tee,test,sync,seq,md5sum,sha256sum,base64,mktemp,readlink,realpath,basename,dirname,truncate,uname,hostname,grep,sed,find,xargs,tar,gzip,mount,umount,findmnt,mountpoint,fallocate,lsblk,ps,kill,kmod,getfattr,setfattr} \
  $s/{losetup,blkid,mke2fs,mkfs.ext4,resize2fs,e2fsck,mkfs.xfs,xfs_growfs,xfs_repair,blockdev,ip,sysctl,nft,ipset,conntrack,xtables-nft-multi,xtables-legacy-multi}
for table in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -sf xtables-nft-multi "$target/usr/sbin/$table"
done
ln -sf dash "$target/usr/bin/sh"
ln -sf mawk "$target/usr/bin/awk"
ln -sf ../bin/kmod "$target/usr/sbin/modprobe"
cp -a "$tree/usr/lib/x86_64-linux-gnu/xtables" "$target/usr/lib/x86_64-linux-gnu/"
mkdir -p "$target/etc/ssl/certs"
for file in passwd group nsswitch.conf protocols services; do [ ! -e "$tree/etc/$file" ] || cp -a "$tree/etc/$file" "$target/etc/"; done
cp -L "$tree/etc/ssl/certs/ca-certificates.crt" "$target/etc/ssl/certs/"
