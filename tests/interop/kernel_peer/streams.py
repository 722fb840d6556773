#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every DRBD packet in a capture, one line each, read without tshark.

    streams.py [--raw DIR] PCAP...

Line: seconds, from>to, connection number, header (h80 h95 h100), volume, command, payload length,
start of the payload in hex.  --raw also writes each direction's TCP bytes to DIR/NN-FROM-TO.bin.
"""
import os
import struct
import sys
from collections import Counter

NAMES = ('DATA DATA_REPLY RS_DATA_REPLY BARRIER BITMAP BECOME_SYNC_TARGET BECOME_SYNC_SOURCE UNPLUG_REMOTE '
         'DATA_REQUEST RS_DATA_REQUEST SYNC_PARAM PROTOCOL UUIDS SIZES STATE SYNC_UUID AUTH_CHALLENGE AUTH_RESPONSE '
         'STATE_CHG_REQ PING PING_ACK RECV_ACK WRITE_ACK RS_WRITE_ACK SUPERSEDED NEG_ACK NEG_DREPLY NEG_RS_DREPLY '
         'BARRIER_ACK STATE_CHG_REPLY OV_REQUEST OV_REPLY OV_RESULT CSUM_RS_REQUEST RS_IS_IN_SYNC SYNC_PARAM89 '
         'COMPRESSED_BITMAP 37 38 DELAY_PROBE OUT_OF_SYNC RS_CANCEL CONN_ST_CHG_REQ CONN_ST_CHG_REPLY RETRY_WRITE '
         'PROTOCOL_UPDATE 46 47 48 TRIM RS_THIN_REQ RS_DEALLOCATED WSAME 53 ZEROES').split()
NAMES = {**dict(enumerate(NAMES)), 0xfff1: 'INITIAL_META', 0xfff2: 'INITIAL_DATA', 0xfffe: 'CONNECTION_FEATURES'}


def segments(path):
    """(time, source, destination, syn, sequence number, payload)"""
    f = open(path, 'rb')
    order = '<' if f.read(24)[:4] in (b'\xd4\xc3\xb2\xa1', b'\x4d\x3c\xb2\xa1') else '>'
    while True:
        head = f.read(16)
        if len(head) < 16:
            return
        sec, usec, n, _ = struct.unpack(order + 'IIII', head)
        p = f.read(n)
        if p[12:14] != b'\x08\0' or p[23] != 6:
            continue
        tcp = 14 + (p[14] & 15) * 4
        end = 14 + struct.unpack_from('>H', p, 16)[0]
        sport, dport, seq = struct.unpack_from('>HHI', p, tcp)
        src, dst = ('.'.join(map(str, p[i:i + 4])) for i in (26, 30))
        yield (sec + usec / 1e6, '%s:%d' % (src, sport), '%s:%d' % (dst, dport), p[tcp + 13] & 2, seq,
               p[tcp + (p[tcp + 12] >> 4) * 4:end])


class Direction:
    def __init__(self, number, src, dst, seq):
        self.number, self.src, self.dst, self.next = number, src, dst, seq
        self.early, self.buf, self.raw, self.broken = {}, b'', bytearray(), False

    def add(self, seq, data):
        self.early[seq] = max(data, self.early.get(seq, b''), key=len)
        for s in sorted(self.early, key=lambda s: (s - self.next + (1 << 31)) & 0xffffffff):
            skip = (self.next - s) & 0xffffffff
            if skip >= 1 << 31:
                break                               # a gap
            new = self.early.pop(s)[skip:]
            self.next = (self.next + len(new)) & 0xffffffff
            self.buf += new
            self.raw += new

    def packets(self):
        while len(self.buf) >= 8 and not self.broken:
            b = self.buf
            if b[:4] == b'\x83\x74\x02\x67':
                form, head, volume, (command, n) = 'h80', 8, '-', struct.unpack('>HH', b[4:8])
            elif b[:2] == b'\x83\x5a':
                form, head, volume, (command, n) = 'h95', 8, '-', struct.unpack('>HI', b[2:8])
            elif b[:4] == b'\x86\x20\xec\x20':
                if len(b) < 16:
                    return
                form, head = 'h100', 16
                volume, command, n, _ = struct.unpack('>HHII', b[4:16])
            else:
                self.broken = True
                yield 'bad', '-', -1, b[:16]
                return
            if len(b) < head + n:
                return
            self.buf = b[head + n:]
            yield form, volume, command, b[head:head + n]


def read(path, out, raw=None):
    directions, total = {}, 0
    counts = Counter()
    for t, src, dst, syn, seq, data in segments(path):
        if syn:
            other = directions.get((dst, src))
            if other is None or other.raw:
                total += 1
            directions[src, dst] = Direction(total, src, dst, (seq + 1) & 0xffffffff)
            continue
        d = directions.get((src, dst))
        if d is None or not data:
            continue
        d.add(seq, data)
        for form, volume, command, payload in d.packets():
            name = 'P_' + NAMES.get(command, str(command)) if command >= 0 else '?'
            counts[form, name] += 1
            out.write('%.6f\t%s>%s\t%d\t%s\t%s\t%s\t%d\t%s\n' % (
                t, src.split(':')[0], dst.split(':')[0], d.number, form, volume, name, len(payload), payload[:40].hex()))
    if raw:
        os.makedirs(raw, exist_ok=True)
        for d in directions.values():
            with open('%s/%02d-%s-%s.bin' % (raw, d.number, d.src.replace(':', '_'), d.dst.replace(':', '_')), 'wb') as f:
                f.write(d.raw)
    return counts


if __name__ == '__main__':
    args, raw = sys.argv[1:], None
    if args[:1] == ['--raw']:
        raw, args = args[1], args[2:]
    for path in args:
        read(path, sys.stdout, raw)
