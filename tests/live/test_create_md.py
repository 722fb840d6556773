# SPDX-License-Identifier: GPL-2.0-or-later
"""Fresh metadata: offline by qdrbdmeta and through the driver, on every
placement and on formats that are not raw; what must be in the way and is."""

import struct

import pytest

from blockdrbd import Metadata, OperationFailed, QmpError, drbd_node, make_image
from blockdrbd.metadata import internal_md_sectors
from stack import BLOCK, IMAGE_BYTES, MIB, pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon


def write_and_verify(stack, node_name="drbd0"):
    guest = stack.guest(node_name)
    last = guest.size - BLOCK
    for index, offset in enumerate((0, 5 * MIB + 512, last)):
        guest.pwrite(pattern(index), offset)
    guest.flush()
    for index, offset in enumerate((0, 5 * MIB + 512, last)):
        assert guest.pread(BLOCK, offset) == pattern(index)
    return guest


@pytest.mark.parametrize("maker", ["qdrbdmeta", "qmp"])
def test_internal_raw(stack, maker):
    path = stack.image("f0.raw")
    if maker == "qdrbdmeta":
        qdrbdmeta("--force", "create-md", path)
        stack.file("f0", path)
        stack.drbd()
    else:
        stack.file("f0", path)
        stack.fresh()
    assert stack.volume()["disk"] == "Inconsistent"
    stack.primary(force=True)
    guest = write_and_verify(stack)
    assert guest.size == IMAGE_BYTES - internal_md_sectors(IMAGE_BYTES) * 512
    superblock = Metadata(str(path), True).superblock()
    assert superblock.la_size_sect * 512 == guest.size


@pytest.mark.parametrize("maker", ["qdrbdmeta", "qmp"])
def test_flexible_external(stack, maker):
    stack.file("f0")
    metadata = stack.image("m0.raw", 1 * MIB)
    if maker == "qdrbdmeta":
        qdrbdmeta("--force", "--meta", "external", "create-md", metadata)
    stack.file("m0", metadata)
    if maker == "qdrbdmeta":
        stack.drbd(metadata="m0")
    else:
        stack.fresh(metadata="m0")
    stack.primary(force=True)
    guest = write_and_verify(stack)
    assert guest.size == IMAGE_BYTES


def test_flexible_device_of_no_whole_blocks(stack):
    """The bitmap's area ends within its last page, and so does the device; the bits there are written, and read again."""
    stack.file("f0", size=160 * MIB)
    stack.file("m0", size=84 * 512)
    stack.fresh(metadata="m0")
    stack.primary(force=True)
    guest = stack.guest()
    guest.pwrite(pattern(1), 150 * MIB)
    before = stack.volume()["out-of-sync"]
    assert before > 0
    stack.secondary(force=True)
    stack.run("drbd-detach", node_name="drbd0")
    stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["out-of-sync"] == before


@pytest.mark.parametrize("maker", ["qdrbdmeta", "qmp"])
def test_indexed_external(stack, maker):
    """Two volumes share one metadata device, in slots 0 and 1."""
    metadata = stack.image("m0.raw", 256 * MIB)
    if maker == "qdrbdmeta":
        for index in "01":
            qdrbdmeta("--force", "--meta", index, "create-md", metadata)
    stack.file("m0", metadata)
    for index in (0, 1):
        stack.file(f"f{index}")
        stack.daemon.object_add({"qom-type": "drbd-resource", "id": f"i{index}"})
        options = {"resource": f"i{index}", "metadata": "m0", "metadata_index": index}
        if maker == "qdrbdmeta":
            stack.drbd(f"drbd{index}", f"f{index}", **options)
        else:
            stack.fresh(f"drbd{index}", f"f{index}", **options)
        stack.primary(f"i{index}", force=True)
        assert write_and_verify(stack, f"drbd{index}").size == IMAGE_BYTES
    stack.daemon.quit()
    for index in "01":
        text = qdrbdmeta("--meta", index, "dump-md", metadata).stdout
        assert f"la-size-sect {IMAGE_BYTES // 512};" in text


@pytest.mark.parametrize("external", [False, True])
def test_qcow2(stack, external):
    stack.qcow2("f0")
    options = {}
    if external:
        stack.qcow2("m0", size=1 * MIB)
        options["metadata"] = "m0"
    stack.fresh(**options)
    stack.primary(force=True)
    guest = write_and_verify(stack)
    assert (guest.size == IMAGE_BYTES) == external


def test_stripes_of_the_activity_log(stack):
    path = stack.file("f0")
    stack.drbd(attach=False)
    stack.run("drbd-create-md", node_name="drbd0", al_stripes=2, al_stripe_size_kb=64)
    stack.run("drbd-attach", node_name="drbd0")
    stack.primary(force=True)
    write_and_verify(stack)
    superblock = Metadata(str(path), True).superblock()
    assert (superblock.al_stripes, superblock.al_stripe_size_4k) == (2, 16)


def test_refuses_existing_metadata(stack):
    stack.ready()
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    with pytest.raises(OperationFailed, match="force"):
        stack.run("drbd-create-md", node_name="drbd0")
    stack.run("drbd-create-md", node_name="drbd0", force=True)
    stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["disk"] == "Inconsistent"


