#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets two kernel nodes meet with given generation identifiers and records it.

In: nothing but the guests of tests/interop/kernel_peer.  For every case below,
both disks get metadata with the case's identifiers, flags and bits, roles are
taken, the nodes connect, and their decision is on the wire.
Out: FOLDER/RECORDING/traffic.tsv.gz, traffic.pcap.gz and verdicts.tsv (what each kernel's
log says: verdict and rule of a, of b, one case a line), for extract_handshakes.py.

Usage: record_kernel_verdicts.py FOLDER
       extract_handshakes.py FOLDER > kernel_verdicts.inc
"""
import gzip
import io
import itertools
import pathlib
import random
import re
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "interop" / "kernel_peer"))

import streams  # noqa: E402
from peer import KernelPeer, make_disk  # noqa: E402

JC, OFFSET = 4, 1 << 48
A, B, C, D, E, F = (0x1000000000000A00 + i * 0x1000000000000100 for i in range(6))
GOOD, OUTDATED, INCONSISTENT, CRASHED = 0x91, 0x81, 0x80, 0xD1  # superblock flags, all with AL_CLEAN

ADDRESS = {"a": "10.77.0.1", "b": "10.77.0.2"}
SETTLED = ("Connected", "WFBitMap", "WFSyncUUID", "SyncSource", "SyncTarget", "PausedSync")


def node(current, bitmap=0, young=0, old=0, flags=GOOD, bits=0, primary=False, options=""):
    return dict(uuids=(current, bitmap, young, old), flags=flags, bits=bits, primary=primary, options=options)


def with_(one, **changes):
    return {**one, **changes}


def table_cases():
    """A tuple for each rule, both ways round."""
    pairs = [
        (node(JC), node(A)), (node(JC, flags=INCONSISTENT), node(A)),
        (node(A, B, C, D), node(A, 0, B, C)), (node(A, B, C, D), node(A, 0, B, D)),
        (node(A, 0, B, C), node(A, 0, B, C)),
        (node(A, flags=CRASHED), node(A)), (node(A, flags=CRASHED), node(A, flags=CRASHED)),
        (node(A), node(B, A)), (node(A, 0, C), node(B, A + OFFSET, A, D)), (node(A), node(B, C, A, D)),
        (node(A), node(B, C, D, A)), (node(B, A), node(C, A)), (node(B, A, D, E), node(C, F, E, D)),
        (node(A, 0, B, C), node(D, 0, E, F)), (node(B, JC), node(C, JC)), (node(B, 0), node(C, 0)),
        (node(A, B), node(B, A)), (node(A, C, B, D), node(B, D, A, C)), (node(A, B), node(B, C, A)),
    ]
    for one, other in pairs:
        yield one, other
        yield other, one


def disk_cases():
    """An Inconsistent or Outdated disk against every kind of verdict."""
    for flags in (INCONSISTENT, OUTDATED):
        for one, other in ((node(A), node(B, A)), (node(B, C, A), node(A)), (node(B, A), node(C, A)),
                           (node(B, A, D, E), node(C, F, E, D)), (node(A), node(A)),
                           (node(A, B), node(B, A))):
            yield with_(one, flags=flags), other
            yield one, with_(other, flags=flags)
            yield with_(one, flags=flags), with_(other, flags=INCONSISTENT)


def role_cases():
    for discard in ("", "--discard-my-data"):
        yield node(A, C, B, primary=True), node(B, A, options=discard)
        yield node(B, A, primary=True), node(A, options=discard)
        yield node(B, A | 1, primary=True), node(C, A, options=discard)
        yield node(B, A, D, E, primary=True), node(C, F, E, D, options=discard)
        yield node(B, A), node(C, A, options=discard)
        yield node(B, A, D, E), node(C, F, E, D, options=discard)
    yield node(B, A, options="--discard-my-data"), node(C, A, options="--discard-my-data")
    yield node(A, B, C, D, primary=True), node(A, 0, B, C)
    yield node(A, B, C, D), node(A, B, C, D)


def policy_cases():
    swap = {"discard-local": "discard-remote", "discard-remote": "discard-local"}
    zero = ["discard-younger-primary", "discard-older-primary", "discard-zero-changes",
            "discard-least-changes", "discard-local", "discard-remote"]
    for policy in zero:
        for bit0, bits in itertools.product(((0, 1), (1, 0), (1, 1)), ((0, 3), (5, 3), (2, 2))):
            options = ["--after-sb-0pri=" + p for p in (policy, swap.get(policy, policy))]
            yield (node(B, A | bit0[0], bits=bits[0], options=options[0]),
                   node(C, A | bit0[1], bits=bits[1], options=options[1]))
    for policy in ("consensus", "violently-as0p", "discard-secondary", "call-pri-lost-after-sb"):
        for local in ("discard-local", "discard-remote"):
            options = ["--after-sb-0pri=%s --after-sb-1pri=%s" % (p, policy) for p in (local, swap[local])]
            yield node(B, A | 1, primary=True, options=options[0]), node(C, A, options=options[1])


def random_cases(count):
    alphabet = (0, JC, A, A | 1, A + OFFSET, B, C)
    choose = random.Random(84)
    for _ in range(count):
        sides = [[choose.choice(alphabet[1:])] + [choose.choice(alphabet) for _ in range(3)] for _ in "ab"]
        yield node(*sides[0]), node(*sides[1])


RECORDINGS = {
    "verdict-table": table_cases, "verdict-disks": disk_cases, "verdict-roles": role_cases,
    "verdict-policies": policy_cases, "verdict-random": lambda: random_cases(60),
}


def dump_text(side, la_size, words):
    uuids = " ".join("0x%016X;" % u for u in side["uuids"])
    ones = (1 << side["bits"]) - 1
    return ('version "v08";\nuuid { %s flags 0x%08X; }\nla-size-sect %d;\nbm-byte-per-bit 4096;\n'
            "device-uuid 0x0000000000000001;\nla-peer-max-bio-size 1048576;\nal-stripes 1;\n"
            "al-stripe-size-4k 8;\nbm { 0x%016X; %d times 0x0000000000000000; }\n"
            % (uuids, side["flags"], la_size, ones, words - 1))


def prepare(machine, name, side, la_size, words):
    own, peer = ADDRESS[name], ADDRESS["b" if name == "a" else "a"]
    machine.sh("drbdsetup-84 down r0 2>/dev/null; cat > /tmp/md <<'END'\n%sEND\n"
               "set -e; drbdmeta --force 0 v08 /dev/vda internal restore-md /tmp/md; "
               "drbdsetup-84 new-resource r0; drbdsetup-84 new-minor r0 0 0; "
               "drbdsetup-84 attach 0 /dev/vda /dev/vda internal; %s"
               % (dump_text(side, la_size, words), "drbdsetup-84 primary 0" if side["primary"] else ":"))
    return ("drbdsetup-84 connect r0 ipv4:%s:7788 ipv4:%s:7788 --connect-int=1 %s"
            % (own, peer, side["options"]))


def wait_for_decision(machines):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = [m.rc("cat /proc/drbd")[1].split("cs:")[1].split()[0] for m in machines.values()]
        if "StandAlone" in states or all(s.startswith(SETTLED) for s in states):
            return states
    raise SystemExit("no decision within 20 s: %s" % states)


def logged_verdict(machine):
    """"-1 50" from the kernel's log, which is emptied."""
    found = re.findall(r"uuid_compare\(\)=(-?\d+) by rule (\d+)", machine.sh("dmesg -c"))
    if len(found) > 1:
        raise SystemExit("more than one handshake: %s" % found)
    return "%s %s" % found[0] if found else "0 0"


