# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's iotests over NBD, with the driver in the server: the same tests must
pass as without it, over a raw image and again over qcow2.

One result for each test of `./check -raw -nbd` that QEMU's own runner does not
skip, and each layer.  A test that fails without the driver as well says nothing
about it and is reported as skipped, with that reason.  Several of QEMU's tests
have races of their own (205, 241); one that fails is run again alone, at most
twice, before it counts as failed.
"""

import functools
import tempfile

import pytest

import runner

LAYERS = ("raw", "qcow2")


@functools.lru_cache(maxsize=None)
def reference():
    with tempfile.TemporaryDirectory(prefix="iot-", dir=runner.temporary_root()) as folder:
        return runner.reference(folder)


@functools.lru_cache(maxsize=None)
def with_driver(layer):
    """(results, what failed tests printed, servers started); all tests of a layer run at the first call."""
    tests = [name for name, result in reference().items() if result != "not run"]
    with tempfile.TemporaryDirectory(prefix="iot-", dir=runner.temporary_root()) as folder:
        results, output = runner.run(folder, layer, tests)
        servers = runner.servers_started(folder)
    for _ in range(2):
        doubtful = [name for name in tests if results.get(name) != "pass" and reference()[name] == "pass"]
        if not doubtful:
            break
        with tempfile.TemporaryDirectory(prefix="iot-", dir=runner.temporary_root()) as folder:
            again, output = runner.run(folder, layer, doubtful, jobs=1)
            results.update(again)
    return results, output, servers


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        names = sorted(name for name, result in reference().items() if result != "not run")
        metafunc.parametrize("name", names)
    if "layer" in metafunc.fixturenames:
        metafunc.parametrize("layer", LAYERS)


def test_the_reference_ran_enough():
    """The tests that `./check -raw -nbd` has; their number is QEMU's, not ours."""
    results = list(reference().values())
    assert sum(result != "not run" for result in results) >= 38
    assert results.count("fail") <= 4, reference()


def test_the_driver_was_there(layer):
    counts = with_driver(layer)[2]
    assert counts["driver"] >= 20, f"{layer}: {counts}"


def test_same_result(layer, name):
    results, output, _ = with_driver(layer)
    outcome = results.get(name, "no result")
    if reference()[name] == "fail" and outcome == "fail":
        pytest.skip("fails without the driver too")
    assert outcome == "pass", f"{layer}: {name}\n{output[-20000:]}"
