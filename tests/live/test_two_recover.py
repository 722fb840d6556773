# SPDX-License-Identifier: GPL-2.0-or-later
"""Coming back: resync both ways by the bitmap, with a guest writing through it;
SIGKILL of either side; invalidate, new generations, split brain and its ends."""

import pathlib

import pytest

from blockdrbd import OperationFailed, QmpError, RecordingWriter
from blockdrbd.daemon import wait_for
from blockdrbd.metadata import AL_CLEAN, CONSISTENT, WAS_UP_TO_DATE
from blockdrbd.nbdkit import SwitchedDisk
from blockdrbd.nodes import drbd_node, file_node
from blockdrbd.operation import wait_operation
from blockdrbd.two_nodes import make_image
from stack import BLOCK, MIB, pattern

pytestmark = pytest.mark.storage_daemon
REFUSED = (OperationFailed, QmpError)


def test_only_the_difference_is_sent(two):
    pair = two(link=True, size=256 * MIB).ready()
    guest = pair.a.guest()
    for number in range(100):
        guest.pwrite(pattern(number, MIB), number * MIB)
    guest.flush()
    pair.a.wait(lambda: pair.a.peer()["epochs"] == 0, "everything is confirmed as stable")
    pair.b.kill()
    pair.a.wait_lost()
    for number in range(50):
        guest.pwrite(pattern(1000 + number), number * 2 * MIB)
    marked = pair.a.volume()["out-of-sync"]
    assert 50 * BLOCK <= marked <= 60 * BLOCK
    pair.b.start()
    pair.settle_equal()
    assert pair.link.bytes("data") < 8 * MIB


def test_secondary_dies_under_a_writer(two):
    pair = two().ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        for _ in range(3):
            writer.progress(300)
            pair.b.kill()
            writer.progress(300)
            pair.b.start()
            pair.synced()
        journal = writer.stop()
    assert not writer.errors
    pair.settle_equal()
    journal.judge_file(pair.b.images[0])


def test_primary_dies_under_a_writer(two):
    """And comes back as the target; then the other one."""
    pair = two().ready()
    journal = None
    old, new = pair.a, pair.b
    for number in range(4):
        writer = RecordingWriter(old.export(), "d0", journal, seed=number).start()
        writer.progress(600)
        old.kill()
        journal = writer.stop()
        assert not writer.errors
        new.wait_lost()
        new.primary()
        journal.judge_guest(new.guest())
        old.start()
        pair.settle_equal()
        old, new = new, old
    journal.judge_file(pair.a.images[0])


def test_both_die_under_a_writer(two):
    pair = two().ready()
    writer = RecordingWriter(pair.a.export(), "d0").start()
    writer.progress(600)
    pair.a.kill()
    pair.b.kill()
    journal = writer.stop()
    pair.a.start()
    pair.b.start()
    pair.settle_equal()
    pair.a.primary()
    journal.judge_guest(pair.a.guest())


def test_killed_in_the_middle_of_a_resync(two):
    """Target, then source: it goes on where it was, and ends equal."""
    pair = two(link=True).ready()
    pair.b.kill()
    pair.a.wait_lost()
    writer = RecordingWriter(pair.a.export(), "d0", run=16).start()
    writer.progress(2000)
    for victim in ("target", "target", "source"):
        pair.link.delay_s = 0.03
        pair.b.start()
        pair.b.wait_state("SyncTarget")
        if victim == "source":
            pair.a.kill()
            writer.stop()
            pair.b.wait_lost()
            with pytest.raises(REFUSED, match="Inconsistent"):
                pair.b.primary()
            pair.a.start()
        else:
            pair.b.kill()
    pair.link.delay_s = 0
    pair.settle_equal()
    writer.journal.judge_file(pair.b.images[0])


