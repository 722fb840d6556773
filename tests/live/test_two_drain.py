# SPDX-License-Identifier: GPL-2.0-or-later
"""Drains with a peer: other nodes are added, the graph is changed, the process
ends, while the peer is alive, slow, silent or gone.  Nothing waits longer than drain-timeout."""

import time

import pytest

from blockdrbd import RecordingWriter
from blockdrbd.nodes import drbd_node
from stack import MIB, pattern

pytestmark = pytest.mark.storage_daemon
DRAIN_S = 3.0
SLACK_S = 4.0       # a busy machine
OPTIONS = {"drain-timeout": int(DRAIN_S * 10)}


def bounded(call, *arguments, **options):
    """Runs something that drains; it may wait for the peer as long as configured."""
    began = time.monotonic()
    result = call(*arguments, **options)
    took = time.monotonic() - began
    assert took < DRAIN_S + SLACK_S, f"it took {took:.1f} s"
    return result


def drains(node, number):
    """Each of these drains the whole graph, or our node."""
    name = f"extra{number}"
    bounded(node.daemon.blockdev_add, {"driver": "null-co", "node-name": name, "size": MIB})
    bounded(node.daemon.blockdev_del, name)
    bounded(node.qmp.raw, "blockdev-reopen", {"options": [drbd_node("d0", "image0", on_io_error="pass-on", discard="unmap")]})


def test_live_peer(two):
    """Nobody is thrown out: the drain waits for the acknowledgements, which come."""
    pair = two(options=OPTIONS).established()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        for number in range(8):
            drains(pair.a, number)
            drains(pair.b, number)
            writer.progress(20)
        writer.stop()
    assert not writer.errors
    assert pair.a.peer()["times-lost"] == 0
    pair.settle_equal()


@pytest.mark.parametrize("kind", ["data", "meta", None], ids=["data", "meta", "both"])
def test_peer_that_stopped_reading(two, kind):
    pair = two(link=True, options={**OPTIONS, "timeout": 600, "ko-count": 7}).established()
    with RecordingWriter(pair.a.export(), "d0", depth=64) as writer:
        writer.progress(100)
        pair.link.stall(kind)
        if kind == "meta":
            pair.a.wait(lambda: writer.in_flight_s() > 0.2, "a write waits")
        drains(pair.a, 0)
        pair.link.cut()
        pair.link.heal()
        pair.synced()
        writer.progress(50)
        writer.stop()
    assert not writer.errors
    pair.settle_equal()


def test_quit_with_a_peer_that_stopped_reading(two):
    pair = two(link=True, options={**OPTIONS, "timeout": 600, "ko-count": 7}).established()
    with RecordingWriter(pair.a.export(), "d0", depth=64) as writer:
        writer.progress(100)
        pair.link.stall()
        pair.a.wait(lambda: writer.in_flight_s() > 0.2, "a write waits")
        bounded(pair.a.quit, 60)
        writer.stop(check=False)


def test_quit_of_a_connected_pair(two):
    """Orderly ends on both sides leave clean metadata, and no bits."""
    pair = two(options=OPTIONS).established()
    pair.a.guest().pwrite(pattern(1), 0)
    bounded(pair.a.quit)
    bounded(pair.b.quit)
    for node in (pair.a, pair.b):
        assert node.metadata().out_of_sync_blocks() == set()
    pair.assert_equal()
    pair.a.start()
    pair.b.start()
    pair.settle_equal()


def test_target_primary(two):
    """A SyncTarget Primary: its reads and writes need the peer, and so does its drain."""
    pair = two(link=True, options=OPTIONS).established()
    pair.b.kill()
    pair.a.wait_lost()
    guest = pair.a.guest()
    for number in range(24):
        guest.pwrite(pattern(number, MIB), number * MIB)
    pair.a.demote()
    pair.link.delay_s = 0.03
    pair.b.start()
    pair.b.wait_state("SyncTarget")
    pair.b.primary()
    with RecordingWriter(pair.b.export(), "d0") as writer:
        for number in range(4):
            drains(pair.b, number)
            drains(pair.a, number)
        writer.progress(50)
        pair.link.delay_s = 0
        pair.synced()
        writer.stop()
    assert not writer.errors
    pair.settle_equal()
    writer.journal.judge_file(pair.a.images[0])


def test_drain_of_one_volume_under_load_of_another(two):
    """A drain waits for its own volume: neither for the other one's guest nor for what the resync does meanwhile."""
    pair = two(volumes=2, link=True, options=OPTIONS).established()
    with RecordingWriter(pair.a.export(1), "d1") as writer:
        writer.progress(50)
        pair.link.delay_s = 0.005
        pair.a.run("drbd-invalidate-remote", node_name="d0")
        pair.a.wait_state("SyncSource")
        for _ in range(8):
            bounded(pair.a.qmp.raw, "blockdev-reopen",
                    {"options": [drbd_node("d0", "image0", on_io_error="pass-on", discard="unmap")]})
        pair.link.delay_s = 0
        writer.progress(50)
        writer.stop()
    assert not writer.errors
    pair.settle_equal()


def test_two_draining_nodes(two):
    """Both drain at once, again and again, under load."""
    pair = two(options=OPTIONS).established()
    with RecordingWriter(pair.a.export(), "d0", depth=64) as writer:
        for number in range(12):
            waiting = [(node, node.qmp.send_raw("blockdev-add", {
                "driver": "null-co", "node-name": f"n{number}", "size": MIB}))
                for node in (pair.a, pair.b)]
            for node, identifier in waiting:
                bounded(node.qmp.wait_reply, identifier, "blockdev-add")
        writer.progress(50)
        writer.stop()
    assert not writer.errors
    pair.settle_equal()


def test_detach_and_attach_while_connected(two):
    pair = two(options=OPTIONS).established()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        pair.b.run("drbd-detach", node_name="d0")
        pair.a.wait_state("*", "UpToDate", "Diskless")
        writer.progress(100)
        pair.b.run("drbd-attach", node_name="d0")
        pair.synced()
        writer.progress(50)
        writer.stop()
    assert not writer.errors
    pair.settle_equal()
