# SPDX-License-Identifier: GPL-2.0-or-later
"""Our driver attaches disks that a kernel left: after down, and after its host
died while it was Primary with writes in flight.

The kernel never leaves clean metadata.  Ours applies the activity log itself,
with the same result as drbdmeta, and the data are the same.
"""
import subprocess

import pytest
from blockdrbd import Workspace
from blockdrbd.metadata import MAGIC_UNCLEAN, PRIMARY_IND
from blockdrbd.operation import query_volume
from blockdrbd.paths import system_program
from kernel_side import KernelSide, digest
from volumes import (BLOCK, ODD, Facts, Volume, VolumeMetadata, data_of, read_all,
                     written_blocks)

# name: placement, whether the disk has a past
DOWN = {'down-internal': ('internal', True), 'down-flexible': ('flexible', True),
        'down-indexed': ('indexed', True), 'down-fresh': ('internal', False)}
CRASHED = {'crashed-internal': 'internal', 'crashed-flexible': 'flexible'}
CRASHED_SIZE = (256 << 20) + ODD      # 64 extents; what is written stays sparse


@pytest.fixture(scope='module')
def left():
    """One guest: it brings every device up, writes, takes some down, and is killed
    while it writes to the others.  name: (volume, what the kernel said of it)."""
    with Workspace('drbd-interop-') as folder:
        volumes = {}
        for number, (name, (placement, has_past)) in enumerate(DOWN.items()):
            volumes[name] = Volume(folder.path, name, placement)
            if has_past:
                volumes[name].establish(seed=number, bits=range(50, 2000, 13))
        for number, (name, placement) in enumerate(CRASHED.items()):
            volumes[name] = Volume(folder.path, name, placement, CRASHED_SIZE)
            volumes[name].establish(seed=100 + number)
        said = {}
        with KernelSide(folder.path, volumes.values()) as kernel:
            kernel.boot()
            for name, volume in volumes.items():
                fresh = name in DOWN and not DOWN[name][1]
                if fresh:
                    kernel.meta(volume, 'create-md')
                kernel.up(volume)
                kernel.primary(volume, force=fresh)
            for name in DOWN:
                said[name] = take_down(kernel, volumes[name])
            for name in CRASHED:
                write_for_ever(kernel, volumes[name])
            for name in CRASHED:
                minor = kernel.minor(volumes[name])
                kernel.qmp.wait_until(
                    lambda minor=minor: int(kernel.status(minor)['dw']) > 1000,
                    'the guest writes', 60)
                said[name] = Facts.of_kernel(kernel, minor), None
            kernel.kill()
        yield {name: (volumes[name], *said[name]) for name in volumes}


def take_down(kernel, volume):
    """Write here and there, demote, detach; generations, marks, content."""
    minor = kernel.minor(volume)
    kernel.sh(' && '.join('blkop write /dev/drbd%d %d 8192 %d'
                          % (minor, number * 1048576 + 512 * number, number)
                          for number in range(8)))
    content = kernel.digest(volume)
    kernel.sh('drbdsetup-84 secondary %d' % minor)
    facts = Facts.of_kernel(kernel, minor)
    kernel.down(volume)
    return facts, content


def write_for_ever(kernel, volume):
    """One loop in the background: 256 KiB by four threads, 4 KiB at a time, here and
    there on the whole device."""
    kernel.sh('''( n=0; while :; do
        blkop many /dev/drbd%d $(( n * 8388608 %% 251658240 + n * 4096 )) 262144 $n 4096 4
        n=$(( n + 1 ))
    done ) > /dev/null 2>&1 &''' % kernel.minor(volume))


@pytest.mark.parametrize('name', DOWN)
def test_after_down(left, name):
    volume, kernels, content = left[name]
    assert volume.metadata.superblock().magic == MAGIC_UNCLEAN
    with volume.ours() as daemon:
        assert query_volume(daemon.qmp)['disk'] == 'UpToDate'
        assert volume.our_facts(daemon) == kernels
        assert daemon.quit() == 0
    with volume.ours(role='primary') as daemon:
        assert digest(read_all(daemon)) == content
        assert daemon.quit() == 0


@pytest.mark.parametrize('name', CRASHED)
def test_after_crash(left, name, tmp_path):
    volume, kernels, _ = left[name]
    superblock = volume.metadata.superblock()
    assert superblock.magic == MAGIC_UNCLEAN and superblock.flags & PRIMARY_IND
    data = digest(data_of(volume))
    judged = applied_by_drbdmeta(volume, tmp_path)
    written = written_blocks(volume)
    assert len(written) > 100

    with volume.ours() as daemon:
        ours = volume.our_facts(daemon)
        assert query_volume(daemon.qmp)['disk'] == 'UpToDate'
        assert daemon.quit() == 0

    assert (ours.current, ours.bitmap, ours.history) == (
        kernels.current, kernels.bitmap, kernels.history)
    marked = volume.metadata.out_of_sync_blocks()
    assert written <= marked
    assert marked == judged
    assert ours.out_of_sync == len(marked) * BLOCK
    assert digest(data_of(volume)) == data


def applied_by_drbdmeta(volume, folder):
    """Blocks that drbdmeta marks on a copy of the same metadata."""
    copy = str(folder / 'copy')
    subprocess.run(['cp', '--sparse=always', volume.md_path, copy], check=True)
    subprocess.run([system_program('drbdmeta', 'drbd-utils'), '--force', '-', 'v08', copy,
                    volume.md_word, 'apply-al'], check=True, capture_output=True)
    return VolumeMetadata(copy, volume.placement).out_of_sync_blocks()
