# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at every single write of a command, whole and torn: what is left can
be told from good metadata or is good, nothing that was marked is lost, and the
same command run again gives what an undisturbed run gives."""
import os
import pathlib
import signal
import subprocess

import pytest
from rings import Ring
from tools import MIB, change_superblock, qdrbdmeta, read_superblock, superblock_offset

from blockdrbd.images import allocated, compare_images, make_image
from blockdrbd.metadata import Metadata
from blockdrbd.paths import system_program

SIZE = 64 * MIB
HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    library = tmp_path_factory.mktemp("interrupt") / "interrupt.so"
    subprocess.run([system_program("cc", "gcc"), "-shared", "-fPIC", "-Wall", "-O1", "-o", library,
                    HERE / "interrupt.c", "-ldl"], check=True)
    return str(library)


def copy_sparse(source, target):
    size = os.path.getsize(source)
    with open(source, "rb") as old, open(make_image(target, size), "r+b") as new:
        for begin, end in allocated(old.fileno(), size):
            os.pwrite(new.fileno(), os.pread(old.fileno(), end - begin, begin), begin)


class Interrupted:
    """Runs a command to each of its points of interruption."""

    def __init__(self, preload, folder, original, words):
        self.folder, self.original, self.words = folder, original, words
        self.env = {**os.environ, "LD_PRELOAD": preload}
        self.undisturbed = str(folder / "undisturbed.img")
        copy_sparse(original, self.undisturbed)
        count = folder / "count"
        done = qdrbdmeta(self.undisturbed, "internal", *words, env={**self.env, "INTERRUPT_COUNT": str(count)})
        assert done.returncode == 0, done.stderr
        self.points = int(count.read_text())

    def states(self):
        for half in (False, True):
            for point in range(1, self.points + 1):
                path = str(self.folder / "state.img")
                copy_sparse(self.original, path)
                env = {**self.env, "INTERRUPT_AT": str(point), **({"INTERRUPT_HALF": "1"} if half else {})}
                died = qdrbdmeta(path, "internal", *self.words, env=env)
                assert died.returncode == -signal.SIGKILL
                yield f"{'half of ' if half else ''}write {point}", path

    def repeat(self, path, where):
        again = qdrbdmeta(path, "internal", *self.words)
        assert again.returncode == 0, (where, again.stderr)
        assert not compare_images(path, self.undisturbed), where


def crashed_disk(path, flags=0x13, transactions=(((0, 5),), ((0, 6), (1, 7)))):
    make_image(path, SIZE)
    assert qdrbdmeta(path, "internal", "create-md").returncode == 0
    change_superblock(path, "internal", la_size_sect=130992, flags=flags, magic=0x8374026C)
    ring = Ring(first_number=3)
    for updates in transactions:
        ring.write(list(updates))
    ring.store(path, superblock_offset(SIZE, "internal") - 64 * 512)
    return str(path)


def test_create_md(preload, workspace):
    original = make_image(workspace / "original.img", SIZE)
    interrupted = Interrupted(preload, workspace, original, ("create-md",))
    assert interrupted.points >= 15
    for where, path in interrupted.states():
        if qdrbdmeta(path, "internal", "get-gi").returncode == 0:
            assert not compare_images(path, interrupted.undisturbed), where
        interrupted.repeat(path, where)


def test_create_md_over_old_metadata(preload, workspace):
    """At no point does an old superblock stand over a new log or bitmap."""
    original = crashed_disk(workspace / "original.img")
    interrupted = Interrupted(preload, workspace, original, ("create-md",))
    for where, path in interrupted.states():
        if qdrbdmeta(path, "internal", "get-gi").returncode == 0:
            assert not compare_images(path, original) or not compare_images(path, interrupted.undisturbed), where
        interrupted.repeat(path, where)


@pytest.mark.parametrize("transactions", [(((0, 5),),), (((0, 5),), ((0, 6), (1, 7))),
                                          tuple(((index, index),) for index in range(12))])
def test_apply_al(preload, workspace, transactions):
    original = crashed_disk(workspace / "original.img", transactions=transactions)
    interrupted = Interrupted(preload, workspace, original, ("apply-al",))
    expected = Metadata(interrupted.undisturbed, internal=True).out_of_sync_blocks()
    assert expected
    for where, path in interrupted.states():
        metadata = Metadata(path, internal=True)
        superblock = metadata.superblock()
        if superblock.magic == 0x8374026B and superblock.flags & 0x80:
            assert metadata.out_of_sync_blocks() == expected, where
        else:
            left = {block for extent in metadata.active_extents() for block in
                    range(extent * 1024, (extent + 1) * 1024)} | metadata.out_of_sync_blocks()
            assert expected <= left, where
        interrupted.repeat(path, where)


def test_restore_md(preload, workspace):
    original = crashed_disk(workspace / "original.img")
    dumped = str(workspace / "dumped.img")
    copy_sparse(original, dumped)
    qdrbdmeta(dumped, "internal", "apply-al")
    (workspace / "dump").write_text(qdrbdmeta(dumped, "internal", "dump-md").stdout)
    interrupted = Interrupted(preload, workspace, original, ("restore-md", str(workspace / "dump")))
    for where, path in interrupted.states():
        if qdrbdmeta(path, "internal", "get-gi").returncode == 0:
            assert not compare_images(path, original) or not compare_images(path, interrupted.undisturbed), where
        interrupted.repeat(path, where)


@pytest.mark.parametrize("words", [("outdate",), ("invalidate",), ("set-gi", "ABCD:::"), ("wipe-md",)],
                         ids=lambda words: words[0])
def test_superblock_alone(preload, workspace, words):
    original = crashed_disk(workspace / "original.img", flags=0x91)
    interrupted = Interrupted(preload, workspace, original, words)
    for where, path in interrupted.states():
        assert not compare_images(path, original) or not compare_images(path, interrupted.undisturbed), where
        interrupted.repeat(path, where)


@pytest.mark.parametrize("grown", [4096, 40960, MIB, 64 * MIB])
def test_check_resize(preload, workspace, grown):
    """Either the old metadata is still there, or new metadata covers every bit."""
    original = crashed_disk(workspace / "original.img")
    marked = crashed_disk(workspace / "marked.img")
    qdrbdmeta(marked, "internal", "apply-al")
    expected = Metadata(marked, internal=True).out_of_sync_blocks()
    os.truncate(original, SIZE + grown)
    words = ("check-resize", "--old-size", str(SIZE))
    interrupted = Interrupted(preload, workspace, original, words)
    for where, path in interrupted.states():
        if qdrbdmeta(path, "internal", "get-gi").returncode == 0:
            superblock = read_superblock(path, "internal")
            assert superblock.flags & 0x08 or Metadata(path, internal=True).out_of_sync_blocks() == expected, where
        else:
            again = qdrbdmeta(path, "internal", *words)
            assert again.returncode == 0, (where, again.stderr)
            assert Metadata(path, internal=True).out_of_sync_blocks() == expected, where