def test_resync_under_a_writer_stalls_nobody(two):
    """Return of the peer: no error, no stall longer than the configured timeouts."""
    pair = two().ready()
    pair.b.kill()
    pair.a.wait_lost()
    guest = pair.a.guest()
    for number in range(28):
        guest.pwrite(pattern(number, MIB), number * MIB)
    with RecordingWriter(pair.a.export(), "d0") as writer:
        pair.b.start()
        pair.synced()
        writer.progress(100)
        writer.stop()
    assert not writer.errors
    assert writer.longest_s < 6.0
    pair.settle_equal()
    writer.journal.judge_file(pair.b.images[0])


def test_progress_is_told(two):
    pair = two(link=True).ready()
    pair.b.kill()
    pair.a.wait_lost()
    guest = pair.a.guest()
    for number in range(24):
        guest.pwrite(pattern(number, MIB), number * MIB)
    pair.link.delay_s = 0.05
    pair.b.start()
    pair.b.wait_state("SyncTarget")
    resync = pair.b.wait(lambda: pair.b.volume().get("resync"), "query-drbd tells of the resync")
    assert resync["total"] >= 24 * MIB and resync["left"] <= resync["total"] and resync["side"] == "target"
    pair.b.wait(lambda: pair.b.volume().get("resync", {"left": 0})["left"] < resync["total"], "it gets less")
    pair.link.delay_s = 0
    pair.settle_equal()
    assert pair.b.volume().get("resync") is None
    for node, side in ((pair.a, "source"), (pair.b, "target")):
        told = [event["data"] for event in node.qmp.take_events("DRBD_RESYNC")]
        assert {data["phase"] for data in told[-3:]} >= {"started", "finished"}, told
        assert told[-1]["side"] == side and told[-1]["total"] >= 24 * MIB, told


# -- an administrator's orders ------------------------------------------------------


@pytest.mark.parametrize("who", ["a", "b"])
def test_invalidate_the_secondary(two, who):
    """By itself, or by the Primary over the wire: everything is sent again."""
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1, MIB), MIB)
    # What nobody may do to an image: only a full sync can repair it.
    with open(pair.b.images[0], "r+b") as image:
        image.seek(MIB)
        image.write(b"\xff" * BLOCK)
    assert pair.differences()
    if who == "b":
        pair.b.run("drbd-invalidate", node_name="d0")
    else:
        pair.a.run("drbd-invalidate-remote", node_name="d0")
    pair.settle_equal()


def test_invalidate_a_primary_that_has_just_written(two):
    """What no barrier has confirmed must be on the peer's disk first; the threads stay alive meanwhile."""
    pair = two().ready()
    guest = pair.a.guest()
    for number in range(20):
        guest.pwrite(pattern(number), number * MIB)
    pair.a.run("drbd-invalidate", node_name="d0")
    pair.settle_equal()
    assert guest.pread(BLOCK, 19 * MIB) == pattern(19)


def test_invalidate_a_lone_primary_is_refused(two):
    pair = two().ready()
    pair.b.kill()
    pair.a.wait_lost()
    with pytest.raises(REFUSED):
        pair.a.run("drbd-invalidate", node_name="d0")
    assert pair.a.volume()["disk"] == "UpToDate"


def test_invalidate_a_peer_that_is_away(two):
    """It is written down: when the peer comes back, everything is sent."""
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1, MIB), MIB)
    pair.b.kill()
    pair.a.wait_lost()
    with open(pair.b.images[0], "r+b") as image:
        image.seek(20 * MIB)
        image.write(b"\xff" * BLOCK)
    pair.a.run("drbd-invalidate-remote", node_name="d0")
    assert pair.a.volume()["out-of-sync"] == pair.a.volume()["size"]
    pair.b.start()
    pair.settle_equal()


def test_first_sync_is_skipped(two):
    """Two empty images: nothing to send, by one command, which must be meant."""
    pair = two(link=True).up()
    with pytest.raises(REFUSED, match="(?i)force"):
        pair.a.run("drbd-new-current-uuid", node_name="d0", clear_bitmap=True)
    pair.a.run("drbd-new-current-uuid", node_name="d0", clear_bitmap=True, force=True)
    pair.synced()
    pair.a.primary()
    pair.a.guest().pwrite(pattern(1), 0)
    pair.settle_equal()
    assert pair.link.bytes("data") < MIB


