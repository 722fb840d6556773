# SPDX-License-Identifier: GPL-2.0-or-later
"""What is on the disk after the end: clean after quit, SIGTERM and
blockdev-del; after kill -9 a replay that covers all that was in flight."""

import random
import shutil
import subprocess

import nbd
import pytest

from blockdrbd import Metadata
from blockdrbd.metadata import (AL_CLEAN, CONSISTENT, CRASHED_PRIMARY, EXTENT, MAGIC_CLEAN,
                                MAGIC_UNCLEAN, PRIMARY_IND, WAS_UP_TO_DATE)
from stack import BLOCK, MIB, Stack, pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon


def drbdmeta_dump(path) -> subprocess.CompletedProcess:
    """The distribution's own tool on the same file (Debian package drbd-utils)."""
    tool = shutil.which("drbdmeta", path="/usr/sbin:/sbin:/usr/bin")
    if tool is None:
        return subprocess.CompletedProcess([], 0, "")
    return subprocess.run([tool, "--force", "-", "v08", str(path), "internal", "dump-md"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def assert_clean(path, was_primary=True, crashed=False):
    superblock = Metadata(str(path), True).superblock()
    assert superblock.magic == MAGIC_CLEAN
    assert superblock.flags & AL_CLEAN
    assert not superblock.flags & PRIMARY_IND
    # Stays until a resync has shown the peer what the crash left.
    assert bool(superblock.flags & CRASHED_PRIMARY) == crashed
    if was_primary:
        assert superblock.flags & CONSISTENT and superblock.flags & WAS_UP_TO_DATE
    assert "This_is_an_unclean_meta_data_dump" not in qdrbdmeta("dump-md", path).stdout
    kernel_tool = drbdmeta_dump(path)
    assert kernel_tool.returncode == 0, kernel_tool.stdout
    assert "unclean" not in kernel_tool.stdout.lower(), kernel_tool.stdout


def write_some(stack, count=50):
    guest = stack.guest()
    rng = random.Random(7)
    written = {}
    for number in range(count):
        offset = rng.randrange(guest.size // BLOCK) * BLOCK
        guest.pwrite(pattern(number), offset)
        written[offset] = pattern(number)
    return guest, written


@pytest.mark.parametrize("way", ["quit", "SIGTERM", "blockdev-del", "demote and detach"])
def test_orderly_end_leaves_clean_metadata(stack, way):
    path = stack.ready()
    _, written = write_some(stack)
    stack.unexport()
    if way == "quit":
        assert stack.daemon.quit() == 0
    elif way == "SIGTERM":
        stack.daemon.process.terminate()
        assert stack.daemon.wait_exit(30) in (0, -15)
    elif way == "blockdev-del":
        stack.daemon.blockdev_del("drbd0")
    else:
        stack.secondary()
        stack.run("drbd-detach", node_name="drbd0")
    assert_clean(path)
    assert written.keys() <= {block * BLOCK for block in Metadata(str(path), True).out_of_sync_blocks()}


@pytest.mark.parametrize("way", ["quit", "SIGTERM"])
def test_orderly_end_with_a_guest_connected(stack, way):
    path = stack.ready()
    write_some(stack)
    if way == "quit":
        stack.daemon.quit()
    else:
        stack.daemon.process.terminate()
        stack.daemon.wait_exit(30)
    assert_clean(path)


def test_secondary_leaves_clean_metadata(stack):
    path = stack.file()
    stack.fresh()
    stack.daemon.quit()
    assert_clean(path, was_primary=False)


def test_attached_metadata_is_unclean(stack):
    """While a Primary runs, the disk says so: that is what a crash leaves."""
    path = stack.ready()
    stack.guest().pwrite(pattern(1), 0)
    superblock = Metadata(str(path), True).superblock()
    assert superblock.magic == MAGIC_UNCLEAN or not superblock.flags & AL_CLEAN
    assert superblock.flags & PRIMARY_IND


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_kill_and_replay(workspace, fmt):
    """kill -9 at depth 32, then attach: the bits are a superset of what was written, and nothing
    is lost: of the first half after a flush, of a raw image whatever was acknowledged (the host lives)."""
    with Stack(workspace) as stack:
        add = stack.file if fmt == "raw" else stack.qcow2
        path = add("f0")
        stack.fresh(al_extents=67)
        stack.primary(force=True)
        guest = stack.guest()
        rng = random.Random(11)
        begun, done = [], {}
        half = guest.size // BLOCK // 2
        for number in range(400):
            if number == 200:
                guest.drain()
                guest.flush()
                flushed = dict(done)
            offset = (rng.randrange(half) + (half if number >= 200 else 0)) * BLOCK
            begun.append(offset)

            def finished(error, offset=offset, number=number):
                if not error:
                    done[offset] = number
                else:
                    done.pop(offset, None)
            guest.submit("write", offset, pattern(number), done=finished)
            if guest.in_flight >= 32:
                guest.poll(1)
        stack.daemon.kill()
        try:
            guest.drain()
        except (nbd.Error, TimeoutError):
            pass
        stack._guests.clear()
    if fmt == "raw":
        assert Metadata(str(path), True).superblock().flags & PRIMARY_IND
    with Stack(workspace, name="second") as stack:
        (stack.file if fmt == "raw" else stack.qcow2)("f0", path)
        stack.drbd()
        entry = stack.volume()
        assert entry["disk"] == "UpToDate"
        assert entry["out-of-sync"] >= len(set(done)) * BLOCK
        stack.primary()
        guest = stack.guest()
        for offset, number in (done if fmt == "raw" else flushed).items():
            if begun.count(offset) == 1:
                assert guest.pread(BLOCK, offset) == pattern(number)
        stack.daemon.quit()
    if fmt == "raw":
        marked = {block * BLOCK for block in Metadata(str(path), True).out_of_sync_blocks()}
        assert set(done) <= marked
        assert_clean(path, crashed=True)


def test_replay_marks_the_hot_extents(workspace):
    with Stack(workspace) as stack:
        path = stack.ready()
        guest = stack.guest()
        for extent in (0, 3, 9):
            guest.pwrite(pattern(extent), extent * EXTENT)
        stack.daemon.kill()
        stack._guests.clear()
    assert {0, 3, 9} <= Metadata(str(path), True).active_extents()
    with Stack(workspace, name="second") as stack:
        stack.file("f0", path)
        stack.drbd()
        assert stack.volume()["out-of-sync"] >= 3 * EXTENT
        warnings = [event["data"]["message"] for event in stack.qmp.take_events("DRBD_WARNING")]
        assert any("Primary when it stopped" in text for text in warnings), warnings
        stack.daemon.quit()
    assert_clean(path, crashed=True)


def test_killed_twice_while_replaying(workspace):
    """A replay that is itself interrupted is repeated, and loses no bit."""
    with Stack(workspace) as stack:
        path = stack.ready()
        guest = stack.guest()
        guest.pwrite(pattern(1), 5 * EXTENT)
        stack.daemon.kill()
        stack._guests.clear()
    for attempt in range(4):
        with Stack(workspace, name=f"again{attempt}") as stack:
            stack.file("f0", path)
            stack.drbd(role="primary")
            assert stack.volume()["out-of-sync"] >= EXTENT
            guest = stack.guest()
            assert guest.pread(BLOCK, 5 * EXTENT) == pattern(1)
            guest.pwrite(pattern(2 + attempt), attempt * MIB)
            stack.daemon.kill()
            stack._guests.clear()


def test_killed_secondary_is_no_crashed_primary(workspace):
    with Stack(workspace) as stack:
        path = stack.ready()
        stack.guest().pwrite(pattern(1), 0)
        stack.unexport()
        stack.secondary()
        before = stack.volume()["out-of-sync"]
        stack.daemon.kill()
    assert not Metadata(str(path), True).superblock().flags & PRIMARY_IND
    with Stack(workspace, name="second") as stack:
        stack.file("f0", path)
        stack.drbd()
        assert stack.volume()["out-of-sync"] == before
