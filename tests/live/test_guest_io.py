# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest may do in each state, discards that read back zero, overlapping
writes, odd offsets, block status."""

import errno
import json
import random
import subprocess

import nbd
import pytest

from blockdrbd import QmpError, program
from blockdrbd.guest import FUA
from stack import BLOCK, IMAGE_BYTES, MIB, pattern

pytestmark = pytest.mark.storage_daemon


def refusal(call) -> int:
    with pytest.raises(nbd.Error) as caught:
        call()
    return caught.value.errnum


def test_secondary_refuses(stack):
    stack.ready(discard="unmap")  # or the block layer drops discards above the driver
    stack.secondary()
    guest = stack.guest()
    # NBD has no EROFS: QEMU's server sends EPERM for it.
    for call in (lambda: guest.pwrite(pattern(1), 0), lambda: guest.zero(BLOCK, 0),
                 lambda: guest.trim(BLOCK, 0), lambda: guest.pwrite(pattern(1), 0, fua=True)):
        assert refusal(call) in (errno.EPERM, errno.EROFS)
    assert refusal(lambda: guest.pread(BLOCK, 0)) == errno.EIO
    guest.flush()
    assert stack.volume()["out-of-sync"] == 0
    stack.unexport()
    stack.primary()
    stack.guest().pwrite(pattern(1), 0)


def test_diskless_refuses(stack):
    stack.ready()
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    guest = stack.guest()
    assert refusal(lambda: guest.pwrite(pattern(1), 0)) in (errno.EPERM, errno.EROFS, errno.EIO)
    assert refusal(lambda: guest.pread(BLOCK, 0)) == errno.EIO


@pytest.mark.parametrize("below", ["raw", "raw unmap", "qcow2", "qcow2 unmap"])
def test_discard_reads_back_zero(stack, below):
    """D16: whatever the image does with a discard, both copies must hold the same bytes."""
    options = {"discard": "unmap"} if "unmap" in below else {}
    if below.startswith("raw"):
        path = stack.file("f0", **options)
    else:
        path = stack.image("q.qcow2", fmt="qcow2")
        stack.daemon.blockdev_add({"driver": "qcow2", "node-name": "f0", **options, "file": {
            "driver": "file", "filename": str(path), **options}})
    stack.fresh(discard="unmap")
    stack.primary(force=True)
    guest = stack.guest()
    guest.pwrite(pattern(1, 4 * MIB), 0)
    guest.flush()
    before = path.stat().st_blocks
    for offset, length in ((MIB, MIB), (3 * MIB + 512, 1024), (3 * MIB + 64 * 1024, 64 * 1024)):
        guest.trim(length, offset)
        assert guest.pread(length, offset) == bytes(length)
    assert guest.pread(MIB, 0) == pattern(1, MIB)
    assert guest.pread(MIB, 2 * MIB) == pattern(1, MIB)
    guest.flush()
    if "unmap" in below:
        assert path.stat().st_blocks < before
    assert stack.volume()["out-of-sync"] >= 4 * MIB


@pytest.mark.parametrize("fua", [False, True])
def test_zeroes(stack, fua):
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1, 2 * MIB), 0)
    guest.zero(MIB, 512, fua=fua)
    expected = pattern(1, 2 * MIB)
    assert guest.pread(2 * MIB, 0) == expected[:512] + bytes(MIB) + expected[512 + MIB:]
    counters = stack.volume()["io"]
    assert counters["zeroes"] >= 1 and counters["zeroed-bytes"] >= MIB - BLOCK


def test_large_zeroes_and_discards(stack):
    """More than one request may cover: the block layer splits, the bits cover all of it."""
    stack.file("f0", size=1024 * MIB)
    stack.fresh(discard="unmap")
    stack.primary(force=True)
    guest = stack.guest()
    guest.zero(512 * MIB, 0)
    guest.trim(512 * MIB - 1 * MIB, 256 * MIB)
    assert stack.volume()["out-of-sync"] >= 767 * MIB
    assert guest.pread(BLOCK, 700 * MIB) == bytes(BLOCK)


def test_large_writes(stack):
    stack.ready()
    guest = stack.guest()
    data = random.Random(1).randbytes(16 * MIB)
    guest.pwrite(data, 3 * 512)
    assert guest.pread(16 * MIB, 3 * 512) == data
    assert stack.volume()["io"]["writes"] >= 16


@pytest.mark.parametrize("offset, length", [(0, 3), (511, 2), (1000, 5000), (MIB - 1, 2)])
def test_writes_smaller_than_a_sector(stack, offset, length):
    """The block layer reads, changes and writes sectors; the driver never sees less."""
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1, 2 * MIB), 0)
    guest.pwrite(b"\xaa" * length, offset)
    expected = bytearray(pattern(1, 2 * MIB))
    expected[offset:offset + length] = b"\xaa" * length
    assert guest.pread(2 * MIB, 0) == expected
    # A sector is what the driver asks for, so a sector is what it gets.
    nodes = {node["node-name"]: node for node in stack.qmp.command("query-named-block-nodes")}
    assert "drbd0" in nodes


def test_beyond_the_end(stack):
    path = stack.ready()
    guest = stack.guest()
    for call in (lambda: guest.pwrite(pattern(1), guest.size), lambda: guest.pread(BLOCK, guest.size - 512),
                 lambda: guest.zero(MIB, guest.size - 512), lambda: guest.trim(BLOCK, IMAGE_BYTES - BLOCK)):
        assert refusal(call) in (errno.EINVAL, errno.ENOSPC, errno.EIO)
    guest.pwrite(pattern(1), guest.size - BLOCK)
    assert path.stat().st_size == IMAGE_BYTES


def test_overlapping_writes_at_depth(stack):
    """Every sector holds the last acknowledged write or one that overlapped it; never a mixture
    inside one write that nothing overlapped."""
    stack.ready()
    guest = stack.guest()
    rng = random.Random(3)
    tags = {}
    for number in range(3000):
        offset = rng.randrange(64) * 512
        length = rng.choice((512, 1024, 4096, 8192))
        tags[number] = (offset, length)
        guest.submit("write", offset, bytes([number % 251]) * length)
        if guest.in_flight >= 64:
            guest.poll(1)
    guest.drain()
    entry = stack.volume()
    assert entry["io"]["overlaps-waited"] > 0
    assert entry["io"]["in-flight"] == 0
    data = guest.pread(64 * 512 + 8192, 0)
    for sector in range(0, 64 * 512, 512):
        assert len(set(data[sector:sector + 512])) == 1, f"torn sector at {sector}"
    # One write alone afterwards wins everywhere.
    guest.pwrite(b"\xfe" * MIB, 0)
    assert guest.pread(MIB, 0) == b"\xfe" * MIB


def test_two_connections_overlap(stack):
    stack.ready()
    first = stack.guest()
    second = stack.guest(export=False)
    for number in range(400):
        (first if number % 2 else second).submit("write", number % 3 * 1024, bytes([number % 251]) * 4096)
        while first.in_flight + second.in_flight > 40:
            first.poll(0.01)
            second.poll(0.01)
    first.drain()
    second.drain()
    assert first.pread(8192, 0) == second.pread(8192, 0)


def test_random_mixture_matches_a_model(stack):
    """Reads, writes, zeroes, discards, flushes and FUA in any order, against a model in memory."""
    stack.file("f0", discard="unmap")
    stack.fresh(discard="unmap", al_extents=67)
    stack.primary(force=True)
    guest = stack.guest()
    rng = random.Random(5)
    model = bytearray(guest.size)
    for number in range(1500):
        length = rng.randrange(1, 64) * 512
        offset = rng.randrange((guest.size - length) // 512) * 512
        kind = rng.choice(("write", "write", "write fua", "zero", "trim", "read", "flush"))
        if kind.startswith("write"):
            data = pattern(number, length)
            guest.pwrite(data, offset, fua="fua" in kind)
            model[offset:offset + length] = data
        elif kind in ("zero", "trim"):
            getattr(guest, kind)(length, offset)
            model[offset:offset + length] = bytes(length)
        elif kind == "read":
            assert guest.pread(length, offset) == model[offset:offset + length]
        else:
            guest.flush()
    assert guest.pread(32 * MIB, 0) == model[:32 * MIB]
    assert guest.pread(guest.size - 32 * MIB, 32 * MIB) == model[32 * MIB:]


def block_map(stack):
    """What the export says of its blocks; the same question any block job asks."""
    done = subprocess.run(
        [program("qemu-img"), "map", "--output=json", "--image-opts",
         f"driver=nbd,server.type=unix,server.path={stack.daemon._nbd_path},export=drbd0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_block_status_when_up_to_date(stack):
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1, MIB), 8 * MIB)
    rows = block_map(stack)
    assert any(row["zero"] for row in rows)
    data = [row for row in rows if row["data"] and not row["zero"]]
    assert any(row["start"] <= 8 * MIB and row["start"] + row["length"] >= 9 * MIB for row in data)
    assert sum(row["length"] for row in data) < 4 * MIB


def test_block_status_says_data_when_not_up_to_date(stack):
    """An Inconsistent image must not speak for the volume: a hole here may be data at the peer."""
    stack.file("f0")
    stack.fresh()
    stack.export()
    rows = block_map(stack)
    assert all(row["data"] and not row["zero"] for row in rows), rows


def test_fua_flag_over_nbd(stack):
    stack.ready()
    guest = stack.guest()
    assert guest._nbd.can_fua() and guest._nbd.can_flush() and guest._nbd.can_trim()
    guest._nbd.pwrite(pattern(1), 0, FUA)
    assert guest.pread(BLOCK, 0) == pattern(1)


def test_writable_export_of_a_read_only_node(stack):
    stack.file("f0")
    stack.drbd(attach=False, read_only=True)
    with pytest.raises(QmpError, match="(?i)read.only|writ"):
        stack.export()
