# SPDX-License-Identifier: GPL-2.0-or-later
"""One scenario, recorded and judged, in a folder of its own on tmpfs.

The folder is kept when a state is bad.  SHARES says how the states of a
campaign are spread over the scenarios.
"""

import dataclasses
import random
import time

from blockdrbd import Workspace
from judging import Result, StateJudge
from recording import Delays, Recording
from scenarios import FRESH, SCENARIOS

SHARES = {"primary_load": 0.34, "restart": 0.17, "attach_killed": 0.13, "roles": 0.15,
          "first_use": 0.07, "verdicts": 0.07, "create_md": 0.07}
PLACEMENTS = ("external", "internal", "indexed")


@dataclasses.dataclass
class Outcome:
    scenario: str
    placement: str
    seed: int
    events: int
    record_seconds: float
    result: Result

    def __str__(self) -> str:
        return (f"{self.events} guest requests recorded in {self.record_seconds:.1f} s; "
                f"{self.result}")

    def report(self) -> str:
        return "\n".join([f"{self.scenario}/{self.placement}, seed {self.seed}: "
                          f"{self.result.failed} bad states, the first are:",
                          *map(str, self.result.failures)])


def run(scenario: str, placement: str, seed: int, states: int, scale: float = 1.0) -> Outcome:
    with Workspace(prefix=f"powercut-{scenario}-{placement}-") as workspace:
        begin = time.monotonic()
        try:
            with Recording(workspace.path, placement, seed, fresh=scenario in FRESH,
                           delays=chosen_delays(seed)) as recording:
                SCENARIOS[scenario](recording, scale)
        except Exception:
            workspace.keep()
            print(f"the recording failed; seed {seed}, its folder is {workspace.path}")
            raise
        recorded = time.monotonic() - begin
        judge = StateJudge(workspace.path, recording.geometry, recording.base, recording.log.path)
        try:
            result = judge.judge_many(states, seed)
        finally:
            judge.close()
        if result.failed:
            workspace.keep()
        return Outcome(scenario, placement, seed, recording.guest.next_request - 2, recorded, result)


def chosen_delays(seed: int) -> Delays:
    """Some runs nearly in order, some far out of it."""
    return random.Random(seed * 7919).choice([Delays(), Delays(20, 500, 100), Delays(400, 8000, 20)])
