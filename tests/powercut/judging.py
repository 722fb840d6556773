# SPDX-License-Identifier: GPL-2.0-or-later
"""Judging the crash states of a Recording.

The replayer builds a state into two files and says what is wrong with them as
they lie; the driver then attaches to them in a storage daemon that serves
many states, detaches, and the replayer judges what that left.  Some states
are in addition compared byte by byte, put through Debian's drbdmeta, and
crashed a second time in the middle of their attach.
"""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import time
from typing import Any, Dict, List, Optional

import programs
from blockdrbd import QmpError, StorageDaemon, drbd_node, file_node, query_drbd, resource_object
from blockdrbd.paths import repository_root
from blockdrbd.qmp import QmpClosed, QmpTimeout
from geometry import Geometry, ImagePair
from recording import AL_EXTENTS, Delays, Recording

STATES_PER_DAEMON = 300
STATES_PER_COMPARISON = 20
STATES_PER_DRBDMETA = 100
STATES_PER_SECOND_CRASH = 150
SECOND_CRASH_STATES = 24
FAILURES_KEPT = 5


class Replayer:
    """The replayer process over one recording."""

    def __init__(self, log: str, geometry: Geometry, base: ImagePair, state: ImagePair,
                 carry: Optional[str] = None, trim_keeps: bool = False):
        command = [programs.build()["replayer"], f"log={log}", f"base-data={base.data}",
                   f"state-data={state.data}", *geometry.replayer_options()]
        if base.md:
            command += [f"base-md={base.md}", f"state-md={state.md}"]
        if carry:
            command.append(f"carry={carry}")
        if trim_keeps:
            command.append("trim=keep")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True)
        self._read()

    def ask(self, line: str) -> Dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the replayer ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "fatal" in answer:
            raise RuntimeError(f"replayer: {answer['fatal']}")
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@dataclasses.dataclass
class Failure:
    point: int
    mode: str
    seed: int
    errors: List[str]
    folder: str

    def __str__(self) -> str:
        script = repository_root() / "tests" / "powercut" / "replay_one.py"
        return ("\n  ".join([f"crash point {self.point}, mode {self.mode}, seed {self.seed}:",
                             *self.errors]) +
                f"\n  again: python3 {script.relative_to(repository_root())} {self.folder} "
                f"{self.point} {self.mode} {self.seed}")


