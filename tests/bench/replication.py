#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Synchronous replication side by side, in one run, on one machine.

    tests/bench/replication.py [--seconds S] [--rounds N] [--where tmpfs,disk] [--delay 0,200]
                               [--variants bare,mirror,quorum,A,B,C] [--sync] [--write]

Two storage daemons of the same build, near and far, and the load (fio's nbd
engine through an export of the near one):

  bare     the near image alone
  mirror   blockdev-mirror, copy-mode=write-blocking, over NBD/TCP, exported on the
           job's filter node (on the node itself the writes would pass the job by)
  quorum   quorum of the near image and NBD/TCP
  A, B, C  the driver, by protocol, external metadata

Rows are 4 KiB random writes at depth 1, 8 and 32, 1 MiB sequential at depth 8, and
4 KiB with a flush after each write.  With a delay a relay (delay_proxy.cc) stands
in front of every variant's network.  The variants take turns within a round; what
is printed is the median of the rounds.  --sync also times the first sync of 1 GiB
against the mirror job.  --write puts the
table and the picture into docs/.  Only ratios within one run mean anything.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
sys.path.insert(0, str(ROOT / "tests" / "bench"))

from blockdrbd import StorageDaemon, drbd_node, file_node, resource_object  # noqa: E402
from blockdrbd.metadata import AL_CLEAN, CONSISTENT, WAS_UP_TO_DATE, Metadata  # noqa: E402
from blockdrbd.operation import query_drbd, set_role  # noqa: E402
from blockdrbd.paths import system_program  # noqa: E402
from replication_report import write_report  # noqa: E402

MIB = 1 << 20
SIZE = 256 * MIB
VARIANTS = ("bare", "mirror", "quorum", "A", "B", "C")
NBD_PORT, DRBD_PORT = 20900, 20901


class Load:
    def __init__(self, title, block, depth, flush=False, sequential=False):
        self.title, self.block, self.depth = title, block, depth
        self.flush, self.sequential = flush, sequential


LOADS = (Load("4 KiB random, depth 1", 4096, 1), Load("4 KiB random, depth 8", 4096, 8),
         Load("4 KiB random, depth 32", 4096, 32), Load("1 MiB sequential, depth 8", MIB, 8, sequential=True),
         Load("4 KiB, flush after each", 4096, 1, flush=True))


def relay_program():
    source, target = ROOT / "tests/bench/delay_proxy.cc", ROOT / "build" / "delay_proxy"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(exist_ok=True)
        subprocess.run(["c++", "-std=c++20", "-O2", str(source), "-o", str(target)], check=True)
    return str(target)


