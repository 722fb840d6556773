#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the filter costs without a peer, against the same node without it.

    tests/bench/overhead.py [--folder DIR] [--rounds N] [--seconds S] [--generator vhost|nbd|all]

Two storage daemons, one with the driver and one without, on two images in the
same folder, take turns: bare, drbd, bare, drbd …
and every ratio is of two neighbours, so that a busy machine hurts both.  Printed
are medians over the rounds, and the spread.  In a folder that is not on tmpfs
the images are preallocated and opened with cache.direct=on, aio=io_uring.

Generators: `vhost` is vhost_load.cc, a virtio-blk driver without a guest, on a
vhost-user-blk export in an IOThread: the least that can stand above a node.
`nbd` is fio's nbd engine through an NBD export; its own share hides differences.
The activity log is warm: the working set is 256 MiB, written once before.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from blockdrbd import StorageDaemon, drbd_node, file_node, program, resource_object  # noqa: E402
from blockdrbd.paths import system_program  # noqa: E402

MIB = 1 << 20
SIZE = 256 * MIB
VHOST_LOAD = ROOT / "build" / "vhost_load"
UP_TO_DATE = "0000000000001234:0:0:0:1:1"


class Workload:
    def __init__(self, title, block, depth, flush=False, random=True):
        self.title, self.block, self.depth, self.flush, self.random = title, block, depth, flush, random


WORKLOADS = (
    Workload("4 KiB random, depth 1", 4096, 1),
    Workload("4 KiB random, depth 32", 4096, 32),
    Workload("1 MiB sequential, depth 8", MIB, 8, random=False),
    Workload("4 KiB, flush after each", 4096, 1, flush=True),
)


def on_tmpfs(folder) -> bool:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], text=True, stdout=subprocess.PIPE, check=True)
    return done.stdout.strip() == "tmpfs"


