#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns recordings of two kernel nodes into golden/: one file for each direction of a TCP stream.

    make_corpus.py RECORDINGS GOLDEN     RECORDINGS/*/traffic.pcap.gz -> GOLDEN/*.bin, GOLDEN/corpus.txt

Files hold whole packets, byte for byte, in their order.  Left out: what came often already (REPEATS), and bulk that
another file has in the same size.  A stream whose packets another one of the same version has is left out too.
corpus.txt: file, stream, accepted or dialled, protocol version, features, number of packets.
The tests need golden/ only; this needs tests/interop/kernel_peer/streams.py.
"""
import glob
import gzip
import os
import struct
import sys
import tempfile
from collections import Counter

REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../..')
sys.path.insert(0, os.path.join(REPOSITORY, 'tests/interop/kernel_peer'))
import streams  # noqa: E402

REPEATS = 4             # of one packet in one size, in one file
SMALL = 1100            # payloads above are kept once in the whole corpus
LARGEST = 70000
BITMAPS = 0x04, 0x24    # always kept: a transfer counts as a whole
INITIAL_META, INITIAL_DATA, FEATURES = 0xfff1, 0xfff2, 0xfffe


def directions(pcap):
    """Every direction of every connection, as (number, from, raw bytes), in the order they appeared."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, 'traffic.pcap')
        raw = os.path.join(folder, 'raw')
        with gzip.open(pcap) as source, open(plain, 'wb') as target:
            target.write(source.read())
        with open(os.devnull, 'w') as nowhere:
            streams.read(plain, nowhere, raw)
        for name in sorted(os.listdir(raw)):
            number, source = name[:-4].split('-')[:2]
            node = 'a' if source.startswith('10.77.0.1_') else 'b'
            found.append((int(number), node, open(os.path.join(raw, name), 'rb').read()))
    return found


def packets(raw):
    """(header, command, length, all bytes) of every whole packet."""
    at = 0
    while at + 8 <= len(raw):
        if raw[at:at + 4] == b'\x83\x74\x02\x67':
            header, size, (command, length) = 'h80', 8, struct.unpack_from('>HH', raw, at + 4)
        elif raw[at:at + 2] == b'\x83\x5a':
            header, size, (command, length) = 'h95', 8, struct.unpack_from('>HI', raw, at + 2)
        elif raw[at:at + 4] == b'\x86\x20\xec\x20' and at + 16 <= len(raw):
            header, size, (command, length) = 'h100', 16, struct.unpack_from('>HI', raw, at + 6)
        else:
            return
        if at + size + length > len(raw):
            return
        yield header, command, length, raw[at:at + size + length]
        at += size + length


def agreement(found):
    """What the nodes of a recording agree on; all its connections agree alike."""
    offers = {}
    for _, node, raw in found:
        for _, command, _, data in packets(raw):
            if command == FEATURES:
                offers.setdefault(node, set()).add(struct.unpack_from('>III', data, 8))
    (a,), (b,) = offers['a'], offers['b']
    return min(a[2], b[2]), a[1] & b[1]


def trimmed(raw, large):
    counts, kept = Counter(), []
    for header, command, length, data in packets(raw):
        key = header, command, length
        counts[key] += 1
        if command not in BITMAPS:
            if length > LARGEST or counts[key] > REPEATS or key in large:
                continue
            if length > SMALL:
                large.add(key)
        kept.append((key, data))
    return kept


def main(recordings, golden):
    os.makedirs(golden, exist_ok=True)
    large, shapes, index = set(), set(), []
    for pcap in sorted(glob.glob(os.path.join(recordings, '*/traffic.pcap.gz'))):
        scenario = os.path.basename(os.path.dirname(pcap))
        found = directions(pcap)
        version, features = agreement(found)
        kinds = {}
        for number, _, raw in found:
            for _, command, _, _ in packets(raw):
                if command in (INITIAL_META, INITIAL_DATA):
                    kinds[number] = 'data' if command == INITIAL_DATA else 'meta'
        for number, node, raw in found:
            kept = trimmed(raw, large)
            shape = version, features, tuple(key for key, _ in kept)
            if number not in kinds or not kept or shape in shapes:
                continue
            shapes.add(shape)
            accepted = kept[0][0][1] in (INITIAL_META, INITIAL_DATA)
            name = '%s-%02d-%s-%s.bin' % (scenario.replace('@', '-at-').replace('+', '-features-'), number, kinds[number], node)
            with open(os.path.join(golden, name), 'wb') as target:
                target.write(b''.join(data for _, data in kept))
            index.append('%s %s %s %d 0x%x %d\n' % (name, kinds[number], 'accepted' if accepted else 'dialled', version,
                                                  features, len(kept)))
    with open(os.path.join(golden, 'corpus.txt'), 'w') as target:
        target.writelines(index)


if __name__ == '__main__':
    main(*sys.argv[1:])