class Place:
    """Where the images are, and how they are opened."""

    def __init__(self, name, folder):
        self.name, self.folder = name, pathlib.Path(folder)
        self.cache = {} if name == "tmpfs" else {"cache": {"direct": True}, "aio": "io_uring"}

    def image(self, name, size=SIZE, fill=True):
        path = self.folder / name
        with open(path, "wb") as image:
            image.truncate(size)
            if fill:
                unit = b"\1" * MIB
                for _ in range(min(size, 1 << 30) // MIB):
                    image.write(unit)
            os.fsync(image.fileno())
        return path


class Setup:
    """One variant: two daemons, an export named x, a network with or without a delay."""

    def __init__(self, place, variant, delay_us, size=SIZE, fill_near=True, fill_far=True):
        self.place, self.variant, self.delay_us, self.size = place, variant, delay_us, size
        self.fill = (fill_near, fill_far)
        net = random.Random().randrange(1 << 14)
        self.hosts = ["127.%d.%d.%d" % (128 + (net >> 8), net & 0xff, last) for last in (1, 2, 11, 12)]
        self.stack = contextlib.ExitStack()
        self.far = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._build(stack)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *problem):
        self.stack.close()

    def daemon(self, stack, name):
        daemon = stack.enter_context(StorageDaemon(folder=str(self.place.folder), name=name))
        # Adaptive polling settles now here, now there: a factor of two that is nobody's merit.
        daemon.object_add({"qom-type": "iothread", "id": "io0", "poll-max-ns": 0})
        return daemon

    def relay(self, stack, *ways):
        if not self.delay_us:
            return
        process = subprocess.Popen([relay_program(), str(self.delay_us), *ways], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        stack.callback(process.wait)
        stack.callback(process.stdin.close)
        assert process.stdout.readline() == b"ready\n"

    def _build(self, stack):
        at_near, at_far, to_near, to_far = self.hosts
        self.near = self.daemon(stack, "near")
        near_image = self.place.image("near.img", self.size, self.fill[0])
        self.near.blockdev_add(file_node("a", near_image, **self.place.cache))
        top = "a"
        if self.variant != "bare":
            self.far = self.daemon(stack, "far")
            far_image = self.place.image("far.img", self.size, self.fill[1])
            self.far.blockdev_add(file_node("b", far_image, **self.place.cache))
        if self.variant in ("mirror", "quorum"):
            dial = to_far if self.delay_us else at_far
            self.relay(stack, f"{to_far}:{NBD_PORT}={at_far}:{NBD_PORT}")
            self.far.qmp.raw("nbd-server-start", {"addr": {"type": "inet", "data": {
                "host": at_far, "port": str(NBD_PORT)}}})
            self.far.qmp.raw("block-export-add", {"type": "nbd", "id": "e", "node-name": "b", "name": "b",
                                                  "writable": True, "iothread": "io0"})
            self.near.blockdev_add({"driver": "nbd", "node-name": "n", "export": "b", "server": {
                "type": "inet", "host": dial, "port": str(NBD_PORT)}})
            top = {"mirror": self._mirror, "quorum": self._quorum}[self.variant]()
        elif self.variant in ("A", "B", "C"):
            self.relay(stack, f"{to_far}:{DRBD_PORT}={at_far}:{DRBD_PORT}@{at_near}",
                       f"{to_near}:{DRBD_PORT}={at_near}:{DRBD_PORT}@{at_far}")
            for daemon, node, here, there in (
                    (self.near, "a", at_near, to_far if self.delay_us else at_far),
                    (self.far, "b", at_far, to_near if self.delay_us else at_near)):
                self._drbd(daemon, node, here, there)
            self._wait_connected()
            set_role(self.near.qmp, "primary", **self.primary_options())
            top = "drbd"
        self.socket = str(self.place.folder / "x.sock")
        self.near.qmp.raw("nbd-server-start", {"addr": {"type": "unix", "data": {"path": self.socket}}})
        self.near.qmp.raw("block-export-add", {"type": "nbd", "id": "e", "node-name": top, "name": "x",
                                               "writable": True, "iothread": "io0"})

    def primary_options(self):
        return {}

    def _mirror(self):
        began = time.monotonic()
        self.near.qmp.raw("blockdev-mirror", {"job-id": "m", "device": "a", "target": "n", "sync": "full",
                                              "copy-mode": "write-blocking", "filter-node-name": "top"})
        self.near.qmp.wait_event("BLOCK_JOB_READY", timeout_s=600)
        self.copied_s = time.monotonic() - began
        return "top"

    def _quorum(self):
        self.near.blockdev_add({"driver": "quorum", "node-name": "q", "vote-threshold": 1,
                                "children": ["a", "n"]})
        return "q"

    def _drbd(self, daemon, node, here, there):
        md = self.place.folder / f"{node}.md"
        with open(md, "wb") as image:
            image.truncate(MIB + self.size // 32768)
        self.metadata(Metadata(str(md), False))
        daemon.blockdev_add(file_node("m", md, **self.place.cache))
        daemon.object_add(resource_object(
            "r0", volumes=1, local={"host": here, "port": str(DRBD_PORT)}, iothread="io0",
            peer={"host": there, "port": str(DRBD_PORT)}, protocol=self.variant, **{"connect-int": 1}))
        daemon.blockdev_add(drbd_node("drbd", node, metadata="m"))

    def metadata(self, metadata):
        """Both UpToDate in one generation: the images are equal."""
        metadata.create(self.size, la_size_sect=self.size // 512, current=0x1122334455667788, history0=0x10,
                        flags=CONSISTENT | WAS_UP_TO_DATE | AL_CLEAN)

    def _wait_connected(self):
        for daemon in (self.near, self.far):
            daemon.qmp.wait_until(lambda daemon=daemon: query_drbd(daemon.qmp, "r0")["connection"] == "Connected",
                                  "Connected", 30)

    # -- measuring ---------------------------------------------------------------------

    def cpu_s(self):
        total = 0
        for daemon in (self.near, self.far):
            if daemon is not None:
                stat = pathlib.Path(f"/proc/{daemon.pid}/stat").read_text(encoding="ascii")
                total += sum(map(int, stat.rsplit(")", 1)[1].split()[11:13]))
        return total / os.sysconf("SC_CLK_TCK")

    def measure(self, load, seconds):
        before = self.cpu_s()
        command = [system_program("fio", "fio"), "--name=x", "--ioengine=nbd",
                   f"--uri=nbd+unix:///x?socket={self.socket}", f"--bs={load.block}", f"--iodepth={load.depth}",
                   "--rw=" + ("write" if load.sequential else "randwrite"), f"--size={SIZE - MIB}",
                   "--time_based", f"--runtime={round(seconds * 1000)}ms", "--output-format=json"]
        done = subprocess.run([*command, *(["--fsync=1"] if load.flush else [])], text=True, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        write, spent = job["write"], self.cpu_s() - before
        latency = write["clat_ns"]["percentile"]
        p50, p99 = latency["50.000000"] / 1000, latency["99.000000"] / 1000
        if load.flush:
            flush = job["sync"]["lat_ns"]["percentile"]
            p50, p99 = p50 + flush["50.000000"] / 1000, p99 + flush["99.000000"] / 1000
        return {"iops": write["iops"], "mib": write["bw_bytes"] / MIB, "p50": p50, "p99": p99,
                "cpu_gib": spent / max(1, write["io_bytes"]) * (1 << 30),
                "cpu_us": spent / max(1, write["total_ios"]) * 1e6}


class FreshSetup(Setup):
    """For the first sync: fresh metadata, the far image empty."""

    def metadata(self, metadata):
        metadata.create(self.size)

    def primary_options(self):
        self.began = time.monotonic()
        return {"force": True}

    def wait_synced(self):
        def synced():
            volume = query_drbd(self.near.qmp, "r0")["volumes"][0]
            return volume["peer-disk"] == "UpToDate" and volume["connection"] == "Connected"
        self.near.qmp.wait_until(synced, "in sync", 600, 0.02)
        return time.monotonic() - self.began


def first_sync(place, size):
    """Seconds of the mirror job and of ours for the same data."""
    with FreshSetup(place, "mirror", 0, size, fill_far=False) as setup:
        mirror = setup.copied_s
    with FreshSetup(place, "C", 0, size, fill_far=False) as setup:
        return mirror, setup.wait_synced()


def median_of(samples):
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def run(chosen):
    results = {}
    places = []
    with contextlib.ExitStack() as stack:
        for name in chosen.where.split(","):
            parent = "/dev/shm" if name == "tmpfs" else chosen.disk
            places.append(Place(name, stack.enter_context(
                tempfile.TemporaryDirectory(prefix="drbd-bench-", dir=parent))))
        for place in places:
            for delay in map(int, chosen.delay.split(",")):
                samples = {}
                for number in range(chosen.rounds):
                    for variant in chosen.variants.split(","):
                        if variant == "bare" and delay:
                            continue
                        with Setup(place, variant, delay) as setup:
                            # All extents of the working set into the activity log.
                            setup.measure(Load("warm", MIB, 8, sequential=True), 1)
                            for load in LOADS:
                                found = setup.measure(load, chosen.seconds)
                                samples.setdefault((load.title, variant), []).append(found)
                                print(f"{place.name} delay {delay} round {number + 1} {variant:7} {load.title:26} "
                                      f"{found['iops']:9.0f} IOPS {found['mib']:7.1f} MiB/s p50 {found['p50']:7.0f} "
                                      f"p99 {found['p99']:7.0f} us  {found['cpu_us']:6.1f} us CPU", flush=True)
                for (title, variant), found in samples.items():
                    results[f"{place.name}|{delay}|{title}|{variant}"] = median_of(found)
        syncs = {}
        if chosen.sync:
            tmpfs = next((place for place in places if place.name == "tmpfs"), places[0])
            # No sparse terabyte: the mirror job writes its zeroes out, and fills a tmpfs.
            syncs["1 GiB"] = first_sync(tmpfs, 1 << 30)
            print(f"first sync of 1 GiB: mirror {syncs['1 GiB'][0]:.2f} s, ours {syncs['1 GiB'][1]:.2f} s",
                  flush=True)
    return {"results": results, "syncs": syncs, "seconds": chosen.seconds, "rounds": chosen.rounds,
            "machine": f"{os.cpu_count()} processors, {platform.machine()}", "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--where", default="tmpfs,disk")
    parser.add_argument("--disk", default="/var/tmp", help="folder on a disk (default /var/tmp)")
    parser.add_argument("--delay", default="0,200", help="microseconds each way")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--sync", action="store_true", help="also the first sync of 1 GiB")
    parser.add_argument("--json", help="write the numbers here, too")
    parser.add_argument("--report", help="no measurement: the report of such a file")
    parser.add_argument("--write", action="store_true", help="into docs/PERFORMANCE.md and docs/replication.svg")
    chosen = parser.parse_args()
    if chosen.report:
        found = json.loads(pathlib.Path(chosen.report).read_text(encoding="utf-8"))
    else:
        found = run(chosen)
    if chosen.json:
        pathlib.Path(chosen.json).write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(write_report(found, ROOT / "docs" if chosen.write else None))


if __name__ == "__main__":
    main()