@pytest.mark.parametrize("blocks", [IMAGE_BYTES // 2048, IMAGE_BYTES // 1024])
def test_file_system_in_the_way(stack, blocks):
    """One that ends before the metadata may stay (drbdmeta says so too), a larger one may not."""
    path = stack.image("f0.raw")
    with open(path, "r+b") as image:  # what ext4 writes: its magic, and a size
        image.seek(1024)
        superblock = bytearray(1024)
        struct.pack_into("<II", superblock, 0, 16384, blocks)
        struct.pack_into("<I", superblock, 24, 0)
        struct.pack_into("<H", superblock, 56, 0xEF53)
        image.write(superblock)
    stack.file("f0", path)
    stack.drbd(attach=False)
    if blocks * 1024 < IMAGE_BYTES:
        stack.run("drbd-create-md", node_name="drbd0")
        return
    with pytest.raises(OperationFailed, match="file system of 67108864 bytes.*shrink it"):
        stack.run("drbd-create-md", node_name="drbd0")
    refused = qdrbdmeta("create-md", path, check=False)
    assert refused.returncode != 0


def test_refuses_while_attached(stack):
    stack.ready()
    with pytest.raises(QmpError, match="detach"):
        stack.run("drbd-create-md", node_name="drbd0")


def test_metadata_device_too_small(stack):
    stack.file("f0", size=4096 * MIB)
    stack.file("m0", size=64 * 1024)
    stack.drbd(metadata="m0", attach=False)
    with pytest.raises((OperationFailed, QmpError), match="(?i)small|room|need"):
        stack.run("drbd-create-md", node_name="drbd0")


def test_image_too_small(stack):
    stack.file("f0", size=32 * 1024)
    stack.drbd(attach=False)
    with pytest.raises((OperationFailed, QmpError), match="(?i)small|room|need"):
        stack.run("drbd-create-md", node_name="drbd0")


def test_no_metadata_at_open(stack):
    stack.file("f0")
    with pytest.raises(QmpError, match="create-md"):
        stack.drbd()
    stack.drbd(attach=False)  # the failed open left nothing behind


def test_index_needs_a_metadata_device(stack):
    stack.file("f0")
    with pytest.raises(QmpError, match="metadata"):
        stack.drbd(metadata_index=0)


def test_nested_node_definition(stack):
    """`file` and `metadata` may be given in place, as with every driver."""
    image = make_image(stack.workspace / "n.raw", IMAGE_BYTES)
    metadata = make_image(stack.workspace / "nm.raw", MIB)
    qdrbdmeta("--force", "--meta", "external", "create-md", metadata)
    stack.daemon.blockdev_add(drbd_node("drbd0", {"driver": "file", "filename": image},
                                        metadata={"driver": "file", "filename": metadata}))
    stack.primary(force=True)
    write_and_verify(stack)


@pytest.mark.parametrize("where", ["image", "metadata"])
@pytest.mark.parametrize("force", [False, True])
def test_a_container_opened_as_raw_is_refused(stack, where, force):
    """Nobody means to write metadata into the middle of a qcow2 file."""
    path = stack.image("container.qcow2", fmt="qcow2")
    before = path.read_bytes()
    if where == "image":
        stack.file("f0", path)
        stack.drbd(attach=False)
    else:
        stack.file("f0")
        stack.file("m0", path)
        stack.drbd(attach=False, metadata="m0")
    with pytest.raises((OperationFailed, QmpError), match="container|too small"):
        stack.run("drbd-create-md", node_name="drbd0", force=force)
    assert path.read_bytes() == before


def test_one_slot_is_not_shared_by_two_nodes_over_one_file(stack):
    metadata = stack.image("m.raw", 256 * MIB)
    link = stack.workspace / "link.raw"
    link.symlink_to(metadata)
    stack.file("m0", metadata)
    stack.file("m1", link)
    for index in (0, 1):
        stack.file(f"f{index}")
        stack.daemon.object_add({"qom-type": "drbd-resource", "id": f"i{index}"})
    stack.fresh("drbd0", "f0", resource="i0", metadata="m0", metadata_index=0)
    with pytest.raises(QmpError, match="metadata-index 0.*is used by"):
        stack.drbd("drbd1", "f1", resource="i1", metadata="m1", metadata_index=0, attach=False)


@pytest.mark.parametrize("placement", ["internal", "external"])
def test_unknown_data_is_not_overwritten_without_force(stack, placement):
    """Nobody recognises it, but it is somebody's."""
    text = b"do not lose me " * 1000
    path = stack.file("f0")
    options = {}
    if placement == "external":
        path = stack.file("m0", size=MIB)
        options["metadata"] = "m0"
    with open(path, "r+b") as image:
        image.seek(*((-len(text), 2) if placement == "internal" else (36 * 1024, 0)))
        image.write(text)
    before = open(path, "rb").read()
    stack.drbd(attach=False, **options)
    with pytest.raises(OperationFailed, match="unknown data.*force"):
        stack.run("drbd-create-md", node_name="drbd0")
    assert open(path, "rb").read() == before
    stack.run("drbd-create-md", node_name="drbd0", force=True)
    stack.run("drbd-attach", node_name="drbd0")


def test_the_bitmap_has_its_space(stack):
    """A sparse bitmap would meet a full file system when the guest needs it."""
    path = stack.image("sparse.raw", 64 << 30)
    qdrbdmeta("--force", "create-md", path)
    assert path.stat().st_blocks * 512 >= 2 * MIB
