# SPDX-License-Identifier: GPL-2.0-or-later
"""The node changes hands: live migration on a shared image to a second process,
a migration that fails, blockdev-set-active; no write is lost and at any time
one process at most owns the disk."""

import pytest

from blockdrbd import QmpError, drbd_node, file_node, query_drbd
from blockdrbd.metadata import Metadata
from blockdrbd.operation import start_operation, wait_operation
from stack import BLOCK, MIB, Stack, pattern

SOURCE = ["-S", "-m", "64"]


def write(stack, number, offset):
    """By an export that is there for this write alone: a migration refuses active exports."""
    guest = stack.guest()
    guest.pwrite(pattern(number), offset)
    guest.flush()
    stack.unexport()


def read_is(stack, number, offset):
    assert stack.guest().pread(BLOCK, offset) == pattern(number)
    stack.unexport()


def generation(stack):
    """The current UUID without its lowest bit, which only says Primary."""
    return int(stack.volume()["metadata"]["current-uuid"], 16) & ~1


def device(stack):
    stack.qmp.raw("device_add", {"driver": "virtio-blk-pci", "id": "vd0", "drive": "drbd0",
                                 "share-rw": True, "addr": "5"})


@pytest.fixture
def source(workspace):
    with Stack(workspace, emulator=True, arguments=SOURCE, name="source") as stack:
        path = stack.ready()
        device(stack)
        stack.qmp.command("cont")
        write(stack, 11, 0)
        yield stack, path


def destination(workspace, path, name="destination", role="primary"):
    stack = Stack(workspace, emulator=True, arguments=[*SOURCE, "-incoming", "defer"], name=name)
    stack.__enter__()
    try:
        stack.daemon.blockdev_add(file_node("f0", path))
        stack.daemon.blockdev_add(drbd_node("drbd0", "f0", role=role))
        device(stack)
    except BaseException:
        stack.daemon.kill()
        raise
    return stack


def migrate(source, target, socket_path):
    target.qmp.command("migrate-incoming", uri=f"unix:{socket_path}")
    source.qmp.command("migrate", uri=f"unix:{socket_path}")
    return source.qmp.wait_until(lambda: source.qmp.command("query-migrate").get("status") in (
        "completed", "failed") and source.qmp.command("query-migrate"), "end of the migration")


def test_incoming_node_touches_nothing(workspace, source):
    """-incoming: the destination's node is inactive and leaves the image to the source."""
    stack, path = source
    before = path.read_bytes()
    other = destination(workspace, path)
    try:
        entry = query_drbd(other.qmp, "r0")
        assert entry["role"] == "secondary"
        assert entry["volumes"][0]["disk"] == "Diskless" and not entry["volumes"][0]["active"]
        assert path.read_bytes() == before
        with pytest.raises(QmpError, match="inactive"):
            other.run("drbd-attach", node_name="drbd0")
    finally:
        other.daemon.kill()
    write(stack, 12, BLOCK)


def test_migration_and_back(workspace, source):
    """The role and the disk move with the guest; every copy of a write is there."""
    first, path = source
    second = destination(workspace, path)
    try:
        result = migrate(first, second, workspace / "m1.sock")
        assert result["status"] == "completed", result
        assert not first.volume()["active"]
        second.qmp.command("cont")
        second.wait_disk("UpToDate")
        assert query_drbd(second.qmp, "r0")["role"] == "primary"
        read_is(second, 11, 0)
        write(second, 22, BLOCK)
        assert second.volume()["out-of-sync"] >= 2 * BLOCK
        with pytest.raises(QmpError):   # an export would activate the source's node again
            first.export()
        first.daemon.quit()
        third = destination(workspace, path, "third")
        try:
            result = migrate(second, third, workspace / "m2.sock")
            assert result["status"] == "completed", result
            third.qmp.command("cont")
            third.wait_disk("UpToDate")
            read_is(third, 11, 0)
            read_is(third, 22, BLOCK)
            third.daemon.quit()
        finally:
            third.daemon.kill()
    finally:
        second.daemon.kill()
    marked = Metadata(str(path), True).out_of_sync_blocks()
    assert {0, 1} <= marked


def test_failed_migration_leaves_the_source_running(workspace, source):
    """Nobody answers at the destination: the source continues as Primary."""
    stack, path = source
    try:
        stack.qmp.command("migrate", uri=f"unix:{workspace / 'nobody.sock'}")
    except QmpError:
        pass
    else:
        stack.qmp.wait_until(lambda: stack.qmp.command("query-migrate").get("status") == "failed", "failure")
    write(stack, 13, 2 * BLOCK)
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"
    assert path.exists()


