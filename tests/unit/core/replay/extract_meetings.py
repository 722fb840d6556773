#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes meetings.txt: what two kernel nodes said on the data stream when they met, from their recordings.

In: a directory of recordings, one folder each, with traffic.pcap.gz.  Out, on standard output: of every
connection the packets from the first one to the decision and what follows from it at once (P_STATE, the
bitmaps, P_SYNC_UUID), in the order in which they were seen.

    meeting RECORDING NUMBER META RLE    META: the node that accepted the meta stream; RLE: the option use-rle
    NODE HEADER VOLUME PACKET PAYLOAD
    end

PAYLOAD is hexadecimal; zN stands for N bytes that are zero.  Needs tests/interop/kernel_peer/streams.py.

Usage: extract_meetings.py RECORDINGS > meetings.txt
"""
import gzip
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / 'interop' / 'kernel_peer'))
from streams import NAMES, Direction, segments  # noqa: E402

GREETING = {'INITIAL_DATA', 'CONNECTION_FEATURES', 'AUTH_CHALLENGE', 'AUTH_RESPONSE', 'PROTOCOL', 'SYNC_PARAM',
            'SYNC_PARAM89', 'SIZES', 'UUIDS', 'STATE'}
DECISION = {'STATE', 'BITMAP', 'COMPRESSED_BITMAP', 'SYNC_UUID'}


def packets(path):
    """(stream, from, to, header, volume, name, payload) of every packet of a capture."""
    directions, total = {}, 0
    for _, source, target, syn, sequence, data in segments(path):
        if syn:
            other = directions.get((target, source))
            if other is None or other.raw:
                total += 1
            directions[source, target] = Direction(total, source, target, (sequence + 1) & 0xffffffff)
            continue
        direction = directions.get((source, target))
        if direction is None or not data:
            continue
        direction.add(sequence, data)
        nodes = ['ab'['10.77.0.1 10.77.0.2'.split().index(end.split(':')[0])] for end in (source, target)]
        for form, volume, command, payload in direction.packets():
            yield (direction.number, *nodes, form, 0 if volume == '-' else volume, NAMES[command], payload)


class Meeting:
    def __init__(self, meta):
        self.meta, self.lines, self.states, self.is_over = meta, [], {}, False

    def add(self, node, form, volume, name, payload):
        """Not what comes after the meeting: then it is over, whatever comes."""
        decided = {key for key, count in self.states.items() if count > 1}
        known = {n for n, _ in self.states} == {'a', 'b'} and len(decided) > 0
        self.is_over = self.is_over or name not in (DECISION if known else GREETING | DECISION)
        # A third state says what somebody did then.
        if name == 'STATE':
            self.states[node, volume] = self.states.get((node, volume), 0) + 1
            self.is_over = self.is_over or self.states[node, volume] > 2
        if not self.is_over:
            self.lines.append('%s %s %d P_%s %s' % (node, form, volume, name, shorten(payload)))


def shorten(payload):
    pieces, at = [], 0
    for zeroes in re.finditer(rb'\0{4,}', payload):
        pieces += [payload[at:zeroes.start()].hex(), 'z%d' % len(zeroes[0])]
        at = zeroes.end()
    pieces.append(payload[at:].hex())
    return ' '.join(p for p in pieces if p) or '-'


def meetings(path):
    found, meta = {}, None
    for stream, node, other, form, volume, name, payload in packets(path):
        if name == 'INITIAL_META':
            meta = other
        elif name == 'INITIAL_DATA':
            found[stream] = Meeting(None)
        if stream in found:
            if name == 'CONNECTION_FEATURES' and found[stream].meta is None:
                found[stream].meta = meta
            found[stream].add(node, form, volume, name, payload)
    # Where only one of them spoke, the other one was about to end its attempts.
    return [m for m in found.values() if sum('P_CONNECTION_FEATURES' in line for line in m.lines) == 2]


def use_rle(log, number, count):
    """The option of a meeting; log.txt has the commands."""
    connects = re.findall(r'a# drbdsetup-84 connect .*', log.read_text(encoding='utf-8'))
    if len(connects) == count:
        return 'no' if '--use-rle=no' in connects[number - 1] else 'yes'
    if any('use-rle' in c for c in connects):
        raise SystemExit('%s: whose option use-rle is, cannot be told' % log)
    return 'yes'


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for folder in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir()):
        with tempfile.NamedTemporaryFile() as plain:
            plain.write(gzip.open(folder / 'traffic.pcap.gz').read())
            plain.flush()
            found = meetings(plain.name)
            for number, meeting in enumerate(found, 1):
                print('meeting', folder.name, number, meeting.meta, use_rle(folder / 'log.txt', number, len(found)))
                print('\n'.join(meeting.lines))
                print('end')


if __name__ == '__main__':
    main()
