#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes golden_handshakes.inc from recordings of two kernel nodes.

In: a directory of recordings, one folder each, with traffic.tsv.gz (one DRBD
packet a line: time, from>to, connection, header, volume, packet, length, first
40 bytes), traffic.pcap.gz (everything, for the flags of P_UUIDS at byte 40), and
perhaps verdicts.tsv (what the kernels logged, see record_kernel_verdicts.py).
Out, on standard output: one C++ initialiser per volume and connection: what
both nodes said before the decision (P_UUIDS, P_STATE), and the connection
state that each announced after it; 0 (StandAlone) where it announced none.

Usage: extract_handshakes.py RECORDINGS > golden_handshakes.inc (or kernel_verdicts.inc)
"""
import gzip
import pathlib
import struct
import sys

ADDRESS = {"10.77.0.1": "a", "10.77.0.2": "b"}
WF_CONNECTION, CONNECTED, WF_BITMAP_S, WF_BITMAP_T = 8, 10, 13, 14


def pcap_frames(path):
    """(time as in the table, bytes) of every frame."""
    data = gzip.open(path).read()
    (magic,) = struct.unpack_from("<I", data)
    if magic != 0xA1B2C3D4:
        raise SystemExit(f"{path}: not a little-endian pcap with microseconds")
    position = 24
    while position < len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, position)
        position += 16
        yield f"{seconds}.{micros:06d}", data[position:position + length]
        position += length


def packets(path):
    for line in gzip.open(path, "rt"):
        time, way, stream, header, volume, name, _, payload = line.rstrip("\n").split("\t")[:8]
        sender, receiver = (ADDRESS[ip] for ip in way.split(">"))
        yield dict(time=time, sender=sender, receiver=receiver, stream=int(stream), header=header,
                   volume=0 if volume == "-" else int(volume), name=name, payload=bytes.fromhex(payload))


def uuid_flags(frames, packet):
    """Bytes 40..47 of a P_UUIDS, which the table cuts off."""
    for frame in frames.get(packet["time"], []):
        at = frame.find(packet["payload"])
        if at >= 0 and len(frame) >= at + 48:
            return struct.unpack_from(">Q", frame, at + 40)[0]
    raise SystemExit(f"P_UUIDS at {packet['time']}: no frame of the capture holds it")


def next_state(states):
    """The state announced after the decision."""
    if len(states) < 2:
        return 0
    connection = states[1] >> 4 & 0x1F
    if connection not in (CONNECTED, WF_BITMAP_S, WF_BITMAP_T):
        raise SystemExit(f"unexpected state {states[1]:#x} after a handshake")
    return connection


def agreement(stream):
    features = [p["payload"] for p in stream if p["name"] == "P_CONNECTION_FEATURES"]
    if len(features) != 2:
        return None
    ranges = [struct.unpack_from(">III", f) for f in features]  # min, flags, max
    return min(r[2] or r[0] for r in ranges), ranges[0][1] & ranges[1][1]


def handshake(stream, volume, frames):
    nodes = {}
    for side in "ab":
        said = [p for p in stream if p["sender"] == side and p["volume"] == volume]
        uuids = [p for p in said if p["name"] == "P_UUIDS"]
        states = [struct.unpack(">I", p["payload"])[0] for p in said if p["name"] == "P_STATE"]
        if not uuids or not states:
            return None
        if states[0] >> 4 & 0x1F != WF_CONNECTION:
            raise SystemExit(f"first P_STATE at {uuids[0]['time']} is no initial one")
        nodes[side] = (struct.unpack(">5Q", uuids[0]["payload"]) + (uuid_flags(frames, uuids[0]),),
                       states[0], next_state(states))
    return nodes


def acceptor_of_meta(everything, before):
    """The node with the RC-flag: it accepted the last meta stream."""
    metas = [p for p in everything if p["name"] == "P_INITIAL_META" and p["time"] < before]
    return metas[-1]["receiver"]


def rows_of(folder):
    everything = list(packets(folder / "traffic.tsv.gz"))
    frames = {}
    for time, frame in pcap_frames(folder / "traffic.pcap.gz"):
        frames.setdefault(time, []).append(frame)
    logged = folder / "verdicts.tsv"
    verdicts = logged.read_text(encoding="ascii").splitlines() if logged.exists() else None
    number = 0
    for stream_id in sorted({p["stream"] for p in everything}):
        stream = [p for p in everything if p["stream"] == stream_id]
        agreed = agreement(stream)
        protocols = [p["payload"] for p in stream if p["name"] == "P_PROTOCOL"]
        if agreed is None or len(protocols) != 2:
            continue
        number += 1
        version, features = agreed
        from_a = next(p["payload"] for p in stream if p["name"] == "P_PROTOCOL" and p["sender"] == "a")
        policies = struct.unpack_from(">3I", from_a, 4)
        first = min(p["time"] for p in stream if p["name"] == "P_CONNECTION_FEATURES")
        rc = acceptor_of_meta(everything, first)
        for volume in sorted({p["volume"] for p in stream if p["name"] == "P_UUIDS"}):
            nodes = handshake(stream, volume, frames)
            if nodes is None:
                continue
            sync = [p["payload"] for p in stream if p["name"] == "P_SYNC_UUID" and p["volume"] == volume]
            yield (folder.name, number, volume, version, features, rc, policies, nodes,
                   sync[0].hex() if sync else "0", verdicts[number - 1].split() if verdicts else "0000")
    if verdicts and number != len(verdicts):
        raise SystemExit(f"{folder.name}: {len(verdicts)} verdicts, but {number} handshakes")


def node_text(node, logged):
    uuids, state, following = node
    current, bitmap, young, old, bits, flags = uuids
    return (f"{{{current:#x}, {bitmap:#x}, {young:#x}, {old:#x}, {bits}, {flags}, {state:#x}, {following}, "
            f"{', '.join(logged)}}}")


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print("// SPDX-License-Identifier: GPL-2.0-or-later")
    print("// Handshakes of two Linux 6.1 kernel nodes (DRBD 8.4.11), written by extract_handshakes.py.")
    print("// recording, connection, volume, version, features, node with the RC-flag, after-sb policies of a,")
    print("// a, b, sync UUID; a node: current, bitmap, history, bits, P_UUIDS flags, initial P_STATE, state")
    print("// announced next, verdict and rule as logged (0, 0: not known)")
    for folder in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir()):
        for name, number, volume, version, features, rc, policies, nodes, sync, logged in rows_of(folder):
            policy = ", ".join(str(p) for p in policies)
            print(f'{{"{name}", {number}, {volume}, {version}, {features:#x}, \'{rc}\', {{{policy}}},')
            print(f" {node_text(nodes['a'], logged[:2])},\n {node_text(nodes['b'], logged[2:])}, 0x{sync}}},")


if __name__ == "__main__":
    main()
