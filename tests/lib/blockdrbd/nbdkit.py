# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk with switches, below the driver: nbdkit over a file, seen as NBD.

What a test can do to it while the driver runs: stop it (requests hang until
`resume`), make writes or reads fail with an errno of its choice, slow it down,
and read a log in which flush and FUA are apart.  Needs Debian's nbdkit.
"""

import os
import pathlib
import re
import socket
import subprocess
from typing import Any, Dict, List, Sequence

from .daemon import die_with_parent, wait_for
from .paths import system_program

_CALL = re.compile(r" (Write|Zero|Trim|Flush|Read) id=(\d+)(.*)\.\.\.$")
_FIELD = re.compile(r"(\w+)=(\S+)")
_NUMBERS = ("offset", "count", "fua", "trim", "fast")


class SwitchedDisk:
    """`with SwitchedDisk(folder, "d", size) as disk:`; disk.node("n") is its node."""

    def __init__(self, folder, name: str, size: int, *, error: str = "EIO",
                 delay_ms: int = 0, filters: Sequence[str] = (), parameters: Sequence[str] = ()):
        self.folder = pathlib.Path(getattr(folder, "path", folder))
        self.name = name
        self.path = self.folder / f"{name}.raw"
        if not self.path.exists():
            with open(self.path, "wb") as image:
                image.truncate(size)
        self.socket_path = str(self.folder / f"{name}.nbd")
        self.log_path = self.folder / f"{name}.nbdlog"
        self.error = error
        self.delay_ms = delay_ms
        self.filters = list(filters)
        self.parameters = list(parameters)
        self.process = None
        self._control = None

    def _file(self, what: str) -> pathlib.Path:
        return self.folder / f"{self.name}.{what}"

    def __enter__(self) -> "SwitchedDisk":
        pid_file = self._file("pid")
        # What an earlier one of this name has left says nothing about this one.
        for left in (pid_file, pathlib.Path(self.socket_path), self._file("pause")):
            left.unlink(missing_ok=True)
        delay = ["--filter=delay"] if self.delay_ms else []
        delays = [f"delay-write={self.delay_ms}ms", f"delay-zero={self.delay_ms}ms",
                  f"delay-trim={self.delay_ms}ms"] if self.delay_ms else []
        errors = [f"error-{call}{field}" for call in ("pwrite", "zero", "trim", "pread")
                  for field in (f"={self.error}", "-rate=100%",
                                f"-file={self._file('read-fails' if call == 'pread' else 'write-fails')}")]
        with open(self._file("stderr"), "ab") as stderr:      # a line for every injected error
            self.process = subprocess.Popen(
                [system_program("nbdkit", "nbdkit"), "-f", "-U", self.socket_path, "-P", str(pid_file),
                 "--filter=log", "--filter=pause", *self.filters, "--filter=error", *delay,
                 "file", str(self.path), f"logfile={self.log_path}",
                 f"pause-control={self._file('pause')}", *errors, *delays, *self.parameters],
                stdin=subprocess.DEVNULL, stderr=stderr, preexec_fn=die_with_parent)
        wait_for(lambda: pid_file.exists() and pid_file.stat().st_size > 0, "nbdkit listens")
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.settimeout(30)
        self._control.connect(str(self._file("pause")))
        return self

    def __exit__(self, kind, value, trace) -> None:
        self._control.close()
        self.process.kill()
        self.process.wait()

    def node(self, node_name: str, **options: Any) -> Dict[str, Any]:
        return {"driver": "nbd", "node-name": node_name,
                "server": {"type": "unix", "path": self.socket_path},
                **{key.replace("_", "-"): value for key, value in options.items()}}

    def pause(self) -> None:
        """Waits for requests in flight; new ones hang until resume."""
        self._order(b"p", b"P")

    def resume(self) -> None:
        self._order(b"r", b"R")

    def _order(self, order: bytes, answer: bytes) -> None:
        self._control.sendall(order)
        reply = self._control.recv(1)
        assert reply == answer, f"pause control of {self.name}: {reply!r} instead of {answer!r}"

    def fail_writes(self, on: bool = True) -> None:
        self._switch(self._file("write-fails"), on)

    def fail_reads(self, on: bool = True) -> None:
        self._switch(self._file("read-fails"), on)

    @staticmethod
    def _switch(path: pathlib.Path, on: bool) -> None:
        if on:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def calls(self, kind: str = "") -> List[Dict[str, Any]]:
        """What has arrived: kind, id, offset, count, fua … in order of arrival."""
        found = []
        for line in self.log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _CALL.search(line)
            if match and kind in ("", match.group(1)):
                fields: Dict[str, Any] = {"kind": match.group(1), "id": int(match.group(2))}
                for key, value in _FIELD.findall(match.group(3)):
                    fields[key] = int(value, 0) if key in _NUMBERS else value
                found.append(fields)
        return found

    def clear_log(self) -> None:
        """Forgets the calls so far (nbdkit goes on at its old position: a hole)."""
        os.truncate(self.log_path, 0)
