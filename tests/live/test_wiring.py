# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects and nodes in the wrong order, twice, or with options that do not
exist: each is refused with a reason and leaves everything as it was."""

import pytest

from blockdrbd import QmpError, drbd_node, file_node, query_drbd, resource_object
from stack import pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon


def test_second_node_on_the_same_image(stack):
    stack.ready()
    stack.daemon.object_add(resource_object("other"))
    with pytest.raises(QmpError, match="(?i)permission|conflicts|allow"):
        stack.drbd("drbd1", "f0", resource="other")
    stack.guest().pwrite(pattern(1), 0)


def test_second_node_with_the_same_volume(stack):
    stack.ready()
    stack.file("f1")
    with pytest.raises(QmpError, match="volume 0"):
        stack.drbd("drbd1", "f1", attach=False)
    stack.guest().pwrite(pattern(1), 0)


def test_volume_out_of_range(stack):
    stack.file()
    with pytest.raises(QmpError, match="volume"):
        stack.drbd(volume=1, attach=False)


def test_same_slot_of_a_shared_metadata_device(stack):
    metadata = stack.image("m0.raw", 256 << 20)
    qdrbdmeta("--force", "--meta", "0", "create-md", metadata)
    stack.file("m0", metadata)
    stack.file("f0")
    stack.drbd(metadata="m0", metadata_index=0)
    stack.daemon.object_add(resource_object("other"))
    stack.file("f1")
    with pytest.raises(QmpError, match="metadata-index"):
        stack.drbd("drbd1", "f1", resource="other", metadata="m0", metadata_index=0)


def test_object_del_while_a_node_needs_it(stack):
    stack.ready()
    with pytest.raises(QmpError, match="(?i)in use|cannot be deleted"):
        stack.qmp.command("object-del", id="r0")
    stack.daemon.blockdev_del("drbd0")
    stack.qmp.command("object-del", id="r0")
    assert query_drbd(stack.qmp) == []
    stack.daemon.object_add(resource_object("r0"))
    stack.drbd()


def test_blockdev_del_of_the_image_below(stack):
    stack.ready()
    with pytest.raises(QmpError, match="(?i)in use"):
        stack.daemon.blockdev_del("f0")
    assert stack.volume()["disk"] == "UpToDate"


def test_blockdev_del_while_exported(stack):
    stack.ready()
    guest = stack.guest()
    with pytest.raises(QmpError, match="(?i)in use|busy"):
        stack.daemon.blockdev_del("drbd0")
    guest.pwrite(pattern(1), 0)


def test_iothread_of_a_resource(stack):
    with pytest.raises(QmpError, match="no iothread 'nobody'"):
        stack.daemon.object_add(resource_object("r1", iothread="nobody"))
    stack.daemon.object_add({"qom-type": "iothread", "id": "net0"})
    stack.daemon.object_add(resource_object("r1", iothread="net0"))
    stack.file()
    stack.fresh(resource="r1")
    stack.primary("r1", force=True)
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    stack.qmp.command("object-del", id="net0")  # the resource keeps the thread
    guest.pwrite(pattern(2), 4 << 20)
    guest.flush()


@pytest.mark.parametrize("volumes", [0, 17, 4096])
def test_number_of_volumes(stack, volumes):
    with pytest.raises(QmpError, match="volumes.*1 to 16"):
        stack.daemon.object_add(resource_object("r1", volumes=volumes))


def test_unknown_property_of_the_resource(stack):
    with pytest.raises(QmpError, match="colour"):
        stack.daemon.object_add(resource_object("r1", colour="red"))


@pytest.mark.parametrize("option, value, text", [
    ("colour", "red", "colour"),
    ("role", "king", "role|king"),
    ("on-io-error", "shrug", "on-io-error|shrug"),
    ("volume", "many", "volume"),
    ("al-extents", 4, "(?i)al.extents|activity"),
    ("al-extents", 1 << 20, "(?i)al.extents|activity"),
])
def test_bad_options(stack, option, value, text):
    path = stack.image("f0.raw")
    qdrbdmeta("--force", "create-md", path)
    stack.file("f0", path)
    node = drbd_node("drbd0", "f0")
    node[option] = value
    with pytest.raises(QmpError, match=text):
        stack.daemon.blockdev_add(node)
    stack.drbd()


def test_missing_resource(stack):
    stack.file()
    with pytest.raises(QmpError, match="no drbd-resource 'r9'.*drbd-resource,id=r9"):
        stack.drbd(resource="r9")


def test_node_needs_a_resource(stack):
    stack.file()
    node = drbd_node("drbd0", "f0")
    del node["resource"]
    with pytest.raises(QmpError, match="resource"):
        stack.daemon.blockdev_add(node)


@pytest.mark.parametrize("where", ["image", "metadata", "below a format"])
def test_no_flush_is_refused_anywhere_below(stack, where):
    no_flush = {"cache": {"no-flush": True}}
    options = {}
    if where == "image":
        stack.file("f0", **no_flush)
    elif where == "metadata":
        stack.file("f0")
        stack.file("m0", size=1 << 20, **no_flush)
        options["metadata"] = "m0"
    else:
        path = stack.image("q.qcow2", fmt="qcow2")
        stack.daemon.blockdev_add({"driver": "qcow2", "node-name": "f0", "file": {
            "driver": "file", "filename": str(path), **no_flush}})
    with pytest.raises(QmpError, match="no-flush"):
        stack.drbd(**options)
    with pytest.raises(QmpError, match="no-flush"):
        stack.drbd(attach=False, **options)


def test_no_flush_that_comes_later_costs_the_disk(stack):
    """A child reopened with no-flush would make every flush a lie."""
    path = stack.ready()
    stack.qmp.raw("blockdev-reopen", {"options": [
        {**file_node("f0", str(path)), "cache": {"no-flush": True}}]})
    stack.wait_disk("Diskless")
    event = stack.qmp.wait_event("DRBD_WARNING", lambda data: "no-flush" in data["message"])
    assert event
    with pytest.raises(QmpError, match="no-flush"):
        stack.run("drbd-attach", node_name="drbd0")
    stack.qmp.raw("blockdev-reopen", {"options": [file_node("f0", str(path))]})
    stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["disk"] == "UpToDate"


def test_no_flush_of_the_filter_itself(stack):
    stack.file("f0")
    with pytest.raises(QmpError, match="no-flush"):
        stack.drbd(cache={"no-flush": True})


def test_read_only_image(stack):
    path = stack.image("f0.raw")
    qdrbdmeta("--force", "create-md", path)
    stack.file("f0", path, read_only=True)
    with pytest.raises(QmpError, match="(?i)read.only"):
        stack.drbd()


def test_read_only_filter(stack):
    path = stack.image("f0.raw")
    qdrbdmeta("--force", "create-md", path)
    stack.file("f0", path)
    with pytest.raises(QmpError, match="(?i)read.only"):
        stack.drbd(read_only=True)
    stack.drbd(read_only=True, attach=False)


def test_read_only_metadata_device(stack):
    metadata = stack.image("m0.raw", 1 << 20)
    qdrbdmeta("--force", "--meta", "external", "create-md", metadata)
    stack.file("m0", metadata, read_only=True)
    stack.file("f0")
    with pytest.raises(QmpError, match="(?i)read.only"):
        stack.drbd(metadata="m0")


def test_auto_read_only_does_not_hide_it(stack):
    path = stack.image("f0.raw")
    qdrbdmeta("--force", "create-md", path)
    path.chmod(0o444)
    stack.file("f0", path, auto_read_only=True)
    try:
        stack.drbd()
    except QmpError as error:
        assert "ead-only" in error.description or "ermission" in error.description
    else:  # root may write it all the same
        stack.primary(force=True)
