#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that the core executes for one hot guest write.

Builds core_write.cc against the core as ./build.sh compiled it, runs it twice
under callgrind with 50,000 and 150,000 writes, and divides the difference by
100,000.  Counted are the functions of the C border and what they call.  With
--profile the ten most expensive functions are printed too.

Needs Debian's valgrind and a C++ compiler.  The numbers do not depend on how
busy the machine is.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "build" / "release"
LIBRARIES = ("block-drbd/libdrbd-core.a", "metafmt/libmetafmt.a", "block-drbd/core/base/libdrbd-base.a")
FEW, MANY = 50_000, 150_000
AIM = 2000


def build(folder: pathlib.Path) -> pathlib.Path:
    missing = [name for name in LIBRARIES if not (RELEASE / name).is_file()]
    if missing:
        sys.exit(f"instructions: {RELEASE / missing[0]} is missing: run ./build.sh tools")
    target = folder / "core_write"
    subprocess.run(["c++", "-std=c++20", "-O2", "-g", f"-I{ROOT}", f"-I{ROOT}/block-drbd",
                    f"-I{ROOT}/block-drbd/include", str(ROOT / "tests/bench/core_write.cc"),
                    *(str(RELEASE / name) for name in LIBRARIES), "-o", str(target)], check=True)
    return target


def count(target: pathlib.Path, workload: str, writes: int, folder: pathlib.Path) -> int:
    output = folder / f"callgrind.{workload}.{writes}"
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=drbd_*",
         f"--callgrind-out-file={output}", str(target), workload, str(writes)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    found = re.search(r"Collected : (\d+)", done.stdout)
    if done.returncode != 0 or not found:
        sys.exit(f"instructions: callgrind failed:\n{done.stdout}")
    return int(found.group(1))


def profile(folder: pathlib.Path, workload: str) -> str:
    text = subprocess.run(["callgrind_annotate", str(folder / f"callgrind.{workload}.{MANY}")],
                          text=True, stdout=subprocess.PIPE, check=True).stdout
    rows = re.findall(r"^ *([\d,]+) \(([ \d.]+%)\)  \S+?:(.*?)(?: \[.*)?$", text, re.M)
    return "\n".join(f"  {share.strip():>7}  {name}" for _, share, name in rows[:10])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="print where they go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drbd-instructions-") as name:
        folder = pathlib.Path(name)
        target = build(folder)
        for workload, text in (("one", "4 KiB, one at a time"), ("depth", "4 KiB, 32 in flight")):
            few, many = (count(target, workload, writes, folder) for writes in (FEW, MANY))
            print(f"{text}: {(many - few) / (MANY - FEW):.0f} instructions a write (aim: under {AIM})")
            if arguments.profile:
                print(profile(folder, workload))


main()
