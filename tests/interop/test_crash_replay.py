# SPDX-License-Identifier: GPL-2.0-or-later
"""Our process is killed in the middle of writes: others repair what it left.

drbdmeta's apply-al marks at least every block that may have been written, our own
attach marks the same, and a live kernel attaches the repaired disk.  The same
judges on metadata that were recorded from real kernels.
"""
import gzip
import pathlib
import random
import subprocess

import pytest
from blockdrbd import GuestDisk, Workspace
from blockdrbd.metadata import (CONSISTENT, CRASHED_PRIMARY, MAGIC_UNCLEAN, PRIMARY_IND,
                                WAS_UP_TO_DATE)
from blockdrbd.operation import query_volume
from blockdrbd.paths import system_program
from kernel_side import KernelSide, digest
from volumes import BLOCK, ODD, Facts, Volume, data_of, written_blocks

RECORDINGS = sorted((pathlib.Path(__file__).parent / 'recordings').glob('*.gz'))
SIZE = (320 << 20) + ODD        # 80 extents, more than the smallest activity log holds
ROUNDS = {'kill-internal': 'internal', 'kill-flexible': 'flexible', 'kill-indexed': 'indexed'}


def apply_al(volume):
    """drbdmeta repairs the volume itself; returns what it says."""
    done = subprocess.run([system_program('drbdmeta', 'drbd-utils'), '--force', '-', 'v08',
                           volume.md_path, volume.md_word, 'apply-al'],
                          check=True, capture_output=True, text=True)
    return done.stdout


def write_and_kill(volume, seed, enough=600, depth=32):
    """Random writes over more extents than the log holds, SIGKILL with `depth` of them
    in flight; returns the blocks that were submitted and what the driver said."""
    chance = random.Random(seed)
    submitted, completed = set(), [0]

    def done(error):
        assert error == 0
        completed[0] += 1

    with volume.ours(role='primary', al_extents=67) as daemon:
        guest = GuestDisk(daemon.export_nbd('d0'), 'd0')
        while completed[0] < enough:
            while guest.in_flight < depth:
                block = chance.randrange(volume.usable() // BLOCK)
                submitted.add(block)
                guest.submit('write', block * BLOCK, chance.randbytes(BLOCK), done=done)
            guest.poll(1.0)
        facts = volume.our_facts(daemon)
        daemon.kill()
    return submitted, facts


@pytest.fixture(scope='module')
def killed():
    """Every placement: killed by us, a copy repaired by drbdmeta, one repaired by our
    attach, and a kernel that has all of drbdmeta's."""
    with Workspace('drbd-interop-') as folder:
        results = {}
        for seed, (name, placement) in enumerate(ROUNDS.items()):
            volume = Volume(folder.path, name, placement, SIZE)
            volume.establish(seed=seed)
            results[name] = volume, *write_and_kill(volume, seed)
        with KernelSide(folder.path, [volume for volume, _, _ in results.values()]) as kernel:
            kernel.boot()
            yield results, kernel


@pytest.mark.parametrize('name', ROUNDS)
def test_kill_in_the_middle_of_writes(killed, name, tmp_path):
    results, kernel = killed
    volume, submitted, ours = results[name]
    superblock = volume.metadata.superblock()
    assert superblock.magic == MAGIC_UNCLEAN and superblock.flags & PRIMARY_IND
    data = digest(data_of(volume))
    written = written_blocks(volume)
    assert 100 < len(written) and written <= submitted

    # Our own repair, on a copy.
    copy = Volume(tmp_path, name, volume.placement, SIZE)
    for mine, theirs in zip(copy.files(), volume.files()):
        subprocess.run(['cp', '--sparse=always', theirs, mine], check=True)
    with copy.ours() as daemon:
        assert query_volume(daemon.qmp)['disk'] == 'UpToDate'
        repaired = copy.our_facts(daemon)
        assert daemon.quit() == 0

    # drbdmeta's.
    apply_al(volume)
    marked = volume.metadata.out_of_sync_blocks()
    assert written <= marked
    assert copy.metadata.out_of_sync_blocks() == marked
    assert repaired.out_of_sync == len(marked) * BLOCK
    assert len(marked) < volume.usable() // BLOCK, 'marking everything proves nothing'

    # A kernel takes it from there.
    kernel.up(volume)
    kernels = Facts.of_kernel(kernel, kernel.minor(volume))
    assert kernels.out_of_sync == len(marked) * BLOCK
    assert (kernels.current, kernels.bitmap) == (ours.current, ours.bitmap)
    kernel.primary(volume)
    assert kernel.digest(volume) == data


def disk_state(flags):
    """Of a node that attaches without a peer and without fencing."""
    if not flags & CONSISTENT:
        return 'Inconsistent'
    return 'UpToDate' if flags & WAS_UP_TO_DATE else 'Outdated'


def test_there_are_recordings():
    assert len(RECORDINGS) >= 5


@pytest.mark.parametrize('recording', RECORDINGS, ids=lambda path: path.name.split('.')[0])
def test_metadata_recorded_from_a_kernel(workspace, recording):
    """The last 64 KiB of a kernel's disk of 64 MiB, at a moment of its life."""
    volumes = [Volume(workspace.path, name, 'internal', 64 << 20) for name in ('ours', 'theirs')]
    tail = gzip.decompress(recording.read_bytes())
    for volume in volumes:
        with open(volume.image, 'r+b') as image:
            image.seek(-len(tail), 2)
            image.write(tail)
    before = volumes[0].metadata.superblock()
    apply_al(volumes[1])
    with volumes[0].ours() as daemon:
        ours = volumes[0].our_facts(daemon)
        disk = query_volume(daemon.qmp)['disk']
        assert daemon.quit() == 0
    marked = volumes[1].metadata.out_of_sync_blocks()
    after = volumes[0].metadata.superblock()
    assert volumes[0].metadata.out_of_sync_blocks() == marked
    assert ours.out_of_sync == len(marked) * BLOCK
    assert ours.current == before.current & ~1
    assert (ours.bitmap, *ours.history) == (before.bitmap & ~1, before.history0 & ~1,
                                            before.history1 & ~1)
    assert disk == disk_state(before.flags)
    assert bool(after.flags & CRASHED_PRIMARY) == bool(before.flags & (PRIMARY_IND
                                                                        | CRASHED_PRIMARY))
