# SPDX-License-Identifier: GPL-2.0-or-later
"""A DRBD peer made of nothing but sockets: polite until a test makes it hostile.

In: our address, the victim's address, what to claim (version, features, sizes,
generations, states).  Out: two connected streams, decoded packets, and any bytes
a test cares to send.  It follows the protocol's text, not our core's code.
Invariant: nothing here retries or hides an error: what the victim does is what
the test sees.
"""

import dataclasses
import select
import socket
import struct
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

H80_MAGIC, H95_MAGIC, H100_MAGIC = 0x83740267, 0x835A, 0x8620EC20

DATA, DATA_REPLY, RS_DATA_REPLY, BARRIER, BITMAP = 0x00, 0x01, 0x02, 0x03, 0x04
UNPLUG_REMOTE, DATA_REQUEST, RS_DATA_REQUEST, SYNC_PARAM, PROTOCOL = 0x07, 0x08, 0x09, 0x0A, 0x0B
UUIDS, SIZES, STATE, SYNC_UUID, AUTH_CHALLENGE, AUTH_RESPONSE = 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11
STATE_CHG_REQ, PING, PING_ACK, RECV_ACK, WRITE_ACK, RS_WRITE_ACK = 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
SUPERSEDED, NEG_ACK, NEG_DREPLY, NEG_RS_DREPLY, BARRIER_ACK, STATE_CHG_REPLY = 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D
RS_IS_IN_SYNC, SYNC_PARAM89, COMPRESSED_BITMAP, OUT_OF_SYNC = 0x22, 0x23, 0x24, 0x28
CONN_ST_CHG_REQ, CONN_ST_CHG_REPLY, RETRY_WRITE, PROTOCOL_UPDATE = 0x2A, 0x2B, 0x2C, 0x2D
TRIM, RS_THIN_REQ, RS_DEALLOCATED, WSAME, ZEROES = 0x31, 0x32, 0x33, 0x34, 0x36
INITIAL_META, INITIAL_DATA, FEATURES = 0xFFF1, 0xFFF2, 0xFFFE

PRIMARY, SECONDARY = 1, 2
WF_CONNECTION, CONNECTED = 8, 10
INCONSISTENT, DUNKNOWN, UP_TO_DATE = 4, 6, 8


@dataclasses.dataclass
class Packet:
    command: int
    volume: int
    payload: bytes


class PeerGone(Exception):
    """The victim closed, or said nothing in time."""


def state_word(role=SECONDARY, peer=0, conn=WF_CONNECTION, disk=INCONSISTENT, pdsk=DUNKNOWN) -> int:
    return role | peer << 2 | conn << 4 | disk << 9 | pdsk << 13