def geometry(machine):
    """(sectors, words of the bitmap) that this kernel gives the disk."""
    machine.sh("drbdmeta --force 0 v08 /dev/vda internal create-md; drbdsetup-84 new-resource r0; "
               "drbdsetup-84 new-minor r0 0 0; drbdsetup-84 attach 0 /dev/vda /dev/vda internal; "
               "drbdsetup-84 down r0; drbdmeta --force 0 v08 /dev/vda internal apply-al")
    text = machine.sh("drbdmeta --force 0 v08 /dev/vda internal dump-md")
    size = int(text.split("la-size-sect")[1].split(";")[0])
    bytes_ = int(text.split("bm-bytes")[1].split(";")[0])
    return size, bytes_ // 8


def record(folder, cases):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        pcap = scratch / "traffic.pcap"
        network = "addr.type=unix,addr.path=%s" % (scratch / "wire")
        machines = {}
        try:
            for number, name in enumerate("ab", 1):
                machines[name] = KernelPeer(
                    name, scratch, [make_disk(scratch / (name + ".d0"), "8M")], ip=ADDRESS[name] + "/24",
                    netdev="stream,server=%s,%s" % ("on" if name == "a" else "off", network),
                    mac_last=number, pcap=pcap if name == "a" else None)
                machines[name].start()
            for machine in machines.values():
                machine.boot()
            size, words = {geometry(m) for m in machines.values()}.pop()
            verdicts = []
            for machine in machines.values():
                machine.sh("dmesg -c >/dev/null")
            for case in cases:
                connect = [prepare(machines[n], n, side, size, words) for n, side in zip("ab", case)]
                for name, command in zip("ab", connect):
                    machines[name].sh(command)
                states = wait_for_decision(machines)
                verdicts.append(" ".join(logged_verdict(m) for m in machines.values()))
                print(folder.name, verdicts[-1], *states, flush=True)
        finally:
            for machine in machines.values():
                machine.kill()
        table = io.StringIO()
        streams.read(str(pcap), table)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "verdicts.tsv").write_text("".join(v + "\n" for v in verdicts), encoding="ascii")
        (folder / "traffic.pcap.gz").write_bytes(gzip.compress(pcap.read_bytes()))
        (folder / "traffic.tsv.gz").write_bytes(gzip.compress(table.getvalue().encode()))


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for name, cases in RECORDINGS.items():
        if not sys.argv[2:] or name in sys.argv[2:]:
            record(pathlib.Path(sys.argv[1]) / name, list(cases()))


if __name__ == "__main__":
    main()
