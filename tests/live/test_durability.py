# SPDX-License-Identifier: GPL-2.0-or-later
"""Flush and FUA, seen from below: a disk that logs them apart (nbdkit) shows
what the driver asks of its image and of its metadata device, and in which order."""

import pytest

from blockdrbd.metadata import EXTENT
from blockdrbd.nbdkit import SwitchedDisk
from stack import BLOCK, IMAGE_BYTES, MIB, pattern

pytestmark = pytest.mark.storage_daemon


@pytest.fixture
def disks(workspace):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as image:
        with SwitchedDisk(workspace, "meta", MIB) as metadata:
            yield image, metadata


def primary(stack, disks):
    image, metadata = disks
    stack.daemon.blockdev_add(image.node("f0"))
    stack.daemon.blockdev_add(metadata.node("m0"))
    stack.fresh(metadata="m0")
    stack.primary(force=True)
    guest = stack.guest()
    guest.pwrite(pattern(0), 0)  # the extent is hot, the generation made
    guest.flush()
    for disk in disks:
        disk.clear_log()
    return guest


def test_fua_write_is_fua_below(stack, disks):
    guest = primary(stack, disks)
    guest.pwrite(pattern(1), BLOCK, fua=True)
    writes = disks[0].calls("Write")
    assert [call["offset"] for call in writes] == [BLOCK]
    assert writes[0]["fua"] == 1
    assert disks[0].calls("Flush") == [], "a FUA write needs no flush of the whole disk"
    assert disks[1].calls() == [], "a hot extent needs no metadata"


def test_plain_write_is_not_fua(stack, disks):
    guest = primary(stack, disks)
    guest.pwrite(pattern(1), BLOCK)
    assert [call["fua"] for call in disks[0].calls("Write")] == [0]
    assert disks[0].calls("Flush") == []


def test_fua_zeroes_are_fua_below(stack, disks):
    guest = primary(stack, disks)
    guest.zero(64 * 1024, 64 * 1024, fua=True)
    calls = disks[0].calls("Zero") + disks[0].calls("Write")
    assert calls and all(call["fua"] == 1 for call in calls) or disks[0].calls("Flush")


def test_flush_reaches_the_image(stack, disks):
    guest = primary(stack, disks)
    guest.pwrite(pattern(1), BLOCK)
    guest.flush()
    kinds = [call["kind"] for call in disks[0].calls() if call["kind"] in ("Write", "Flush")]
    assert kinds == ["Write", "Flush"]


def test_flush_with_nothing_to_do_is_saved(stack, disks):
    guest = primary(stack, disks)
    before = stack.volume()["io"]["flushes-saved"]
    for _ in range(5):
        guest.flush()
    assert len(disks[0].calls("Flush")) <= 1
    assert stack.volume()["io"]["flushes-saved"] - before >= 4
    guest.pwrite(pattern(1), BLOCK)
    guest.flush()
    assert len(disks[0].calls("Flush")) >= 1


def test_flushes_at_depth_are_merged(stack, disks):
    guest = primary(stack, disks)
    guest.pwrite(pattern(1), BLOCK)
    disks[0].clear_log()
    disks[0].pause()
    for _ in range(32):
        guest.submit("flush", 0)
    disks[0].resume()
    guest.drain()
    assert 1 <= len(disks[0].calls("Flush")) <= 4


def test_no_flush_overtakes_a_write(stack, disks):
    """A write acknowledged before the flush was sent is on the image before that flush is."""
    guest = primary(stack, disks)
    for number in range(40):
        guest.pwrite(pattern(number), number * BLOCK)
        guest.flush()
    order = [call["kind"] for call in disks[0].calls() if call["kind"] in ("Write", "Flush")]
    assert order == ["Write", "Flush"] * 40


def test_activity_log_precedes_the_write(stack, disks):
    """A cold extent: the transaction is on stable storage before the data is submitted."""
    image, metadata = disks
    guest = primary(stack, disks)
    metadata.pause()
    guest.submit("write", 3 * EXTENT, pattern(1))
    stack.qmp.wait_until(lambda: stack.volume()["activity-log"]["waiting"]
                         or stack.volume()["activity-log"]["referenced"], "the write waits")
    assert image.calls("Write") == [], "data before its activity log"
    metadata.resume()
    guest.drain()
    transaction = metadata.calls("Write")
    assert transaction and (transaction[-1]["fua"] == 1 or metadata.calls("Flush"))
    assert [call["offset"] for call in image.calls("Write")] == [3 * EXTENT]


def test_promotion_is_stable_before_a_write_completes(stack, disks):
    """D14: the superblock with the new generation first, then the acknowledgement."""
    image, metadata = disks
    primary(stack, disks)
    stack.unexport()
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    stack.run("drbd-attach", node_name="drbd0")
    stack.primary()
    guest = stack.guest()
    metadata.pause()
    done = []
    guest.submit("write", 0, pattern(2), done=done.append)
    stack.qmp.wait_until(lambda: stack.volume()["io"]["writes-in-flight"] == 1, "the write waits")
    guest.poll(0.1)
    assert done == [], "acknowledged before its metadata was stable"
    metadata.resume()
    guest.drain()
    assert done == [0]


def test_hot_writes_touch_no_metadata(stack, disks):
    guest = primary(stack, disks)
    for number in range(200):
        guest.submit("write", number * BLOCK, pattern(number))
    guest.drain()
    assert disks[1].calls("Write") == []


def test_bitmap_is_written_after_a_flush_of_the_image(stack, disks):
    """Clean end: whatever the metadata says is in the image first."""
    image, metadata = disks
    guest = primary(stack, disks)
    guest.pwrite(pattern(1), 2 * BLOCK)
    stack.unexport()
    stack.daemon.blockdev_del("drbd0")
    assert image.calls("Flush"), "the image was not flushed before the metadata became clean"
    last = [call for call in metadata.calls() if call["kind"] in ("Write", "Flush")][-1]
    assert last["kind"] == "Flush" or last["fua"] == 1
