# SPDX-License-Identifier: GPL-2.0-or-later
"""The same metadata, the same number: /proc/drbd and query-drbd count alike."""
import random

import pytest
from blockdrbd import Workspace
from kernel_side import KernelSide
from volumes import BLOCK, ODD, Volume

PATTERNS = {'none': lambda blocks, chance: (),
            'first': lambda blocks, chance: (0,),
            'last': lambda blocks, chance: (blocks - 1,),
            'random': lambda blocks, chance: sorted(chance.sample(range(blocks), blocks // 5)),
            'all': lambda blocks, chance: range(blocks)}
SIZES = [(16 << 20) + ODD, (20 << 20) + 7 * 512]


@pytest.fixture(scope='module')
def counted():
    """Ours counts first, the kernel counts the same disks in one guest."""
    with Workspace('drbd-interop-') as folder:
        ours, volumes = {}, {}
        for number, pattern in enumerate(PATTERNS):
            size = SIZES[number % len(SIZES)]
            volume = Volume(folder.path, pattern, 'internal', size)
            blocks = -(-volume.usable() // 4096)
            bits = PATTERNS[pattern](blocks, random.Random(pattern))
            volume.establish(seed=number, bits=bits)
            with volume.ours() as daemon:
                ours[pattern] = volume.our_facts(daemon)
                assert daemon.quit() == 0
            volumes[pattern] = volume
        round_one = Volume(folder.path, 'round', 'flexible', 16 << 20)
        round_one.establish(bits=range(4096))
        with round_one.ours() as daemon:
            ours['round'] = round_one.our_facts(daemon)
            assert daemon.quit() == 0
        volumes['round'] = round_one
        with KernelSide(folder.path, volumes.values()) as kernel:
            kernel.boot()
            yield ours, volumes, kernel


@pytest.mark.parametrize('pattern', PATTERNS)
def test_same_number(counted, pattern):
    ours, volumes, kernel = counted
    kernel.up(volumes[pattern])
    minor = kernel.minor(volumes[pattern])
    assert kernel.out_of_sync_bytes(minor) == ours[pattern].out_of_sync
    assert (ours[pattern].out_of_sync == 0) == (pattern == 'none')


def test_the_kernel_counts_a_round_number_wrong(counted):
    """The reason for the sizes that the other tests use (see volumes.ODD)."""
    ours, volumes, kernel = counted
    volume = volumes['round']
    kernel.up(volume)
    assert kernel.out_of_sync_bytes(kernel.minor(volume)) == (4096 - 64) * BLOCK
    assert ours['round'].out_of_sync == 4096 * BLOCK
