# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that lies: wrong magics, lengths at every limit, unknown packets, wrong
order, forged acknowledgements, answers of an earlier connection, a peer that never
reads, mutated streams.  The daemon survives, stays small, serves its guest, and
takes the real peer when it comes.

BLOCK_DRBD_MUTATIONS=N makes test_mutated_streams longer (default 25).
"""

import concurrent.futures
import os
import random
import socket
import struct
import types

import pytest

from blockdrbd import RecordingWriter
from blockdrbd import wire_peer as wire
from blockdrbd.daemon import wait_for
from blockdrbd.two_nodes import resident_bytes
from blockdrbd.wire_peer import PeerGone, WirePeer, ack_payload, data_payload, state_word
from stack import BLOCK, MIB, pattern

pytestmark = pytest.mark.storage_daemon
MEMORY_ALLOWANCE = 96 * MIB
VICTIMS = 6
MUTATIONS = int(os.environ.get("BLOCK_DRBD_MUTATIONS", "25"))


class Victim:
    """Node a of a pair, alone, UpToDate; the liar has the address of b."""

    def __init__(self, pair, primary=False):
        self.pair, self.node = pair, pair.a
        pair.a.establish()
        pair.b.establish()
        pair.a.start()
        pair.a.wait_connection("WFConnection")
        self.small = resident_bytes(self.node.daemon.pid)
        if primary:
            self.node.primary()

    def liar(self, role=wire.SECONDARY, **options) -> WirePeer:
        self.listen_again()
        peer = WirePeer.twin(self.pair.b.here[0], self.node.here, self.node.metadata(), **options)
        peer.state = state_word(role, 0, wire.WF_CONNECTION, wire.UP_TO_DATE, wire.DUNKNOWN)
        return peer

    def listen_again(self):
        """Some lies end in StandAlone: an administrator looks, and connects again."""
        self.check()
        state = self.node.wait_connection("WFConnection", "StandAlone", "Unconnected")
        if state == "StandAlone":
            assert self.node.reason(), "it does not say why it stands alone"
            self.node.connect()
        self.node.wait_connection("WFConnection")

    def check(self):
        assert self.node.is_running(), f"the daemon died:\n{self.node.daemon.log()}"
        assert resident_bytes(self.node.daemon.pid) < self.small + MEMORY_ALLOWANCE

    def real_peer(self):
        self.listen_again()
        self.pair.b.start()
        self.pair.settle_equal()


def connected(victim, **options) -> WirePeer:
    peer = victim.liar(**options)
    peer.connect()
    victim.node.wait_connection("Connected")
    return peer


def word(value):
    return struct.pack(">I", value)


# name: (stream, bytes to send after the handshake, whether the victim must hang up)
def lies(peer, sectors):
    head = peer.frame
    block = bytes(4096)
    return {
        "wrong magic": ("data", b"\0" * 16, True),
        "old header": ("data", struct.pack(">IHH", wire.H80_MAGIC, wire.PING, 0) * 2, True),
        "dirty pad": ("data", struct.pack(">IHHII", wire.H100_MAGIC, 0, wire.UNPLUG_REMOTE, 0, 1), True),
        "wrong magic on meta": ("meta", b"\xff" * 16, True),
        "unknown packet": ("data", head(0x44, bytes(8)), True),
        "unknown packet on meta": ("meta", head(0x44, bytes(8)), True),
        "data on meta": ("meta", head(wire.DATA, data_payload(0, 1, 1, 256, block)), True),
        "meta on data": ("data", head(wire.WRITE_ACK, ack_payload(0, 1, 4096, 1)), True),
        "4 GiB of data": ("data", head(wire.DATA, b"", 0, 0xFFFFFFFF), True),
        "2 GiB of state": ("data", head(wire.STATE, b"", 0, 0x7FFFFFFF), True),
        "1 MiB and a sector": ("data", head(wire.DATA, data_payload(0, 1, 1, 256, b""), 0,
                                            24 + MIB + 512), True),
        "no payload": ("data", head(wire.DATA, b""), True),
        "half a sector": ("data", head(wire.DATA, data_payload(0, 1, 1, 256, bytes(100))), True),
        "behind the end": ("data", head(wire.DATA, data_payload(sectors, 1, 1, 256, block)), True),
        "far behind the end": ("data", head(wire.DATA, data_payload((1 << 64) - 8, 1, 1, 256, block)), True),
        "trim behind the end": ("data", head(wire.TRIM, data_payload(sectors - 1, 1, 1, 256 | 64,
                                                                     word(4096))), True),
        "endless trim": ("data", head(wire.TRIM, data_payload(0, 1, 1, 256 | 64, word(0xFFFFFE00))), True),
        "trim of nothing": ("data", head(wire.TRIM, data_payload(0, 1, 1, 256 | 64, word(0))), None),
        "unknown volume": ("data", head(wire.DATA, data_payload(0, 1, 1, 256, block), 77), True),
        "short state": ("data", head(wire.STATE, b"\0"), True),
        "long state": ("data", head(wire.STATE, bytes(8)), True),
        "mad state": ("data", head(wire.STATE, word(0xFFFFFFFF)), None),
        "state of nothing": ("data", head(wire.STATE, word(0)), None),
        "mad request": ("data", head(wire.STATE_CHG_REQ, word(0xFFFFFFFF) * 2), None),
        "mad connection request": ("data", head(wire.CONN_ST_CHG_REQ, word(0xFFFFFFFF) * 2), None),
        "short sizes": ("data", head(wire.SIZES, bytes(31)), True),
        "enormous sizes": ("data", head(wire.SIZES, b"\xff" * 56), None),
        "tiny sizes": ("data", head(wire.SIZES, struct.pack(">QQQ", 8, 0, 8) + bytes(32)), None),
        "short generations": ("data", head(wire.UUIDS, bytes(40)), True),
        "bitmap unasked": ("data", head(wire.BITMAP, bytes(4080)), None),
        "long bitmap": ("data", head(wire.BITMAP, bytes(8192)), True),
        "run-length garbage": ("data", head(wire.COMPRESSED_BITMAP, b"\x92" + b"\xff" * 200), None),
        "sync generation unasked": ("data", head(wire.SYNC_UUID, bytes(8)), None),
        "reply unasked": ("data", head(wire.DATA_REPLY, data_payload(0, 7, 0, 0, block)), True),
        "reply of a byte": ("data", head(wire.DATA_REPLY, data_payload(0, 7, 0, 0, b"x")), True),
        "resync reply unasked": ("data", head(wire.RS_DATA_REPLY,
                                              data_payload(0, (1 << 64) - 1, 0, 0, block)), None),
        "deallocated unasked": ("data", head(wire.RS_DEALLOCATED, struct.pack(">QII", 0, 4096, 0)), None),
        "read behind the end": ("data", head(wire.DATA_REQUEST, ack_payload(sectors, 1, 4096, 0)), True),
        "read of 2 MiB": ("data", head(wire.DATA_REQUEST, ack_payload(0, 1, 2 * MIB, 0)), True),
        "resync read unasked": ("data", head(wire.RS_DATA_REQUEST,
                                             ack_payload(0, (1 << 64) - 1, 4096, 0)), None),
        "acknowledgement of nothing": ("meta", head(wire.WRITE_ACK, ack_payload(0, 0x4141, 4096, 1)), True),
        "refusal of nothing": ("meta", head(wire.NEG_ACK, ack_payload(sectors + 8, 0x4141, 4096, 1)), None),
        "barrier answer unasked": ("meta", head(wire.BARRIER_ACK, struct.pack(">II", 1, 1)), True),
        "short acknowledgement": ("meta", head(wire.WRITE_ACK, bytes(23)), True),
        "answer to no request": ("meta", head(wire.STATE_CHG_REPLY, word(1)), None),
        "features again": ("data", head(wire.FEATURES, bytes(72)), True),
        "challenge": ("data", head(wire.AUTH_CHALLENGE, bytes(64)), True),
        "protocol again": ("data", head(wire.PROTOCOL, bytes(25)), None),
        "update to nonsense": ("data", head(wire.PROTOCOL_UPDATE, struct.pack(">6I", 9, 99, 99, 99, 9, 9)
                                            + b"no-such-algorithm\0"), None),
    }


def many_victims(two, workspace, jobs, work):
    """work(victim, jobs of it) for several victims at once: after each lie a node waits a
    second before it connects again, and that is what this test would be made of."""
    def one(number):
        folder = types.SimpleNamespace(path=workspace.path / f"victim{number}")
        folder.path.mkdir()
        victim = Victim(two(folder=folder))
        work(victim, jobs[number::VICTIMS])

    with concurrent.futures.ThreadPoolExecutor(VICTIMS) as pool:
        for done in [pool.submit(one, number) for number in range(VICTIMS)]:
            done.result()


@pytest.mark.deadline(180)
def test_lies_after_the_handshake(two, workspace):
    sample = WirePeer("127.0.0.1", ("127.0.0.1", 1))
    sample.agreed = 101
    many_victims(two, workspace, list(lies(sample, 1000)), tell_lies)


def tell_lies(victim, names):
    sectors = victim.node.data_bytes // 512
    survived = []
    for name in names:
        peer = connected(victim, role=wire.PRIMARY)
        stream, lie, hangs_up = lies(peer, sectors)[name]
        try:
            (peer.data if stream == "data" else peer.meta).sendall(lie)
            if hangs_up:
                peer.wait_end()
        except (PeerGone, OSError) as error:
            assert "in time" not in str(error), f"{name}: it does not hang up"
        peer.close()
        victim.check()
        survived.append(name)
    assert survived == names
    victim.real_peer()


def test_lies_in_the_handshake(two):
    victim = Victim(two())

    def after_features(command, payload, **options):
        def act(peer):
            peer.open()
            peer.handshake_features()
            for number, (number_command, number_payload) in enumerate(peer.parameters()):
                if number_command == command:
                    peer.data.sendall(peer.frame(command, payload, **options))
                    break
                peer.send(number_command, number_payload)
        return act

    def first_bytes(*pieces):
        def act(peer):
            for piece in pieces:
                sock = socket.create_connection(victim.node.here, 5, (peer.here, 0))
                sock.sendall(piece)
                sockets.append(sock)
        return act

    def bad_features(payload):
        def act(peer):
            peer.open()
            peer.data.sendall(struct.pack(">IHH", wire.H80_MAGIC, wire.FEATURES, len(payload)) + payload)
        return act

    def state_first(peer):
        peer.open()
        peer.handshake_features()
        for command, payload in reversed(peer.parameters()):
            peer.send(command, payload)

    sockets = []
    cases = {
        "garbage": first_bytes(os.urandom(4096), b"GET / HTTP/1.0\r\n\r\n"),
        "half a header": first_bytes(b"\x83\x74", b"\x83\x74\x02\x67\xff"),
        "silence": first_bytes(b"", b"", b""),
        "two data streams": first_bytes(b"\x83\x74\x02\x67\xff\xf2\0\0", b"\x83\x74\x02\x67\xff\xf2\0\0"),
        "short features": bad_features(bytes(71)),
        "long features": bad_features(bytes(73)),
        "version 0": bad_features(bytes(72)),
        "versions to come": bad_features(struct.pack(">III", 200, 15, 300).ljust(72, b"\0")),
        "short protocol": after_features(wire.PROTOCOL, bytes(23)),
        "protocol without its end": after_features(wire.PROTOCOL, struct.pack(">6I", 3, 0, 0, 0, 0, 0)
                                                   + b"x" * 64),
        "protocol 9": after_features(wire.PROTOCOL, struct.pack(">6I", 9, 0, 0, 0, 0, 0) + b"\0"),
        "short parameters": after_features(wire.SYNC_PARAM89, bytes(131)),
        "long parameters": after_features(wire.SYNC_PARAM89, bytes(2000)),
        "sizes without tail": after_features(wire.SIZES, bytes(32)),
        "a smaller disk": after_features(wire.SIZES, struct.pack(">QQQ", 2048, 0, 2048) + bytes(32)),
        "generations too long": after_features(wire.UUIDS, bytes(64)),
        "wrong order": state_first,
    }
    for name, act in cases.items():
        peer = victim.liar()
        try:
            act(peer)
            if peer.data is not None:
                peer.receive(timeout_s=0.3)
        except (PeerGone, OSError, AssertionError):
            pass
        peer.close()
        for sock in sockets:
            sock.close()
        sockets.clear()
        victim.check()
        assert victim.node.status()["connection"] != "Connected", name
    victim.real_peer()


def test_a_crowd(two):
    """More connections than a resource has sockets, all of them silent."""
    victim = Victim(two())
    crowd = []
    for _ in range(100):
        try:
            crowd.append(socket.create_connection(victim.node.here, 5, (victim.pair.b.here[0], 0)))
        except OSError:
            break
    victim.check()
    files = len(os.listdir(f"/proc/{victim.node.daemon.pid}/fd"))
    assert files < 120, "every connection of a stranger keeps a file descriptor"
    for sock in crowd:
        sock.close()
    victim.real_peer()


# -- a Primary and the acknowledgements it gets ------------------------------------------


def primary_with_liar(two):
    victim = Victim(two())
    peer = connected(victim)
    peer.answer_pings()
    operation = victim.node.qmp.command("drbd-set-role", resource="r0", role="primary")["operation"]
    peer.wait_for(wire.STATE_CHG_REQ)
    peer.send_meta(wire.STATE_CHG_REPLY, word(1))
    victim.node.wait_event("DRBD_OPERATION_COMPLETED", lambda data: data["operation"] == operation)
    assert victim.node.status()["role"] == "primary"
    return victim, peer


def first_write(victim, peer):
    """One write of the guest, up to the peer: its sector, handle, size."""
    guest = victim.node.guest()
    ended = []
    guest.submit("write", 8 * BLOCK, pattern(1), done=ended.append)
    guest.poll(0.01)
    packet = peer.wait_for(wire.DATA)
    sector, handle, _, _ = struct.unpack_from(">QQII", packet.payload)
    assert sector == 64 and len(packet.payload) == 24 + BLOCK
    return guest, ended, sector, handle


FORGED = {
    "other handle": lambda s, h: (wire.WRITE_ACK, ack_payload(s, h ^ 0x100, BLOCK, 1)),
    "other sector": lambda s, h: (wire.WRITE_ACK, ack_payload(s + 8, h, BLOCK, 1)),
    "no handle": lambda s, h: (wire.WRITE_ACK, ack_payload(s, 0, BLOCK, 1)),
    "resync's handle": lambda s, h: (wire.WRITE_ACK, ack_payload(s, (1 << 64) - 1, BLOCK, 1)),
    "superseded": lambda s, h: (wire.SUPERSEDED, ack_payload(s, h, BLOCK, 1)),
    "barrier before its time": lambda s, h: (wire.BARRIER_ACK, struct.pack(">II", 0x7777, 1)),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_acknowledgements(two, name):
    """The write is completed by the own disk alone, after the liar was thrown out."""
    victim, peer = primary_with_liar(two)
    guest, ended, sector, handle = first_write(victim, peer)
    command, payload = FORGED[name](sector, handle)
    peer.send_meta(command, payload)
    peer.wait_end()
    guest.drain(20)
    assert ended == [0]
    assert victim.node.volume()["out-of-sync"] >= BLOCK
    assert victim.node.metadata().superblock().bitmap != 0, "no new generation before the completion"
    peer.close()
    victim.real_peer()


def test_acknowledged_twice(two):
    victim, peer = primary_with_liar(two)
    guest, ended, sector, handle = first_write(victim, peer)
    peer.send_meta(wire.WRITE_ACK, ack_payload(sector, handle, BLOCK, 1))
    guest.drain(20)
    assert ended == [0]
    peer.send_meta(wire.WRITE_ACK, ack_payload(sector, handle, BLOCK, 2))
    wait_for(lambda: victim.node.is_running() and victim.node.volume(), "it still answers")
    peer.close()
    victim.real_peer()


def test_answer_of_an_earlier_connection(two):
    victim, peer = primary_with_liar(two)
    guest, _, sector, handle = first_write(victim, peer)
    peer.close()
    guest.drain(20)
    again = victim.liar()
    again.connect()
    again.send_meta(wire.WRITE_ACK, ack_payload(sector, handle, BLOCK, 1))
    again.wait_end()
    again.close()
    victim.real_peer()


@pytest.mark.deadline(90)
def test_peer_that_never_reads(two):
    """The guest is slowed, then freed by the timeouts; the queue does not grow."""
    victim, peer = primary_with_liar(two)
    with RecordingWriter(victim.node.export(), "d0", depth=64, run=32, zeroes=0) as writer:
        victim.node.wait(lambda: victim.node.peer()["times-lost"] > 0, "the peer is given up", 40)
        writer.progress(200)
        writer.stop()
    assert not writer.errors
    victim.check()
    peer.close()
    victim.real_peer()


def test_peer_that_never_answers(two):
    """It reads everything and acknowledges nothing, but answers pings."""
    victim, peer = primary_with_liar(two)
    guest, ended, _, _ = first_write(victim, peer)
    peer.wait_end(30)
    guest.drain(20)
    assert ended == [0]
    peer.close()
    victim.real_peer()


# -- mutations -------------------------------------------------------------------------------


def polite_stream(peer, sectors):
    """What a Primary sends in a busy moment."""
    pieces = [(c, p) for c, p in peer.parameters()]
    chance = random.Random(5)
    for number in range(1, 12):
        sector = chance.randrange(0, sectors // 8 - 8) * 8
        pieces.append((wire.DATA, data_payload(sector, 0x1000 + number, number, 256, pattern(number))))
        if number % 3 == 0:
            pieces.append((wire.BARRIER, struct.pack(">II", number, 0)))
    pieces.append((wire.TRIM, data_payload(0, 0x2000, 12, 256 | 64, word(65536))))
    pieces.append((wire.ZEROES, data_payload(800, 0x2001, 13, 256 | 1024, word(8192))))
    pieces.append((wire.DATA_REQUEST, ack_payload(0, 0x3000, 4096, 0)))
    pieces.append((wire.STATE_CHG_REQ, word(0x3) + word(0x2)))
    return b"".join(peer.frame(c, p) for c, p in pieces)


@pytest.mark.deadline(90 + 2 * MUTATIONS)
def test_mutated_streams(two, workspace):
    seed = int(os.environ.get("BLOCK_DRBD_SEED", "0")) or random.randrange(1 << 30)
    print(f"BLOCK_DRBD_SEED={seed}")
    many_victims(two, workspace, [(seed, number) for number in range(MUTATIONS)], mutate)


def mutate(victim, numbers):
    sectors = victim.node.data_bytes // 512
    for seed, number in numbers:
        chance = random.Random(seed * 1000003 + number)
        peer = victim.liar(role=wire.PRIMARY)
        try:
            peer.open()
            peer.handshake_features()
            stream = bytearray(polite_stream(peer, sectors))
            for _ in range(chance.choice((1, 1, 2, 8))):
                where = chance.randrange(len(stream))
                kind = chance.randrange(4)
                if kind == 0:
                    stream[where] ^= 1 << chance.randrange(8)
                elif kind == 1:
                    stream[where] = chance.choice((0, 0x7F, 0x80, 0xFF))
                elif kind == 2:
                    del stream[where:where + chance.choice((1, 4, 16, 4096))]
                else:
                    stream[where:where] = chance.randbytes(chance.choice((1, 4, 16)))
            peer.data.sendall(stream)
            peer.data.shutdown(socket.SHUT_WR)
            peer.receive(peer.meta, timeout_s=0.2)
        except (PeerGone, OSError, AssertionError):
            pass
        peer.close(reset=chance.random() < 0.5)
        assert victim.node.is_running(), f"mutation {number} of seed {seed}:\n{victim.node.daemon.log()}"
    victim.check()
    # What the liar wrote stands; the real peer is told the truth.
    victim.listen_again()
    victim.pair.b.start()
    victim.node.wait(lambda: victim.node.status()["connection"] in ("Connected", "StandAlone"), "an answer")
    victim.check()
