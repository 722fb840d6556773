#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the guest with kernel DRBD: Debian's own kernel and its drbd.ko,
# drbd-utils, busybox, and the small programs in guest/.  Nothing is installed on
# the host; the packages are only downloaded (apt) and unpacked.
#
# usage: build.sh     prints the directory that holds vmlinux, initrd.cpio and
#                     versions.txt
#   KERNEL_PEER_PACKAGE=PKG   kernel package to use (default: what
#                             linux-image-amd64 depends on)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
guest=$here/../../guest
# shellcheck source=tests/guest/linux.sh
. "$guest/linux.sh"

linux_need gcc gcc depmod kmod cpio cpio python3 python3 zstd zstd
cache=$(linux_cache_root)/guest
mkdir -p "$cache"
kernel=${KERNEL_PEER_PACKAGE:-$(linux_kernel_package "$cache")}
key=$({
	echo "$kernel"
	cat "$guest/linux.sh" "$guest/guest/init" "$here/build.sh" "$here"/guest/*
} | sha256sum | cut -c1-12)
out=$cache/kernel-peer-$key
if [ -d "$out" ]; then
	echo "$out"
	exit
fi

tmp=$out.$$
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp"
unpacked=$tmp/packages root=$tmp/root
linux_unpack "$cache" "$unpacked" "$kernel" busybox-static drbd-utils util-linux ethtool \
	libkeyutils1 libmnl0 libsmartcols1
linux_vmlinux "$unpacked/boot/vmlinuz-$(linux_version "$unpacked")" "$tmp/vmlinux"

linux_root "$root" "$unpacked"
mkdir -p "$root"/{lib/drbd,var/lib/drbd,var/lock,var/run/drbd}
for f in sbin/drbdadm sbin/drbdsetup sbin/drbdmeta lib/drbd/drbdadm-84 lib/drbd/drbdsetup-84 \
	sbin/blkdiscard sbin/blockdev sbin/ethtool; do
	cp --remove-destination "$unpacked/$f" "$root/$f"
done
cp --remove-destination "$unpacked/bin/lsblk" "$root/bin/lsblk"
ln -s ../lib/drbd/drbdsetup-84 "$root/sbin/drbdsetup-84"
ln -s ../lib/drbd/drbdadm-84 "$root/sbin/drbdadm-84"
linux_libraries "$root" "$unpacked" "$root"/sbin/* "$root"/lib/drbd/* "$root/bin/lsblk"
gcc -O1 -Wall -Wextra -static -o "$root/bin/blkop" "$here/guest/blkop.c" -pthread
install -m 755 "$guest/guest/init" "$root/init"
install -m 755 "$here/guest/drbd-helper" "$root/sbin/drbd-helper"
touch "$root/etc/drbd.conf"

linux_modules "$root" "$unpacked" virtio_pci virtio_blk virtio_net virtio_console \
	crc32c_generic crc32c-intel libcrc32c sha1-generic sha256-generic sha512_generic \
	md4 md5 crct10dif_generic drbd loop brd dm-mod dm-flakey dm-delay dm-linear \
	scsi_debug > "$tmp/modules"
drbd=$(grep '/drbd\.ko' "$tmp/modules") || linux_die "$kernel has no drbd.ko"
linux_pack "$root" "$tmp/initrd.cpio"
{
	echo "kernel package: $kernel ($(linux_version "$unpacked"))"
	echo "drbd.ko: $(modinfo -F version "$drbd") srcversion $(modinfo -F srcversion "$drbd")"
	apt-get -qq --print-uris download "$kernel" busybox-static drbd-utils | awk '{ print $2 }'
} > "$tmp/versions.txt"
rm -rf "$root" "$unpacked" "$tmp/modules"
mv -T "$tmp" "$out" 2> /dev/null || true # another build was quicker
echo "$out"
