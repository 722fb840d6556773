# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver made of Python that writes a correct sequence log, or one with a
chosen mistake.

It does what the rules ask of a Primary without peer: new generation stable
first, activity log stable before each cold write, bitmap before eviction, FUA
and flush where they belong.  `mistake` leaves one of these out; the checkers
must then complain.  No QEMU is involved.
"""

import pathlib
import random
import struct
from typing import Dict, List, Optional, Set

import seqlog
from blockdrbd.metadata import (AL_MAGIC, BLOCK, CONSISTENT, FREE, MAGIC_UNCLEAN, PRIMARY_IND,
                                WAS_UP_TO_DATE, crc32c)
from geometry import EXTENT, PEER_GENERATION, Geometry, make_base
from seqlog import COMPLETE, DATA, METADATA, SUBMIT

SLOTS = 3
NEW_GENERATION = 0xBEEF0000BEEF0001
MISTAKES = {
    "al-without-fua": "marked",
    "al-after-data": "marked",
    "no-bitmap-before-eviction": "marked",
    "generation-late": "generation",
    "generation-without-flush": "generation",
    "flush-not-passed-on": "durable",
    "fua-dropped": "durable",
    "write-lost": "durable",
    "write-misplaced": "durable",
    "trim-instead-of-zero": "durable",
    "too-much-marked": "bound",
    "bitmap-on-superblock": "superblock",
    "outdate-not-stable": "expected",
    "clean-not-stable": "expected",
}


class SyntheticDriver:
    """One guest request after another, each completed before the next."""

    def __init__(self, folder: pathlib.Path, placement: str, mistake: str = ""):
        assert mistake in MISTAKES or not mistake
        self.geometry = Geometry(placement, 8 * EXTENT)
        self.base = make_base(self.geometry, folder, 1)
        self.log = seqlog.SequenceLog(folder / "sequence.log", 256 << 20)
        self.mistake = mistake
        metadata = self.geometry.metadata(self.base)
        self.superblock = metadata.superblock()
        self.position = metadata.superblock_offset()
        self.channel = DATA if self.geometry.internal else METADATA
        self.bitmap = bytearray(BLOCK)
        self.slots: List[int] = [FREE] * SLOTS
        self.transaction = 0
        self.request = seqlog.FIRST_REQUEST
        self.written: Dict[int, Set[int]] = {}

    # -- metadata ------------------------------------------------------------

    def write_superblock(self, stable: bool = True) -> None:
        self.log.disk("write", self.channel, self.position, self.superblock.pack(), fua=stable)

    def flush(self, channel: int = DATA) -> None:
        self.log.disk("flush", channel)

    def write_bitmap(self) -> None:
        place = self.position + self.superblock.bm_offset * 512
        if self.mistake == "bitmap-on-superblock":
            place = self.position
        self.log.disk("write", self.channel, place, bytes(self.bitmap), fua=True)

    def write_transaction(self, slot: int, extent: int) -> None:
        block = bytearray(BLOCK)
        struct.pack_into(">II", block, 0, AL_MAGIC, self.transaction)
        struct.pack_into(">HHHH", block, 12, 0, 1, SLOTS, 0)
        struct.pack_into(">64H", block, 36, slot, *[0xFFFF] * 63)
        struct.pack_into(">64I", block, 164, extent, *[FREE] * 63)
        struct.pack_into(">919I", block, 420, *self.slots, *[FREE] * (919 - SLOTS))
        struct.pack_into(">I", block, 8, crc32c(bytes(block)))
        place = self.position + self.superblock.al_offset * 512 + self.transaction % 8 * BLOCK
        self.log.disk("write", self.channel, place, bytes(block),
                      fua=self.mistake != "al-without-fua")
        self.transaction += 1
        self.slots[slot] = extent

    def promote(self) -> None:
        self.superblock.flags = CONSISTENT | WAS_UP_TO_DATE | PRIMARY_IND
        self.superblock.magic = MAGIC_UNCLEAN
        self.write_superblock()
        if self.mistake != "generation-late":
            self.new_generation()

    def new_generation(self) -> None:
        self.superblock.bitmap = PEER_GENERATION
        self.superblock.current = NEW_GENERATION
        self.write_superblock(stable=self.mistake != "generation-without-flush")

    def make_hot(self, extent: int, random_source: random.Random) -> None:
        if extent in self.slots:
            return
        slot = self.slots.index(FREE) if FREE in self.slots else random_source.randrange(SLOTS)
        evicted = self.slots[slot]
        if evicted != FREE and self.mistake != "no-bitmap-before-eviction":
            for block in self.written.get(evicted, ()):
                self.bitmap[block // 8] |= 1 << block % 8
            if self.mistake == "too-much-marked":
                self.bitmap[7 * 128 + 5] |= 1
            self.write_bitmap()
        self.write_transaction(slot, extent)

    # -- the guest -----------------------------------------------------------

    def change(self, kind: str, offset: int, length: int, fua: bool, source: random.Random) -> None:
        request, self.request = self.request, self.request + 1
        extent = offset // EXTENT
        data = seqlog.pattern(offset, length, request) if kind == "write" else b""
        self.log.guest(kind, SUBMIT, request, offset, length, fua)
        place = offset + (4096 if self.mistake == "write-misplaced" and request == 9 else 0)
        passed = {"fua": fua and self.mistake != "fua-dropped"}
        below = kind if kind == "write" or self.mistake == "trim-instead-of-zero" else "zero"
        if self.mistake != "al-after-data":
            self.make_hot(extent, source)
        if not (self.mistake == "write-lost" and request == 9):
            self.log.disk(below, DATA, place, data, length, **passed)
        if self.mistake == "al-after-data":
            self.make_hot(extent, source)
        self.written.setdefault(extent, set()).update(
            range(offset // BLOCK, (offset + length - 1) // BLOCK + 1))
        self.log.guest(kind, COMPLETE, request, offset, length, fua)

    def guest_flush(self) -> None:
        request, self.request = self.request, self.request + 1
        self.log.guest("flush", SUBMIT, request)
        if self.mistake != "flush-not-passed-on":
            self.flush()
        self.log.guest("flush", COMPLETE, request)

    def run(self, seed: int = 1, count: int = 60) -> None:
        source = random.Random(seed)
        self.promote()
        for index in range(count):
            offset = source.randrange(7) * EXTENT + source.randrange(64) * 4096
            length = source.choice([512, 4096, 20480])
            kind = source.choice(["write", "write", "write", "trim"])
            self.change(kind, offset, length, source.randrange(4) == 0, source)
            if index % 7 == 3:
                self.guest_flush()
        if self.mistake == "generation-late":
            self.new_generation()
        self.leave()

    def leave(self) -> None:
        """An orderly end: bitmap, superblock; then an administrator's word."""
        self.flush()
        for blocks in self.written.values():
            for block in blocks:
                self.bitmap[block // 8] |= 1 << block % 8
        self.write_bitmap()
        self.superblock.flags &= ~(PRIMARY_IND | WAS_UP_TO_DATE)
        self.write_superblock(stable=self.mistake != "outdate-not-stable")
        self.log.mark("expect disk=Outdated")
        self.superblock.flags |= 0x80
        self.superblock.magic -= 1
        self.write_superblock(stable=self.mistake != "clean-not-stable")
        self.log.mark("expect clean=yes")


def judge(driver: SyntheticDriver, folder: pathlib.Path, count: int, seed: int,
          limit: Optional[int] = None) -> List[str]:
    """The complaints about `count` states of that log."""
    from judging import StateJudge
    judge = StateJudge(folder, driver.geometry, driver.base, driver.log.path, driver=False)
    judge.replayer.ask(f"plan {count} {seed}")
    complaints: List[str] = []
    while limit is None or len(complaints) < limit:
        state = judge.replayer.ask("next")
        if state.get("end"):
            break
        complaints += state["errors"]
        if state["seed"] % 16 == 0:
            complaints += judge.replayer.ask("verify")["errors"]
    judge.close()
    return complaints
