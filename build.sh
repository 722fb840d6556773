#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds everything and leaves the programs in build/bin.
#
#   ./build.sh                      our own programs, then QEMU 10.0 with the driver
#   ./build.sh tools                our own programs only (qdrbdmeta, drbd-sim)
#   ./build.sh qemu                 QEMU 10.0 with the driver only
#   ./build.sh qemu --version 10.2  QEMU 10.2's tools with the driver, in build/10.2/bin
#   ./build.sh qemu --asan          QEMU 10.0's tools with sanitizers, in build/asan-qemu/bin
#
# Missing Debian packages are installed first, after saying so. QEMU's sources and builds
# are kept in ${BLOCK_DRBD_CACHE:-~/.cache/block-drbd}; see docs/HACKING.md.
set -euo pipefail

cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
# Debian's python3 and meson, whatever else stands first in PATH.
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"

usage() {
    sed -n '/^# Builds/,/^# are kept/s/^# \{0,1\}//p' build.sh
}

build_tools() {
    local log=build/logs/build-tools.log
    mkdir -p build/logs build/bin
    if [[ ! -f build/release/build.ninja ]]; then
        rm -rf build/release
        quietly "$log" meson setup build/release --buildtype=release -Dtests=disabled -Dtools=enabled
    fi
    quietly "$log" ninja -C build/release
    /usr/bin/python3 tests/run/install_tools.py build/release build/bin
}

# Runs a command with its output in a log; shows the log when it fails.
quietly() {
    local log=$1
    shift
    if ! "$@" > "$log" 2>&1 < /dev/null; then
        cat "$log" >&2
        echo "build: '$*' failed; its output stands above and in $log" >&2
        return 1
    fi
}

what=${1:-all}
if [[ $# -gt 1 && $what != qemu ]]; then
    echo "build: unknown argument '$2'" >&2
    usage >&2
    exit 2
fi
case $what in
    all)
        qemu/install-packages tools qemu
        build_tools
        qemu/build
        ;;
    tools)
        qemu/install-packages tools
        build_tools
        ;;
    qemu)
        shift
        qemu/install-packages tools qemu
        qemu/build "$@"
        ;;
    -h | --help)
        usage
        ;;
    *)
        echo "build: unknown argument '$what'" >&2
        usage >&2
        exit 2
        ;;
esac
