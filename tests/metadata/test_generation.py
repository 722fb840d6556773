# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs on identifiers and flags: same output, same status, same bytes."""
import itertools

import pytest
from tools import GIB, MIB, change_superblock, qdrbdmeta, read_superblock

PLACEMENTS = ["internal", "flex-external", "1"]
VALUES = ["ABCD:1:2:3:", "1:::", ":::5:", "A20AAB9533848D93:0:0:0:1:1:1:1:0:0:0", "::::1:1", "::::1:1:0:0:0:1:0",
          "::::::1", "FFFFFFFFFFFFFFFF:FFFFFFFFFFFFFFFF:FFFFFFFFFFFFFFFF:FFFFFFFFFFFFFFFF:1:1:1:1:1:1:1"]


@pytest.fixture(params=PLACEMENTS)
def created(request, pair):
    images = pair(300 * MIB, request.param)
    images.both("create-md")
    return images


def test_new_metadata(created):
    for verb in ("get-gi", "show-gi", "dstate", "read-dev-uuid"):
        created.both(verb)
        created.crossed(verb)


@pytest.mark.parametrize("value", VALUES)
def test_set_gi(created, value):
    created.both("set-gi", value)
    for verb in ("get-gi", "show-gi", "dstate"):
        created.crossed(verb)


def test_outdate_invalidate_dstate(created):
    assert created.both("outdate").returncode == 5
    for value in ("::::1:1", "::::1:1:0:0:0:1", "::::1:0", "::::0:1"):
        for verb in ("outdate", "invalidate"):
            created.both("set-gi", value)
            created.both("dstate")
            created.both(verb)
            created.both("dstate")
            created.crossed("show-gi")


def test_device_uuid(created):
    created.both("write-dev-uuid", "0123456789ABCDEF")
    created.crossed("read-dev-uuid")


@pytest.mark.parametrize("flags", list(itertools.product("01", repeat=7)), ids="".join)
def test_every_combination_of_flags(pair, flags):
    images = pair(MIB)
    images.both("create-md")
    images.both("set-gi", "::::" + ":".join(flags))
    for verb in ("show-gi", "get-gi", "dstate"):
        images.both(verb)


@pytest.mark.parametrize("sectors", [1, 8, 2047, 2049, 19998, 19999, 20000, 20480, 2000000, 20000000, 200000000,
                                     2147483648, 4294967296, 8587575296])
def test_sizes_as_people_read_them(pair, sectors):
    images = pair(GIB, "0")
    images.both("create-md")
    images.each(change_superblock, la_size_sect=sectors, la_peer_max_bio_size=1048576)
    images.both("show-gi")


def test_zero_stripes_of_old_versions(pair):
    images = pair(64 * MIB)
    images.both("create-md")
    images.each(change_superblock, al_stripes=0, al_stripe_size_4k=0)
    for verb in ("show-gi", "get-gi"):
        images.both(verb)
    images.both("set-gi", "::::1:1")
    assert read_superblock(images.ours, "internal").al_stripe_size_4k == 8


@pytest.mark.parametrize("value", ["zz", "1:2:3:4:2", "1:2:3:4:1:1:1:1:1:1:1:1", "12345678901234567:::", "1:2:3:4:x"])
def test_set_gi_refuses_nonsense(pair, value):
    images = pair(MIB)
    images.both("create-md")
    ours = qdrbdmeta(images.ours, "internal", "set-gi", value)
    assert ours.returncode == 10 and ours.stderr
    images.assert_same()


@pytest.mark.parametrize("verb", ["get-gi", "show-gi", "dstate", "dump-md", "outdate", "invalidate", "apply-al",
                                  "read-dev-uuid", "wipe-md"])
def test_without_metadata(pair, verb):
    images = pair(MIB)
    images.both(verb)


@pytest.mark.parametrize("verb, value", [("outdate", None), ("invalidate", None), ("set-gi", "1:::")])
def test_other_fields_survive(pair, verb, value):
    images = pair(GIB)
    images.both("create-md", "--al-stripes", "4", "--al-stripe-size-kB", "64")
    images.each(change_superblock, flags=0x193, magic=0x8374026C, al_nr_extents=1237, la_size_sect=123456,
                device_uuid=0x42, la_peer_max_bio_size=65536, history1=0x77)
    images.both(verb, *([value] if value else []))
    after = read_superblock(images.ours, "internal")
    assert (after.al_nr_extents, after.la_size_sect, after.device_uuid, after.history1) == (1237, 123456, 0x42, 0x77)