class WirePeer:
    """`here`: host to dial from (port None), `victim`: address of the node under test."""

    def __init__(self, here: str, victim: Tuple[str, int], *, version: int = 101, features: int = 0xF,
                 protocol: int = 3, sectors: int = 0, uuids: Tuple[int, ...] = (4, 0, 0, 0),
                 bits: int = 0, state: Optional[int] = None):
        self.here, self.victim = here, victim
        self.version, self.features, self.protocol = version, features, protocol
        self.sectors, self.uuids, self.bits = sectors, uuids, bits
        self.state = state_word() if state is None else state
        self.agreed = 80
        self.agreed_features = 0
        self.data: Optional[socket.socket] = None
        self.meta: Optional[socket.socket] = None
        self._buffers: Dict[socket.socket, bytes] = {}
        self.timeout_s = 10.0
        self.seen: List[Packet] = []
        self._meta_thread: Optional[threading.Thread] = None

    # -- streams -----------------------------------------------------------------

    def dial(self, first: int) -> socket.socket:
        deadline = time.monotonic() + self.timeout_s
        while True:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(self.timeout_s)
            try:
                sock.bind((self.here, 0))
                sock.connect(self.victim)
                break
            except ConnectionRefusedError:
                sock.close()
                if time.monotonic() > deadline:
                    raise
        sock.sendall(struct.pack(">IHH", H80_MAGIC, first, 0))
        self._buffers[sock] = b""
        return sock

    def open(self) -> "WirePeer":
        """Both streams, dialled by us; as long as nobody listens here, the victim's own
        dials go nowhere."""
        self.data = self.dial(INITIAL_DATA)
        self.meta = self.dial(INITIAL_META)
        return self

    def close(self, reset: bool = False) -> None:
        for sock in (self.data, self.meta):
            if sock is not None:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        self.data = self.meta = None

    def __enter__(self) -> "WirePeer":
        return self

    def __exit__(self, kind, value, trace) -> None:
        self.close()

    # -- packets -------------------------------------------------------------------

    def frame(self, command: int, payload: bytes = b"", volume: int = 0, length: Optional[int] = None) -> bytes:
        length = len(payload) if length is None else length
        if self.agreed >= 100:
            return struct.pack(">IHHII", H100_MAGIC, volume, command, length, 0) + payload
        if self.agreed >= 95 and length > 32768:
            return struct.pack(">HHI", H95_MAGIC, command, length) + payload
        return struct.pack(">IHH", H80_MAGIC, command, length) + payload

    def send(self, command: int, payload: bytes = b"", volume: int = 0) -> None:
        self.data.sendall(self.frame(command, payload, volume))

    def send_meta(self, command: int, payload: bytes = b"", volume: int = 0) -> None:
        self.meta.sendall(self.frame(command, payload, volume))

    def _read(self, sock: socket.socket, count: int, deadline: float) -> bytes:
        while len(self._buffers[sock]) < count:
            readable, _, _ = select.select([sock], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise PeerGone("nothing more arrived in time")
            try:
                more = sock.recv(1 << 16)
            except OSError as error:
                raise PeerGone(str(error)) from None
            if not more:
                raise PeerGone("end of the stream")
            self._buffers[sock] += more
        taken, self._buffers[sock] = self._buffers[sock][:count], self._buffers[sock][count:]
        return taken

    def receive(self, sock: Optional[socket.socket] = None, timeout_s: Optional[float] = None) -> Packet:
        """The next packet of a stream (default: data); pings are the caller's business."""
        sock = sock or self.data
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        head = self._read(sock, 8, deadline)
        if self.agreed >= 100:
            magic, volume, command, length, pad = struct.unpack(">IHHII", head + self._read(sock, 8, deadline))
            assert magic == H100_MAGIC and pad == 0, head.hex()
        elif head[:2] == b"\x83\x5a":
            volume, (command, length) = 0, struct.unpack(">HI", head[2:])
        else:
            magic, command, length = struct.unpack(">IHH", head)
            assert magic == H80_MAGIC, head.hex()
            volume = 0
        packet = Packet(command, volume, self._read(sock, length, deadline))
        self.seen.append(packet)
        return packet

    def wait_for(self, *commands: int, sock: Optional[socket.socket] = None) -> Packet:
        """Skips what comes before one of these; answers pings on the way."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            packet = self.receive(sock, max(0.0, deadline - time.monotonic()))
            if packet.command == PING:
                self.send_meta(PING_ACK)
            if packet.command in commands:
                return packet

    def answer_pings(self) -> None:
        """From now on a thread reads the meta stream, answers pings and keeps the rest."""
        self._meta_thread = threading.Thread(target=self._serve_meta, args=(self.meta,), daemon=True)
        self._meta_thread.start()

    def _serve_meta(self, meta: socket.socket) -> None:
        try:
            while True:
                try:
                    packet = self.receive(meta, 0.5)
                except PeerGone as error:
                    if "in time" in str(error):
                        continue
                    return
                if packet.command == PING:
                    meta.sendall(self.frame(PING_ACK))
        except (OSError, ValueError, KeyError, AssertionError):
            return

    def wait_end(self, timeout_s: float = 15.0) -> None:
        """Until the victim has closed both streams."""
        deadline = time.monotonic() + timeout_s
        streams = [self.data, self.meta]
        if self._meta_thread is not None:
            self._meta_thread.join(timeout_s)
            if self._meta_thread.is_alive():
                raise PeerGone("the meta stream did not end in time")
            streams.remove(self.meta)
        for sock in streams:
            try:
                while True:
                    self.receive(sock, max(0.0, deadline - time.monotonic()))
            except PeerGone as error:
                if "in time" in str(error):
                    raise
            except AssertionError:
                pass

    # -- the handshake ------------------------------------------------------------------

    def handshake_features(self) -> None:
        self.data.sendall(struct.pack(">IHH", H80_MAGIC, FEATURES, 72)
                          + struct.pack(">IIII", 86, self.features, self.version, 0).ljust(72, b"\0"))
        packet = self.receive()
        assert packet.command == FEATURES, packet
        _, features, top, _ = struct.unpack_from(">IIII", packet.payload)
        self.agreed = min(top, self.version)
        self.agreed_features = features & self.features

    def protocol_payload(self) -> bytes:
        return struct.pack(">6I", self.protocol, 0, 0, 0, 0, 0) + b"\0"

    def sync_param_payload(self) -> bytes:
        return struct.pack(">I", 250) + bytes(128) + struct.pack(">IIII", 20, 10, 100, 102400)

    def sizes_payload(self) -> bytes:
        base = struct.pack(">QQQIHH", self.sectors, 0, self.sectors, 1 << 20, 0, 0)
        if self.agreed_features & 4:
            base += struct.pack(">IIIII4B", 512, 512, 0, 512, 0, 1, 1, 0, 0)
        return base

    def uuids_payload(self) -> bytes:
        return struct.pack(">6Q", *self.uuids, self.bits, 0)

    def parameters(self) -> List[Tuple[int, bytes]]:
        """What is sent after the features, in order."""
        return [(PROTOCOL, self.protocol_payload()), (SYNC_PARAM89, self.sync_param_payload()),
                (SIZES, self.sizes_payload()), (UUIDS, self.uuids_payload()),
                (STATE, struct.pack(">I", self.state))]

    def connect(self) -> Dict[str, Any]:
        """Up to the victim's first P_STATE; returns what it said."""
        self.open()
        self.handshake_features()
        for command, payload in self.parameters():
            self.send(command, payload)
        said: Dict[str, Any] = {}
        while "state" not in said:
            packet = self.receive()
            if packet.command == SIZES:
                said["sectors"] = struct.unpack_from(">QQQ", packet.payload)[0]
            elif packet.command == UUIDS:
                said["uuids"] = struct.unpack_from(">4Q", packet.payload)
            elif packet.command == STATE:
                said["state"] = struct.unpack(">I", packet.payload)[0]
        return said

    # -- a peer whose data are the victim's: nothing to sync, guest writes arrive ----------

    @classmethod
    def twin(cls, here: str, victim: Tuple[str, int], metadata, **options: Any) -> "WirePeer":
        """Claims to be UpToDate with the generation of the victim's metadata."""
        block = metadata.superblock()
        return cls(here, victim, sectors=block.la_size_sect,
                   uuids=(block.current, 0, block.history0, block.history1),
                   state=state_word(SECONDARY, 0, WF_CONNECTION, UP_TO_DATE, DUNKNOWN), **options)


def data_payload(sector: int, handle: int, sequence: int, flags: int, data: bytes) -> bytes:
    return struct.pack(">QQII", sector, handle, sequence, flags) + data


def ack_payload(sector: int, handle: int, size: int, sequence: int) -> bytes:
    return struct.pack(">QQII", sector, handle, size, sequence)
