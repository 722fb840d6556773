# SPDX-License-Identifier: GPL-2.0-or-later
"""create-md and wipe-md leave the same bytes as drbdmeta's, for sizes from
some KiB to 16 TiB, in every placement, with every kind of log."""
import pytest
from tools import GIB, KIB, MIB, TIB, drbdmeta, qdrbdmeta, read_superblock

from blockdrbd.images import compare_images

SIZES = [300 * KIB, MIB, MIB + 512, MIB + 4095 // 512 * 512, 3 * MIB, 16 * MIB, 64 * MIB,
         100 * MIB + 1024, 127 * MIB, 128 * MIB - 512, 128 * MIB, 129 * MIB, 300 * MIB, 500 * MIB + 512,
         GIB - 4096, GIB, GIB + 4096, 2 * GIB + 3584, 10 * GIB, 40 * GIB, 100 * GIB + 7 * 512,
         128 * GIB - 4096, 256 * GIB, 500 * 10**9, TIB - 512, TIB, 2 * TIB, 4 * TIB + 512, 8 * TIB,
         16 * TIB - 8192, 16 * TIB]
EXTERNAL_SIZES = [128 * KIB, 300 * KIB, MIB, MIB + 512, MIB + 3584, 33 * MIB, 128 * MIB, 256 * MIB + 512, GIB]
INDEXED = [(128 * MIB, "0"), (129 * MIB, "0"), (384 * MIB, "0"), (384 * MIB, "1"), (384 * MIB, "2"),
           (10 * 128 * MIB + 512, "9"), (256 * 128 * MIB, "255")]

CREATED = "initializing activity log\nWriting meta data...\nNew drbd meta data block successfully created.\n"


@pytest.mark.parametrize("size", SIZES)
def test_internal(pair, size):
    assert pair(size).both("create-md").stdout == CREATED


@pytest.mark.parametrize("size", [MIB, GIB, 16 * TIB])
def test_flex_internal_is_internal(pair, size):
    pair(size, "flex-internal").both("create-md")


@pytest.mark.parametrize("size", EXTERNAL_SIZES)
def test_flexible_external(pair, size):
    pair(size, "flex-external").both("create-md")


@pytest.mark.parametrize("size, index", INDEXED)
def test_indexed_external(pair, size, index):
    pair(size, index).both("create-md")


@pytest.mark.parametrize("placement", ["internal", "flex-external"])
@pytest.mark.parametrize("stripes, kilobytes", [(1, 32), (2, 64), (4, 32), (3, 30), (8, 4), (5, 28), (1, 1024),
                                                (16, 256)])
def test_striped_log(pair, placement, stripes, kilobytes):
    pair(300 * MIB, placement).both("create-md", "--al-stripes", stripes, "--al-stripe-size-kB", kilobytes)


@pytest.mark.parametrize("placement", ["internal", "flex-external", "1"])
def test_peer_max_bio_size(pair, placement):
    pair(300 * MIB, placement).both("create-md", "--peer-max-bio-size", "131072")


@pytest.mark.parametrize("placement", ["internal", "flex-external", "0"])
def test_again_and_over_the_other_tools(pair, placement):
    images = pair(200 * MIB, placement)
    images.both("create-md")
    images.both("write-dev-uuid", "00000000DEADBEEF")
    images.crossed("create-md")
    images.crossed("wipe-md")
    images.both("wipe-md")
    images.both("create-md")


@pytest.mark.parametrize("size, placement", [(0, "internal"), (4096, "internal"), (32 * KIB, "internal"),
                                             (4096, "flex-external"), (36 * KIB, "flex-external"),
                                             (128 * MIB - 512, "0"), (255 * MIB, "1"), (MIB, "5")])
def test_device_too_small(pair, size, placement):
    """Nothing is written, and the text says what is missing."""
    images = pair(size, placement)
    ours = qdrbdmeta(images.ours, placement, "create-md")
    assert ours.returncode == 10
    assert "too small" in ours.stderr or "no slot" in ours.stderr
    assert not compare_images(images.ours, images.judge)


@pytest.mark.parametrize("options", [("--al-stripes", "0"), ("--al-stripe-size-kB", "3"),
                                     ("--al-stripes", "2", "--al-stripe-size-kB", "12"),
                                     ("--al-stripes", "70000", "--al-stripe-size-kB", "4000000"),
                                     ("--al-stripes", "many")])
def test_impossible_logs(pair, options):
    images = pair(GIB)
    ours = qdrbdmeta(images.ours, "internal", "create-md", *options)
    assert ours.returncode == 10 and ours.stderr
    assert not compare_images(images.ours, images.judge)


def test_indexed_log_has_one_shape(pair):
    images = pair(GIB)
    ours = qdrbdmeta(images.ours, "1", "create-md", "--al-stripes", "4")
    assert ours.returncode == 10 and "fixed activity log" in ours.stderr


def test_wipes_fixed_internal_metadata_of_v07(pair):
    """What DRBD 0.7 left 128 MiB before the end would be found again later."""
    images = pair(GIB)
    from tools import run, system_program
    made = run([system_program("drbdmeta", "drbd-utils"), "--force", "-", "v07", images.ours, "internal",
                "create-md"])
    assert made.returncode == 0
    position = GIB - 128 * MIB
    with open(images.ours, "rb") as image:
        image.seek(position + 28)
        assert image.read(4).hex() == "8374026a"
    refused = qdrbdmeta(images.ours, "internal", "create-md", force=False)
    assert refused.returncode == 1
    assert "v07" in refused.stderr and str(position) in refused.stderr and "drbdmeta" in refused.stderr
    assert qdrbdmeta(images.ours, "internal", "create-md").returncode == 0
    with open(images.ours, "rb") as image:
        image.seek(position)
        assert not any(image.read(4096))
    assert drbdmeta(images.ours, "internal", "get-gi").stdout == qdrbdmeta(images.ours, "internal", "get-gi").stdout


def test_indexed_slots_leave_each_other_alone(pair):
    images = pair(384 * MIB, "0")
    for index in ("2", "0", "1"):
        images.placement = index
        images.both("create-md")
        images.both("set-gi", f"{index}{index}AA:::")
    for index in ("0", "1", "2"):
        assert read_superblock(images.ours, index).current == int(f"{index}{index}AA", 16)
