# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what QEMU's blklogwrites node recorded below the driver.

In: the path of its log.  Out: how many writes and flushes reached the image (the
node turns a FUA write into a write and a flush).
"""
import dataclasses
import struct

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512


@dataclasses.dataclass
class WriteLog:
    writes: int = 0
    flushes: int = 0


def read_write_log(path):
    """Counts every entry that is whole; the log may end in the middle of one.  The
    node writes its own header at flushes only, so there may be none."""
    counts = WriteLog()
    with open(path, 'rb') as log:
        magic = struct.unpack('<Q', log.read(8).ljust(8, b'\0'))[0]
        if magic not in (0, MAGIC):
            raise ValueError('%s is not a log of blklogwrites' % path)
        position = SECTOR
        while True:
            log.seek(position)
            entry = log.read(32)
            if len(entry) < 32:
                return counts
            _, sectors, flags, _ = struct.unpack('<QQQQ', entry)
            if not sectors and not flags:
                return counts           # where nothing was written any more
            position += SECTOR
            if not flags & (DISCARD | MARK):
                position += sectors * SECTOR
            counts.writes += bool(sectors)
            counts.flushes += bool(flags & (FLUSH | FUA))


def log_node(node_name, file, log):
    return {'driver': 'blklogwrites', 'node-name': node_name, 'file': file, 'log': log,
            'log-sector-size': SECTOR}
