# SPDX-License-Identifier: GPL-2.0-or-later
"""A load that keeps its depth: tests/bench/vhost_load.cc on a vhost-user-blk
export (a client in Python is too slow for that).  Compiled once a run."""

import functools
import os
import pathlib
import re
import subprocess
import tempfile

from blockdrbd import repository_root


@functools.lru_cache(maxsize=None)
def _program() -> str:
    """The compiled program, in build/ where there is one already of this source."""
    source = repository_root() / "tests" / "bench" / "vhost_load.cc"
    target = repository_root() / "build" / "vhost_load"
    if target.is_file() and target.stat().st_mtime > source.stat().st_mtime:
        return str(target)
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = pathlib.Path(folder) / "vhost_load"
        subprocess.run(["c++", "-std=c++20", "-O2", str(source), "-o", str(made)], check=True)
        os.replace(made, target)
    return str(target)


class VhostLoad:
    """Exports a node of a stack; `run` returns the number of writes that completed."""

    def __init__(self, stack, node_name: str = "drbd0", iothread: str = "load0"):
        self.socket = str(stack.workspace / f"vhost-{node_name}.sock")
        stack.daemon.object_add({"qom-type": "iothread", "id": iothread})
        stack.qmp.raw("block-export-add", {
            "type": "vhost-user-blk", "id": f"vhost-{node_name}", "node-name": node_name, "writable": True,
            "iothread": iothread, "addr": {"type": "unix", "path": self.socket}})

    def run(self, block: int, depth: int, seconds: float, working_set: int, *, random: bool = True,
            flush: bool = False) -> int:
        return self.result(self.start(block, depth, seconds, working_set, random=random, flush=flush))

    def start(self, block, depth, seconds, working_set, *, random=True, flush=False) -> subprocess.Popen:
        return subprocess.Popen(
            [_program(), self.socket, str(block), str(depth), str(seconds), str(working_set),
             "random" if random else "sequential", "flush" if flush else "noflush"],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    @staticmethod
    def result(process: subprocess.Popen) -> int:
        output, _ = process.communicate(timeout=50)
        found = re.match(r"writes (\d+)", output)
        assert process.returncode == 0 and found, output
        return int(found.group(1))
