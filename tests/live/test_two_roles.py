# SPDX-License-Identifier: GPL-2.0-or-later
"""Roles over two nodes: one Primary, who may be promoted and who may not and why,
what an orderly disconnect leaves, what force is for."""

import pytest

from blockdrbd import OperationFailed, QmpError, RecordingWriter
from stack import BLOCK, pattern

pytestmark = pytest.mark.storage_daemon
REFUSED = (OperationFailed, QmpError)


def test_second_primary_is_refused(two):
    pair = two().ready()
    with pytest.raises(REFUSED, match="(?i)primar"):
        pair.b.primary()
    with pytest.raises(REFUSED, match="(?i)primar"):
        pair.b.primary(force=True)
    assert pair.b.status()["role"] == "secondary" and pair.a.status()["role"] == "primary"
    assert "rimary" in pair.b.status()["not-promotable"]
    pair.a.guest().pwrite(pattern(1), 0)
    pair.settle_equal()


def test_roles_change_places(two):
    pair = two().ready()
    for number, (old, new) in enumerate([(pair.a, pair.b), (pair.b, pair.a)] * 2):
        guest = old.guest()
        guest.pwrite(pattern(number), number * BLOCK)
        old.demote()
        new.primary()
        assert new.guest().pread(BLOCK, number * BLOCK) == pattern(number)
        assert (old.status()["role"], new.status()["role"]) == ("secondary", "primary")
        assert old.peer()["peer-role"] == "Primary"
    pair.settle_equal()


def test_promotion_after_the_primary_died(two):
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1), 0)
    pair.a.kill()
    pair.b.wait_lost()
    pair.b.primary()
    assert pair.b.guest().pread(BLOCK, 0) == pattern(1)
    pair.b.guest().pwrite(pattern(2), BLOCK)
    pair.a.start()
    pair.settle_equal()
    assert pair.a.status()["role"] == "secondary"


def test_promotion_at_once_after_the_death(two):
    """The cluster manager knows first: the node pings before it believes its peer alive."""
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1), 0)
    pair.a.daemon.stop_process()
    try:
        pair.b.primary()
    finally:
        pair.a.daemon.continue_process()
        pair.a.kill()
    assert pair.b.status()["role"] == "primary"
    assert pair.b.guest().pread(BLOCK, 0) == pattern(1)


def test_outdated_is_refused(two):
    pair = two().ready()
    pair.b.run("drbd-disconnect", resource="r0")
    pair.b.run("drbd-outdate", node_name="d0")
    with pytest.raises(REFUSED, match="Outdated"):
        pair.b.primary()
    assert "Outdated" in pair.b.status()["not-promotable"]


def test_disconnect_by_the_secondary_outdates_it(two):
    """It leaves a Primary that goes on: its data are old from then on."""
    pair = two().ready()
    pair.b.disconnect()
    pair.b.wait_connection("StandAlone")
    pair.a.wait_lost()
    pair.a.guest().pwrite(pattern(4), 0)
    assert pair.b.volume()["disk"] == "Outdated"
    with pytest.raises(REFUSED, match="Outdated"):
        pair.b.primary()
    pair.b.connect()
    pair.settle_equal()


def test_disconnect_by_the_primary_outdates_the_secondary(two):
    pair = two().ready()
    pair.a.disconnect()
    pair.a.wait_connection("StandAlone")
    pair.b.wait_lost()
    assert pair.b.volume()["disk"] == "Outdated"
    assert pair.a.volume()["peer-disk"] == "Outdated"
    pair.a.guest().pwrite(pattern(4), 0)
    pair.a.connect()
    pair.settle_equal()


def test_disconnect_by_force_tells_nobody(two):
    pair = two().ready()
    pair.b.disconnect(force=True)
    pair.b.wait_connection("StandAlone")
    pair.a.wait_lost()
    pair.b.connect()
    pair.synced()


def test_inconsistent_is_refused(two):
    """A target that lost its source half way."""
    pair = two(link=True).ready()
    pair.b.kill()
    pair.a.wait_lost()
    guest = pair.a.guest()
    for number in range(24):
        guest.pwrite(pattern(number, 1 << 20), number << 20)
    pair.link.delay_s = 0.05
    pair.b.start()
    pair.b.wait_state("SyncTarget", "Inconsistent", "UpToDate")
    pair.link.cut()
    pair.b.wait_lost()
    with pytest.raises(REFUSED, match="Inconsistent"):
        pair.b.primary()
    pair.link.delay_s = 0
    pair.link.heal()
    pair.settle_equal()


def test_target_may_be_primary(two):
    """The guest moves to a node that is still being synchronised: reads come from the source."""
    pair = two(link=True).ready()
    pair.b.kill()
    pair.a.wait_lost()
    guest = pair.a.guest()
    for number in range(24):
        guest.pwrite(pattern(number, 1 << 20), number << 20)
    pair.a.demote()
    pair.link.delay_s = 0.05
    pair.b.start()
    pair.b.wait_state("SyncTarget", "Inconsistent", "UpToDate")
    pair.b.primary()
    with RecordingWriter(pair.b.export(), "d0", blocks=range(6144, 7000)) as writer:
        reader = pair.b.guest()
        for number in reversed(range(24)):
            assert reader.pread(1 << 20, number << 20) == pattern(number, 1 << 20)
        pair.link.delay_s = 0
        pair.synced()
        writer.progress(100)
        writer.stop()
    assert not writer.errors
    pair.settle_equal()
    writer.journal.judge_file(pair.a.images[0])


def test_all_volumes_or_none(two):
    pair = two(volumes=2).ready()
    pair.a.demote()
    pair.b.disconnect()
    pair.b.run("drbd-outdate", node_name="d1")
    with pytest.raises(REFUSED, match="Outdated"):
        pair.b.primary()
    assert pair.b.status()["role"] == "secondary"


def test_a_guest_keeps_its_node_primary(two):
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1), 0)
    with pytest.raises(REFUSED):
        pair.a.secondary()
    assert pair.a.status()["role"] == "primary"


def test_promotion_waits_for_received_writes(two):
    """Nothing that the old Primary completed is missing for the new one's first reader."""
    pair = two(options={"protocol": "A"}).ready()
    with RecordingWriter(pair.a.export(), "d0", depth=32) as writer:
        writer.progress(800)
        journal = writer.stop()
    pair.a.demote()
    pair.b.primary()
    journal.judge_guest(pair.b.guest())
    pair.settle_equal()
