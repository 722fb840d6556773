# SPDX-License-Identifier: GPL-2.0-or-later
"""DRBD 8.4 metadata (v08) as a test sees it: written and read independently of
metafmt, so that a mistake there is not repeated here.

Made: a superblock with chosen generation and flags, an initialised activity
log, an empty bitmap.  Read: superblock, bitmap, and what a replay of the
activity log adds to it.  Offsets and lengths are in bytes.
"""

import dataclasses
import os
import struct
from typing import List, Optional, Set

SECTOR = 512
BLOCK = 4096
EXTENT = 4 << 20
MAGIC_CLEAN = 0x8374026B
MAGIC_UNCLEAN = 0x8374026C
AL_MAGIC = 0x69CB65A2
AL_INITIALISED = 0xFFFF
FREE = 0xFFFFFFFF
INITIAL_UUID = 4

CONSISTENT = 0x01
PRIMARY_IND = 0x02
CONNECTED_IND = 0x04
FULL_SYNC = 0x08
WAS_UP_TO_DATE = 0x10
PEER_OUT_DATED = 0x20
CRASHED_PRIMARY = 0x40
AL_CLEAN = 0x80
AL_DISABLED = 0x100

_SUPERBLOCK = struct.Struct(">QQQQQQQIIIiIiIIII")


def crc32c(data: bytes) -> int:
    """Castagnoli, reflected, initial value 0, not inverted."""
    value = 0
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value


