# SPDX-License-Identifier: GPL-2.0-or-later
"""Activity-log rings as a driver would leave them, built independently of
metafmt: plain sequences of transactions, and damage done to them."""
import os
import random
import struct

from blockdrbd.metadata import AL_MAGIC, BLOCK, FREE, crc32c, initialised_al_block

CONTEXT = 919
UPDATES = 64


def transaction(number, slots, start, updates, kind=0):
    """One block: `slots` is the table before the updates, a list of (slot, extent)."""
    context = (slots[start:start + CONTEXT] + [FREE] * CONTEXT)[:CONTEXT]
    padded = updates + [(0xFFFF, FREE)] * (UPDATES - len(updates))
    block = struct.pack(">IIIHHHH16x", AL_MAGIC, number & 0xFFFFFFFF, 0, kind, len(updates), len(slots), start)
    block += struct.pack(">64H", *(slot for slot, _ in padded))
    block += struct.pack(">64I", *(extent for _, extent in padded))
    block += struct.pack(">919I", *context)
    return block[:8] + struct.pack(">I", crc32c(block)) + block[12:]


class Ring:
    """A ring of `stripes` x `stripe_blocks`, written by a model of the driver."""

    def __init__(self, stripes=1, stripe_blocks=8, slots=67, first_number=0):
        self.stripes, self.stripe_blocks = stripes, stripe_blocks
        self.slots = [FREE] * slots
        self.number, self.start = first_number, 0
        self.blocks = [initialised_al_block()] * (stripes * stripe_blocks)

    def index(self, number):
        position = (number & 0xFFFFFFFF) % len(self.blocks)
        return position % self.stripes * self.stripe_blocks + position // self.stripes

    def write(self, updates):
        self.blocks[self.index(self.number)] = transaction(self.number, self.slots, self.start, updates)
        for slot, extent in updates:
            self.slots[slot] = extent
        self.start = self.start + CONTEXT if self.start + CONTEXT < len(self.slots) else 0
        self.number = (self.number + 1) & 0xFFFFFFFF

    def write_random(self, chance: random.Random, transactions, extents):
        for _ in range(transactions):
            chosen = chance.sample(range(len(self.slots)), chance.randint(1, min(UPDATES, len(self.slots))))
            self.write([(slot, chance.randrange(extents)) for slot in chosen])

    def tear(self, index):
        """Only the first sectors of a block reached the disk."""
        self.blocks[index] = self.blocks[index][:1024] + b"\xa5" * (BLOCK - 1024)

    def hot(self):
        return {extent for extent in self.slots if extent != FREE}

    def store(self, path, offset):
        with open(path, "r+b") as image:
            os.pwrite(image.fileno(), b"".join(self.blocks), offset)


def old_ring(sectors):
    """A ring from before 8.4: {sector: (number, [(slot, extent), ...])}."""
    ring = bytearray(8 * BLOCK)
    for sector, (number, entries) in sectors.items():
        padded = (entries + [(0xFFFF, FREE)] * 62)[:62]
        checksum = 0
        for _, extent in padded:
            checksum ^= extent
        data = struct.pack(">II", 0x83740267, number) + b"".join(struct.pack(">II", *entry) for entry in padded)
        ring[sector * 512:(sector + 1) * 512] = data + struct.pack(">II", checksum, 0)
    return bytes(ring)
