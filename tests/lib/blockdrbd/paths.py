# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the programs under test are.

BLOCK_DRBD_BIN names their folder (default: build/bin of the repository).  A
program that is not there is an error that says how to get it, not a skipped
test: callers that can do without ask with `required=False`.
"""

import os
import pathlib
import shutil
from typing import Optional


def repository_root() -> pathlib.Path:
    return pathlib.Path(__file__).resolve().parents[3]


def program_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("BLOCK_DRBD_BIN", repository_root() / "build" / "bin"))


def program(name: str, required: bool = True) -> Optional[str]:
    """The path of one of our programs."""
    path = program_folder() / name
    if path.exists():
        return str(path)
    if required:
        raise FileNotFoundError(
            f"{path} is missing: run ./build, or set BLOCK_DRBD_BIN to the folder that has it")
    return None


def system_program(name: str, package: str) -> str:
    """The path of a program of the distribution."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise FileNotFoundError(f"{name} is missing: install the Debian package {package}")
    return path