@dataclasses.dataclass
class Result:
    states: int = 0
    attaches: int = 0
    drbdmeta_runs: int = 0
    second_crashes: int = 0
    seconds: float = 0.0
    failed: int = 0
    failures: List[Failure] = dataclasses.field(default_factory=list)

    def add(self, failure: Failure) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)

    def merge(self, other: "Result") -> None:
        for name in ("states", "attaches", "drbdmeta_runs", "second_crashes", "seconds", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures = (self.failures + other.failures)[:FAILURES_KEPT]

    def __str__(self) -> str:
        rate = self.states / self.seconds if self.seconds else 0
        return (f"{self.states} states, {self.attaches} attaches, {self.drbdmeta_runs} by drbdmeta, "
                f"{self.second_crashes} crashed again, {self.seconds:.1f} s, {rate:.0f} states/s, "
                f"{self.failed} failed")


class Attacher:
    """The driver over state files, in a daemon that is renewed now and then."""

    def __init__(self, folder: pathlib.Path, geometry: Geometry, images: ImagePair):
        self._folder = folder
        self._geometry = geometry
        self._images = images
        self._daemon: Optional[StorageDaemon] = None
        self._served = 0

    def attach_and_detach(self, expected_disk: str) -> List[str]:
        """What went wrong with attach, state, detach."""
        if self._daemon is None or self._served >= STATES_PER_DAEMON:
            self._renew()
        assert self._daemon is not None
        self._served += 1
        metadata = file_node("md0", self._images.md) if self._images.md else None
        node = drbd_node("drbd0", file_node("data0", self._images.data), metadata=metadata,
                         al_extents=AL_EXTENTS, **self._geometry.drbd_options())
        errors = []
        try:
            self._daemon.blockdev_add(node)
            volume = query_drbd(self._daemon.qmp, "r0")["volumes"][0]
            if expected_disk not in ("any", volume["disk"]):
                errors.append(f"attach: the disk is {volume['disk']}, expected {expected_disk}")
            self._daemon.blockdev_del("drbd0")
        except QmpError as error:
            errors.append(f"attach: {error.command} failed: {error.description}")
            self.close()
        except (QmpClosed, QmpTimeout) as error:
            errors.append(f"attach: the daemon died or hung ({error}): {self._daemon.log(8)}")
            self.close()
        return errors

    def _renew(self) -> None:
        self.close()
        self._daemon = StorageDaemon(folder=str(self._folder), name="attacher").start()
        self._daemon.object_add(resource_object("r0"))
        self._served = 0

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon = None


class StateJudge:
    """All that is needed to judge states of one recording."""

    def __init__(self, folder: pathlib.Path, geometry: Geometry, base: ImagePair, log: str, *,
                 carry: Optional[str] = None, driver: bool = True, trim_keeps: bool = False,
                 report_folder: Optional[str] = None, second_crashes: bool = True):
        self.folder = pathlib.Path(folder)
        self.geometry = geometry
        self.report_folder = report_folder or str(folder)
        self.images = base.copy(self.folder, "state")
        self.replayer = Replayer(log, geometry, base, self.images, carry, trim_keeps)
        self.driver = driver and geometry.placement != "none"
        self.attacher = Attacher(self.folder, geometry, self.images) if self.driver else None
        self.second_crashes = second_crashes and self.driver
        self.result = Result()

    def close(self) -> None:
        self.replayer.close()
        if self.attacher is not None:
            self.attacher.close()
        for path in (self.images.data, self.images.md):
            if path:
                pathlib.Path(path).unlink()

    def judge_many(self, count: int, seed: int) -> Result:
        begin = time.monotonic()
        self.replayer.ask(f"plan {count} {seed}")
        while True:
            state = self.replayer.ask("next")
            if state.get("end"):
                break
            self.judge_state(state)
            if self.result.failed >= 4 * FAILURES_KEPT:
                break
        self.result.seconds += time.monotonic() - begin
        return self.result

    def judge_one(self, point: int, mode: str, seed: int) -> List[str]:
        return self.judge_state(self.replayer.ask(f"goto {point} {mode} {seed}"), thorough=True)

    def judge_state(self, state: Dict[str, Any], thorough: bool = False) -> List[str]:
        number = self.result.states
        self.result.states += 1
        errors = list(state["errors"])
        if self.attacher is not None and state["attachable"]:
            if thorough or number % STATES_PER_DRBDMETA == 1:
                errors += self._judge_by_drbdmeta()
            if self.second_crashes and number % STATES_PER_SECOND_CRASH == 2:
                errors += self._crash_again(state)
            self.result.attaches += 1
            attached = self.attacher.attach_and_detach(state["disk"])
            errors += attached or self.replayer.ask("judge")["errors"]
        if thorough or number % STATES_PER_COMPARISON == 0:
            errors += self.replayer.ask("verify")["errors"]
        if errors:
            self.result.add(Failure(state["point"], state["mode"], state["seed"], errors,
                                    self.report_folder))
        return errors

    def _judge_by_drbdmeta(self) -> List[str]:
        """Debian's drbdmeta replays a copy; its bitmap must cover what ours does."""
        drbdmeta = shutil.which("drbdmeta", path="/usr/sbin:/sbin:/usr/bin")
        if drbdmeta is None:
            return []
        self.result.drbdmeta_runs += 1
        copy = self.images.copy(self.folder, "drbdmeta")
        before = self.geometry.metadata(copy)
        superblock = before.superblock()
        expected = before.out_of_sync_blocks()
        if superblock.flags & 2:
            expected |= {block for extent in before.active_extents() or ()
                         for block in range(extent * 1024, extent * 1024 + 1024)
                         if block * 8 < superblock.la_size_sect}
        done = subprocess.run([drbdmeta, "--force", "-", "v08", before.path,
                               self.geometry.drbdmeta_kind, "apply-al"],
                              capture_output=True, text=True)
        errors = []
        if done.returncode:
            errors.append(f"drbdmeta: apply-al: status {done.returncode}: {done.stderr.strip()}")
        missing = expected - before.out_of_sync_blocks()
        if missing:
            errors.append(f"drbdmeta: apply-al leaves {len(missing)} blocks unmarked, "
                          f"one is {min(missing)}")
        for name in (copy.data, copy.md):
            if name:
                pathlib.Path(name).unlink()
        return errors

    def _crash_again(self, state: Dict[str, Any]) -> List[str]:
        """Records the attach to this state, and judges crashes in its middle."""
        folder = self.folder / f"again-{state['point']}-{state['mode']}-{state['seed']}"
        folder.mkdir()
        self.replayer.ask(f"save {folder / 'carry'}")
        base = self.images.copy(folder, "base")
        errors = self._judge_attach(folder, base, state)
        self.result.second_crashes += 1
        if not errors:
            shutil.rmtree(folder)
        return errors

    def _judge_attach(self, folder: pathlib.Path, base: ImagePair, state: Dict[str, Any]) -> List[str]:
        with Recording(folder, self.geometry.placement, state["seed"], base=base,
                       delays=Delays(delay_us=50, lag_us=500), geometry=self.geometry) as again:
            again.log.mark(f"expect disk={state['disk']}")
            again.start_daemon()
            try:
                again.open_node()
                again.close_node(clean=True)
            except QmpError as error:
                return [f"attach: over the recorder: {error}"]
        judge = StateJudge(folder, self.geometry, base, again.log.path, carry=str(folder / "carry"),
                          report_folder=str(folder), second_crashes=False)
        try:
            result = judge.judge_many(SECOND_CRASH_STATES, state["seed"])
        finally:
            judge.close()
        self.result.states += result.states
        self.result.attaches += result.attaches
        return [f"second crash: {failure}" for failure in result.failures]
