#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the small Linux guest of tests/guest and of ./demo: Debian's own
# kernel, busybox and the record writer (guest/records.c).
#
# usage: build.sh     prints the directory that holds vmlinux, initrd.cpio and
#                     records (the same program, for the host)
# Quick when nothing changed: the result is keyed by these sources.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/guest/linux.sh
. "$here/linux.sh"

linux_need gcc gcc depmod kmod cpio cpio python3 python3 zstd zstd
cache=$(linux_cache_root)/guest
mkdir -p "$cache"
kernel=$(linux_kernel_package "$cache")
key=$({
	echo "$kernel"
	cat "$here/linux.sh" "$here/build.sh" "$here/guest/init" "$here/guest/records.c"
} | sha256sum | cut -c1-12)
out=$cache/records-$key
if [ ! -d "$out" ]; then
	tmp=$out.$$
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$tmp"
	unpacked=$tmp/packages
	linux_unpack "$cache" "$unpacked" "$kernel" busybox-static
	linux_vmlinux "$unpacked/boot/vmlinuz-$(linux_version "$unpacked")" "$tmp/vmlinux"
	linux_root "$tmp/tree" "$unpacked"
	gcc -O2 -Wall -Wextra -static -o "$tmp/records" "$here/guest/records.c" -pthread
	"$tmp/records" selftest > /dev/null || linux_die "the record writer fails its own test"
	cp "$tmp/records" "$tmp/tree/bin/records"
	install -m 755 "$here/guest/init" "$tmp/tree/init"
	linux_modules "$tmp/tree" "$unpacked" virtio_pci virtio_blk virtio_console > /dev/null
	linux_pack "$tmp/tree" "$tmp/initrd.cpio"
	rm -rf "$tmp/tree" "$unpacked"
	mv -T "$tmp" "$out" 2> /dev/null || true # another build was quicker
fi
echo "$out"
