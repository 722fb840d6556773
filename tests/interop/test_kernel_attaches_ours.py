# SPDX-License-Identifier: GPL-2.0-or-later
"""A live kernel attaches a disk that our driver left clean.

It does so without apply-al, which it refuses for anything but clean metadata;
then generations, out-of-sync bytes and data are the same on both sides.
"""
import pytest
from blockdrbd import GuestDisk, Workspace
from blockdrbd.metadata import AL_CLEAN, MAGIC_CLEAN, PRIMARY_IND
from blockdrbd.operation import set_role
from kernel_side import KernelSide, digest
from volumes import ODD, Volume, data_of, demote, random_writes

SMALL = (12 << 20) + ODD

# name: placement, size, whether the disk has a past
CASES = {'fresh-internal': ('internal', SMALL, False),
         'fresh-flexible': ('flexible', SMALL, False),
         'fresh-indexed': ('indexed', SMALL, False),
         'grown-odd': ('internal', (15 << 20) + 5 * 512, True),
         'grown-flexible': ('flexible', (14 << 20) + 3 * 512, True)}


def leave_clean(folder, name):
    """Our driver's whole life on a disk: attach, promote, write, demote, quit."""
    placement, size, has_past = CASES[name]
    volume = Volume(folder, name, placement, size)
    if has_past:
        volume.establish(seed=len(name), bits=range(100, 1000, 7))
    else:
        volume.create_md()
    with volume.ours() as daemon:
        set_role(daemon.qmp, 'primary', force=not has_past)
        with GuestDisk(daemon.export_nbd('d0'), 'd0') as guest:
            assert guest.size == volume.usable()
            random_writes(guest, guest.size, 150, seed=len(name))
        demote(daemon)
        facts = volume.our_facts(daemon)
        assert daemon.quit() == 0
    return volume, facts


@pytest.fixture(scope='module')
def sides():
    """All disks are written by us first, then one guest attaches them all."""
    with Workspace('drbd-interop-') as folder:
        left = {name: leave_clean(folder.path, name) for name in CASES}
        with KernelSide(folder.path, [volume for volume, _ in left.values()]) as kernel:
            kernel.boot()
            for volume, _ in left.values():
                kernel.add(volume)
            yield left, kernel


@pytest.mark.parametrize('name', CASES)
def test_attach_without_apply_al(sides, name):
    left, kernel = sides
    volume, ours = left[name]
    superblock = volume.metadata.superblock()
    assert superblock.magic == MAGIC_CLEAN
    assert superblock.flags & AL_CLEAN and not superblock.flags & PRIMARY_IND
    expected = digest(data_of(volume))

    kernel.attach_volume(volume)

    assert kernel.status(kernel.minor(volume))['ds'].startswith('UpToDate/')
    assert ours.of_kernel(kernel, kernel.minor(volume)) == ours
    assert ours.out_of_sync > 0
    kernel.primary(volume)
    assert kernel.size(volume) == volume.usable()
    assert kernel.digest(volume) == expected
