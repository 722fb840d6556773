# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/run/report.py: a failure, a crash or an empty suite never counts as success."""
import subprocess

import pytest
from qemu_scripts import REPOSITORY, load

report = load(REPOSITORY / "tests/run/report.py")

JUNIT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure message="m"/></testcase>
<testcase name="c"><skipped/></testcase><testcase name="d"><error/></testcase>
</testsuite></testsuites>"""


def count(tmp_path, kind, status, text):
    path = tmp_path / "results"
    path.write_text(text)
    return report.count(kind, status, [str(path)])


def test_junit(tmp_path):
    assert count(tmp_path, "junit", 1, JUNIT) == [1, 2, 1]


@pytest.mark.parametrize("text, expected", [
    ("1..2\nok 1 a\nok 2 b\n", [2, 0, 0]),
    ("1..3\nok 1 a\nnot ok 2 b\nok 3 c # SKIP no kvm\n", [1, 1, 1]),
    ("1..3\nok 1 a\nBail out!\n", [1, 2, 0]),
])
def test_tap(tmp_path, text, expected):
    assert count(tmp_path, "tap", 0, text) == expected


@pytest.mark.parametrize("status, text", [(0, ""), (5, "<testsuites/>"), (124, "<testsuite><testcase/"),
                                          (139, '<testsuite><testcase name="a"/></testsuite>')])
def test_crash_or_nothing_run_is_a_failure(tmp_path, status, text):
    assert count(tmp_path, "junit", status, text)[1] == 1


@pytest.mark.parametrize("lines, last, status", [
    ("unit 3 0 0 1\nlive 2 0 0 9\n", "5 passed, 0 failed", 0),
    ("unit 3 0 1 1\n", "3 passed, 0 failed, 1 skipped", 0),
    ("unit 3 1 0 1\n", "3 passed, 1 failed", 1),
    ("", "0 passed, 0 failed", 1),
])
def test_last_line_and_status(tmp_path, lines, last, status):
    path = tmp_path / "table"
    path.write_text(lines)
    run = subprocess.run(["/usr/bin/python3", str(REPOSITORY / "tests/run/report.py"), "table", str(path)],
                         text=True, capture_output=True, check=False)
    assert (run.stdout.splitlines()[-1], run.returncode) == (last, status)


@pytest.mark.parametrize("name, text, expected", [
    ("unit.xml", JUNIT.replace('name="b"', 'name="b" classname="Group"').replace('name="d"', 'name="d" classname="Group"'),
     ["Group b", "Group d"]),
    ("cut.xml", "<testsuite><testcase/", []),
    ("sim.tap", "ok - scripts\nnot ok - fresh seeds\nok 3 not ok\n", ["not ok - fresh seeds"]),
    ("unit.log", " 4/11 a / core   OK   15.02s\n 5/11 a / kept seeds   FAIL   66.34s   exit status 1\n",
     ["5/11 a / kept seeds FAIL 66.34s exit status 1"]),
    ("nothing.xml", None, []),
])
def test_failed_tests_are_named(tmp_path, name, text, expected):
    if text is not None:
        (tmp_path / name).write_text(text)
    run = subprocess.run(["/usr/bin/python3", str(REPOSITORY / "tests/run/report.py"), "failed", str(tmp_path / name)],
                         text=True, capture_output=True, check=True)
    assert run.stdout.splitlines() == expected
