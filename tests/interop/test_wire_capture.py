# SPDX-License-Identifier: GPL-2.0-or-later
"""What went over the wire with a live kernel, as tshark's DRBD dissector sees it:
packets of every kind, none of them malformed.

The dissector always misreads P_PROTOCOL below 87, P_SYNC_PARAM below 89 and the short
P_SIZES, so the capture is made with 101 and all features.
"""
import collections
import io
import subprocess

from blockdrbd import Workspace
from blockdrbd.paths import system_program
from streams import read
from together import MIB, Together, our_writes

EXPECTED = {'P_CONNECTION_FEATURES', 'P_PROTOCOL', 'P_SIZES', 'P_UUIDS', 'P_STATE', 'P_DATA', 'P_BARRIER',
            'P_BARRIER_ACK', 'P_WRITE_ACK', 'P_RS_WRITE_ACK', 'P_SYNC_UUID', 'P_PING', 'P_PING_ACK',
            'P_STATE_CHG_REQ', 'P_STATE_CHG_REPLY', 'P_CONN_ST_CHG_REQ', 'P_CONN_ST_CHG_REPLY', 'P_ZEROES'}


def scenario(pair):
    pair.ready()
    our_writes(pair.ours, 1)
    pair.settle_equal()
    pair.swap_roles()
    pair.kernel.some_of_everything(2)
    pair.settle_equal()
    pair.link.cut()
    pair.ours.wait_lost()
    pair.kernel.wait_connection('WFConnection', 'Unconnected')
    pair.kernel.many(5 * MIB, MIB, 3)
    pair.link.heal()
    pair.settle_equal()
    pair.ours.disconnect()
    pair.ours.wait_connection('StandAlone')


def test_nothing_is_malformed():
    with Workspace('drbd-capture-') as folder:
        capture = folder / 'wire.pcap'
        with Together(folder.path, pcap=capture) as pair:
            scenario(pair)
            pair.kernel.quit()
        lines = io.StringIO()
        counts = read(capture, lines)
        names = {name for _, name in counts}
        assert not any(form == 'bad' for form, _ in counts), lines.getvalue()[-2000:]
        assert EXPECTED <= names, EXPECTED - names
        seen = tshark(capture)
        malformed = [line for line in seen if 'Malformed' in line]
        assert not malformed, '\n'.join(malformed[:20])
        assert sum('DRBD' in line for line in seen) > 100, collections.Counter(
            line.split()[5] for line in seen if len(line.split()) > 5)


def tshark(capture):
    done = subprocess.run([system_program('tshark', 'tshark'), '--enable-heuristic', 'drbd_tcp',
                           '-r', str(capture)], text=True, check=True, capture_output=True)
    return done.stdout.split('\n')
