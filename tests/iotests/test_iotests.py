# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's iotests over NBD, with the driver in the server: the same tests must
pass as without it, over a raw image and again over qcow2.

One result for each test that QEMU's own runner does not skip.  A test that
fails without the driver is an expected failure here only in that it must fail
with it too; one that passes without must pass with.
"""

import pytest

import runner

LAYERS = ("raw", "qcow2")


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    return runner.reference(tmp_path_factory.getbasetemp() / "reference")


@pytest.fixture(scope="session", params=LAYERS)
def results(request, reference, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / request.param
    tests = [name for name, result in reference.items() if result != "not run"]
    outcome, output = runner.run(folder, request.param, tests)
    return request.param, outcome, output, folder


def test_the_reference_ran_enough(reference):
    """The tests that `./check -raw -nbd` has; their number is QEMU's, not ours."""
    assert sum(result != "not run" for result in reference.values()) >= 38
    assert sum(result == "fail" for result in reference.values()) <= 4, reference


def test_the_driver_was_there(results):
    layer, _, _, folder = results
    counts = runner.servers_started(folder)
    assert counts["driver"] >= 20, f"{layer}: {counts}"


def test_same_results(results, reference, record_property):
    """All at once: the sets of failures are equal."""
    layer, outcome, output, _ = results
    ran = {name: result for name, result in reference.items() if result != "not run"}
    record_property("layer", layer)
    record_property("tests", len(ran))
    different = {name: (result, outcome.get(name, "no result"))
                 for name, result in ran.items() if outcome.get(name) != result}
    # A test that works with the driver and not without it is no complaint.
    worse = {name: pair for name, pair in different.items() if pair[0] == "pass"}
    assert not worse, f"{layer}: (without, with) {worse}\n{output[-20000:]}"
