# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the live tests: a deadline for each test, a `stack` (one node) and
`two` (makes pairs of nodes).

A test that has the marker `storage_daemon` needs nothing but the storage
daemon, qdrbdmeta and Python, so it also runs with a newer QEMU's tools.
"""

import contextlib
import signal

import pytest

from blockdrbd import TwoNodes
from stack import Stack

DEADLINE_S = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "storage_daemon: needs the tools of QEMU alone, no emulator")
    config.addinivalue_line("markers", "deadline(seconds): instead of 60 s")


class DeadlineMissed(BaseException):
    """Not an Exception, so that no `except` of a test swallows it."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE_S

    def too_late(_number, _frame):
        raise DeadlineMissed(f"not finished after {seconds} s")

    previous = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed_call = outcome.get_result().failed


def exit_after_test(made, request):
    """Ends `made`, which prints the logs of its daemons when the test failed: a fixture is
    not told by an exception."""
    failed = getattr(request.node, "failed_call", True)
    made.__exit__(AssertionError if failed else None, None, None)


@pytest.fixture
def stack(request, workspace):
    """A storage daemon with the resource r0; see stack.py."""
    made = Stack(workspace)
    try:
        yield made.__enter__()
    finally:
        exit_after_test(made, request)


@pytest.fixture
def two(request, workspace):
    """two(**options) makes a pair of nodes; see blockdrbd/two_nodes.py.  The logs of
    their daemons are printed when the test fails."""
    with contextlib.ExitStack() as made:
        def make(folder=None, **options):
            pair = TwoNodes(folder or workspace, **options)
            made.push(lambda *_: exit_after_test(pair, request))
            return pair
        yield make