# -- split brain ----------------------------------------------------------------------


def split(pair):
    """Both were Primary alone and wrote: nobody is right."""
    pair.link.cut()
    pair.a.wait_lost()
    pair.b.wait_lost()
    pair.b.primary()
    pair.a.guest().pwrite(pattern(100), 10 * BLOCK)
    pair.b.guest().pwrite(pattern(200), 20 * BLOCK)
    for node in (pair.a, pair.b):
        node.unexport()


def stands_alone_with_split_brain(pair):
    def told():
        return [n for n in (pair.a, pair.b) if n.status()["connection"] == "StandAlone"
                and "split" in n.reason().lower()]
    pair.a.wait(told, "split brain is reported")


def test_split_brain_keeps_both(two):
    pair = two(link=True).ready()
    split(pair)
    pair.link.heal()
    stands_alone_with_split_brain(pair)
    assert any(n.qmp.take_events("DRBD_SPLIT_BRAIN") for n in (pair.a, pair.b))
    for node, number, block in ((pair.a, 100, 10), (pair.b, 200, 20)):
        with open(node.images[0], "rb") as image:
            image.seek(block * BLOCK)
            assert image.read(BLOCK) == pattern(number)
        assert node.volume()["disk"] == "UpToDate"


def reconnect(pair, loser):
    """Those that stand alone connect, the loser with discard-my-data."""
    for node in (pair.a, pair.b):
        if node.status()["connection"] != "StandAlone":
            node.disconnect(force=True)
            node.wait_connection("StandAlone")
    for node in (pair.a, pair.b):
        node.connect(**({"discard_my_data": True} if node is loser else {}))


@pytest.mark.parametrize("loser", ["a", "b"])
def test_discard_my_data_solves_it(two, loser):
    pair = two(link=True).ready()
    split(pair)
    victim = pair.a if loser == "a" else pair.b
    victim.secondary()
    pair.link.heal()
    stands_alone_with_split_brain(pair)
    reconnect(pair, victim)
    pair.settle_equal()
    kept, block = (200, 20) if loser == "a" else (100, 10)
    with open(victim.images[0], "rb") as image:
        image.seek(block * BLOCK)
        assert image.read(BLOCK) == pattern(kept)


def test_split_brain_solved_by_policy(two):
    pair = two(link=True, options={"after-sb-0pri": "discard-zero-changes"}).ready()
    pair.link.cut()
    pair.a.wait_lost()
    pair.b.wait_lost()
    pair.b.primary()
    pair.a.guest().pwrite(pattern(100), 10 * BLOCK)
    pair.a.demote()
    pair.b.secondary()
    pair.link.heal()
    pair.settle_equal()
    with open(pair.b.images[0], "rb") as image:
        image.seek(10 * BLOCK)
        assert image.read(BLOCK) == pattern(100)


def test_a_crashed_primary_that_went_on_alone(two):
    """D14: it completed writes on one copy, crashed; the other was promoted and wrote.
    Its return is split brain, never a silent loss."""
    pair = two(link=True).ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        writer.progress(100)
        pair.link.cut()
        pair.a.wait_lost()
        writer.progress(100)
        pair.a.kill()
        writer.stop()
    pair.b.wait_lost()
    pair.b.primary()
    pair.b.guest().pwrite(pattern(1), 0)
    pair.link.heal()
    pair.a.start()
    stands_alone_with_split_brain(pair)


def test_unrelated_data(two):
    """Each was made by itself: refused, with the reason."""
    pair = two().create()
    for node, first in ((pair.a, 0x1000), (pair.b, 0x2000)):
        node.metadata().create(node.size, la_size_sect=node.data_bytes // 512, current=first, history0=first + 2,
                               history1=first + 4, flags=CONSISTENT | WAS_UP_TO_DATE | AL_CLEAN)
        node.start()
    wait_for(lambda: any(n.status()["connection"] == "StandAlone" for n in (pair.a, pair.b)), "refused")
    assert "nrelated" in pair.a.reason() + pair.b.reason()


