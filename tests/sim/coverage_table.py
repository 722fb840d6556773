# SPDX-License-Identifier: GPL-2.0-or-later
"""Sums gcovr's summary up by folder of the core.

In:  gcovr's JSON summary.
Out: a table, one row a folder: lines and branches that were reached, of all, and in percent.
"""
import json
import sys
from pathlib import Path, PurePath


def percent(reached, total):
    return f"{100 * reached / total:5.1f} %" if total else "      –"


def main():
    folders = {}
    for file in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"]:
        folder = PurePath(file["filename"]).parent.relative_to("block-drbd").as_posix()
        for name in (folder, "all"):
            sums = folders.setdefault(name, [0, 0, 0, 0])
            for i, key in enumerate(("line_covered", "line_total", "branch_covered", "branch_total")):
                sums[i] += file[key]
    print(f"{'folder':<22}{'lines':>14}{'':>9}{'branches':>14}")
    for name in sorted(folders, key=lambda name: (name == "all", name)):
        lines, all_lines, branches, all_branches = folders[name]
        print(f"{name:<22}{f'{lines} / {all_lines}':>14}{percent(lines, all_lines):>9}"
              f"{f'{branches} / {all_branches}':>14}{percent(branches, all_branches):>9}")


if __name__ == "__main__":
    main()
