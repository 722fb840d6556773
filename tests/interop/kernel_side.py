# SPDX-License-Identifier: GPL-2.0-or-later
"""Volumes in the hands of the kernel: one guest, many devices, each a resource.

In: volumes whose files nobody has open.  Out: a booted peer in which volume
number n is minor n, not yet attached.
"""
import hashlib

from peer import KernelPeer


# All of the smaller volumes, a part of the larger ones: emulation is slow.
DIGESTED = 16 << 20


class KernelSide(KernelPeer):
    def __init__(self, folder, volumes, name='kernel'):
        self.volumes = list(volumes)
        super().__init__(name, folder, [f for v in self.volumes for f in v.files()])
        letters = iter('abcdefghijklmnopqrstuvwxyz')
        self.devices = {v.name: ['/dev/vd' + next(letters) for _ in v.files()]
                        for v in self.volumes}

    def minor(self, volume):
        return self.volumes.index(volume)

    def add(self, volume):
        self.new_minor(self.minor(volume), 'r%d' % self.minor(volume))

    def attach_volume(self, volume):
        """Without apply-al: the kernel refuses metadata that is not clean."""
        devices = self.devices[volume.name]
        self.attach(devices[0], devices[-1], volume.kernel_word, self.minor(volume))

    def up(self, volume):
        self.add(volume)
        self.attach_volume(volume)

    def meta(self, volume, verb):
        return self.drbdmeta(verb, self.devices[volume.name][-1], volume.md_word)

    def primary(self, volume, force=False):
        self.sh('drbdsetup-84 primary %d %s' % (self.minor(volume), '--force' if force else ''))

    def down(self, volume):
        self.sh('drbdsetup-84 secondary %d; drbdsetup-84 down r%d'
                % (self.minor(volume), self.minor(volume)))

    def digest(self, volume):
        """Of the data as a Primary reads them; see DIGESTED."""
        return self.sh('head -c %d /dev/drbd%d | md5sum' % (DIGESTED, self.minor(volume))).split()[0]

    def size(self, volume):
        return int(self.sh('blockdev --getsize64 /dev/drbd%d' % self.minor(volume)))


def digest(data):
    return hashlib.md5(data[:DIGESTED]).hexdigest()
