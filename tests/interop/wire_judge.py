# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether what went over a wire is DRBD's, as two readers of a capture see it: tshark's dissector, which
nobody here wrote, and streams.py.

In: a capture.  Out: how often each packet was seen, by its name.
What is judged: both find the same packets, and tshark finds none malformed, but for three valid forms
that it always misreads: P_PROTOCOL below 87 (24 bytes), P_SYNC_PARAM (below 89), the 32-byte P_SIZES.
"""
import collections
import io
import subprocess

from blockdrbd.paths import system_program
from streams import NAMES, read

PROTOCOL, SYNC_PARAM, SIZES = 0x0b, 0x0a, 0x0d


def is_misread(command, length):
    """tshark calls this form malformed, and it is not."""
    return (command == SYNC_PARAM or (command == PROTOCOL and length == 24)
            or (command == SIZES and length == 32))


def tshark(capture):
    """Of each frame with DRBD in it: its number, its packets (command, length), how many are malformed."""
    fields = ('frame.number', 'drbd.command', 'drbd.length', '_ws.malformed')
    done = subprocess.run([system_program('tshark', 'tshark'), '--enable-heuristic', 'drbd_tcp', '-r', str(capture),
                           '-Y', 'drbd', '-T', 'fields', *(a for f in fields for a in ('-e', f))],
                          text=True, check=True, capture_output=True)
    for line in done.stdout.splitlines():
        number, commands, lengths, malformed = line.split('\t')
        pairs = [(int(c, 0), int(n, 0)) for c, n in zip(commands.split(','), lengths.split(',')) if c and n]
        yield int(number), pairs, malformed.count('Malformed Packet')


def judge_capture(capture):
    lines = io.StringIO()
    ours = read(capture, lines)
    assert not any(form == 'bad' for form, _ in ours), lines.getvalue()[-2000:]
    counts = collections.Counter()
    for (_, name), count in ours.items():
        counts[name] += count
    theirs = collections.Counter()
    for number, packets, malformed in tshark(capture):
        allowed = sum(is_misread(*packet) for packet in packets)
        assert malformed <= allowed, ('frame %d of %s: %d malformed, of the packets %s'
                                      % (number, capture, malformed, [NAMES.get(c, hex(c)) for c, _ in packets]))
        theirs.update('P_' + NAMES.get(command, str(command)) for command, _ in packets)
    assert theirs == counts, 'tshark and streams.py differ: %s, %s' % (theirs - counts, counts - theirs)
    return counts