@pytest.mark.parametrize("asked", [False, True], ids=["at-once", "after-one-that-waits"])
def test_force_gets_out_of_a_disk_that_hangs(two, workspace, asked):
    """Decision 0018: the guest goes on by the peer's copy while an I/O hangs on the own disk."""
    pair = two(external=True).ready()
    image = pathlib.Path(pair.a.images[0])
    pair.a.kill()
    with SwitchedDisk(workspace, image.stem, 0) as disk:
        pair.a.file_node = lambda volume: disk.node(f"image{volume}")
        pair.a.start()
        pair.synced()
        pair.a.primary()
        guest, done = pair.a.guest(), []
        guest.pwrite(pattern(1), 0)
        disk.pause()
        guest.submit("write", BLOCK, pattern(2), done=done.append)
        pair.a.wait(lambda: pair.a.volume()["io"]["writes-in-flight"] == 1, "a write hangs")
        waits = pair.a.qmp.command("drbd-detach", node_name="d0")["operation"] if asked else None

        def forced():
            try:
                return pair.a.qmp.command("drbd-detach", node_name="d0", force=True)["operation"]
            except QmpError:
                return None  # the peer is being asked still

        operation = pair.a.wait(forced, "force is taken")
        assert waits in (None, operation)
        pair.a.wait_state("Connected", "Failed", "UpToDate")
        guest.submit("write", 2 * BLOCK, pattern(3), done=lambda error: done.append(("second", error)))
        wait_for(lambda: guest.poll() or done, "the guest goes on")
        assert done == [("second", 0)]
        assert pair.a.volume()["disk"] == "Failed"
        disk.resume()
        pair.a.wait_event("DRBD_OPERATION_COMPLETED", lambda data: data["operation"] == operation and data["success"])
        assert pair.a.volume()["disk"] == "Diskless"
        guest.drain()
        assert sorted(map(str, done)) == ["('second', 0)", "0"]
        assert guest.pread(BLOCK, BLOCK) == pattern(2)
        pair.a.kill()
        pair.a.file_node = None
    pair.a.start()
    pair.settle_equal()


def test_a_full_disk_of_the_secondary_is_called_full(two):
    """The administrator must not look for a broken one."""
    pair = two().ready()
    pair.b.quit()
    with SwitchedDisk(pair.workspace, "b0", 0, error="ENOSPC") as disk:
        pair.b.file_node = lambda volume: disk.node(f"image{volume}")
        pair.b.start()
        pair.a.wait_synced()
        disk.fail_writes()
        pair.a.guest().pwrite(pattern(1), 0)
        pair.b.wait(lambda: pair.b.volume()["disk"] == "Diskless", "the disk is given up")
        assert "No space left" in pair.b.volume()["disk-reason"]
        pair.b.kill()


def test_an_interrupted_invalidate_goes_on_where_it_was(two):
    """By the bitmap, not in full; and who it was that stopped, with what was left, is told."""
    pair = two(link=True, size=64 * MIB).ready()
    guest = pair.a.guest()
    for number in range(64):
        guest.pwrite(pattern(number, MIB), number * MIB % (60 * MIB))
    guest.flush()
    pair.link.delay_s = 0.03
    pair.b.run("drbd-invalidate", node_name="d0")
    pair.b.wait(lambda: pair.b.state()[0] == "SyncTarget" and 0 < pair.b.volume()["out-of-sync"] < 40 * MIB, "half")
    pair.b.quit()
    aborted = pair.a.wait_event("DRBD_RESYNC", lambda data: data["phase"] == "aborted")
    assert aborted["side"] == "source" and aborted["left"] > 0
    pair.a.wait_lost()
    pair.b.start()
    started = pair.a.wait_event("DRBD_RESYNC", lambda data: data["phase"] == "started" and data["left"] < 60 * MIB)
    assert "by bitmap" in started["reason"]
    pair.link.delay_s = 0
    pair.settle_equal()