def test_source_takes_its_disk_back(workspace, source):
    """After completion, before the destination ran: the destination dies, the source continues."""
    stack, path = source
    other = destination(workspace, path)
    try:
        assert migrate(stack, other, workspace / "m.sock")["status"] == "completed"
        assert not stack.volume()["active"]
    finally:
        other.daemon.kill()
    stack.qmp.command("cont")
    stack.wait_disk("UpToDate")
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"
    read_is(stack, 11, 0)
    write(stack, 14, BLOCK)


def test_activation_never_makes_a_generation(workspace, source):
    """D9: the first guest write does, not the hand-over."""
    stack, _ = source
    stack.qmp.command("stop")
    stack.qmp.command("device_del", id="vd0")
    uuid = generation(stack)
    for _ in range(3):
        stack.qmp.command("blockdev-set-active", node_name="drbd0", active=False)
        assert not stack.volume()["active"]
        stack.qmp.command("blockdev-set-active", node_name="drbd0", active=True)
        stack.wait_disk("UpToDate")
        assert generation(stack) == uuid
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"


@pytest.mark.storage_daemon
def test_activation_while_another_owns_the_disk(workspace):
    """Two processes on one image: the second activation fails with the lock, and can be repeated."""
    with Stack(workspace, name="one") as one, Stack(workspace, name="two") as two:
        path = one.ready()
        one.guest().pwrite(pattern(1), 0)
        one.unexport()
        two.daemon.blockdev_add(file_node("f0", path, active=False))
        two.daemon.blockdev_add(drbd_node("drbd0", "f0", role="primary", active=False))
        with pytest.raises(QmpError, match="(?i)lock"):
            two.qmp.command("blockdev-set-active", node_name="drbd0", active=True)
        one.qmp.command("blockdev-set-active", active=False)
        two.qmp.command("blockdev-set-active", node_name="drbd0", active=True)
        two.wait_disk("UpToDate")
        assert query_drbd(two.qmp, "r0")["role"] == "primary"
        assert two.guest().pread(BLOCK, 0) == pattern(1)
        with pytest.raises(QmpError, match="(?i)lock"):
            one.qmp.command("blockdev-set-active", node_name="drbd0", active=True)




@pytest.mark.storage_daemon
def test_inactive_node_and_its_nbd_export(stack):
    """What QEMU's inactive-node-nbd asks: a node with a writer does not become inactive, an
    inactive one refuses what needs its disk, and a new export activates it."""
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1), MIB)
    with pytest.raises(QmpError):
        stack.qmp.command("blockdev-set-active", node_name="drbd0", active=False)
    guest.pwrite(pattern(2), MIB)
    stack.unexport()
    stack.qmp.command("blockdev-set-active", node_name="drbd0", active=False)
    for command in ("drbd-attach", "drbd-create-md"):
        with pytest.raises(QmpError, match="inactive"):
            stack.run(command, node_name="drbd0")
    query_drbd(stack.qmp, "r0")
    guest = stack.guest()
    stack.wait_disk("UpToDate")
    assert guest.pread(BLOCK, MIB) == pattern(2)


@pytest.mark.storage_daemon
def test_inactivation_waits_for_create_md(stack):
    """Its jobs write to the children, which are inactive afterwards."""
    stack.file("f0", size=4 << 40)
    stack.drbd(attach=False)
    operation = start_operation(stack.qmp, "drbd-create-md", node_name="drbd0")
    stack.qmp.command("blockdev-set-active", node_name="drbd0", active=False)
    wait_operation(stack.qmp, operation)
    stack.qmp.command("blockdev-set-active", node_name="drbd0", active=True)
    stack.run("drbd-attach", node_name="drbd0")


@pytest.mark.storage_daemon
def test_the_role_can_be_given_up_while_inactive(stack):
    stack.ready()
    stack.qmp.command("blockdev-set-active", node_name="drbd0", active=False)
    stack.secondary()
    stack.qmp.command("blockdev-set-active", node_name="drbd0", active=True)
    stack.wait_disk("UpToDate")
    assert query_drbd(stack.qmp, "r0")["role"] == "secondary"


def test_an_inactive_node_does_not_fail_a_flush(source):
    """vm_stop and blockdev-reopen flush every node, also one that has left its disk."""
    stack, _ = source
    stack.qmp.command("device_del", id="vd0")
    stack.qmp.command("stop")
    stack.qmp.command("blockdev-set-active", node_name="drbd0", active=False)
    stack.qmp.raw("blockdev-reopen", {"options": [drbd_node("drbd0", "f0", on_io_error="pass-on")]})
    stack.qmp.command("cont")
    stack.qmp.command("stop")
