# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest writes is on both disks: protocols, kinds of requests, sizes,
many at once, several volumes; and the counters say so."""

import random

import pytest

from blockdrbd import RecordingWriter
from stack import BLOCK, MIB, pattern

pytestmark = pytest.mark.storage_daemon


@pytest.mark.parametrize("protocol", ["A", "B", "C"])
def test_protocols(two, protocol):
    pair = two(options={"protocol": protocol}).ready()
    with RecordingWriter(pair.a.export(), "d0", depth=32) as writer:
        writer.progress(1500)
        journal = writer.stop()
    assert not writer.errors and writer.flushes > 10
    pair.a.guest().flush()
    pair.a.wait(lambda: pair.a.peer()["unacknowledged"] == 0, "everything acknowledged")
    pair.settle_equal()
    journal.judge_file(pair.b.images[0])


def test_every_kind_of_request(two):
    pair = two().ready()
    guest, chance = pair.a.guest(), random.Random(7)
    model = bytearray(guest.size)
    for number in range(400):
        length = chance.choice((512, 1024, 4096, 4608, 8192, 69632, 262144))
        offset = chance.randrange(0, (guest.size - length) // 512) * 512
        kind = chance.choice(("write", "fua", "zero", "trim", "flush"))
        if kind in ("write", "fua"):
            data = chance.randbytes(length)
            guest.pwrite(data, offset, fua=kind == "fua")
            model[offset:offset + length] = data
        elif kind == "zero":
            guest.zero(length, offset, fua=number % 3 == 0)
            model[offset:offset + length] = bytes(length)
        elif kind == "trim":
            guest.trim(length, offset)
            model[offset:offset + length] = bytes(length)
        else:
            guest.flush()
    for node in (pair.a, pair.b):
        with open(node.images[0], "rb") as image:
            assert image.read(len(model)) == model, f"image of {node.name}"
    pair.settle_equal()


def test_large_requests(two):
    pair = two().ready()
    guest, chance = pair.a.guest(), random.Random(3)
    for offset in range(0, 24 * MIB, 4 * MIB):
        guest.pwrite(chance.randbytes(4 * MIB - 512), offset)
    guest.zero(16 * MIB, 4 * MIB)
    guest.trim(3 * MIB, 22 * MIB)
    pair.settle_equal()


def test_overlapping_writes_of_one_guest(two):
    """Their order is undefined, but the same on both sides."""
    pair = two().ready()
    guest = pair.a.guest()
    for number in range(600):
        guest.submit("write", (number % 5) * 512, pattern(number, 4096))
        if guest.in_flight > 32:
            guest.poll()
    guest.drain()
    assert pair.a.volume()["io"]["overlaps-waited"] > 0
    pair.settle_equal()


def test_volumes_have_one_order(two):
    pair = two(volumes=2).ready()
    writers = [RecordingWriter(pair.a.export(v), f"d{v}", seed=v).start() for v in range(2)]
    for writer in writers:
        writer.progress(500)
    for volume, writer in enumerate(writers):
        writer.stop().judge_file(pair.b.images[volume])
        assert not writer.errors
    pair.settle_equal()


def test_integrity_algorithm(two):
    pair = two(options={"data-integrity-alg": "sha1"}).ready()
    with RecordingWriter(pair.a.export(), "d0") as writer:
        writer.progress(500)
        writer.stop()
    assert not writer.errors
    pair.settle_equal()
    for node in (pair.a, pair.b):
        assert node.peer()["times-lost"] == 0


def test_many_guests_many_threads(two):
    """QEMU calls one node from several threads; here several exports of one node."""
    pair = two(options={"protocol": "C"}).ready()
    path = pair.a.export()
    slices = [range(n * 1500, (n + 1) * 1500) for n in range(4)]
    writers = [RecordingWriter(path, "d0", seed=n, blocks=slices[n]).start() for n in range(4)]
    for writer in writers:
        writer.progress(300)
    for writer in writers:
        writer.stop().judge_file(pair.b.images[0])
        assert not writer.errors
    pair.settle_equal()


def test_reads_come_from_the_own_disk(two):
    pair = two().ready()
    guest = pair.a.guest()
    guest.pwrite(pattern(1), 0)
    assert guest.pread(BLOCK, 0) == pattern(1)
    assert pair.a.volume()["replication"]["remote-reads"] == 0


def test_reads_come_from_the_peer_when_the_disk_is_gone(two):
    """on-io-error=detach leaves a Primary that reads and writes over there."""
    pair = two().ready()
    guest = pair.a.guest()
    guest.pwrite(pattern(1), 0)
    pair.a.run("drbd-detach", node_name="d0", force=True)
    pair.a.wait_state("*", "Diskless", "UpToDate")
    assert guest.pread(BLOCK, 0) == pattern(1)
    guest.pwrite(pattern(2), BLOCK)
    guest.flush()
    assert guest.pread(BLOCK, BLOCK) == pattern(2)
    assert pair.a.volume()["replication"]["remote-reads"] >= 2
    pair.a.run("drbd-attach", node_name="d0")
    pair.settle_equal()
    with open(pair.a.images[0], "rb") as image:
        assert image.read(2 * BLOCK) == pattern(1) + pattern(2)


@pytest.mark.parametrize("offset, length", [(513, 1000), (1, 1), (4095, 2), (4096, MIB - 1)])
def test_a_trim_whose_ends_are_no_sectors(two, offset, length):
    """A hint: what cannot be discarded stays, and is no error."""
    pair = two().ready()
    guest = pair.a.guest()
    guest.pwrite(pattern(1) * (MIB // BLOCK), 0)
    guest.trim(length, offset)
    guest.flush()
    pair.settle_equal()
