# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the recorder, the replayer and the log library, when their sources
are newer, into build/powercut of the repository (or BLOCK_DRBD_POWERCUT_BUILD).
"""

import fcntl
import os
import pathlib
import subprocess
from typing import Dict, List

from blockdrbd.paths import repository_root, system_program

HERE = pathlib.Path(__file__).resolve().parent
COMMON = ["g++", "-std=c++20", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-pthread"]


def folder() -> pathlib.Path:
    chosen = os.environ.get("BLOCK_DRBD_POWERCUT_BUILD")
    path = pathlib.Path(chosen) if chosen else repository_root() / "build" / "powercut"
    path.mkdir(parents=True, exist_ok=True)
    return path


def build() -> Dict[str, str]:
    """The paths of `recorder`, `replayer` and `seqlog`, built if needed."""
    target = folder()
    library = [HERE / "recorder" / "seqlog.cc"]
    plugin = [HERE / "recorder" / "recorder_plugin.cc", *library]
    replayer = sorted((HERE / "replayer").glob("*.cc")) + library
    with open(target / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _compile(target / "recorder.so", plugin, ["-shared", "-fPIC", *_nbdkit_flags()])
        _compile(target / "seqlog.so", library, ["-shared", "-fPIC"])
        _compile(target / "replayer", replayer, [])
    return {"recorder": str(target / "recorder.so"), "seqlog": str(target / "seqlog.so"),
            "replayer": str(target / "replayer")}


def _nbdkit_flags() -> List[str]:
    pkg_config = system_program("pkg-config", "pkg-config")
    found = subprocess.run([pkg_config, "--cflags", "nbdkit"], capture_output=True, text=True)
    if found.returncode:
        raise FileNotFoundError("nbdkit's header is missing: install the Debian package "
                                "nbdkit-plugin-dev (and nbdkit, python3-libnbd)")
    return found.stdout.split()


def _compile(output: pathlib.Path, sources: List[pathlib.Path], flags: List[str]) -> None:
    headers = [*HERE.glob("recorder/*.h"), *HERE.glob("replayer/*.h")]
    newest = max(path.stat().st_mtime for path in [*sources, *headers])
    if output.exists() and output.stat().st_mtime > newest:
        return
    partial = output.with_suffix(output.suffix + ".new")
    subprocess.run([*COMMON, *flags, "-o", str(partial), *map(str, sources)], check=True)
    partial.rename(output)