class Side:
    """One of the two: an image, with or without the driver above it."""

    def __init__(self, folder: pathlib.Path, driver: bool, direct: bool):
        self.driver = driver
        self.name = "drbd" if driver else "bare"
        self.image = folder / f"{self.name}.raw"
        self.metadata = folder / "drbd.md"
        self.cache = {"cache": {"direct": True}, "aio": "io_uring"} if direct else {}
        with open(self.image, "wb") as image:
            for _ in range(SIZE // MIB):
                image.write(b"\1" * MIB)
            os.fsync(image.fileno())
        if driver:
            with open(self.metadata, "wb") as metadata:
                metadata.truncate(MIB)
            for verb in (["create-md", self.metadata], ["set-gi", self.metadata, UP_TO_DATE]):
                subprocess.run([program("qdrbdmeta"), "--force", "--meta", "external", *map(str, verb)],
                               check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemon = None

    def start(self, folder: pathlib.Path) -> None:
        self.daemon = StorageDaemon(folder=str(folder), name=self.name).start()
        # Adaptive polling settles now here, now there: a factor of two that is nobody's merit.
        self.daemon.object_add({"qom-type": "iothread", "id": "io0", "poll-max-ns": 0})
        self.daemon.blockdev_add(file_node("f", self.image, **self.cache))
        self.top = "f"
        if self.driver:
            self.daemon.object_add(resource_object("r0"))
            self.daemon.blockdev_add(file_node("m", self.metadata, **self.cache))
            self.daemon.blockdev_add(drbd_node("d", "f", metadata="m", role="primary"))
            self.top = "d"
        self.socket = str(folder / f"{self.name}.sock")

    def export(self, generator: str) -> None:
        """The one export of this side; both kinds run in the IOThread."""
        common = {"id": "e", "node-name": self.top, "writable": True, "iothread": "io0"}
        address = {"type": "unix", "path": self.socket}
        if generator == "nbd":
            self.daemon.qmp.raw("nbd-server-start", {"addr": {"type": "unix", "data": {"path": self.socket}}})
            self.daemon.qmp.raw("block-export-add", {"type": "nbd", "name": "x", **common})
        else:
            self.daemon.qmp.raw("block-export-add", {"type": "vhost-user-blk", "addr": address, **common})

    def stop(self) -> None:
        self.daemon.quit()

    def cpu_s(self) -> float:
        fields = pathlib.Path(f"/proc/{self.daemon.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, generator: str, load: Workload, seconds: float):
        """(requests a second, microseconds of the daemon's CPU for each)"""
        before = self.cpu_s()
        rate, writes = getattr(self, generator)(load, seconds)
        return rate, (self.cpu_s() - before) / max(1, writes) * 1e6

    def nbd(self, load: Workload, seconds: float):
        command = [system_program("fio", "fio"), "--name=x", "--ioengine=nbd",
                   f"--uri=nbd+unix:///x?socket={self.socket}",
                   "--rw=" + ("randwrite" if load.random else "write"), f"--bs={load.block}",
                   f"--iodepth={load.depth}", f"--size={SIZE - MIB}", "--time_based",
                   f"--runtime={seconds}", "--output-format=json"]
        done = subprocess.run([*command, *(["--fsync=1"] if load.flush else [])], text=True, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        return job["write"]["iops"], job["write"]["total_ios"]

    def vhost(self, load: Workload, seconds: float):
        done = subprocess.run([str(VHOST_LOAD), self.socket, str(load.block), str(load.depth), str(seconds),
                               str(SIZE - MIB), "random" if load.random else "sequential",
                               "flush" if load.flush else "noflush"],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        found = re.match(r"writes (\d+) seconds ([\d.]+)", done.stdout)
        if not found:
            sys.exit(f"overhead: vhost_load failed: {done.stdout}")
        return int(found.group(1)) / float(found.group(2)), int(found.group(1))


def rounds(sides, generator, load, arguments):
    """[((rate, cpu) bare, (rate, cpu) drbd), ...]; who goes first alternates."""
    found = []
    for number in range(arguments.rounds):
        pair = {side: side.measure(generator, load, arguments.seconds)
                for side in (sides if number % 2 == 0 else sides[::-1])}
        found.append(tuple(pair[side] for side in sides))
    return found


def row(load: Workload, results) -> str:
    bare, drbd = (statistics.median(pair[side][0] for pair in results) for side in (0, 1))
    cpu = [statistics.median(pair[side][1] for pair in results) for side in (0, 1)]
    ratios = sorted(pair[1][0] / pair[0][0] for pair in results)
    unit, what = (load.block / MIB, "MiB/s") if load.block >= MIB else (1, "IOPS")
    return (f"| {load.title} | {bare * unit:,.0f} {what} | {drbd * unit:,.0f} {what} | "
            f"**{statistics.median(ratios):.2f}** | {ratios[0]:.2f} to {ratios[-1]:.2f} | "
            f"{cpu[0]:.1f} / {cpu[1]:.1f} µs |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="/dev/shm", help="where the images are (default /dev/shm)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--generator", choices=("vhost", "nbd", "all"), default="all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drbd-bench-", dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        direct = not on_tmpfs(folder)
        sides = (Side(folder, False, direct), Side(folder, True, direct))
        where = "disk, cache.direct=on, aio=io_uring" if direct else "tmpfs"
        if arguments.generator != "nbd":
            subprocess.run(["c++", "-std=c++20", "-O2", str(ROOT / "tests/bench/vhost_load.cc"), "-o",
                            str(VHOST_LOAD)], check=True)
        for generator in ("vhost", "nbd"):
            if arguments.generator in (generator, "all"):
                table(sides, generator, folder, where, arguments)


def table(sides, generator, folder, where, arguments) -> None:
    title = "vhost-user-blk" if generator == "vhost" else "fio through an NBD export"
    print(f"\n{title}, {where}; {arguments.rounds} rounds of {arguments.seconds:g} s\n\n"
          "| workload | bare | drbd | ratio | its spread | daemon's CPU a write, bare / drbd |\n"
          "|---|---|---|---|---|---|")
    for side in sides:
        side.start(folder)
        side.export(generator)
        # Every extent of the working set into the activity log.
        side.measure(generator, Workload("warm", MIB, 8, random=False), 1)
    for load in WORKLOADS:
        print(row(load, rounds(sides, generator, load, arguments)), flush=True)
    for side in sides:
        side.stop()


main()