def _crc_table() -> List[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


@dataclasses.dataclass
class Superblock:
    la_size_sect: int = 0
    current: int = INITIAL_UUID
    bitmap: int = 0
    history0: int = 0
    history1: int = 0
    device_uuid: int = 0
    reserved: int = 0
    flags: int = AL_CLEAN
    magic: int = MAGIC_CLEAN
    md_size_sect: int = 0
    al_offset: int = 0
    al_nr_extents: int = 257
    bm_offset: int = 0
    bytes_per_bit: int = BLOCK
    la_peer_max_bio_size: int = 0
    al_stripes: int = 1
    al_stripe_size_4k: int = 8

    def pack(self) -> bytes:
        return _SUPERBLOCK.pack(*dataclasses.astuple(self)).ljust(BLOCK, b"\0")

    @classmethod
    def unpack(cls, data: bytes) -> "Superblock":
        return cls(*_SUPERBLOCK.unpack_from(data))

    @property
    def al_sectors(self) -> int:
        blocks = self.al_stripes * self.al_stripe_size_4k or 8
        return blocks * (BLOCK // SECTOR)


def round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def internal_md_sectors(device_bytes: int) -> int:
    """Superblock, log of 32 KiB and bitmap at the end of a device."""
    return round_up(-(-(device_bytes // SECTOR) // 32768), 8) + 8 + 64


def data_bytes(device_bytes: int, internal: bool) -> int:
    """What a device offers its guest."""
    if not internal:
        return device_bytes
    superblock = (device_bytes // SECTOR & ~7) - 8
    return (superblock + 8 - internal_md_sectors(device_bytes)) * SECTOR


@dataclasses.dataclass
class Metadata:
    """The metadata in one file: internal, or external from `begin` on (a slot
    of an indexed device begins at a multiple of 128 MiB)."""

    path: str
    internal: bool
    begin: int = 0

    def superblock_offset(self) -> int:
        if not self.internal:
            return self.begin
        return ((os.path.getsize(self.path) // SECTOR & ~7) - 8) * SECTOR

    def superblock(self) -> Superblock:
        with open(self.path, "rb") as image:
            return Superblock.unpack(os.pread(image.fileno(), BLOCK, self.superblock_offset()))

    def write_superblock(self, superblock: Superblock) -> None:
        with open(self.path, "r+b") as image:
            os.pwrite(image.fileno(), superblock.pack(), self.superblock_offset())

    def create(self, device_bytes: int, **fields: int) -> Superblock:
        """Writes fresh metadata; `fields` override those of create-md."""
        size = os.path.getsize(self.path)
        if self.internal:
            md_size = internal_md_sectors(size)
            layout = {"md_size_sect": md_size, "al_offset": -64, "bm_offset": 8 - md_size}
        else:
            whole = size if self.begin == 0 else 128 << 20
            layout = {"md_size_sect": whole // SECTOR, "al_offset": 8, "bm_offset": 72}
        superblock = Superblock(**{**layout, **fields})
        position = self.superblock_offset()
        bitmap_bytes = round_up(-(-data_bytes(device_bytes, self.internal) // BLOCK // 8), BLOCK)
        with open(self.path, "r+b") as image:
            os.pwrite(image.fileno(), bytes(bitmap_bytes), position + superblock.bm_offset * SECTOR)
            for block in range(8):
                os.pwrite(image.fileno(), initialised_al_block(),
                          position + superblock.al_offset * SECTOR + block * BLOCK)
            os.pwrite(image.fileno(), superblock.pack(), position)
        return superblock

    def bitmap(self) -> bytes:
        """The bitmap on the disk, one bit per 4 KiB block, lowest bit first."""
        superblock = self.superblock()
        blocks = -(-superblock.la_size_sect // 8)
        with open(self.path, "rb") as image:
            return os.pread(image.fileno(), -(-blocks // 8),
                            self.superblock_offset() + superblock.bm_offset * SECTOR)

    def out_of_sync_blocks(self) -> Set[int]:
        return {8 * index + bit for index, byte in enumerate(self.bitmap()) if byte
                for bit in range(8) if byte >> bit & 1}

    def active_extents(self) -> Optional[Set[int]]:
        """What a replay of the activity log would mark; None if unusable."""
        superblock = self.superblock()
        with open(self.path, "rb") as image:
            ring = [os.pread(image.fileno(), BLOCK, self.superblock_offset()
                             + superblock.al_offset * SECTOR + index * BLOCK)
                    for index in range(superblock.al_sectors // 8)]
        return replay_ring(ring, superblock.al_stripes or 1, superblock.al_stripe_size_4k or 8)


def initialised_al_block() -> bytes:
    block = bytearray(BLOCK)
    struct.pack_into(">I", block, 0, AL_MAGIC)
    struct.pack_into(">H", block, 12, AL_INITIALISED)
    struct.pack_into(">I", block, 8, crc32c(bytes(block)))
    return bytes(block)


def valid_al_block(block: bytes) -> bool:
    magic, _, crc = struct.unpack_from(">III", block)
    return magic == AL_MAGIC and crc32c(block[:8] + b"\0\0\0\0" + block[12:]) == crc


def replay_ring(ring: List[bytes], stripes: int, stripe_blocks: int) -> Optional[Set[int]]:
    """The extents in use after the newest transaction (section 8.4 of the format)."""
    count = len(ring)
    in_order = [ring[p % stripes * stripe_blocks + p // stripes] for p in range(count)]
    valid = [valid_al_block(block) for block in in_order]
    if not any(valid):
        return None
    updates = [p for p in range(count)
               if valid[p] and struct.unpack_from(">H", in_order[p], 12)[0] == 0]
    if not updates:
        return set() if all(valid[1:]) else None
    number = {p: struct.unpack_from(">I", in_order[p], 4)[0] for p in updates}
    oldest = updates[0]
    for p in updates:
        if (number[p] - number[oldest]) & 0xFFFFFFFF >= 0x80000000:
            oldest = p
    slots: dict = {}
    for p in sorted(updates, key=lambda p: (number[p] - number[oldest]) & 0xFFFFFFFF):
        _apply_transaction(in_order[p], slots)
    return {extent for extent in slots.values() if extent != FREE}


def _apply_transaction(block: bytes, slots: dict) -> None:
    updates, context_size, start = struct.unpack_from(">HHH", block, 14)
    context = struct.unpack_from(">919I", block, 420)
    for index, extent in enumerate(context):
        if extent != FREE or start + index < context_size:
            slots[start + index] = extent
    numbers = struct.unpack_from(">64H", block, 36)
    extents = struct.unpack_from(">64I", block, 164)
    for index in range(min(updates, 64)):
        if numbers[index] != 0xFFFF:
            slots[numbers[index]] = extents[index]