@pytest.mark.parametrize("size, refused", [(16 * MIB, "the image offers"), (64 * MIB, None)])
def test_another_disk_under_a_diskless_primary(two, size, refused):
    """The guest's device keeps its size: a smaller image is refused, of a larger one only that much is used."""
    pair = two().ready()
    guest = pair.a.guest()
    guest.pwrite(pattern(1), 0)
    device = guest.size
    pair.a.run("drbd-detach", node_name="d0")
    image = pair.a.images[0] + ".new"
    make_image(image, size)
    pair.a.daemon.blockdev_add(file_node("new0", image, discard="unmap"))
    pair.a.qmp.raw("blockdev-reopen", {"options": [drbd_node("d0", "new0", attach=False, discard="unmap")]})
    pair.a.run("drbd-create-md", node_name="d0")
    if refused:
        with pytest.raises(REFUSED, match=refused):
            pair.a.run("drbd-attach", node_name="d0")
        assert pair.a.state() == ("Connected", "primary", "Diskless", "UpToDate")
    else:
        pair.a.run("drbd-attach", node_name="d0")
        pair.synced()
    guest.pwrite(pattern(2), BLOCK)
    assert guest.pread(2 * BLOCK, 0) == pattern(1) + pattern(2)
    guest.flush()
    pair.a.leave(guest)
    assert pair.a.guest().size == device
    if not refused:
        with open(image, "rb") as ours, open(pair.b.images[0], "rb") as peers:
            assert ours.read(device) == peers.read(device)


def test_a_larger_disk_that_was_attached_alone(two):
    """Its metadata has its own size; it is not usable data, and becomes as large as the peer's."""
    pair = two()
    pair.b.size = 64 * MIB
    pair.create()
    pair.b.start()
    pair.b.wait_state("*", "Inconsistent", "*")
    pair.b.run("drbd-detach", node_name="d0")
    pair.a.start()
    pair.a.primary(force=True)
    pair.b.wait_state("Connected", "Diskless", "UpToDate")
    pair.b.run("drbd-attach", node_name="d0")
    pair.synced()
    assert pair.b.metadata().superblock().la_size_sect == pair.a.data_bytes // 512


def crossed(*commands):
    """Sends (node, command, arguments) one right after the other; the errors of those that fail."""
    sent = [(node, node.qmp.send_raw(command, arguments)) for node, command, arguments in commands]
    errors = []
    for node, number in sent:
        try:
            wait_operation(node.qmp, node.qmp.wait_reply(number)["operation"], timeout_s=10)
        except (OperationFailed, QmpError) as error:
            errors.append(str(error))
    return errors


def test_both_disks_are_not_detached_at_once(two):
    """Each asks the other; whoever has agreed keeps its own disk, and the guest has one."""
    pair = two().established()
    guest = pair.a.guest()
    detach = ("drbd-detach", {"node-name": "d0"})
    for attempt in range(40):
        errors = crossed((pair.a, *detach), (pair.b, *detach))
        assert errors, (attempt, pair.a.state())
        guest.pwrite(pattern(attempt), 0)
        for node in (pair.a, pair.b):
            if node.volume()["disk"] == "Diskless":
                node.run("drbd-attach", node_name="d0")
        pair.synced()
    pair.settle_equal()


def test_an_invalidation_meets_a_disconnect(two):
    """Whatever came of it: the invalidated disk is the target, and no block stays marked."""
    pair = two().established(primary=False)
    for attempt in range(30):
        with open(pair.b.images[0], "r+b") as image:    # why it is invalidated
            image.seek(2 * BLOCK)
            image.write(b"BAD!")
        errors = crossed((pair.a, "drbd-invalidate-remote", {"node-name": "d0"}),
                         (pair.b, "drbd-disconnect", {"resource": "r0"}))
        for node in (pair.a, pair.b):
            if node.status()["connection"] == "StandAlone":
                node.connect()
        pair.synced()
        if errors:      # B may not have heard of it
            pair.a.run("drbd-invalidate-remote", node_name="d0")
            pair.synced()
        pair.assert_equal()
        with open(pair.a.images[0], "rb") as image:
            image.seek(2 * BLOCK)
            assert image.read(4) == bytes(4), attempt
