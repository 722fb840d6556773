# SPDX-License-Identifier: GPL-2.0-or-later
"""One volume as both sides see it: our driver on its files, the kernel on its disks.

In: a folder, a placement of the metadata, a size.  Out: files, our driver's node
over them in a storage daemon, the words the kernel's tools want, and the facts
that must be equal on both sides.
Invariant: one of the two has the files open, never both.
"""
import contextlib
import dataclasses
import os
import random

from blockdrbd import (GuestDisk, Metadata, StorageDaemon, drbd_node, file_node, make_image,
                       resource_object)
from blockdrbd.images import allocated
from blockdrbd.metadata import (AL_CLEAN, CONSISTENT, MAGIC_CLEAN, WAS_UP_TO_DATE, data_bytes,
                                round_up)
from blockdrbd.operation import query_volume, set_role
from disks import qdrbdmeta

BLOCK = 4096
# Where the number of blocks is a multiple of 64 the kernel's counter misses the last 64
# bits at attach (the bits are there), so sizes are three blocks short of round ones.
ODD = -3 * BLOCK
SLOT = 128 << 20                # of an indexed metadata device
INDEX = 1

# name: (drbdmeta's word, drbdsetup's word)
PLACEMENTS = {'internal': ('internal', 'internal'),
              'flexible': ('flex-external', 'flexible'),
              'indexed': (str(INDEX), str(INDEX))}


