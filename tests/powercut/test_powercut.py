# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts: the driver is recorded, and every crash state that its disks
may be left in is judged.

At least 10,000 states in all; POWERCUT_STATES and POWERCUT_SEED choose other
numbers.  A failure keeps its recording and prints the line that judges the
one state again.  `soak.py` runs the same for as long as wanted.
"""

import os

import pytest

import campaign
import scenarios
from blockdrbd import program
from judging import StateJudge
from mutation import MUTATIONS, mutate
from recording import Recording

STATES = int(os.environ.get("POWERCUT_STATES", "10400"))
SEED = int(os.environ.get("POWERCUT_SEED", "1"))

_total = {"states": 0, "seconds": 0.0}


@pytest.mark.parametrize("placement", campaign.PLACEMENTS)
@pytest.mark.parametrize("scenario", sorted(campaign.SHARES))
def test_every_crash_state_is_recovered(scenario, placement, capsys):
    assert program("qemu-storage-daemon")
    states = int(STATES * campaign.SHARES[scenario] / len(campaign.PLACEMENTS))
    outcome = campaign.run(scenario, placement, SEED, states)
    _total["states"] += outcome.result.states
    _total["seconds"] += outcome.result.seconds
    with capsys.disabled():
        print(f"\n  {scenario}/{placement}: {outcome}")
    assert outcome.result.failed == 0, outcome.report()


def test_enough_states_were_judged(capsys):
    """Stands after the states: the promise is a number."""
    rate = _total["states"] / max(_total["seconds"], 0.001)
    with capsys.disabled():
        print(f"\n  power cut: {_total['states']} states in {_total['seconds']:.0f} s, {rate:.0f}/s")
    if "POWERCUT_STATES" not in os.environ:
        assert _total["states"] >= 10000


def complaints_about(folder, placement, mutation, seed):
    """Names of the promises that the driver's log breaks when FUA or a flush is taken away."""
    folder.mkdir()
    with Recording(folder, placement, seed) as recording:
        scenarios.primary_load(recording, 0.3)
    assert mutate(recording.log.path, mutation) > 0
    judge = StateJudge(folder, recording.geometry, recording.base, recording.log.path, driver=False)
    names = set()
    judge.replayer.ask(f"plan 1200 {seed}")
    while not (state := judge.replayer.ask("next")).get("end"):
        names |= {error.split(":")[0] for error in state["errors"]}
    judge.close()
    return names


@pytest.mark.parametrize("placement", campaign.PLACEMENTS)
@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
def test_a_mistake_put_into_a_real_log_is_found(workspace, placement, mutation):
    """The same driver's log with a mistake must not pass.  Some mistakes need a
    recording in which no other flush comes soon after: a few are tried."""
    seen = []
    for attempt in range(10):
        seen.append(complaints_about(workspace.path / str(attempt), placement, mutation, SEED + attempt))
        if MUTATIONS[mutation] in seen[-1]:
            return
    pytest.fail(f"not found: {mutation} ({seen})")
