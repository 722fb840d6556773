# SPDX-License-Identifier: GPL-2.0-or-later
"""Roles: who may be promoted, who may not and why, role=primary at open,
several volumes in one resource, invalidate and outdate."""

import pytest

from blockdrbd import Metadata, OperationFailed, QmpError, query_drbd, resource_object
from blockdrbd.metadata import CONSISTENT, WAS_UP_TO_DATE
from blockdrbd.operation import set_role
from stack import BLOCK, IMAGE_BYTES, pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon
REFUSED = (OperationFailed, QmpError)


def test_fresh_disk_is_refused_with_the_reason(stack):
    stack.file()
    stack.fresh()
    assert "Inconsistent" in query_drbd(stack.qmp, "r0")["not-promotable"]
    with pytest.raises(REFUSED, match="Inconsistent.*force"):
        stack.primary()
    entry = query_drbd(stack.qmp, "r0")
    assert entry["role"] == "secondary"
    stack.primary(force=True)
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"
    assert stack.volume()["disk"] == "UpToDate"


def test_demote_and_promote_again(stack):
    stack.ready()
    uuid = stack.volume()["metadata"]["current-uuid"]
    for _ in range(3):
        stack.secondary()
        assert query_drbd(stack.qmp, "r0")["role"] == "secondary"
        stack.primary()
        assert query_drbd(stack.qmp, "r0")["role"] == "primary"
    assert uuid != "0" * 16


def test_same_role_again_is_no_error(stack):
    stack.ready()
    stack.primary()
    stack.secondary()
    stack.secondary()


def test_promotion_is_stable_before_the_first_write_completes(stack):
    path = stack.ready()
    guest = stack.guest()
    before = Metadata(str(path), True).superblock()
    guest.pwrite(pattern(1), 0)
    after = Metadata(str(path), True).superblock()
    on_node = int(stack.volume()["metadata"]["current-uuid"], 16)
    assert after.current & ~1 == on_node & ~1
    assert before.current  # the generation that promotion left is a real one
    assert after.bitmap != 0


def test_role_primary_at_open(stack):
    path = stack.ready()
    stack.daemon.blockdev_del("drbd0")
    stack.drbd(role="primary")
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"
    stack.guest().pwrite(pattern(2), 0)
    assert path.exists()


def test_role_primary_at_open_fails_with_the_reason(stack):
    path = stack.image("f0.raw")
    qdrbdmeta("--force", "create-md", path)
    stack.file("f0", path)
    with pytest.raises(QmpError, match="(?s)r0.*Inconsistent"):
        stack.drbd(role="primary")
    assert query_drbd(stack.qmp, "r0")["role"] == "secondary"
    stack.drbd()  # without the wish it opens


def test_demotion_while_a_guest_writes(stack):
    """Somebody holds the device open for writing: demotion says who, or the guest gets EROFS."""
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    with pytest.raises(REFUSED, match="(?i)open|writ|export|node"):
        stack.secondary()
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"
    guest.pwrite(pattern(2), 0)


def two_volumes(stack):
    stack.daemon.object_add(resource_object("two", volumes=2))
    for number in (0, 1):
        stack.file(f"v{number}")
        stack.fresh(f"d{number}", f"v{number}", resource="two", volume=number)


def test_role_concerns_all_volumes_or_none(stack):
    two_volumes(stack)
    stack.primary("two", force=True)
    assert [stack.volume(number, "two")["disk"] for number in (0, 1)] == ["UpToDate"] * 2
    stack.secondary("two")
    stack.run("drbd-invalidate", node_name="d1")
    with pytest.raises(REFUSED, match="volume 1.*Inconsistent"):
        stack.primary("two")
    assert query_drbd(stack.qmp, "two")["role"] == "secondary"


def test_promotion_with_a_volume_missing(stack):
    """A resource of two volumes of which one is detached cannot be promoted."""
    two_volumes(stack)
    stack.primary("two", force=True)
    stack.secondary("two")
    stack.run("drbd-detach", node_name="d1")
    with pytest.raises(REFUSED, match="volume 1"):
        stack.primary("two")
    stack.run("drbd-attach", node_name="d1")
    stack.primary("two")


def test_role_primary_with_several_volumes_waits_for_the_last(stack):
    two_volumes(stack)
    stack.primary("two", force=True)
    for number in (0, 1):
        stack.daemon.blockdev_del(f"d{number}")
    stack.drbd("d0", "v0", resource="two", volume=0, role="primary")
    assert query_drbd(stack.qmp, "two")["role"] == "secondary"
    stack.drbd("d1", "v1", resource="two", volume=1, role="primary")
    assert query_drbd(stack.qmp, "two")["role"] == "primary"


def test_outdate(stack):
    path = stack.ready()
    with pytest.raises(REFUSED, match="Primary|primary"):
        stack.run("drbd-outdate", node_name="drbd0")
    stack.secondary()
    stack.run("drbd-outdate", node_name="drbd0")
    assert stack.volume()["disk"] == "Outdated"
    assert not Metadata(str(path), True).superblock().flags & WAS_UP_TO_DATE
    with pytest.raises(REFUSED, match="Outdated"):
        stack.primary()
    stack.primary(force=True)
    assert stack.volume()["disk"] == "UpToDate"


def test_invalidate(stack):
    path = stack.ready()
    with pytest.raises(REFUSED, match="Primary|primary"):
        stack.run("drbd-invalidate", node_name="drbd0")
    stack.secondary()
    stack.run("drbd-invalidate", node_name="drbd0")
    entry = stack.volume()
    assert entry["disk"] == "Inconsistent"
    assert entry["out-of-sync"] == -(-entry["size"] // BLOCK) * BLOCK
    superblock = Metadata(str(path), True).superblock()
    assert not superblock.flags & CONSISTENT
    with pytest.raises(REFUSED, match="worse|Inconsistent"):
        stack.run("drbd-outdate", node_name="drbd0")


def test_unknown_resource_and_node(stack):
    stack.file()
    with pytest.raises(QmpError, match="no drbd-resource 'nobody'.*object"):
        set_role(stack.qmp, "primary", "nobody")
    with pytest.raises(QmpError, match="no node 'nobody'"):
        stack.run("drbd-attach", node_name="nobody")
    with pytest.raises(QmpError, match="driver 'file', not 'drbd'"):
        stack.run("drbd-detach", node_name="f0")


def test_size_is_what_the_guest_sees(stack):
    stack.ready()
    entry = stack.volume()
    assert entry["image-size"] == IMAGE_BYTES
    assert entry["size"] == stack.guest().size


def test_role_at_open_without_a_disk_promotes_nothing(stack):
    stack.ready()
    stack.qmp.command("blockdev-del", node_name="drbd0")
    stack.drbd(attach=False, role="primary")
    assert query_drbd(stack.qmp, "r0")["role"] == "secondary"
    stack.run("drbd-attach", node_name="drbd0")
    stack.wait_disk("UpToDate")
    assert query_drbd(stack.qmp, "r0")["role"] == "secondary"
    stack.primary()