class VolumeMetadata(Metadata):
    """Also finds the superblock of an indexed placement."""

    def __init__(self, path, placement):
        super().__init__(path, placement == 'internal')
        self.placement = placement

    def superblock_offset(self):
        return INDEX * SLOT if self.placement == 'indexed' else super().superblock_offset()

    def out_of_sync_blocks(self):
        """Without the bits behind the end, which drbdmeta's apply-al also sets."""
        blocks = -(-self.superblock().la_size_sect // 8)
        return {block for block in super().out_of_sync_blocks() if block < blocks}

    def create(self, device_bytes, **fields):
        """As the format says: an index has a fixed size."""
        if self.placement == 'indexed':
            fields = {'md_size_sect': SLOT // 512, 'al_offset': 8, 'bm_offset': 72, **fields}
        return super().create(device_bytes, **fields)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What both sides must agree on.  The lowest bit of the current UUID only says
    that its node was Primary when it wrote it."""
    current: int
    bitmap: int
    history: tuple
    out_of_sync: int

    @classmethod
    def of_ours(cls, volume):
        metadata = volume['metadata']
        return cls(int(metadata['current-uuid'], 16) & ~1, int(metadata['bitmap-uuid'], 16) & ~1,
                   tuple(int(u, 16) & ~1 for u in metadata['history-uuids']),
                   volume['out-of-sync'])

    @classmethod
    def of_kernel(cls, peer, volume):
        words = peer.sh('drbdsetup-84 get-gi %d' % volume).split(':')
        uuids = [int(w, 16) & ~1 for w in words[:4]]
        return cls(uuids[0], uuids[1], tuple(uuids[2:]), peer.out_of_sync_bytes(volume))


class Volume:
    def __init__(self, folder, name, placement='internal', size=(12 << 20) + ODD):
        self.folder, self.name, self.placement, self.size = folder, name, placement, size
        self.md_word, self.kernel_word = PLACEMENTS[placement]
        self.image = make_image(folder / (name + '.img'), size)
        if placement == 'internal':
            self.md_path = self.image
        else:
            md_size = 2 * SLOT if placement == 'indexed' else 1 << 20
            self.md_path = make_image(folder / (name + '.md'), md_size)
        self.metadata = VolumeMetadata(self.md_path, placement)

    def files(self):
        """The kernel's disks, data first."""
        return [self.image] if self.placement == 'internal' else [self.image, self.md_path]

    def usable(self):
        """Bytes that the guest of either side sees."""
        return data_bytes(self.size, self.placement == 'internal') & ~511

    # -- metadata -------------------------------------------------------------

    def create_md(self):
        """Fresh, as both sides' create-md leave it: Inconsistent, no generation."""
        qdrbdmeta('--force', '-', 'v08', self.md_path, self.md_word, 'create-md')

    def establish(self, seed=1, bits=()):
        """A disk that has a past: UpToDate, generations, and these blocks out of sync.
        Written by the tests' own code, not by what is tested."""
        chance = random.Random(seed)
        self.metadata.create(
            self.size, la_size_sect=self.usable() // 512, current=chance.getrandbits(64) & ~1,
            bitmap=chance.getrandbits(64) & ~1 if bits else 0,
            history0=chance.getrandbits(64) & ~1, history1=chance.getrandbits(64) & ~1,
            flags=CONSISTENT | WAS_UP_TO_DATE | AL_CLEAN, magic=MAGIC_CLEAN)
        bitmap = bytearray(round_up(-(-self.usable() // BLOCK // 8), 8))
        for bit in bits:
            bitmap[bit // 8] |= 1 << bit % 8
        superblock = self.metadata.superblock()
        with open(self.md_path, 'r+b') as device:
            device.seek(self.metadata.superblock_offset() + superblock.bm_offset * 512)
            device.write(bitmap)

    # -- our driver ------------------------------------------------------------

    def node(self, **options):
        if self.placement == 'indexed':
            options['metadata_index'] = INDEX
        if self.placement != 'internal':
            options['metadata'] = 'metadata'
        return drbd_node('d0', 'image', **options)

    @contextlib.contextmanager
    def ours(self, role=None, **options):
        """Our driver on this volume, alone in a storage daemon."""
        with StorageDaemon(folder=str(self.folder), name=self.name) as daemon:
            daemon.object_add(resource_object('r0'))
            daemon.blockdev_add(file_node('image', self.image))
            if self.placement != 'internal':
                daemon.blockdev_add(file_node('metadata', self.md_path))
            if role:
                options['role'] = role
            daemon.blockdev_add(self.node(**options))
            yield daemon

    def our_facts(self, daemon):
        return Facts.of_ours(query_volume(daemon.qmp))


def demote(daemon):
    """Orderly: the writer goes first, then the role."""
    daemon.export_del('export-d0')
    set_role(daemon.qmp, 'secondary')


def random_writes(guest, size, count, seed):
    """Writes, zeroes and discards of odd places and lengths, flushed."""
    chance = random.Random(seed)
    for _ in range(count):
        length = chance.choice((512, 4096, 4096, 8192, 69632))
        offset = chance.randrange(0, (size - length) // 512) * 512
        kind = chance.choice(('write', 'write', 'write', 'zero', 'trim', 'flush'))
        if kind == 'write':
            guest.pwrite(chance.randbytes(length), offset, fua=chance.random() < 0.2)
        elif kind == 'zero':
            guest.zero(length, offset)
        elif kind == 'trim':
            guest.trim(length, offset)
        else:
            guest.flush()
    guest.flush()


def read_all(daemon, export='d0'):
    """Everything the guest of our node sees."""
    with GuestDisk(daemon.export_nbd(export, writable=False), export) as guest:
        step = 1 << 20
        return b''.join(guest.pread(min(step, guest.size - at), at)
                        for at in range(0, guest.size, step))


def data_of(volume):
    """The data area of an image that nobody has open."""
    with open(volume.image, 'rb') as image:
        return image.read(volume.usable())


def written_blocks(volume):
    """Numbers of the blocks of a once empty image that hold something now."""
    zeroes, written = bytes(BLOCK), set()
    with open(volume.image, 'rb') as image:
        for begin, end in allocated(image.fileno(), volume.usable()):
            for at in range(begin // BLOCK * BLOCK, end, BLOCK):
                block = os.pread(image.fileno(), min(BLOCK, volume.usable() - at), at)
                if block != zeroes[:len(block)]:
                    written.add(at // BLOCK)
    return written
