# SPDX-License-Identifier: GPL-2.0-or-later
"""What went over the wire with a live kernel, as tshark's DRBD dissector sees it:
packets of every kind, none of them malformed.
"""
from blockdrbd import Workspace
from together import MIB, Together, our_writes
from wire_judge import judge_capture

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
        counts = judge_capture(capture)
        assert EXPECTED <= set(counts), EXPECTED - set(counts)
        assert sum(counts.values()) > 100, counts
