# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs QEMU's own iotests (`./check -raw -nbd`) and reads their results.

In: the build folder that ./build.sh left in build/qemu-build-10.0-system (it
has the tests of the same source).  Out: {test: "pass" | "fail" | "not run"} and
what the failed ones printed.  Nothing is fetched and nothing is written outside
the given folder.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
from typing import Dict, List, Optional, Tuple

from blockdrbd import repository_root
from blockdrbd.images import temporary_root
from blockdrbd.paths import program, program_folder

__all__ = ["reference", "run", "servers_started", "temporary_root"]
HERE = pathlib.Path(__file__).resolve().parent
DEADLINE_S = 280
# Not about the block layer: 297 runs linters over the tests' own sources.
LEFT_OUT = {"297"}
_RESULT = re.compile(r"^(ok|not ok) raw (\S+?)( # SKIP.*)?$", re.M)


def iotests_folder() -> pathlib.Path:
    folder = repository_root() / "build" / "qemu-build-10.0-system" / "tests" / "qemu-iotests"
    if not (folder / "check").exists():
        raise FileNotFoundError(f"{folder}/check is missing: run ./build.sh qemu")
    return folder.resolve()


def run(folder, layer: Optional[str], tests: List[str], jobs: int = os.cpu_count() or 1) -> Tuple[Dict[str, str], str]:
    """Runs the tests (all when the list is empty), below the driver if `layer` is raw or qcow2."""
    build = iotests_folder()
    source = (build / "check").resolve().parent
    folder = pathlib.Path(folder)
    for name in ("scratch", "sockets", "state"):
        (folder / name).mkdir(parents=True)
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
                   "TEST_DIR": str(folder / "scratch"), "SOCK_DIR": str(folder / "sockets"),
                   "QEMU_PROG": program("qemu-system-x86_64"), "QEMU_IMG_PROG": program("qemu-img"),
                   "QEMU_IO_PROG": program("qemu-io"), "QEMU_NBD_PROG": program("qemu-nbd"),
                   "QSD_PROG": program("qemu-storage-daemon")}
    if layer:
        environment.update({"QEMU_NBD_PROG": str(HERE / "nbd_server.py"), "IOTESTS_LAYER": layer,
                            "IOTESTS_NBD": program("qemu-nbd"), "IOTESTS_STATE": str(folder / "state"),
                            "BLOCK_DRBD_BIN": str(program_folder())})
    command = [
        "/usr/bin/python3", str(build / "check"), "--build-dir", str(build), "--source-dir", str(source),
        "-raw", "-nbd", "-tap", "-j", str(jobs), *tests]
    stdout, stderr = folder / "stdout", folder / "stderr"
    # Files, not pipes: a server that a test left behind would keep a pipe open.
    with open(stdout, "wb") as out, open(stderr, "wb") as err:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=err, start_new_session=True)
        try:
            process.wait(DEADLINE_S)
        finally:
            end_leftovers(folder, process)
    output = stdout.read_text(encoding="utf-8", errors="replace")
    errors = stderr.read_text(encoding="utf-8", errors="replace")
    results = {name: "not run" if skipped else "pass" if word == "ok" else "fail"
               for word, name, skipped in _RESULT.findall(output) if name not in LEFT_OUT}
    if not results:
        raise RuntimeError(f"iotests ran nothing:\n{output[-3000:]}\n{errors[-3000:]}")
    return results, errors


def end_leftovers(folder: pathlib.Path, runner: subprocess.Popen) -> None:
    """Kills what is left of a run: the runner's process group, and servers with our folder in their arguments."""
    try:
        os.killpg(runner.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    runner.wait()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"qemu" in words[0] and any(str(folder).encode() in word for word in words):
                os.kill(int(entry.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def servers_started(folder) -> Dict[str, int]:
    """How many servers had the driver in them, and how many went through unchanged."""
    counts = {"driver": 0, "unchanged": 0}
    for line in (pathlib.Path(folder) / "state" / "log").read_text(encoding="utf-8").splitlines():
        counts[line.split()[0]] += 1
    return counts


def reference(folder) -> Dict[str, str]:
    """The results without the driver, remembered with QEMU's build folder (it is keyed by version)."""
    build = iotests_folder()
    stored = build / "drbd-reference.json"
    key = subprocess.run([program("qemu-nbd"), "--version"], text=True, check=True,
                         stdout=subprocess.PIPE).stdout.splitlines()[0]
    if stored.is_file():
        known = json.loads(stored.read_text(encoding="utf-8"))
        if known["qemu"] == key:
            return known["results"]
    results, _ = run(folder, None, [])
    part = stored.with_name(f".reference.{os.getpid()}")
    part.write_text(json.dumps({"qemu": key, "results": results}, indent=1), encoding="utf-8")
    part.replace(stored)
    return results
