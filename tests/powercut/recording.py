# SPDX-License-Identifier: GPL-2.0-or-later
"""One recorded run: the recorder, the storage daemon above it, the guest.

A Recording is a folder: base images, the log, run.json with what a replay
needs to know.  Its methods are the steps a scenario is made of; each writes
the marks that tell the judge what a finished command has promised.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
from typing import Optional

import programs
import seqlog
from blockdrbd import GuestDisk, StorageDaemon, drbd_node, nbd_node, resource_object
from blockdrbd import run_operation
from blockdrbd.daemon import die_with_parent, wait_for
from blockdrbd.paths import system_program
from geometry import Geometry, ImagePair, hot_ranges, make_base
from workload import Guest, Mix

AL_EXTENTS = 67


@dataclasses.dataclass
class Delays:
    """What the recorder does to the order of completions."""

    delay_us: int = 150
    lag_us: int = 3000
    lag_permille: int = 30


class Recorder:
    """nbdkit with our plugin over two images; outlives the daemon's death."""

    def __init__(self, folder: pathlib.Path, log: str, images: ImagePair, seed: int,
                 delays: Delays, name: str = "recorder"):
        self.socket = str(folder / f"{name}.sock")
        self._log_file = folder / f"{name}.log"
        plugin = programs.build()["recorder"]
        command = [system_program("nbdkit", "nbdkit"), "-f", "-U", self.socket, "-t", "32", plugin,
                   f"log={log}", f"data={images.data}", *([f"md={images.md}"] if images.md else []),
                   f"seed={seed}", f"delay-us={delays.delay_us}", f"lag-us={delays.lag_us}",
                   f"lag-permille={delays.lag_permille}"]
        with open(self._log_file, "wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, preexec_fn=die_with_parent)
        wait_for(self._is_listening, "the recorder's socket", 20.0)

    def _is_listening(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the recorder ended: {self._log_file.read_text()}")
        return os.path.exists(self.socket)

    def stop(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"the recorder died: {self._log_file.read_text()}")
        self.process.terminate()
        self.process.wait()


class Recording:
    def __init__(self, folder: pathlib.Path, placement: str, seed: int, *, fresh: bool = False,
                 delays: Optional[Delays] = None, mix: Optional[Mix] = None,
                 binary: Optional[str] = None, base: Optional[ImagePair] = None,
                 geometry: Optional[Geometry] = None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.geometry = geometry or Geometry(placement)
        self.seed = seed
        self.binary = binary
        self.delays = delays or Delays()
        self.base = base or make_base(self.geometry, self.folder, seed, fresh)
        self.log = seqlog.SequenceLog(self.folder / "sequence.log")
        self.guest = Guest(self.log, hot_ranges(self.geometry, seed), self.geometry.guest_bytes,
                           seed, mix)
        self.recorder: Optional[Recorder] = None
        self.daemon: Optional[StorageDaemon] = None
        self._starts = 0

    def __enter__(self) -> "Recording":
        live = self.base.copy(self.folder, "live")
        self.recorder = Recorder(self.folder, self.log.path, live, self.seed, self.delays)
        (self.folder / "run.json").write_text(json.dumps({
            "placement": self.geometry.placement, "device_bytes": self.geometry.device_bytes,
            "seed": self.seed}))
        return self

    def __exit__(self, kind, value, trace) -> None:
        if self.daemon is not None:
            self.daemon.__exit__(kind, value, trace)
        if self.recorder is not None:
            self.recorder.stop()
        for path in self.folder.glob("live.*"):
            path.unlink()

    # -- steps of a scenario ------------------------------------------------

    def start_daemon(self) -> None:
        self._starts += 1
        self.daemon = StorageDaemon(folder=str(self.folder), binary=self.binary,
                                    name=f"daemon-{self._starts}").start()
        if self.geometry.placement != "none":
            self.daemon.object_add(resource_object("r0"))

    def open_node(self, **options) -> None:
        """Opens the node under test; options are those of drbd_node."""
        assert self.daemon is not None
        self.daemon.blockdev_add(self.node_options(**options))

    def node_options(self, **options) -> dict:
        assert self.recorder is not None
        # The promise of the detach ends where the attach may begin to write.
        self.log.mark("expect clean=any")
        # Without discard=unmap the block layer drops a discard above the driver.
        data = nbd_node("data0", self.recorder.socket, "data", discard="unmap")
        if self.geometry.placement == "none":
            return {"driver": "raw", "node-name": "drbd0", "file": data}
        metadata = None if self.geometry.internal else nbd_node("md0", self.recorder.socket, "md")
        return drbd_node("drbd0", data, metadata=metadata,
                         **{"al_extents": AL_EXTENTS, "discard": "unmap",
                            **self.geometry.drbd_options(), **options})

    def run_guest(self, count: int, kill: bool = False, flush_first: bool = False) -> None:
        """The guest's requests; with `kill` the daemon dies in the middle.

        `flush_first`: what an earlier daemon acknowledged is covered as well.
        """
        assert self.daemon is not None
        daemon = self.daemon
        path = daemon.export_nbd("drbd0")
        disk = GuestDisk(path, "drbd0")
        if flush_first:
            self.guest.flush(disk)
        if kill:
            self.guest.run(disk, count, interrupt=self._kill_daemon)
            self.log.mark("attach without clean detach")
            daemon.__exit__(None, None, None)
            self.daemon = None
            return
        self.guest.run(disk, count)
        disk.close()
        daemon.export_del("export-drbd0")

    def _kill_daemon(self) -> None:
        """SIGKILL; but stopped first, until the disks have ended what they
        had been given, as disks do.  (nbdkit 1.32 may abort when it has several
        replies for a client that is gone.)"""
        assert self.daemon is not None
        self.daemon.stop_process()
        wait_for(self.log.disks_idle, "the disks' last completion", poll_s=0.001)
        self.daemon.kill()

    def kill_in_attach(self, after_bytes: int, **options) -> None:
        """Opens the node, and kills the daemon once the attach has made the
        log that much longer, or has ended before."""
        assert self.daemon is not None
        daemon = self.daemon
        options = self.node_options(**options)
        target = self.log.tail() + 1 + after_bytes
        identifier = daemon.qmp.send_raw("blockdev-add", options)
        wait_for(lambda: self.log.tail() >= target or daemon.qmp.has_reply(identifier),
                 "an event of the attach", poll_s=0)
        self._kill_daemon()
        self.log.mark("attach without clean detach")
        daemon.__exit__(None, None, None)
        self.daemon = None

    def close_node(self, clean: bool) -> None:
        assert self.daemon is not None
        if not clean:
            self.log.mark("attach without clean detach")
        self.daemon.blockdev_del("drbd0")
        if clean:
            self.log.mark("expect clean=yes")

    def operation(self, command: str, disk: Optional[str] = None, **arguments) -> None:
        """A DRBD command; `disk` is the disk state that it promises."""
        assert self.daemon is not None
        if disk is not None:
            self.log.mark("expect disk=any")
        run_operation(self.daemon.qmp, command, **arguments)
        if disk is not None:
            self.log.mark(f"expect disk={disk}")

    def set_role(self, role: str, disk: Optional[str] = None, **arguments) -> None:
        self.operation("drbd-set-role", disk, resource="r0", role=role, **arguments)

    def quit(self) -> None:
        assert self.daemon is not None
        self.daemon.quit()
        self.daemon.__exit__(None, None, None)
        self.daemon = None
