# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk comes and goes: detach, attach, blockdev-reopen, blockdev-del; what
a node without a disk answers; permissions on the image in each state."""

import errno

import nbd
import pytest

from blockdrbd import OperationFailed, QmpError, drbd_node, query_drbd
from blockdrbd.operation import start_operation, wait_operation
from stack import BLOCK, MIB, pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon
REFUSED = (OperationFailed, QmpError)


def reopen(stack, **options):
    stack.qmp.raw("blockdev-reopen", {"options": [drbd_node("drbd0", "f0", **options)]})


def test_detach_and_attach_a_secondary(stack):
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1), MIB)
    guest.flush()
    stack.unexport()
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    assert stack.volume()["disk"] == "Diskless"
    assert query_drbd(stack.qmp, "r0")["volumes-attached"] == 0
    with pytest.raises(REFUSED, match="no disk"):
        stack.run("drbd-detach", node_name="drbd0")
    stack.run("drbd-attach", node_name="drbd0")
    with pytest.raises(REFUSED, match="attached"):
        stack.run("drbd-attach", node_name="drbd0")
    stack.primary()
    assert stack.guest().pread(BLOCK, MIB) == pattern(1)


def test_a_dirty_bitmap_follows_the_size(stack):
    """It is made while the node has no disk, and so no size."""
    stack.file("f0")
    stack.drbd(attach=False)
    stack.run("drbd-create-md", node_name="drbd0")
    stack.qmp.raw("block-dirty-bitmap-add", {"node": "drbd0", "name": "backup0"})
    stack.run("drbd-attach", node_name="drbd0")
    stack.primary(force=True)
    stack.guest().pwrite(pattern(1), MIB)
    node = next(n for n in stack.qmp.command("query-named-block-nodes") if n["node-name"] == "drbd0")
    assert node["dirty-bitmaps"][0]["count"] > 0


def test_detach_of_a_primary_needs_force(stack):
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    with pytest.raises(REFUSED, match="(?i)primary.*force"):
        stack.run("drbd-detach", node_name="drbd0")
    guest.pwrite(pattern(2), 0)
    stack.run("drbd-detach", node_name="drbd0", force=True)
    assert stack.volume()["disk"] == "Diskless"
    for call in (lambda: guest.pwrite(pattern(3), 0), lambda: guest.pread(BLOCK, 0)):
        with pytest.raises(nbd.Error) as caught:
            call()
        assert caught.value.errnum in (errno.EIO, errno.EROFS)


def test_a_primary_takes_its_own_disk_back(stack):
    """After a forced detach the same data generation may be attached again."""
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    stack.run("drbd-detach", node_name="drbd0", force=True)
    stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["disk"] == "UpToDate"
    assert guest.pread(BLOCK, 0) == pattern(1)
    guest.pwrite(pattern(2), 0)


def test_reopen_detaches_and_attaches(stack):
    stack.ready()
    stack.secondary()
    reopen(stack, attach=False)
    stack.wait_disk("Diskless")
    reopen(stack, attach=True)
    stack.wait_disk("UpToDate")
    reopen(stack)  # the default is attached: nothing changes
    assert stack.volume()["disk"] == "UpToDate"


def test_reopen_keeps_what_the_commands_did(stack):
    """A detach by QMP is not undone by a reopen of the node above it."""
    stack.ready()
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    with pytest.raises(QmpError):
        reopen(stack, resource="other")
    assert stack.volume()["disk"] == "Diskless"


@pytest.mark.parametrize("options", [{"resource": "other"}, {"volume": 1}, {"role": "primary"}])
def test_reopen_refuses_what_is_fixed(stack, options):
    stack.ready()
    stack.secondary()
    with pytest.raises(QmpError, match="Cannot change the option|cannot"):
        reopen(stack, **options)
    assert stack.volume()["disk"] == "UpToDate"


def test_reopen_changes_on_io_error(stack):
    stack.ready()
    reopen(stack, on_io_error="pass-on")
    with pytest.raises(QmpError, match="on-io-error|does not accept"):
        reopen(stack, on_io_error="ignore")


def test_al_extents_change_only_while_detached(stack):
    stack.ready()
    stack.secondary()
    with pytest.raises(QmpError, match="al-extents"):
        reopen(stack, al_extents=67)
    reopen(stack, attach=False)
    stack.wait_disk("Diskless")
    for extents in 5, 65535:
        with pytest.raises(QmpError, match="'al-extents' must be 67 to 65534, not %d" % extents):
            reopen(stack, al_extents=extents)
    reopen(stack, al_extents=67)
    assert stack.wait_disk("UpToDate")["activity-log"]["extents"] == 67


def test_write_to_the_image_beside_the_filter(stack):
    """Nobody else may write the image while the disk is attached; without a disk anybody may."""
    stack.ready()
    with pytest.raises(QmpError, match="(?i)permission|conflicts|allow"):
        stack.export("f0", export_id="beside")
    stack.secondary()
    with pytest.raises(QmpError, match="(?i)permission|conflicts|allow"):
        stack.export("f0", export_id="beside")
    stack.run("drbd-detach", node_name="drbd0")
    stack.export("f0", export_id="beside")
    with pytest.raises(REFUSED, match="(?i)permission|conflicts|allow"):
        stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["disk"] == "Diskless"
    stack.daemon.export_del("beside")
    stack.run("drbd-attach", node_name="drbd0")


def test_many_times(stack):
    stack.ready()
    stack.secondary()
    for _ in range(40):
        stack.run("drbd-detach", node_name="drbd0")
        stack.run("drbd-attach", node_name="drbd0")
    stack.primary()


def test_blockdev_del_and_add_again(stack):
    stack.ready()
    guest = stack.guest()
    for round_nr in range(5):
        guest.pwrite(pattern(round_nr), round_nr * MIB)
        guest.flush()
        stack.unexport()
        stack.daemon.blockdev_del("drbd0")
        assert query_drbd(stack.qmp, "r0")["volumes"] == []
        stack.drbd(role="primary")
        guest = stack.guest()
        for earlier in range(round_nr + 1):
            assert guest.pread(BLOCK, earlier * MIB) == pattern(earlier)


def test_the_image_is_not_exchanged_under_a_disk(stack):
    """Detach and another `file` in one reopen: the last metadata would go to
    the other image."""
    stack.ready()
    stack.secondary()
    other = stack.file("f1")
    with open(other, "r+b") as image:
        image.write(pattern(7, 4 * MIB))
        image.flush()
    before = open(other, "rb").read()
    for options in ({"attach": False}, {}):
        with pytest.raises(QmpError, match="attach=off first"):
            stack.qmp.raw("blockdev-reopen", {"options": [drbd_node("drbd0", "f1", **options)]})
    assert stack.volume()["disk"] == "UpToDate"
    assert open(other, "rb").read() == before
    reopen(stack, attach=False)
    stack.wait_disk("Diskless")
    stack.qmp.raw("blockdev-reopen", {"options": [drbd_node("drbd0", "f1", attach=False)]})
    assert open(other, "rb").read() == before


def test_the_image_is_not_exchanged_under_create_md(stack):
    size = 4 << 40  # long enough that the second command comes before the end
    stack.file("f0", size=size)
    stack.file("f1", size=size)
    stack.drbd(attach=False)
    operation = start_operation(stack.qmp, "drbd-create-md", node_name="drbd0")
    try:
        stack.qmp.raw("blockdev-reopen", {"options": [
            drbd_node("drbd0", "f1", attach=False)]})
    except QmpError as refusal:
        assert "pending" in str(refusal)
        wait_operation(stack.qmp, operation)
    else:
        # It had ended already: then all of it went to the first image.
        wait_operation(stack.qmp, operation)
    stack.daemon.quit()
    assert qdrbdmeta("get-gi", stack.workspace / "f0.raw").stdout.startswith("0000000000000004")
    assert qdrbdmeta("get-gi", stack.workspace / "f1.raw", check=False).returncode != 0
