#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions of the whole storage daemon for one 4 KiB write at depth 32,
bare and with the driver, and where the difference is.

Runs the daemon under callgrind with vhost_load on it, counts for some seconds
after a warm-up, and divides by the writes that completed.  A busy machine
changes the number of wake-ups a little and nothing else.  Needs Debian's
valgrind; user space only, the kernel's part is in overhead.py's CPU column.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "lib"), str(ROOT / "tests" / "live")]

from blockdrbd import program  # noqa: E402
from blockdrbd import Workspace  # noqa: E402
from stack import MIB, Stack  # noqa: E402
from vhost_load import VhostLoad  # noqa: E402

SECONDS = 6
DEPTH = 32


def control(pid: int, *words: str) -> None:
    subprocess.run(["callgrind_control", *words, str(pid)], check=True, stdout=subprocess.DEVNULL)


def measure(folder: pathlib.Path, driver: bool):
    """(instructions a write, {function: instructions a write})"""
    output = folder / f"callgrind.{'drbd' if driver else 'bare'}"
    wrapper = folder / "daemon"
    wrapper.write_text(f"#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --trace-children=no "
                       f"--callgrind-out-file={output} {program('qemu-storage-daemon')} \"$@\"\n", encoding="utf-8")
    wrapper.chmod(0o755)
    with Workspace() as workspace:
        stack = Stack(workspace)
        stack.daemon.binary = str(wrapper)
        with stack:
            if driver:
                stack.ready()
            else:
                stack.file()
            load = VhostLoad(stack, "drbd0" if driver else "f0")
            load.run(4096, DEPTH, 3, 16 * MIB)
            control(stack.daemon.pid, "-i", "on")
            writes = load.run(4096, DEPTH, SECONDS, 16 * MIB)
            control(stack.daemon.pid, "-i", "off")
            stack.daemon.quit()
    text = subprocess.run(["callgrind_annotate", "--threshold=100", str(output)], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    rows = re.findall(r"^ *([\d,]+) \([ \d.]+%\)  \S+?:([^\[\n]*)", text, re.M)
    functions = {}
    for count, name in rows:
        name = re.sub(r"'\d+$", "", name.strip())
        functions[name] = functions.get(name, 0) + int(count.replace(",", "")) / writes
    return sum(functions.values()), functions


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="drbd-instructions-") as name:
        (bare, before), (drbd, after) = (measure(pathlib.Path(name), driver) for driver in (False, True))
    print(f"bare {bare:,.0f}, with the driver {drbd:,.0f} instructions a write: {drbd - bare:,.0f} more "
          f"({drbd / bare - 1:.0%})\n")
    more = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    print("| function | instructions a write more |\n|---|---|")
    for function in sorted(more, key=more.get, reverse=True)[:24]:
        print(f"| `{function[:70]}` | {more[function]:,.0f} |")


main()
