# SPDX-License-Identifier: GPL-2.0-or-later
"""Mistakes put into the log of a real run: FUA or flush taken away from what
the driver did right.  The judge must find each.
"""

import mmap
import struct

from seqlog import DATA, FLUSH, FUA, METADATA, SUBMIT, TRIM

AL_MAGIC = bytes.fromhex("69cb65a2")
SUPERBLOCK_MAGIC = bytes.fromhex("837402")
MUTATIONS = {
    "activity log without FUA": "marked",
    "superblock without FUA": "generation",
    "data without FUA": "durable",
    "data never flushed": "durable",
}


def mutate(path: str, mutation: str) -> int:
    """Changes the log in place; returns the number of records changed."""
    changed = 0
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as log:
        end = struct.unpack_from("<Q", log, 16)[0]
        place = 4096
        while place < end:
            kind, phase, channel, flags = log[place + 4:place + 8]
            size = struct.unpack_from("<Q", log, place + 32)[0]
            head = log[place + 40:place + 40 + min(size, 64)]
            if mutation == "data never flushed":
                if kind == FLUSH and channel == DATA:
                    # A trim of nothing is a flush that does nothing.
                    log[place + 4] = TRIM
                    changed += 1
            elif phase == SUBMIT and flags & FUA and _concerns(mutation, channel, head):
                log[place + 7] = flags & ~FUA
                changed += 1
            place += 40 + (size + 7) // 8 * 8
    return changed


def _concerns(mutation: str, channel: int, head: bytes) -> bool:
    is_log = head[:4] == AL_MAGIC
    is_superblock = head[60:63] == SUPERBLOCK_MAGIC
    return channel in (DATA, METADATA) and {
        "activity log without FUA": is_log,
        "superblock without FUA": is_superblock,
        "data without FUA": not is_log and not is_superblock and channel == DATA,
    }[mutation]
