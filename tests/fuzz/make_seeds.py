#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the fuzzers' first inputs from recordings that the repository has for other tests.

In:  the folder to fill. Read are tests/unit/core/wire/golden (streams of kernel nodes), tests/metadata/golden and
     tests/interop/recordings (the last 64 KiB of their disks).
Out: FOLDER/<fuzzer>/<name>, each in the form that the head of the fuzzer's source describes; the number of each.
     The same files every time.
"""
import gzip
import re
import struct
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
STREAMS = TESTS / "unit/core/wire/golden"
AREAS = [TESTS / "metadata/golden", TESTS / "interop/recordings"]
STREAM_MAX = 4000       # of a recording; the rest is mostly payload
BLOCK = 4096
MAGIC_SUPERBLOCK = (0x8374026B, 0x8374026C)
COMPRESSED_BITMAP, BITMAP = 0x24, 0x04
WITH_BULK = (0x00, 0x01, 0x02, 0x34)    # P_DATA, P_DATA_REPLY, P_RS_DATA_REPLY, P_WSAME
MULTIPLE_OF_BULK = 512


def streams():
    for line in (STREAMS / "corpus.txt").read_text(encoding="utf-8").splitlines():
        name, stream, begin, version, features, _packets = line.split()
        yield name, stream == "meta", begin, int(version), int(features, 16), (STREAMS / name).read_bytes()


def packets(data):
    """Command, volume and payload of each packet; headers by their magic."""
    at = 0
    while at + 8 <= len(data):
        magic = struct.unpack_from(">I", data, at)[0]
        volume = 0
        if magic == 0x8620EC20:
            _magic, volume, command, length, _pad = struct.unpack_from(">IHHII", data, at)
            at += 16
        elif magic == 0x83740267:
            _magic, command, length = struct.unpack_from(">IHH", data, at)
            at += 8
        else:
            _magic, command, length = struct.unpack_from(">HHI", data, at)
            at += 8
        yield command, volume, data[at:at + length]
        at += length


def areas():
    """Superblock and ring of each recorded disk."""
    for folder in AREAS:
        for path in sorted(folder.glob("*.bin.gz")):
            area = gzip.decompress(path.read_bytes())
            superblock = area[-BLOCK:]
            if struct.unpack_from(">I", superblock, 60)[0] not in MAGIC_SUPERBLOCK:
                continue
            al_offset = struct.unpack_from(">i", superblock, 68)[0] * 512
            ring = area[len(area) - BLOCK + al_offset:len(area) - BLOCK]
            yield path.name.removesuffix(".bin.gz"), superblock, ring, area


def wire_stream():
    begins = {"accepted": 1, "dialled": 2}
    for name, meta, begin, version, features, data in streams():
        head = bytes([begins[begin] << 1 | meta, version - 86, features, 255])
        yield name, head + data[:STREAM_MAX]


def wire_packet():
    seen = {}
    for name, _meta, _begin, version, features, data in streams():
        for command, volume, payload in packets(data):
            key = (command, version, len(payload) if command not in WITH_BULK else 0)
            if key in seen or len(payload) > STREAM_MAX and command not in WITH_BULK:
                continue
            seen[key] = True
            fixed = 28 if command == 0x34 else 24
            bulk = min(255, (len(payload) - fixed) // MULTIPLE_OF_BULK) if command in WITH_BULK else 0
            digest = (len(payload) - fixed) % MULTIPLE_OF_BULK if command in WITH_BULK else 0
            head = struct.pack(">BBHBBBB", version - 86, features, command, volume, digest, bulk, 0)
            yield f"{command:04x}-{version}-{len(seen)}", head + payload[:fixed + digest if bulk else None]


def wire_bitmap():
    for name, _meta, _begin, version, _features, data in streams():
        chunks = b""
        bits = 0
        for command, _volume, payload in packets(data):
            if command == COMPRESSED_BITMAP and len(payload) < 250:
                chunks += bytes([3, len(payload)]) + payload
            elif command == BITMAP and payload:
                chunks += bytes([0, 250]) + payload[:250]
                bits = max(bits, len(payload) * 8)
        if chunks:
            yield f"receive-{name}", bytes([version - 86, 2]) + struct.pack(">H", (bits or 16384) - 1) + bytes([0]) + chunks
    for name, _superblock, _ring, area in areas():
        bitmap = bytes(byte for byte in area[-BLOCK * 10:-BLOCK * 9])
        for flags in (0, 1):
            yield f"send-{flags}-{name}", bytes([15, flags, 0]) + bitmap


def superblock():
    for name, block, _ring, _area in areas():
        sectors = 131072 if "@" not in name else int(name.split("@")[1]) * 2048
        yield name, struct.pack(">BQBBH", 0, sectors << 32, 0, 1, 8) + block
    yield "flexible", struct.pack(">BQBBH", 0x0D, 131072 << 32, 1, 1, 8) + bytes(BLOCK)
    yield "indexed", struct.pack(">BQBBH", 0x0F, 1048576 << 32, 2 + 3, 1, 8) + bytes(BLOCK)


def activity_log():
    for name, block, ring, _area in areas():
        flags = struct.unpack_from(">I", block, 56)[0] & 0xFF
        extents = struct.unpack_from(">I", block, 72)[0] & 0xFFFF
        out = struct.pack(">BBH", 0, flags, extents)
        for at in range(0, len(ring), BLOCK):
            out += struct.pack(">BHH", 1, 0, BLOCK) + ring[at:at + BLOCK]
        yield name, out
    blocks = b"".join(struct.pack(">BIHHB", 4, number, 1236, 0, 1) + struct.pack(">HIB", 7, number, 0) for number in range(8))
    yield "encoded", struct.pack(">BBH", 1, 2, 257) + blocks
    yield "initialised", struct.pack(">BBH", 0, 2, 257) + bytes([5] * 8)
    sector = struct.pack(">BHH", 3, 0, 512) + struct.pack(">II", 0, 5) + bytes(range(248)) * 2 + bytes(8)
    yield "before-8.4", struct.pack(">BBH", 0, 2, 61) + sector * 2


def dump_text():
    for name, block, _ring, _area in areas():
        fields = struct.unpack_from(">7Q10I", block)
        uuids, flags, la_size = fields[1:5], fields[7], fields[0]
        words = (la_size // 8 + 63) // 64
        text = "version \"v08\";\n\n# a comment\nuuid {\n    " + " ".join(f"0x{uuid:016X};" for uuid in uuids)
        text += f"\n    flags 0x{flags | 0x80:08X};\n}}\nla-size-sect {la_size};\nbm-byte-per-bit 4096;\n"
        text += f"device-uuid 0x{fields[5]:016X};\nla-peer-max-bio-size {fields[14]};\nal-stripes 1;\nal-stripe-size-4k 8;\n"
        text += f"bm {{\n   # at 0kB\n    {words} times 0x0000000000000000;\n    0xFFFFFFFF00000001;\n}}\n# bits-set 0;\n"
        yield name, bytes([255]) + text.encode()


# ---- event sequences: the setup, then events (event_sequence.cc) ----

COMMAND, WRITE, ACT, NETWORK, CONNECT, SAY, ANSWER, GO_ON, SETTLE = 0, 1, 3, 9, 10, 11, 13, 14, 19
ATTACH, DETACH, PRIMARY, SECONDARY, START, STOP, INVALIDATE, OUTDATE, INVALIDATE_REMOTE, NEW_UUID, CREATE_MD, LEAVE = range(12)
DEADLINE, ADVANCE, ACCEPT, LOSE = 10, 11, 3, 8
SAME, OLDER, NEWER, FRESH = 0, 1, 2, 3
# In the order of the table of packets, which is that of their numbers (the handshake's last, not said here).
PACKETS = re.findall(r'"(P_[A-Z0-9_]+)"', (TESTS.parent / "block-drbd/core/wire/packet_numbers.cc").read_text(encoding="utf-8"))


def command(what, flag=0, volume=0):
    return bytes([COMMAND, what, volume, flag])


def request(kind=0, where=0, size=0, volume=0):
    return bytes([WRITE, volume, kind, where, size])


def advance(which):
    return bytes([NETWORK, ADVANCE, which])


def connect(kind, version=0, features=0, volumes=1):
    return bytes([CONNECT, version, features, 0] + [kind] * volumes)


def say(name, *details, where=1, size=0, block_id=0, volume=0):
    return bytes([SAY, PACKETS.index(name), volume, 0, where, size, block_id, *details, 0])


def go_on(*details):
    return bytes([GO_ON, 0, *details])


def begin(shape=0, more=0, by_itself=0, net=(3, 15), disks=((4, 3, 1, 0),)):
    """Everything happens by itself, the peer helps; disks as (shape, current, bitmap, history)."""
    return bytes([shape, more, by_itself, *net]) + b"".join(bytes(disk) for disk in disks)


def event_sequence():
    up = command(ATTACH) + command(START) + advance(4)
    io = request() + request(1) + request(2, 3) + request(3, 200, 129) + request(4) + request(0, 255, 3)
    cut = bytes([NETWORK, LOSE, 0, 0])
    yield "alone", begin() + command(ATTACH) + command(PRIMARY) + io + command(SECONDARY) + command(DETACH)
    yield "create", begin(disks=((0xF0, 0, 60, 0xFF, 0),)) + command(CREATE_MD, 1) + command(ATTACH) + command(PRIMARY, 1) + io
    for name, net in (("a", (1, 15)), ("b", (2, 15)), ("c", (3, 15)), ("no-features", (7, 0))):
        yield f"connected-{name}", begin(net=net) + up + connect(SAME) + command(PRIMARY) + io * 2 + advance(8) + cut + io
    for version in (0, 1, 2, 7, 11, 15):
        yield f"version-{version}", begin() + up + connect(SAME, version) + command(PRIMARY) + io + command(STOP)
    bitmap = go_on(6, 0, 1, 2, 0, 9, 3, 0, 40, 1)
    source = bitmap + go_on(0, 3, 1, 0, 1, 0, 1, 0, 1, 0) * 3 + bytes([ANSWER, 0, 0]) * 6 + advance(4)
    target = bitmap + go_on(11) + advance(4) * 3 + go_on(1, 1)
    for name, kind, disk, resync in (("source", OLDER, (4, 3, 0, 1), source), ("target", NEWER, (4, 3, 1, 0), target),
                                     ("fresh", FRESH, (0, 2), target), ("fresh-source", FRESH, (4, 3, 0, 1), source)):
        start = begin(disks=(disk,)) + up + connect(kind) + resync
        yield f"resync-{name}", start + command(PRIMARY) + io + resync
        yield f"resync-{name}-io", begin(disks=(disk,)) + up + command(PRIMARY) + connect(kind) + io + resync + io
        yield f"resync-{name}-cut", start + cut + advance(6) + connect(SAME) + resync
    yield "invalidate", begin() + up + connect(SAME) + command(INVALIDATE) + target + command(INVALIDATE_REMOTE) + source
    yield "diskless", begin() + up + connect(SAME) + command(PRIMARY) + io + command(DETACH, 1) + io + command(ATTACH) + go_on(0)
    yield "integrity", begin(more=1) + up + connect(SAME) + command(PRIMARY) + io
    yield "secret", begin(more=4) + up + connect(SAME) + command(PRIMARY) + io
    yield "two-volumes", begin(shape=1, disks=((4, 3, 1, 0),) * 2) + command(ATTACH) + command(ATTACH, 0, 1) + up + \
        connect(SAME, volumes=2) + command(PRIMARY) + io + request(volume=1) * 4 + command(DETACH, 1, 1)
    yield "small-pool", begin(shape=2) + command(ATTACH) + command(PRIMARY) + io * 3
    peer_writes = b"".join(say("P_DATA", 0, 0, where=where, block_id=128) for where in (1, 1, 2, 200)) + say("P_BARRIER")
    others = say("P_TRIM", 0, 64, block_id=128) + say("P_ZEROES", 4, 0, block_id=128) + say("P_DATA_REQUEST", where=2, block_id=130)
    yield "peer-writes", begin() + up + connect(SAME) + peer_writes * 3 + cut
    yield "peer-writes-much", begin(more=2) + up + connect(SAME) + (peer_writes + others) * 3 + say("P_OUT_OF_SYNC")
    for name, change in (("primary", (0, 1, 0, 0, 0, 0)), ("source", (1, 0, 11, 0, 0, 0)), ("target", (1, 0, 12, 0, 0, 0)),
                         ("outdated", (2, 0, 0, 5, 0, 0)), ("end", (1, 0, 1, 0, 0, 0)), ("end-outdated", (7, 0, 1, 0, 5, 0))):
        yield f"peer-asks-{name}", begin() + up + connect(SAME) + say("P_STATE_CHG_REQ", *change) + bitmap + source + cut
        yield f"peer-asks-all-{name}", begin() + up + connect(SAME) + say("P_CONN_ST_CHG_REQ", *change) + advance(5) + cut
    yield "shrink", begin(disks=((1, 0x80, 3),)) + up + connect(FRESH) + say("P_SIZES", 0, 0, where=216) + say("P_SIZES", 0, 0, where=200)
    yield "update", begin() + up + connect(SAME) + say("P_PROTOCOL_UPDATE", 1, 0) + command(PRIMARY) + io
    failing = bytes([18, 0]) + request() * 2 + bytes([ANSWER, 2, 0, ANSWER, 0, 0, ANSWER, 1, 0]) + request() + cut
    yield "negative", begin() + up + connect(SAME) + command(PRIMARY) + failing + advance(8) + connect(OLDER) + source
    no_space = bytes([17, 123]) + request(0, 200) + bytes([5, 0, 6, 0, 2, 0]) + bytes([17, 127]) + request(0, 210)
    yield "no-space", begin() + command(ATTACH) + command(PRIMARY) + no_space
    image_fails = bytes([17, 119]) + request() + request(1) + request(4) + bytes([4, 3, 0, 1, 3, 0, 1, 3, 0, 0]) + bytes([17, 127])
    for pass_on in (0, 128):
        yield f"image-fails-{pass_on}", begin(shape=pass_on) + up + connect(SAME) + command(PRIMARY) + image_fails * 2 + io
    peer_io_fails = bytes([17, 111]) + peer_writes + bytes([7, 8, 0, 1, 7, 8, 0, 0, 7, 8, 1, 1]) * 2 + bytes([17, 127])
    yield "peer-io-fails", begin() + up + connect(SAME) + peer_io_fails + cut
    refused = bytes([18, 0]) + bitmap + go_on(11) + advance(4) + bytes([ANSWER, 7, 0, ANSWER, 15, 0, ANSWER, 1, 0, ANSWER, 0, 0]) * 3
    yield "resync-target-refused", begin() + up + connect(NEWER) + refused + advance(4) * 2 + cut
    held = bytes([16, 0, 1]) + request() + request(1) + advance(8) + advance(9) + bytes([16, 0, 0])
    yield "drained", begin() + up + connect(SAME) + command(PRIMARY) + bytes([18, 0]) + held + command(STOP)
    yield "outdated", begin() + command(ATTACH) + command(OUTDATE) + command(START) + advance(4) + connect(NEWER) + target
    yield "alone-remote", begin() + command(ATTACH) + command(PRIMARY) + command(INVALIDATE_REMOTE) + io + up + connect(OLDER) + source
    for policy in (3, 67):
        for node in (4, 3, 0, 1), (4, 3, 4, 0):
            yield f"split-brain-{policy}-{node[2]}", begin(net=(policy, 15), disks=(node,)) + up + connect(4) + bytes([10, 8, 1, 1, 0, 0, 0])
    by_dial = command(ATTACH) + bytes([17, 126]) + command(START) + bytes([NETWORK, 0] * 2 + [NETWORK, 1, 0, 0]) + advance(4)
    yield "dials", begin() + (by_dial + bytes([NETWORK, 0, NETWORK, 1, 0, 3, NETWORK, DEADLINE])) * 3 + cut
    no_peer = command(PRIMARY) + command(DETACH, 1) + bytes([18, 0]) + request(1) * 3 + bytes([ANSWER, 3, 0, ANSWER, 0, 0])
    yield "reads-from-peer", begin() + up + connect(SAME) + no_peer + cut + io
    yield "skip-first-sync", begin(disks=((1, 0x80, 2),)) + up + connect(FRESH) + command(NEW_UUID, 1) + command(PRIMARY) + io
    by_hand = bytes([5, 0, 6, 0, 0]) * 4 + bytes([9, 0]) * 3 + bytes([4, 3, 0, 0]) * 4 + bytes([7, 8, 0, 0])
    yield "by-hand", begin(by_itself=127) + (command(ATTACH) + by_hand + command(PRIMARY) + by_hand + request()) * 2 + by_hand
    yield "leave", begin() + command(ATTACH) + command(PRIMARY) + io + command(LEAVE) + command(12) + io + command(15)


FUZZERS = {"wire-stream": wire_stream, "wire-packet": wire_packet, "wire-bitmap": wire_bitmap, "superblock": superblock,
           "activity-log": activity_log, "dump-text": dump_text, "event-sequence": event_sequence}


def main():
    output = Path(sys.argv[1])
    for fuzzer, seeds in FUZZERS.items():
        folder = output / fuzzer
        folder.mkdir(parents=True, exist_ok=True)
        names = 0
        for name, data in seeds():
            (folder / name).write_bytes(data)
            names += 1
        print(f"{fuzzer}: {names} seeds")


if __name__ == "__main__":
    main()
