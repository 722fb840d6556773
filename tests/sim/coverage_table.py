# SPDX-License-Identifier: GPL-2.0-or-later
"""Sums coverage up by folder of the core.

In:  what llvm-cov exports in the format of lcov; a file to write.
Out: a table, one row a folder: lines and branches that were reached, of all, and in percent. In the file, a line for
     each line of the source with a branch that was not: file:line, branches missed, of all, the line.
Lines with an assertion are passed over. A template's branch counts once, whoever instantiates it.
"""
import re
import sys
from pathlib import Path

CORE = Path.cwd() / "block-drbd/core"
ASSERTION = re.compile(r"DRBD_ASSERT\(|assertion_failed\(")


def percent(reached, total):
    return f"{100 * reached / total:5.1f} %" if total else "      –"


def read_records(lcov):
    """For each file: path, counts by line, counts by line and place of a branch."""
    path, lines, branches = None, {}, {}
    for row in lcov.read_text(encoding="utf-8").splitlines():
        kind, _, value = row.partition(":")
        fields = value.split(",")
        if kind == "SF":
            path, lines, branches = Path(value), {}, {}
        elif kind == "DA":
            line = int(fields[0])
            lines[line] = max(lines.get(line, 0), int(fields[1]))
        elif kind == "BRDA":
            place = (int(fields[0]), fields[1], fields[2])
            branches[place] = max(branches.get(place, 0), int(fields[3]) if fields[3] != "-" else 0)
        elif row == "end_of_record":
            yield path, lines, branches


def main():
    folders, missing = {}, []
    for path, lines, branches in read_records(Path(sys.argv[1])):
        path = path.resolve()
        if not path.is_relative_to(CORE):
            continue
        source = path.read_text(encoding="utf-8").splitlines()
        passed_over = {i for i, text in enumerate(source, 1) if ASSERTION.search(text)}
        path = path.relative_to(CORE.parent)
        lines = {line: count for line, count in lines.items() if line not in passed_over}
        branches = {place: count for place, count in branches.items() if place[0] not in passed_over}
        for name in (path.parent.as_posix(), "all"):
            sums = folders.setdefault(name, [0, 0, 0, 0])
            for i, counts in ((0, lines), (2, branches)):
                sums[i] += sum(count > 0 for count in counts.values())
                sums[i + 1] += len(counts)
        for line in sorted({place[0] for place in branches}):
            here = [count for place, count in branches.items() if place[0] == line]
            if 0 in here:
                missing.append(f"{path}:{line}: {here.count(0)} of {len(here)}: {source[line - 1].strip()}")
    Path(sys.argv[2]).write_text("\n".join(missing) + "\n", encoding="utf-8")
    print(f"{'folder':<22}{'lines':>14}{'':>9}{'branches':>14}")
    for name in sorted(folders, key=lambda name: (name == "all", name)):
        reached, total, decided, ways = folders[name]
        print(f"{name:<22}{f'{reached} / {total}':>14}{percent(reached, total):>9}"
              f"{f'{decided} / {ways}':>14}{percent(decided, ways):>9}")


if __name__ == "__main__":
    main()
