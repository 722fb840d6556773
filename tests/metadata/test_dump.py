# SPDX-License-Identifier: GPL-2.0-or-later
"""dump-md and restore-md: the same text, and each tool reads the other's."""
import os
import random
import re

import pytest
from tools import (GIB, MIB, TIB, Pair, change_superblock, drbdmeta, normalised_dump, qdrbdmeta, read_superblock,
                   superblock_offset)

from blockdrbd.images import compare_images

FIELDS = {"current": 0x1234567890ABCDEF, "bitmap": 1, "history0": 2, "history1": 3, "flags": 0x93,
          "device_uuid": 7, "la_peer_max_bio_size": 1048576, "al_nr_extents": 1237}


def bitmap_offset(path, placement):
    return (superblock_offset(os.path.getsize(path), placement) + read_superblock(path, placement).bm_offset * 512)


def capacity(path, placement):
    superblock = read_superblock(path, placement)
    if placement == "internal":
        return (os.path.getsize(path) // 512 & ~7) - superblock.md_size_sect
    return (superblock.md_size_sect - superblock.bm_offset) * 32768


def filled_pair(pair, size, placement, pattern, *options):
    """Metadata of a used disk, with a bitmap of runs, lines and single bits."""
    images = pair(size, placement)
    images.both("create-md", *options)
    sectors = min(capacity(images.judge, placement), 8 * GIB // 512 - 5 if placement != "internal" else 1 << 60)
    images.each(change_superblock, la_size_sect=sectors, **FIELDS)
    for path in (images.judge, images.ours):
        with open(path, "r+b") as image:
            for position, data in pattern(sectors // 8 // 8):
                os.pwrite(image.fileno(), data, bitmap_offset(path, placement) + position)
    return images


def empty(_):
    return []


def runs(bitmap_bytes):
    chance = random.Random(bitmap_bytes)
    position = 0
    while position < bitmap_bytes:
        length = min(4 * chance.choice([1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 65, 128, 1000]), bitmap_bytes - position)
        word = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\0\0\0\x80"])
        yield position, (word * (length // 4 + 1))[:length]
        position += length


def noise(bitmap_bytes):
    yield 0, random.Random(5).randbytes(min(bitmap_bytes, 1 << 16))


def ends(bitmap_bytes):
    yield 0, b"\x01"
    yield bitmap_bytes - 1, b"\x80"
    for boundary in range(1 << 20, bitmap_bytes - 8, 1 << 20):
        yield boundary - 2, b"\xff\xff\xff\xff"


def dumps(images):
    judge = drbdmeta(images.judge, images.placement, "dump-md")
    ours = qdrbdmeta(images.ours, images.placement, "dump-md")
    assert judge.returncode == ours.returncode == 0, (judge.stderr, ours.stderr)
    return judge.stdout, ours.stdout


@pytest.mark.parametrize("placement", ["internal", "flex-external", "1"])
@pytest.mark.parametrize("pattern", [empty, runs, noise, ends])
@pytest.mark.parametrize("size", [MIB, 300 * MIB, 20 * GIB + 512])
def test_same_text_and_each_reads_the_others(pair, workspace, size, placement, pattern):
    if placement != "internal":
        size = 300 * MIB if placement == "1" else 4 * MIB
    images = filled_pair(pair, size, placement, pattern)
    judge, ours = dumps(images)
    assert normalised_dump(ours) == normalised_dump(judge)

    # Ours restores the judge's text, and the judge ours, to the same bytes.
    for name, text in (("judge.dump", judge), ("ours.dump", ours)):
        (workspace / name).write_text(text)
    for name in ("judge.dump", "ours.dump"):
        fresh = pair(size, placement)
        fresh.both("create-md")
        fresh.both("restore-md", str(workspace / name))
    change_superblock(fresh.ours, placement, al_nr_extents=1237)
    assert not compare_images(fresh.ours, images.ours)


@pytest.mark.parametrize("size", [TIB, 16 * TIB])
@pytest.mark.parametrize("pattern", [empty, ends])
def test_huge(pair, size, pattern):
    images = filled_pair(pair, size, "internal", pattern)
    judge, ours = dumps(images)
    assert normalised_dump(ours) == normalised_dump(judge)


@pytest.mark.parametrize("stripes, kilobytes", [(2, 64), (5, 28)])
def test_striped(pair, workspace, stripes, kilobytes):
    images = filled_pair(pair, 300 * MIB, "internal", runs, "--al-stripes", stripes, "--al-stripe-size-kB", kilobytes)
    judge, ours = dumps(images)
    assert normalised_dump(ours) == normalised_dump(judge)
    (workspace / "dump").write_text(ours)
    fresh = pair(300 * MIB)
    fresh.both("create-md", "--al-stripes", stripes, "--al-stripe-size-kB", kilobytes)
    fresh.both("restore-md", str(workspace / "dump"))

    # Over a log of another shape the judge leaves the new ring uninitialised.
    other = pair(300 * MIB)
    assert qdrbdmeta(other.ours, "internal", "create-md").returncode == 0
    assert qdrbdmeta(other.ours, "internal", "restore-md", str(workspace / "dump")).returncode == 0
    assert not compare_images(other.ours, fresh.judge)


def test_ours_keeps_the_flags(pair, workspace):
    images = filled_pair(pair, 300 * MIB, "internal", runs)
    (workspace / "dump").write_text(dumps(images)[1])
    fresh = pair(300 * MIB)
    assert qdrbdmeta(fresh.ours, "internal", "restore-md", str(workspace / "dump")).returncode == 0
    assert read_superblock(fresh.ours, "internal").flags == FIELDS["flags"]


def test_unclean_is_refused_or_marked(pair, workspace):
    images = filled_pair(pair, 300 * MIB, "internal", runs)
    images.each(change_superblock, magic=0x8374026C)
    refused = qdrbdmeta(images.ours, "internal", "dump-md", force=False)
    assert refused.returncode == 1 and not refused.stdout and "apply-al" in refused.stderr
    judge, ours = dumps(images)
    assert normalised_dump(ours) == normalised_dump(judge)
    (workspace / "dump").write_text(ours)
    for tool in (drbdmeta, qdrbdmeta):
        assert tool(images.ours, "internal", "restore-md", str(workspace / "dump")).returncode == 10


GOOD = """version "v08";
uuid { 0x1234567890ABCDEF; 0x0000000000000001; 0x0000000000000002; 0x0000000000000003; flags 0x00000093; }
la-size-sect 2097016; bm-byte-per-bit 4096; device-uuid 0x0000000000000007; la-peer-max-bio-size 1048576;
al-stripes 1; al-stripe-size-4k 8;
bm { 4090 times 0x0000000000000000; 0x00000000000000F0; 4 times 0xFFFFFFFFFFFFFFFF; 0x00007FFFFFFFFFFF; }
"""


def test_good_dump(pair, workspace):
    (workspace / "dump").write_text(GOOD)
    images = pair(GIB)
    images.both("create-md")
    images.both("restore-md", str(workspace / "dump"))
    assert qdrbdmeta(images.ours, "internal", "verify-dump", str(workspace / "dump")).stdout == "input file parsed ok\n"


@pytest.mark.parametrize("old, new, line, says", [
    ('"v08"', '"v07"', 1, "v07"), ('"v08"', '"v09"', 1, "v09"), ('"v08"', "v08", 1, "quotes"),
    ('"v08";', '"v08"', 2, "';' expected"), ("0x1234567890ABCDEF", "0x1234567890ABCDE", 2, "8 or 16 digits"),
    ("0x1234567890ABCDEF", "0x1234567890ABCDEG", 2, "no hexadecimal"), ("flags 0x00000093; ", "", 2, "'flags'"),
    ("bm-byte-per-bit 4096", "bm-byte-per-bit 8192", 4, "only 4096"), ("2097016", "99999999999999999999", 3, "digits"),
    ("2097016", "-1", 3, "decimal"), ("2097016", "9999999999999999999", 3, "out of range"),
    ("al-stripes 1", "al-stripes 0", 4, "zero"), ("al-stripes 1", "al-stripes 4000000000", 4, "4194304"),
    ("4090 times", "4089 times", 5, "words"), ("4090 times", "9999999999999999999 times", 5, "longer"),
    ("}\n", "", 5, "end of file"), ("bm {", "bm [", 5, "'{' expected"), ("bm {", "bm { {", 5, "expected"),
    ("F0;", 'F0; "text";', 5, "expected"), ("4 times 0xF", "4 times; 0xF", 5, "expected"), ("}\n", "} ;\n", 5, "end of file expected"), ("uuid", "uuid\0", 2, "0x00"),
    ("version", "version" * 20, 1, "too long"), ('"v08"', '"' + "v" * 50 + '"', 1, "longer than"),
])
def test_bad_dump(pair, workspace, old, new, line, says):
    """Refused with the line, and nothing is written."""
    assert old in GOOD
    text = GOOD[::-1].replace(old[::-1], new[::-1], 1)[::-1] if old == "}\n" else GOOD.replace(old, new, 1)
    (workspace / "dump").write_text(text)
    images = pair(GIB)
    images.both("create-md")
    for verb in ("verify-dump", "restore-md"):
        ours = qdrbdmeta(images.ours, "internal", verb, str(workspace / "dump"))
        assert ours.returncode == 10
        assert re.search(rf"line {line}:", ours.stderr) and says in ours.stderr, ours.stderr
    images.assert_same()


def test_truncated_anywhere(pair, workspace):
    images = pair(GIB)
    images.both("create-md")
    for length in range(0, len(GOOD.rstrip()) - 1, 11):
        (workspace / "dump").write_text(GOOD[:length])
        assert qdrbdmeta(images.ours, "internal", "restore-md", str(workspace / "dump")).returncode == 10
    images.assert_same()


def test_bits_past_the_end_are_dropped(pair, workspace):
    (workspace / "dump").write_text(GOOD.replace("0x00007FFFFFFFFFFF", "0xFFFFFFFFFFFFFFFF"))
    images = pair(GIB)
    assert qdrbdmeta(images.ours, "internal", "restore-md", str(workspace / "dump")).returncode == 0
    (workspace / "dump").write_text(GOOD)
    assert qdrbdmeta(images.judge, "internal", "restore-md", str(workspace / "dump")).returncode == 0
    images.assert_same()


def test_restore_to_a_smaller_device(pair, workspace):
    images = filled_pair(pair, 300 * MIB, "internal", lambda _: [(0, b"\x55" * 1000)])
    (workspace / "dump").write_text(dumps(images)[0])
    small = Pair.make(workspace, 200 * MIB, "internal")
    small.both("create-md")
    assert "truncated" in small.both("restore-md", str(workspace / "dump")).stdout
