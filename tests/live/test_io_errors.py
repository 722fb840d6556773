# SPDX-License-Identifier: GPL-2.0-or-later
"""Failing disks: on-io-error detach and pass-on, a full disk, a metadata device
that fails; what the guest sees and what the state says."""

import errno

import nbd
import pytest

from blockdrbd import OperationFailed, QmpError, query_drbd
from blockdrbd.nbdkit import SwitchedDisk
from blockdrbd.metadata import EXTENT
from stack import BLOCK, IMAGE_BYTES, MIB, pattern

pytestmark = pytest.mark.storage_daemon


def build(stack, disk, metadata=None, **options):
    stack.daemon.blockdev_add(disk.node("f0"))
    if metadata:
        stack.daemon.blockdev_add(metadata.node("m0"))
    else:
        stack.file("m0", size=MIB)
    stack.fresh(metadata="m0", **options)
    stack.primary(force=True)
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    guest.flush()
    return guest


def error_of(call) -> int:
    with pytest.raises(nbd.Error) as caught:
        call()
    return caught.value.errnum


@pytest.mark.parametrize("kind", ["pwrite", "zero", "pread"])
def test_detach_policy(stack, workspace, kind):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as disk:
        guest = build(stack, disk)
        (disk.fail_reads if kind == "pread" else disk.fail_writes)()
        call = {"pwrite": lambda: guest.pwrite(pattern(2), BLOCK), "zero": lambda: guest.zero(BLOCK, BLOCK),
                "pread": lambda: guest.pread(BLOCK, 0)}[kind]
        assert error_of(call) == errno.EIO
        stack.wait_disk("Diskless")
        changes = [(event["data"]["old"], event["data"]["new"], event["data"].get("reason"))
                   for event in stack.qmp.take_events("DRBD_STATE_CHANGED")
                   if event["data"]["field"] == "disk"]
        assert changes[-1][1] == "Diskless"
        assert any(reason and ("error" in reason.lower() or "EIO" in reason) for _, _, reason in changes), changes
        disk.fail_writes(False)
        disk.fail_reads(False)
        assert error_of(lambda: guest.pwrite(pattern(3), 0)) == errno.EIO
        stack.run("drbd-attach", node_name="drbd0")
        guest.pwrite(pattern(4), 0)
        assert guest.pread(BLOCK, 0) == pattern(4)


def test_detach_policy_with_many_in_flight(stack, workspace):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as disk:
        guest = build(stack, disk)
        errors = []
        for number in range(500):
            if number == 200:
                disk.fail_writes()
            guest.submit("write", number * BLOCK, pattern(number), done=errors.append)
            while guest.in_flight >= 64:
                guest.poll(0.1)
        guest.drain()
        assert len(errors) == 500
        assert errors.count(errno.EIO) >= 200
        assert set(errors) == {0, errno.EIO}
        stack.wait_disk("Diskless")


@pytest.mark.parametrize("kind", ["pwrite", "zero", "pread"])
def test_pass_on_policy(stack, workspace, kind):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as disk:
        guest = build(stack, disk, on_io_error="pass-on")
        before = stack.volume()["out-of-sync"]
        (disk.fail_reads if kind == "pread" else disk.fail_writes)()
        call = {"pwrite": lambda: guest.pwrite(pattern(2), MIB), "zero": lambda: guest.zero(BLOCK, MIB),
                "pread": lambda: guest.pread(BLOCK, MIB)}[kind]
        assert error_of(call) == errno.EIO
        entry = stack.volume()
        assert entry["disk"] != "Diskless"
        assert entry["io"]["read-errors" if kind == "pread" else "write-errors"] == 1
        if kind != "pread":
            assert entry["out-of-sync"] >= before + BLOCK
        disk.fail_writes(False)
        disk.fail_reads(False)
        guest.pwrite(pattern(3), MIB)
        assert guest.pread(BLOCK, MIB) == pattern(3)


