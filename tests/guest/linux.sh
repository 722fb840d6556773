# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Parts for small Linux guests, sourced by the scripts that build one.
#
# In: names of Debian packages.  Out: a kernel and an initramfs that QEMU boots
# directly, under TCG, in a few seconds.
# Nothing is installed on the host: packages are downloaded by apt with the
# machine's own configuration and unpacked in a cache.
# Invariant: a directory that exists in the cache is complete (it was renamed
# into place), so an interrupted build is simply continued by the next one.
#
# Needs on the host: apt, dpkg, kmod, cpio, python3, gcc with a static libc.

linux_cache_root() {
	echo "${BLOCK_DRBD_CACHE:-$HOME/.cache/block-drbd}"
}

linux_die() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}

linux_need() { # linux_need PROGRAM PACKAGE ...: every program is there, or say what to install
	while [ $# -gt 0 ]; do
		command -v "$1" > /dev/null ||
			linux_die "$1 is missing; install it with: apt-get install $2"
		shift 2
	done
}

# linux_kernel_package CACHE: the package of the distribution's current kernel, or
# the one used last time where apt has no package lists any more.
linux_kernel_package() {
	local pkg
	pkg=$(apt-cache depends linux-image-amd64 2> /dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1)
	if [ -n "$pkg" ]; then
		echo "$pkg" > "$1/kernel-package"
	elif [ ! -e "$1/kernel-package" ]; then
		linux_die "apt knows no linux-image-amd64; run: apt-get update"
	fi
	cat "$1/kernel-package"
}

# linux_unpack CACHE DIR PACKAGE...: the packages, unpacked into DIR as one merged-/usr
# tree (older releases ship /bin and /usr/bin apart).
linux_unpack() {
	local cache=$1 dir=$2 deb d
	shift 2
	rm -rf "$dir"
	mkdir -p "$cache/debs" "$dir"/usr/{bin,sbin,lib,lib64}
	# apt keeps what is there already and whole, so guests share downloads.
	(cd "$cache/debs" && apt-get -qq -o APT::Sandbox::User=root download "$@" >&2) ||
		linux_die "apt-get could not download: $*; run: apt-get update"
	while read -r _ deb _; do
		mkdir "$dir/one"
		dpkg-deb -x "$cache/debs/$deb" "$dir/one"
		for d in bin sbin lib lib64; do
			if [ -d "$dir/one/$d" ] && [ ! -L "$dir/one/$d" ]; then
				cp -a "$dir/one/$d/." "$dir/usr/$d/"
			fi
			rm -rf "$dir/one/${d:?}"
		done
		cp -a "$dir/one/." "$dir/"
		rm -rf "$dir/one"
	done < <(apt-get -qq --print-uris download "$@")
	for d in bin sbin lib lib64; do
		ln -s "usr/$d" "$dir/$d"
	done
}

linux_version() { # linux_version UNPACKED: the kernel's version
	local f
	for f in "$1"/boot/vmlinuz-*; do
		echo "${f##*/vmlinuz-}"
		return
	done
}

# linux_vmlinux VMLINUZ OUT: the kernel, uncompressed.  QEMU boots the ELF
# file directly (PVH), which saves unpacking it under emulation.
linux_vmlinux() {
	python3 - "$1" "$2" <<'PY'
import lzma, struct, subprocess, sys, zlib

image = open(sys.argv[1], 'rb').read()
setup = (image[0x1f1] + 1) * 512
start = setup + struct.unpack_from('<I', image, 0x248)[0]
data = image[start:start + struct.unpack_from('<I', image, 0x24c)[0]]
if data[:6] == b'\xfd7zXZ\0':
    elf = lzma.LZMADecompressor().decompress(data)
elif data[:4] == b'\x28\xb5\x2f\xfd':
    # A length follows the stream, which zstd takes for a second, bad one: its
    # exit status says nothing, the check of the result below does.
    elf = subprocess.run(['zstd', '-dcq'], input=data, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout
elif data[:2] == b'\x1f\x8b':
    elf = zlib.decompressobj(31).decompress(data)
else:
    sys.exit('the kernel is compressed in a way this script does not know')
if elf[:4] != b'\x7fELF':
    sys.exit('the kernel did not unpack to an ELF file')
open(sys.argv[2], 'wb').write(elf)
PY
}

# linux_root ROOT UNPACKED: an initramfs tree with busybox and its commands.
linux_root() {
	local root=$1 unpacked=$2 name
	rm -rf "$root"
	mkdir -p "$root"/{bin,sbin,lib64,lib/modules,etc,proc,sys,dev,tmp,run,root}
	cp "$unpacked/bin/busybox" "$root/bin/busybox"
	for name in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
	done
}

# linux_libraries ROOT UNPACKED FILE...: the shared libraries that the files
# need, from the packages or from the host.
linux_libraries() {
	local root=$1 unpacked=$2 file lib out
	shift 2
	ln -sfn /lib64 "$root/lib/x86_64-linux-gnu"
	for file in "$@"; do
		out=$(LD_LIBRARY_PATH=$unpacked/usr/lib/x86_64-linux-gnu ldd "$file" 2> /dev/null) || continue
		if grep 'not found' <<< "$out" >&2; then
			linux_die "$file lacks these libraries on this host; install their packages"
		fi
		while read -r lib; do
			[ -e "$root/lib64/${lib##*/}" ] || cp -L "$lib" "$root/lib64/"
		done < <(sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/lib64[^ ]*\) .*/\1/p' <<< "$out")
	done
}

# linux_modules ROOT UNPACKED MODULE...: the modules that exist, with what they
# depend on, and their load order in lib/modules/order.  Prints their paths.
linux_modules() {
	local root=$1 unpacked=$2 version module ko
	shift 2
	version=$(linux_version "$unpacked")
	depmod -b "$unpacked" "$version"
	: > "$root/lib/modules/order"
	for module in "$@"; do
		modprobe -d "$unpacked" -S "$version" --show-depends "$module" 2> /dev/null || true
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
		while read -r ko; do
			cp "$ko" "$root/lib/modules/"
			basename "$ko" >> "$root/lib/modules/order"
			echo "$ko"
		done
}

linux_pack() { # linux_pack ROOT OUT
	(cd "$1" && find . | sort | cpio -o -H newc --quiet -R 0:0) > "$2"
}
