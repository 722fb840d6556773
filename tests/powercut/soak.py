#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts for as long as wanted: every scenario in both placements, with
one seed after another.

    python3 tests/powercut/soak.py --minutes 60 --seed 1 [--states 4000]

Stops at the first bad recording, which it keeps; exit status 1 then.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import campaign  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--states", type=int, default=4000, help="of each round of all scenarios")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer guest requests")
    parser.add_argument("--scenario", choices=sorted(campaign.SHARES), help="only this one")
    parser.add_argument("--placement", choices=campaign.PLACEMENTS, help="only this one")
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    seed, total = options.seed, 0
    while time.monotonic() < deadline:
        for scenario, share in campaign.SHARES.items():
            for placement in campaign.PLACEMENTS:
                if options.scenario not in (None, scenario) or options.placement not in (None, placement):
                    continue
                states = max(50, int(options.states * share / len(campaign.PLACEMENTS)))
                outcome = campaign.run(scenario, placement, seed, states, options.scale)
                total += outcome.result.states
                print(f"seed {seed} {scenario}/{placement}: {outcome}", flush=True)
                if outcome.result.failed:
                    print(outcome.report())
                    return 1
        seed += 1
    print(f"{total} states, seeds {options.seed} to {seed - 1}, none bad")
    return 0


if __name__ == "__main__":
    sys.exit(main())
