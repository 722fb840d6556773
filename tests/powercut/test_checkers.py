# SPDX-License-Identifier: GPL-2.0-or-later
"""The checkers can fail: a log of a driver that does everything right passes,
and each mistake, put into that log, is found by the checker that is there for
it.  No driver of ours runs here, and no QEMU but for the last test.
"""


import pytest

import seqlog
import synthetic
from blockdrbd.metadata import replay_ring
from geometry import Geometry, make_base
from judging import StateJudge
from recording import Recording
from seqlog import COMPLETE, DATA, SUBMIT

PLACEMENTS = ["external", "internal"]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_correct_driver_passes(workspace, placement):
    driver = synthetic.SyntheticDriver(workspace.path, placement)
    driver.run()
    assert synthetic.judge(driver, workspace.path, 1500, 5) == []


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("mistake", sorted(synthetic.MISTAKES))
def test_each_mistake_is_found(workspace, placement, mistake):
    driver = synthetic.SyntheticDriver(workspace.path, placement, mistake)
    driver.run()
    complaints = synthetic.judge(driver, workspace.path, 1500, 5)
    names = {complaint.split(":")[0] for complaint in complaints}
    assert synthetic.MISTAKES[mistake] in names, f"{mistake} was not found: {names}"


class TestOrder:
    """What a disk may and may not lose, on logs of a few events."""

    def states(self, workspace, script, count=400):
        """The owners that sector 0 has in the states at the end of the log."""
        geometry = Geometry("none", 4 << 20)
        base = make_base(geometry, workspace.path, 1)
        log = seqlog.SequenceLog(workspace / "sequence.log", 64 << 20)
        script(log)
        judge = StateJudge(workspace.path, geometry, base, log.path, driver=False)
        events = judge.replayer.ask("plan 1 1")["events"]
        owners = set()
        for seed in range(count):
            for mode in ("none", "all", "random", "only-last", "all-but-one", "torn", "torn-last"):
                judge.replayer.ask(f"goto {events} {mode} {seed}")
                with open(judge.images.data, "rb") as image:
                    owners.add(int.from_bytes(image.read(24)[8:16], "little"))
            if seed > 20:
                break
        judge.close()
        return owners

    @staticmethod
    def write(log, request, fua=False):
        return log.disk_submit("write", DATA, 0, seqlog.pattern(0, 4096, request), fua=fua)

    def test_unflushed_write_may_be_lost(self, workspace):
        def script(log):
            log.disk_complete(self.write(log, 5))
        assert self.states(workspace, script) == {0, 5}

    def test_flushed_write_stays(self, workspace):
        def script(log):
            log.disk_complete(self.write(log, 5))
            log.disk("flush")
        assert self.states(workspace, script) == {5}

    def test_fua_write_stays(self, workspace):
        def script(log):
            log.disk_complete(self.write(log, 5, fua=True))
        assert self.states(workspace, script) == {5}

    def test_flush_does_not_cover_a_write_in_flight(self, workspace):
        def script(log):
            request = self.write(log, 5)
            log.disk("flush")
            log.disk_complete(request)
        assert self.states(workspace, script) == {0, 5}

    def test_flush_of_the_other_disk_covers_nothing(self, workspace):
        def script(log):
            log.disk_complete(self.write(log, 5))
            log.disk("flush", seqlog.METADATA)
        assert self.states(workspace, script) == {0, 5}

    def test_unfinished_flush_covers_nothing(self, workspace):
        def script(log):
            log.disk_complete(self.write(log, 5))
            log.disk_submit("flush")
        assert self.states(workspace, script) == {0, 5}

    def test_older_lost_write_does_not_come_back_over_a_stable_one(self, workspace):
        def script(log):
            log.disk_complete(self.write(log, 5))
            log.disk_complete(self.write(log, 6, fua=True))
        assert self.states(workspace, script) == {6}

    def test_concurrent_writes_end_in_either_order(self, workspace):
        def script(log):
            first, second = self.write(log, 5), self.write(log, 6)
            log.disk_complete(second)
            log.disk_complete(first)
        assert self.states(workspace, script) == {0, 5, 6}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_active_extents_of_both_readers_agree(workspace, placement):
    """The Python reader of the log sees what the synthetic driver left hot."""
    driver = synthetic.SyntheticDriver(workspace.path, placement)
    driver.run()
    judge = StateJudge(workspace.path, driver.geometry, driver.base, driver.log.path, driver=False)
    events = judge.replayer.ask("plan 1 1")["events"]
    judge.replayer.ask(f"goto {events} all 1")
    metadata = driver.geometry.metadata(judge.images)
    assert metadata.active_extents() == set(driver.slots)
    judge.close()
    assert replay_ring([bytes(4096)] * 8, 1, 8) is None


def test_recorder_sees_fua_flush_and_lost_trims(workspace):
    """A plain node over the recorder: FUA and flush arrive as such, nothing is
    lost; and where a trim must read as zero, a plain node's trim is found out."""
    import scenarios
    with Recording(workspace.path, "none", 3) as run:
        scenarios.plain(run, 0.5)
    seen = count_events(run.log.path)
    assert seen["fua"] > 10 and seen["flush"] > 10 and seen["payload"] > 100, seen
    good = StateJudge(workspace.path, run.geometry, run.base, run.log.path, trim_keeps=True)
    result = good.judge_many(500, 1)
    good.close()
    assert result.failed == 0, "\n".join(map(str, result.failures))
    strict = StateJudge(workspace.path, run.geometry, run.base, run.log.path)
    result = strict.judge_many(500, 1)
    strict.close()
    assert result.failed > 0, "a trim that keeps old data was not found"


def count_events(path: str) -> dict:
    """A look at the raw records, apart from the replayer."""
    import struct
    counts = {"fua": 0, "flush": 0, "payload": 0}
    with open(path, "rb") as log:
        header = log.read(32)
        end = struct.unpack_from("<Q", header, 16)[0]
        place = 4096
        while place < end:
            log.seek(place)
            _, kind, phase, channel, flags, _, _, _, payload = struct.unpack("<IBBBBQQQQ", log.read(40))
            if channel == DATA and phase == SUBMIT:
                counts["fua"] += flags & 1
                counts["flush"] += kind == seqlog.FLUSH
                counts["payload"] += payload > 0
            place += 40 + (payload + 7) // 8 * 8
    return counts


def test_marks_and_completions_are_in_order(workspace):
    """A completion that has no request makes the log worthless, and says so."""
    geometry = Geometry("none", 4 << 20)
    base = make_base(geometry, workspace.path, 1)
    log = seqlog.SequenceLog(workspace / "sequence.log", 1 << 20)
    log.guest("write", COMPLETE, 7, 0, 512)
    with pytest.raises(RuntimeError, match="completion without its request"):
        StateJudge(workspace.path, geometry, base, log.path, driver=False)
