# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies the programs of a Meson build folder into a folder of programs.

In:  the build folder (its meson-info/intro-targets.json) and the folder to fill.
Out: every executable target that is no test (the simulator is a program), copied when it changed (rename over the old
     one, so that a program that runs keeps its file); the changed names are printed.
"""
import json
import os
import shutil
import sys
from pathlib import Path


def programs(build):
    targets = json.loads((build / "meson-info/intro-targets.json").read_text(encoding="utf-8"))
    for target in targets:
        is_test = "/tests/" in target["defined_in"] and "/tests/sim/" not in target["defined_in"]
        if target["type"] == "executable" and not is_test:
            yield Path(target["filename"][0])


def same(path, target):
    if not target.is_file():
        return False
    ours, theirs = path.stat(), target.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def main():
    build, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    for path in programs(build):
        target = output / path.name
        if not same(path, target):
            part = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copy2(path, part)
            part.replace(target)
            print(f"build: {target}")


if __name__ == "__main__":
    main()
