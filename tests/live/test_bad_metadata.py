# SPDX-License-Identifier: GPL-2.0-or-later
"""Metadata that lies, is torn, belongs elsewhere or describes another disk:
attach refuses with a reason, writes nothing, and the node can be used again."""

import os
import struct

import pytest

from blockdrbd import Metadata, OperationFailed, QmpError
from blockdrbd.metadata import AL_CLEAN, BLOCK, MAGIC_UNCLEAN, PRIMARY_IND
from stack import IMAGE_BYTES, MIB, Stack, pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon
REFUSED = (OperationFailed, QmpError)


def with_metadata(stack, name="f0.raw", size=IMAGE_BYTES):
    path = stack.image(name, size)
    qdrbdmeta("--force", "create-md", path)
    return path


def agreed(stack, size=IMAGE_BYTES):
    """An image whose size the metadata knows, left clean."""
    path = stack.file("f0", size=size)
    stack.fresh()
    stack.primary(force=True)
    stack.guest().pwrite(pattern(1), MIB)
    stack.unexport()
    for node in ("drbd0", "f0"):
        stack.daemon.blockdev_del(node)
    return path


def refused_untouched(stack, path, match):
    before = path.read_bytes()
    stack.file("f0", path)
    with pytest.raises(REFUSED, match=match):
        stack.drbd()
    assert path.read_bytes() == before, "a refused attach has written"
    stack.drbd(attach=False)
    with pytest.raises(REFUSED, match=match):
        stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["disk"] == "Diskless"
    stack.run("drbd-create-md", node_name="drbd0", force=True)
    stack.run("drbd-attach", node_name="drbd0")


def patch(path, offset, data):
    with open(path, "r+b") as image:
        os.pwrite(image.fileno(), data, Metadata(str(path), True).superblock_offset() + offset)


def test_wrong_magic(stack):
    path = with_metadata(stack)
    patch(path, 60, b"\xde\xad\xbe\xef")
    refused_untouched(stack, path, "(?i)magic|no .*metadata|create-md")


def test_zeroed_superblock(stack):
    path = with_metadata(stack)
    patch(path, 0, bytes(BLOCK))
    refused_untouched(stack, path, "create-md")


@pytest.mark.parametrize("field, offset, value", [
    ("bytes-per-bit", 80, 8192), ("al-offset", 68, 7), ("bm-offset", 76, 12345),
    ("md-size", 64, 8), ("al-stripes", 88, 0xFFFFFFFF), ("al-stripe-size", 92, 0xFFFFFFFF),
    ("magic of v07", 60, 0x83740268), ("magic of v09", 60, 0x8374026D)])
def test_superblock_that_makes_no_sense(stack, field, offset, value):
    path = with_metadata(stack)
    patch(path, offset, struct.pack(">I", value))
    refused_untouched(stack, path, ".")


def test_torn_superblock(stack):
    """The block has been written up to its first sector: the rest is of another time, and zero anyway."""
    path = agreed(stack)
    offset = Metadata(str(path), True).superblock_offset()
    with open(path, "r+b") as image:
        os.pwrite(image.fileno(), os.urandom(512), offset)
    refused_untouched(stack, path, ".")


def test_external_metadata_of_another_placement(stack):
    """Internal metadata is looked for at the end; a device with external metadata has none there."""
    path = stack.image("f0.raw")
    qdrbdmeta("--force", "--meta", "external", "create-md", path)
    stack.file("f0", path)
    with pytest.raises(REFUSED, match="create-md"):
        stack.drbd()


@pytest.mark.parametrize("by", [512, 4096, MIB, IMAGE_BYTES // 2])
def test_image_shrunk(stack, by):
    path = agreed(stack)
    os.truncate(path, os.path.getsize(path) - by)
    stack.file("f0", path)
    with pytest.raises(REFUSED, match="(?i)metadata|shrunk|size"):
        stack.drbd()


def test_image_shrunk_with_external_metadata(stack):
    metadata = stack.image("m0.raw", MIB)
    stack.file("m0", metadata)
    path = stack.file("f0")
    stack.fresh(metadata="m0")
    stack.primary(force=True)
    for node in ("drbd0", "f0"):
        stack.daemon.blockdev_del(node)
    os.truncate(path, IMAGE_BYTES - MIB)
    stack.file("f0", path)
    with pytest.raises(REFUSED, match="shrunk.*old size"):
        stack.drbd(metadata="m0")
    os.truncate(path, IMAGE_BYTES)
    stack.daemon.blockdev_del("f0")
    stack.file("f0", path)
    stack.drbd(metadata="m0", role="primary")


def test_bitmap_shorter_than_the_disk(stack):
    """The metadata device was made for a smaller disk."""
    metadata = stack.image("m0.raw", 72 * 512 + 4096)  # bits for 128 MiB
    qdrbdmeta("--force", "--meta", "external", "create-md", metadata)
    stack.file("m0", metadata)
    stack.file("f0", size=1024 * MIB)
    with pytest.raises(REFUSED, match="(?i)bitmap|small|metadata device"):
        stack.drbd(metadata="m0")


def test_metadata_device_shrunk(stack):
    metadata = stack.image("m0.raw", MIB)
    qdrbdmeta("--force", "--meta", "external", "create-md", metadata)
    os.truncate(metadata, 32 * 1024)
    stack.file("m0", metadata)
    stack.file("f0")
    with pytest.raises(REFUSED, match="does not fit the device"):
        stack.drbd(metadata="m0")


def test_index_beyond_the_device(stack):
    stack.file("m0", size=128 * MIB)
    stack.file("f0")
    stack.drbd(metadata="m0", metadata_index=3, attach=False)
    for command in ("drbd-create-md", "drbd-attach"):
        with pytest.raises(REFUSED, match="(?i)small|short|size|beyond|end|slot|room"):
            stack.run(command, node_name="drbd0")


def test_damaged_activity_log_marks_everything(workspace):
    """A crashed Primary whose log cannot be read may have written anywhere."""
    with Stack(workspace) as stack:
        path = stack.ready()
        stack.guest().pwrite(pattern(1), 0)
        stack.daemon.kill()
        stack._guests.clear()
    metadata = Metadata(str(path), True)
    superblock = metadata.superblock()
    assert superblock.flags & PRIMARY_IND
    with open(path, "r+b") as image:
        os.pwrite(image.fileno(), os.urandom(superblock.al_sectors * 512),
                  metadata.superblock_offset() + superblock.al_offset * 512)
    with Stack(workspace, name="second") as stack:
        stack.file("f0", path)
        try:
            stack.drbd()
        except QmpError as error:  # refusal is right as well, if it says what to do
            assert "activity log" in error.description
            return
        entry = stack.volume()
        assert entry["out-of-sync"] == -(-entry["size"] // 4096) * 4096
        warnings = [event["data"]["message"] for event in stack.qmp.take_events("DRBD_WARNING")]
        assert any("out of sync" in text for text in warnings), warnings


def test_unclean_but_not_primary(stack):
    """A Secondary that was killed: attaches without a replay of anything."""
    path = agreed(stack)
    metadata = Metadata(str(path), True)
    superblock = metadata.superblock()
    superblock.flags &= ~AL_CLEAN
    superblock.magic = MAGIC_UNCLEAN
    metadata.write_superblock(superblock)
    stack.file("f0", path)
    stack.drbd(role="primary")
