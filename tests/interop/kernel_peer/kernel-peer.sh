#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Boots one guest with kernel DRBD whose peer is a process on this host, and leaves
# it running.  Prints (JSON) its command channel, its QMP socket and the addresses.
#   kernel-peer.sh [options] HOST:PORT                            (--help lists them)
#   ../../guest/channel.py DIR/kernel.commands.sock 'cat /proc/drbd'   runs a command in it
#   kernel-peer.sh --stop --dir DIR                               ends it
exec /usr/bin/python3 -B "$(dirname "$0")/kernel_peer.py" "$@"
