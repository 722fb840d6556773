# SPDX-License-Identifier: GPL-2.0-or-later
"""check-resize after a device grew: the metadata is at the new end, says the
same, and drbdmeta agrees; a device that did not grow is left alone."""
import os
import random

import pytest
from tools import GIB, MIB, TIB, Pair, change_superblock, drbdmeta, qdrbdmeta, read_superblock, superblock_offset

from blockdrbd.images import compare_images, make_image
from blockdrbd.metadata import Metadata


def used_disk(path, seed=1):
    """A disk with data, identifiers and a bitmap."""
    assert qdrbdmeta(path, "internal", "create-md").returncode == 0
    created = read_superblock(path, "internal")
    size = os.path.getsize(path)
    capacity = (size // 512 & ~7) - created.md_size_sect
    change_superblock(path, "internal", la_size_sect=capacity, current=0xABCD, flags=0x91)
    bits = random.Random(seed).randbytes(min(capacity // 64, 100000))
    with open(path, "r+b") as image:
        os.pwrite(image.fileno(), bits, superblock_offset(size, "internal") + created.bm_offset * 512)
        os.pwrite(image.fileno(), b"data" * 1000, capacity * 512 - 4000)


@pytest.mark.parametrize("options", [(), ("--old-size",)])
@pytest.mark.parametrize("old, new", [
    (300 * MIB, 300 * MIB + 4096), (300 * MIB, 300 * MIB + 36864), (300 * MIB, 300 * MIB + 65536),
    (300 * MIB, 301 * MIB), (300 * MIB, 600 * MIB), (300 * MIB, 10 * GIB), (GIB, 100 * GIB), (2 * GIB, TIB),
    (100 * GIB, 100 * GIB + 8192), (100 * GIB, 100 * GIB + MIB), (300 * MIB, 300 * MIB + 5 * 512 + 4096),
])
def test_grown(workspace, old, new, options):
    path = make_image(workspace / "disk.img", old)
    used_disk(path)
    metadata = Metadata(path, internal=True)
    before, bits, gi = metadata.superblock(), metadata.bitmap(), qdrbdmeta(path, "internal", "get-gi").stdout
    os.truncate(path, new)
    assert qdrbdmeta(path, "internal", "get-gi").returncode == 1
    assert qdrbdmeta(path, "internal", "check-resize", force=False).returncode == 1
    result = qdrbdmeta(path, "internal", "check-resize", *(word for option in options for word in (option, old)))
    assert result.returncode == 0, result.stderr
    assert qdrbdmeta(path, "internal", "get-gi").stdout == gi == drbdmeta(path, "internal", "get-gi").stdout
    after = metadata.superblock()
    assert (after.la_size_sect, after.flags) == (before.la_size_sect, before.flags)
    assert metadata.bitmap() == bits

    # The same place and shape as metadata that was made there.
    fresh = make_image(workspace / "fresh.img", new)
    qdrbdmeta(fresh, "internal", "create-md")
    made = read_superblock(fresh, "internal")
    assert (after.md_size_sect, after.al_offset, after.bm_offset) == (made.md_size_sect, made.al_offset, made.bm_offset)
    with open(path, "rb") as image:
        image.seek(before.la_size_sect * 512 - 4000)
        assert image.read(4000) == b"data" * 1000
    assert qdrbdmeta(path, "internal", "check-resize").returncode == 0


def test_not_grown(workspace):
    images = Pair.make(workspace, 300 * MIB, "internal")
    images.both("create-md")
    images.both("check-resize")


def test_external_has_nothing_to_move(workspace):
    images = Pair.make(workspace, 300 * MIB, "flex-external")
    images.both("create-md")
    assert qdrbdmeta(images.ours, "flex-external", "check-resize").returncode == 0
    images.assert_same()


def test_something_behind_the_old_end(workspace):
    """Not certain which block was the superblock: nothing is touched."""
    path = make_image(workspace / "disk.img", 300 * MIB)
    used_disk(path)
    os.truncate(path, 400 * MIB)
    with open(path, "r+b") as image:
        image.seek(350 * MIB)
        image.write(b"x")
    before = make_image(workspace / "before.img", 400 * MIB)
    os.system(f"cp --sparse=always {path} {before}")
    result = qdrbdmeta(path, "internal", "check-resize")
    assert result.returncode == 1
    assert not compare_images(path, before)
    assert qdrbdmeta(path, "internal", "check-resize", "--old-size", 300 * MIB).returncode == 0


def test_shrunk(workspace):
    path = make_image(workspace / "disk.img", 300 * MIB)
    used_disk(path)
    os.truncate(path, 200 * MIB)
    result = qdrbdmeta(path, "internal", "check-resize")
    assert result.returncode == 1 and "No valid meta data" in result.stderr
