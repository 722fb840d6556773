# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the results of one suite, and sums the suites up.

count KIND STATUS FILE...   prints "passed failed skipped" of one suite. KIND is junit (of
                            pytest or meson) or tap; STATUS is the runner's exit status.
failed FILE...              prints a line for each failed test in what runners wrote: junit (of
                            a name ending in .xml), tap, or meson's list of programs.
table FILE                  prints a table of the lines "suite passed failed skipped seconds"
                            in FILE, ends with "N passed, M failed[, K skipped]".
Invariants: a runner that failed without a failed test (crash, time-out) counts as one
failure, and so does a suite that ran nothing; so the status is non-zero for both.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def count_junit(text):
    passed = failed = skipped = 0
    for case in ElementTree.fromstring(text).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def count_tap(text):
    lines = re.findall(r"^(ok|not ok)\b([^\n]*)", text, re.M)
    skipped = sum(1 for word, rest in lines if word == "ok" and re.search(r"#\s*skip", rest, re.I))
    failed = sum(1 for word, _rest in lines if word == "not ok")
    plan = re.search(r"^1\.\.(\d+)", text, re.M)
    # Tests that a crash kept from running are failures as well.
    failed += max(0, int(plan.group(1)) - len(lines)) if plan else 0
    return sum(1 for word, _rest in lines if word == "ok") - skipped, failed, skipped


def count(kind, status, names):
    totals = [0, 0, 0]
    for name in names:
        path = Path(name)
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if not text.strip():
            continue
        try:
            part = count_junit(text) if kind == "junit" else count_tap(text)
        except ElementTree.ParseError:
            part = (0, 1, 0)
        totals = [total + one for total, one in zip(totals, part)]
    ran_nothing = totals[0] + totals[1] + totals[2] == 0
    if totals[1] == 0 and (status != 0 or ran_nothing):
        totals[1] = 1
    return totals


def failed(name):
    path = Path(name)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if path.suffix != ".xml":
        return re.findall(r"^(not ok\b[^\n]*|\s*\d+/\d+ [^\n]*\b(?:FAIL|ERROR|TIMEOUT)\b[^\n]*)", text, re.M)
    try:
        cases = list(ElementTree.fromstring(text).iter("testcase"))
    except ElementTree.ParseError:
        return []
    return [f"{case.get('classname')} {case.get('name')}" for case in cases
            if case.find("failure") is not None or case.find("error") is not None]


def table(name):
    totals = [0, 0, 0]
    print(f"{'suite':<16}{'passed':>9}{'failed':>9}{'skipped':>9}{'seconds':>9}")
    for line in Path(name).read_text(encoding="utf-8").splitlines():
        suite, *numbers = line.split()
        passed, failed, skipped, seconds = (int(number) for number in numbers)
        print(f"{suite:<16}{passed:>9}{failed:>9}{skipped:>9}{seconds:>9}")
        totals = [total + one for total, one in zip(totals, (passed, failed, skipped))]
    tail = f", {totals[2]} skipped" if totals[2] else ""
    print(f"{totals[0]} passed, {totals[1]} failed{tail}")
    return 1 if totals[1] or not totals[0] else 0


def main():
    if sys.argv[1] == "count":
        print(*count(sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
        return 0
    if sys.argv[1] == "failed":
        for line in dict.fromkeys(" ".join(line.split()) for name in sys.argv[2:] for line in failed(name)):
            print(line)  # once: meson's list is followed by a summary
        return 0
    return table(sys.argv[2])


if __name__ == "__main__":
    sys.exit(main())
