# SPDX-License-Identifier: GPL-2.0-or-later
"""A node that has a peer changes hands: what is refused, and what the process that
takes it over finds."""

import pytest

from blockdrbd import GuestDisk, QmpError, drbd_node, file_node
from blockdrbd.two_nodes import HostNode
from stack import BLOCK, pattern

pytestmark = pytest.mark.storage_daemon


def set_active(node, active, volume=0):
    node.qmp.command("blockdev-set-active", node_name=f"d{volume}", active=active)


def successor(node):
    """A second process with the same options and images, all of it inactive."""
    other = HostNode(node.folder, f"{node.name}-next", node.here, node.there, volumes=node.volumes,
                     size=node.size, options=node.options, node_options=node.node_options)
    other.images = other.metadata_files = node.images
    return other


def test_a_primary_without_its_disk_is_not_handed_over(two):
    """What its guest has written since is on the peer's disk alone."""
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1), 0)
    pair.a.run("drbd-detach", node_name="d0")
    pair.a.guest().pwrite(pattern(2), 0)
    pair.a.unexport()
    with pytest.raises(QmpError):
        set_active(pair.a, False)
    warning = pair.a.wait_event("DRBD_WARNING", lambda data: "not made inactive" in data["message"])
    assert "'d0' is not UpToDate" in warning["message"]
    assert pair.a.state()[1:] == ("primary", "Diskless", "UpToDate")
    guest = pair.a.guest()
    assert guest.pread(BLOCK, 0) == pattern(2)
    pair.a.unexport()
    pair.a.run("drbd-attach", node_name="d0")
    pair.a.wait_synced()
    set_active(pair.a, False)
    set_active(pair.a, True)
    assert pair.a.status()["role"] == "primary"
    assert pair.a.guest().pread(BLOCK, 0) == pattern(2)


def test_the_peer_has_become_primary_meanwhile(two):
    """Activation asks nobody, but looks."""
    pair = two().ready()
    set_active(pair.a, False)
    pair.b.primary()
    pair.b.guest().pwrite(pattern(3), 0)
    with pytest.raises(QmpError, match="the peer has become Primary"):
        set_active(pair.a, True)
    assert pair.a.status()["role"] == "secondary"
    pair.b.demote()
    pair.a.wait(lambda: pair.a.peer()["peer-role"] == "Secondary", "the peer's demotion")
    set_active(pair.a, True)
    pair.a.wait_synced()
    assert pair.a.status()["role"] == "primary"
    assert pair.a.guest().pread(BLOCK, 0) == pattern(3)


def test_the_address_of_the_process_before(two):
    """It is in use until that process ends, and then the peer is met."""
    pair = two().ready()
    pair.a.guest().pwrite(pattern(4), 0)
    pair.a.unexport()
    following = successor(pair.a)
    try:
        following.start(nodes=False)
        following.daemon.blockdev_add(file_node("image0", following.images[0], discard="unmap", active=False))
        following.daemon.blockdev_add(drbd_node("d0", "image0", role="primary", active=False, discard="unmap"))
        set_active(pair.a, False)
        set_active(following, True)
        following.wait(lambda: "cannot come yet" in following.reason(), "that the address is in use")
        assert "in use" in following.reason()
        assert following.state()[1:3] == ("primary", "UpToDate")
        following.guest().pwrite(pattern(5), BLOCK)
        pair.a.quit()
        following.wait_synced()
        pair.b.wait_synced()
        assert following.reason() == ""
        following.guest().pwrite(pattern(6), 2 * BLOCK)
        following.demote()
        pair.b.primary()
        assert [pair.b.guest().pread(BLOCK, at * BLOCK) for at in range(3)] == [pattern(n) for n in (4, 5, 6)]
    finally:
        following.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_role_of_one_volume_is_that_of_all(two, order):
    """role=primary was given to volume 0 alone."""
    pair = two(volumes=2).ready()
    pair.a.quit()
    following = successor(pair.a)
    try:
        following.start(nodes=False)
        for volume in range(2):
            following.daemon.blockdev_add(file_node(f"image{volume}", following.images[volume], active=False))
            role = {"role": "primary"} if volume == 0 else {}
            following.daemon.blockdev_add(drbd_node(f"d{volume}", f"image{volume}", volume=volume,
                                                    active=False, **role))
        for volume in order:
            set_active(following, True, volume)
        assert following.status()["role"] == "primary"
        following.wait_synced()
        following.guest(1).pwrite(pattern(7), 0)
    finally:
        following.close()


def test_a_child_that_lost_its_flushes_while_inactive(two):
    """The disk is attached on activation, and given up as soon as that is over."""
    pair = two().ready()
    set_active(pair.a, False)
    pair.a.qmp.raw("blockdev-reopen", {"options": [
        file_node("image0", pair.a.images[0], discard="unmap", cache={"no-flush": True})]})
    set_active(pair.a, True)
    pair.a.wait_event("DRBD_WARNING", lambda data: "cache.no-flush=on" in data["message"])
    pair.a.wait_state("Connected", "Diskless", "UpToDate")


def test_filters_above_hear_of_a_size(two):
    """One that was there before the disk has the size that the disk brings."""
    pair = two().ready()
    pair.a.demote()
    pair.a.quit()
    pair.a.start(nodes=False)
    pair.a.add_volume(attach=False)
    pair.a.qmp.raw("object-add", {"qom-type": "throttle-group", "id": "tg"})
    pair.a.daemon.blockdev_add({"driver": "throttle", "node-name": "t0", "throttle-group": "tg", "file": "d0"})
    pair.a.daemon.blockdev_add({"driver": "raw", "node-name": "top", "file": "t0"})

    def sizes():
        return {node["node-name"]: node["image"]["virtual-size"]
                for node in pair.a.qmp.command("query-named-block-nodes") if node["node-name"] in ("t0", "top")}

    assert sizes() == {"t0": 0, "top": 0}
    pair.a.qmp.raw("block-dirty-bitmap-add", {"node": "t0", "name": "changes"})
    pair.a.run("drbd-attach", node_name="d0")
    assert sizes() == {"t0": pair.a.data_bytes, "top": pair.a.data_bytes}
    pair.a.wait_connection("Connected")
    pair.a.primary()
    pair.a.daemon.export_nbd("top")
    with GuestDisk(str(pair.a.daemon.folder / f"{pair.a.daemon.name}.nbd"), "top") as guest:
        guest.pwrite(pattern(1), pair.a.data_bytes - BLOCK)
    node, = (node for node in pair.a.qmp.command("query-named-block-nodes") if node["node-name"] == "t0")
    assert node["dirty-bitmaps"][0]["count"] > 0
