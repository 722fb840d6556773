# SPDX-License-Identifier: GPL-2.0-or-later
"""The network fails under a writer: cut, cut in silence, one stream alone, at a
byte in the middle of something; a host that hangs longer than every timeout."""

import pytest

from blockdrbd import RecordingWriter
from blockdrbd.daemon import wait_for

pytestmark = pytest.mark.storage_daemon


def end(pair, writer):
    writer.progress(50)
    journal = writer.stop()
    assert not writer.errors
    pair.settle_equal()
    journal.judge_file(pair.b.images[0])


@pytest.mark.parametrize("silent", [False, True], ids=["reset", "silent"])
def test_cut_and_healed(two, silent):
    pair = two(link=True).ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        for _ in range(2):
            writer.progress(200)
            pair.link.cut(silent)
            pair.a.wait_lost()
            pair.b.wait_lost()
            writer.progress(100)
            pair.link.heal()
            pair.synced()
        end(pair, writer)
    assert writer.longest_s < 8.0


@pytest.mark.parametrize("kind", ["data", "meta"])
def test_one_stream_cut(two, kind):
    pair = two(link=True).ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        for number in range(2):
            writer.progress(200)
            assert pair.link.cut_stream(kind) == 1
            pair.a.wait(lambda: pair.a.peer()["times-lost"] > number, "the loss is seen")
            pair.synced()
        end(pair, writer)


@pytest.mark.parametrize("kind", ["data", "meta"])
def test_one_stream_stalled(two, kind):
    """Longer than the timeouts: the peer is lost, the guest goes on."""
    pair = two(link=True).ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        writer.progress(200)
        pair.link.stall(kind)
        pair.a.wait(lambda: pair.a.peer()["times-lost"] > 0, "the loss is seen")
        writer.progress(100)
        pair.link.cut()
        pair.link.heal()
        pair.synced()
        end(pair, writer)
    assert writer.longest_s < 8.0


@pytest.mark.parametrize("count", [1, 17, 65536])
def test_cut_in_the_middle(two, count):
    pair = two(link=True).ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        for number, kind in enumerate(("data", "meta")):
            writer.progress(50)
            pair.link.cut_after(kind, count)
            pair.a.wait(lambda: pair.a.peer()["times-lost"] > number, "the loss is seen")
            pair.synced()
        end(pair, writer)


@pytest.mark.parametrize("who", ["a", "b"])
def test_a_host_that_hangs(two, who):
    """SIGSTOP until the other one has given it up, then SIGCONT."""
    pair = two().ready()
    victim, other = (pair.a, pair.b) if who == "a" else (pair.b, pair.a)
    with RecordingWriter(pair.a.export(), "d0") as writer:
        writer.progress(200)
        victim.daemon.stop_process()
        try:
            other.wait_lost()
        finally:
            victim.daemon.continue_process()
        pair.synced()
        end(pair, writer)


def test_slow_link_is_only_slow(two):
    """A delay each way: nothing is lost, many writes are on their way at once."""
    pair = two(link=True).ready()
    pair.link.delay_s = 0.02
    with RecordingWriter(pair.a.export(), "d0", depth=64) as writer:
        writer.progress(600)
        pair.link.delay_s = 0
        end(pair, writer)
    assert pair.a.peer()["times-lost"] == 0


def test_reconnects_without_being_told(two):
    """Five cuts; every time they find each other again, crossed dials included."""
    pair = two(link=True).ready()
    for number in range(5):
        pair.link.cut()
        pair.a.wait_lost()
        pair.link.heal()
        pair.synced()
        assert pair.a.peer()["times-connected"] == number + 2
    wait_for(lambda: pair.link.kinds() == ["data", "meta"], "two streams, no more")


def test_relay_that_accepts_and_closes(two):
    """As a port forwarded to a host that is down: connect works, then end of file."""
    pair = two(link=True).create()
    pair.a.start()
    wait_for(lambda: pair.link.accepted > 3, "several attempts")
    assert pair.a.status()["connection"] == "WFConnection"
    pair.b.start()
    pair.connected()