@pytest.mark.parametrize("policy", ["detach", "pass-on"])
def test_full_disk_goes_to_the_guest(stack, workspace, policy):
    """ENOSPC is no reason to give the disk up: werror=enospc pauses the guest."""
    with SwitchedDisk(workspace, "image", IMAGE_BYTES, error="ENOSPC") as disk:
        guest = build(stack, disk, on_io_error=policy)
        disk.fail_writes()
        assert error_of(lambda: guest.pwrite(pattern(2), MIB)) == errno.ENOSPC
        entry = stack.volume()
        assert entry["disk"] == "UpToDate"
        assert entry["out-of-sync"] >= 2 * BLOCK
        disk.fail_writes(False)
        guest.pwrite(pattern(2), MIB)
        assert guest.pread(BLOCK, MIB) == pattern(2)


def test_failing_discard_is_no_disk_failure(stack, workspace):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as disk:
        guest = build(stack, disk, discard="unmap")
        disk.fail_writes()
        with pytest.raises(nbd.Error):
            guest.trim(BLOCK, 0)
        disk.fail_writes(False)
        assert stack.volume()["disk"] == "UpToDate"


def test_failing_metadata_detaches(stack, workspace):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as disk, \
            SwitchedDisk(workspace, "meta", MIB) as metadata:
        guest = build(stack, disk, metadata)
        metadata.fail_writes()
        guest.pwrite(pattern(2), BLOCK)  # hot: needs no metadata
        assert error_of(lambda: guest.pwrite(pattern(3), 3 * EXTENT)) == errno.EIO
        stack.wait_disk("Diskless")
        assert disk.calls("Write")[-1]["offset"] < 3 * EXTENT, "data without its activity log"
        assert query_drbd(stack.qmp, "r0")["role"] == "primary"


def test_failing_metadata_at_promotion(stack, workspace):
    with SwitchedDisk(workspace, "meta", MIB) as metadata:
        stack.file("f0")
        stack.daemon.blockdev_add(metadata.node("m0"))
        stack.fresh(metadata="m0")
        metadata.fail_writes()
        with pytest.raises(OperationFailed):
            stack.primary(force=True)
        assert query_drbd(stack.qmp, "r0")["role"] == "secondary"


@pytest.mark.parametrize("what", ["reads", "writes"])
def test_failing_metadata_at_attach(stack, workspace, what):
    with SwitchedDisk(workspace, "meta", MIB) as metadata:
        stack.file("f0")
        stack.daemon.blockdev_add(metadata.node("m0"))
        stack.fresh(metadata="m0")
        stack.primary(force=True)
        stack.guest().pwrite(pattern(1), 0)
        stack.unexport()
        stack.run("drbd-detach", node_name="drbd0", force=True)  # as a crash would leave it
        getattr(metadata, f"fail_{what}")()
        with pytest.raises((OperationFailed, QmpError), match="(?i)superblock|bitmap|activity log|error"):
            stack.run("drbd-attach", node_name="drbd0")
        assert stack.volume()["disk"] == "Diskless"
        getattr(metadata, f"fail_{what}")(False)
        stack.run("drbd-attach", node_name="drbd0")


def test_failing_metadata_at_detach(stack, workspace):
    """The disk is gone all the same, and the next attach replays."""
    with SwitchedDisk(workspace, "meta", MIB) as metadata:
        stack.file("f0")
        stack.daemon.blockdev_add(metadata.node("m0"))
        stack.fresh(metadata="m0")
        stack.primary(force=True)
        stack.guest().pwrite(pattern(1), 0)
        stack.unexport()
        metadata.fail_writes()
        stack.daemon.blockdev_del("drbd0")
        warnings = [event["data"]["message"] for event in stack.qmp.take_events("DRBD_WARNING")]
        assert any("orderly" in text or "clean" in text for text in warnings), warnings
        metadata.fail_writes(False)
        stack.drbd(metadata="m0", role="primary")
        assert stack.volume()["out-of-sync"] >= BLOCK
        assert stack.guest().pread(BLOCK, 0) == pattern(1)
