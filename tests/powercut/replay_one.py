#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Judges one crash state of a kept recording again.

    python3 tests/powercut/replay_one.py FOLDER POINT MODE SEED [--crash-again]

FOLDER is what a failed test named.  The state's files stay in FOLDER/one with
--keep.  Exit status 1 if the state is bad.
"""

import argparse
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from geometry import Geometry, ImagePair  # noqa: E402
from judging import StateJudge  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("point", type=int)
    parser.add_argument("mode")
    parser.add_argument("seed", type=int)
    parser.add_argument("--keep", action="store_true", help="keep the state's files")
    parser.add_argument("--crash-again", action="store_true",
                        help="also crash in the attach to this state")
    options = parser.parse_args()
    run = json.loads((options.folder / "run.json").read_text())
    geometry = Geometry(run["placement"], run["device_bytes"])
    md = options.folder / "base.md"
    base = ImagePair(str(options.folder / "base.data"), str(md) if md.exists() else None)
    carry = options.folder / "carry"  # of a crash before this one
    work = options.folder / "one"
    work.mkdir(exist_ok=True)
    judge = StateJudge(work, geometry, base, str(options.folder / "sequence.log"),
                      carry=str(carry) if carry.exists() else None, second_crashes=False)
    state = judge.replayer.ask(f"goto {options.point} {options.mode} {options.seed}")
    if options.keep:
        kept = judge.images.copy(work, "kept")
        print(f"the state before attach: {kept.data} {kept.md or ''}")
    errors = judge._crash_again(state) if options.crash_again else []
    errors += judge.judge_state(state, thorough=True)
    judge.close()
    if not options.keep:
        shutil.rmtree(work)
    print("\n".join(errors) if errors else "this state is good")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
