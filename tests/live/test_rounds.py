# SPDX-License-Identifier: GPL-2.0-or-later
"""The short version of rounds.py: every kind of fault that is quick, then some drawn
from a fresh seed.  BLOCK_DRBD_ROUNDS=200 is the long version, BLOCK_DRBD_SEED=S
repeats a draw."""

import os
import random

import pytest

from rounds import Rounds

pytestmark = pytest.mark.storage_daemon
ROUNDS = int(os.environ.get("BLOCK_DRBD_ROUNDS", "8"))
SEED = int(os.environ.get("BLOCK_DRBD_SEED", "0")) or random.SystemRandom().randrange(1 << 32)


@pytest.mark.deadline(90 + 10 * ROUNDS)
@pytest.mark.parametrize("protocol", ["C", "A"])
def test_rounds(workspace, protocol):
    print(f"BLOCK_DRBD_SEED={SEED}")
    rounds = ROUNDS if protocol == "C" else max(2, ROUNDS // 4)
    with Rounds(workspace, SEED, protocol=protocol, say=print) as world:
        for _ in range(rounds):
            world.round()
    assert world.journal.acknowledged > 20 * rounds
