#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints a sequence log, one event a line, numbered as crash points are.

    python3 tests/powercut/show_log.py FOLDER [--from N] [--to N] [--sector N]

With --sector only what concerns that sector of the guest's, and flushes.
"""

import argparse
import pathlib
import struct

KINDS = {1: "write", 2: "zero", 3: "trim", 4: "flush", 5: "mark"}
PHASES = {1: "submit", 2: "complete", 3: "fail"}
CHANNELS = {0: "data", 1: "md", 2: "guest"}
AL_MAGIC = bytes.fromhex("69cb65a2")


def describe(payload: bytes) -> str:
    if payload[:4] == AL_MAGIC:
        number = struct.unpack_from(">I", payload, 4)[0]
        updates = struct.unpack_from(">H", payload, 14)[0]
        extents = struct.unpack_from(">64I", payload, 164)[:updates]
        return f"activity log, transaction {number}, extents {list(extents)}"
    if len(payload) >= 512 and payload[60:63] == bytes.fromhex("837402"):
        current, bitmap = struct.unpack_from(">QQ", payload, 8)
        flags = struct.unpack_from(">I", payload, 56)[0]
        return f"superblock {current:016x}:{bitmap:016x} flags {flags:#x} magic ..{payload[63]:02x}"
    if payload[:8] == struct.pack("<Q", 0x4452424447554553):
        return f"of guest's request {struct.unpack_from('<Q', payload, 8)[0]}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="last", type=int, default=1 << 60)
    parser.add_argument("--sector", type=int)
    options = parser.parse_args()
    with open(options.folder / "sequence.log", "rb") as log:
        end = struct.unpack_from("<Q", log.read(32), 16)[0]
        place, number = 4096, 0
        while place < end:
            log.seek(place)
            _, kind, phase, channel, flags, request, offset, length, size = \
                struct.unpack("<IBBBBQQQQ", log.read(40))
            payload = log.read(min(size, 4096))
            place += 40 + (size + 7) // 8 * 8
            chosen = options.sector is None or kind == 4 or (
                channel != 1 and offset <= options.sector * 512 < offset + length)
            if options.first <= number <= options.last and chosen:
                if kind == 5:
                    print(f"{number:7} mark   {payload.decode()}")
                else:
                    what = describe(payload) if channel != 2 else ""
                    print(f"{number:7} {CHANNELS[channel]:5} {PHASES[phase]:8} {KINDS[kind]:5} "
                          f"#{request:<6} {'FUA' if flags & 1 else '   '} sector {offset // 512}"
                          f"+{length // 512} {what}")
            number += 1


if __name__ == "__main__":
    main()
