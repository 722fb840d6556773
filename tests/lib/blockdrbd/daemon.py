# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU process (storage daemon or emulator) with a QMP monitor.

The monitor's socket is made and listening before the process starts, so the
connection needs no polling.  `with` ends the process by its own pid and no
other; when the block fails, the process's log is printed.  `kill` is the
power switch: SIGKILL, nothing is flushed.
"""

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Optional, Sequence

from .paths import program
from .qmp import QmpClient, QmpClosed

PR_SET_PDEATHSIG = 1
FIRMWARE_FOLDERS = ("/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu")
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """For preexec_fn: a test that is killed leaves no daemon behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """What the storage daemon and the emulator have in common."""

    binary_name = ""

    def __init__(self, arguments: Sequence[str] = (), *, folder: Optional[str] = None,
                 binary: Optional[str] = None, name: str = "daemon",
                 environment: Optional[Dict[str, str]] = None, timeout_s: float = 30.0):
        self.arguments = list(arguments)
        self.name = name
        self.binary = binary or program(self.binary_name)
        self.environment = environment
        self.timeout_s = timeout_s
        self.process: Optional[subprocess.Popen] = None
        self._qmp: Optional[QmpClient] = None
        self._own_folder = None
        if folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix="drbd-daemon-")
            folder = self._own_folder.name
        self.folder = pathlib.Path(folder)
        self.log_path = self.folder / f"{name}.log"
        self.qmp_path = str(self.folder / f"{name}.qmp")

    # -- life -------------------------------------------------------------

    def start(self) -> "Daemon":
        """Starts the process; raises with its log when it ends at once."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        pathlib.Path(self.qmp_path).unlink(missing_ok=True)
        listener.bind(self.qmp_path)
        listener.listen(1)
        command = [self.binary, *self.monitor_arguments(listener.fileno()), *self.arguments]
        with open(self.log_path, "ab") as log:
            log.write(("$ " + " ".join(command) + "\n").encode())
            log.flush()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[listener.fileno()], preexec_fn=die_with_parent,
                env={**os.environ, **(self.environment or {})})
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self.qmp_path)
        listener.close()
        try:
            self._qmp = QmpClient(connection, self.timeout_s)
        except (QmpClosed, OSError) as error:
            self.process.wait(self.timeout_s)
            raise DaemonDied(f"{self.name} did not start ({error}):\n{self.log()}") from None
        return self

    def monitor_arguments(self, listener: int) -> List[str]:
        raise NotImplementedError

    @property
    def qmp(self) -> QmpClient:
        assert self._qmp is not None, f"{self.name} is not running"
        return self._qmp

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def quit(self, timeout_s: Optional[float] = None) -> int:
        """Orderly end by QMP; returns the exit status, kills at the deadline.

        Raises when a signal ended the process, as an assertion does."""
        assert self.process is not None
        if self.is_running():
            try:
                self.qmp.command("quit")
            except QmpClosed:
                pass
        try:
            status = self.process.wait(timeout_s or self.timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonDied(f"{self.name} did not end after quit:\n{self.log()}") from None
        self._close_monitor()
        if status < 0:
            raise DaemonDied(f"{self.name} was ended by signal {-status} in quit:\n{self.log()}")
        return status

    def kill(self) -> None:
        """SIGKILL to our own child."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        self._close_monitor()

    def wait_exit(self, timeout_s: Optional[float] = None) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s or self.timeout_s)

    def stop_process(self) -> None:
        """SIGSTOP: a host that hangs. The signal takes its time: on return every thread stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(self._stands_still, "the process stands still", 10)

    def _stands_still(self) -> bool:
        stats = [(task / "stat").read_text() for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir()]
        return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats)

    def continue_process(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self, lines: int = 60) -> str:
        try:
            text = self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> "Daemon":
        return self if self.process is not None else self.start()

    def __exit__(self, kind, value, trace) -> None:
        if kind is not None:
            print(f"--- log of {self.name} ({self._how_it_is()}) ---\n{self.log()}", file=sys.stderr)
        self.kill()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def _how_it_is(self) -> str:
        """Running, or how the process ended (a negative status is a signal); for a failure's report."""
        if self.process is None:
            return "never started"
        try:
            # The monitor of a process that dies closes a little before the process is gone.
            return f"pid {self.process.pid} ended with status {self.process.wait(0.5)}"
        except subprocess.TimeoutExpired:
            return f"pid {self.process.pid} is running"

    def _close_monitor(self) -> None:
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None

    # -- block nodes and exports -------------------------------------------

    def object_add(self, options: Dict[str, Any]) -> None:
        self.qmp.raw("object-add", options)

    def blockdev_add(self, options: Dict[str, Any]) -> None:
        self.qmp.raw("blockdev-add", options)

    def blockdev_del(self, node_name: str) -> None:
        self.qmp.command("blockdev-del", node_name=node_name)

    def export_nbd(self, node_name: str, path: Optional[str] = None, *, writable: bool = True,
                   export_id: Optional[str] = None, multi: int = 0) -> str:
        """Exports a node by NBD on a UNIX socket; returns the socket's path.

        The server is started at the first call and is the daemon's only one.
        """
        path = path or str(self.folder / f"{self.name}.nbd")
        if not getattr(self, "_nbd_path", None):
            self.qmp.command("nbd-server-start", max_connections=multi,
                             addr={"type": "unix", "data": {"path": path}})
            self._nbd_path = path
        self.qmp.raw("block-export-add", {
            "type": "nbd", "id": export_id or f"export-{node_name}", "node-name": node_name,
            "name": node_name, "writable": writable})
        return self._nbd_path

    def export_del(self, export_id: str, hard: bool = False) -> None:
        """Removes an export and waits until it is gone."""
        self.qmp.command("block-export-del", id=export_id, mode="hard" if hard else "safe")
        self.qmp.wait_event("BLOCK_EXPORT_DELETED", lambda data: data["id"] == export_id)


class DaemonDied(Exception):
    """The process ended when it should not have."""


class StorageDaemon(Daemon):
    binary_name = "qemu-storage-daemon"

    def monitor_arguments(self, listener: int) -> List[str]:
        return ["--chardev", f"socket,id=qmp0,fd={listener},server=on,wait=off",
                "--monitor", "chardev=qmp0"]


class SystemEmulator(Daemon):
    """qemu-system-x86_64 without devices; TCG, so it runs anywhere."""

    binary_name = "qemu-system-x86_64"

    def monitor_arguments(self, listener: int) -> List[str]:
        firmware = [word for folder in FIRMWARE_FOLDERS if os.path.isdir(folder)
                    for word in ("-L", folder)]
        return [*firmware, "-nodefaults", "-no-user-config", "-display", "none",
                "-machine", "accel=tcg",
                "-chardev", f"socket,id=qmp0,fd={listener},server=on,wait=off",
                "-mon", "chardev=qmp0,mode=control"]


def wait_for(condition, what: str, timeout_s: float = 30.0, poll_s: float = 0.01):
    """Evaluates a condition until it is true, for things no event announces."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so after {timeout_s} s")
        time.sleep(poll_s)
