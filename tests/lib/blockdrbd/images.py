# SPDX-License-Identifier: GPL-2.0-or-later
"""Images and the folder they live in.

A Workspace is a temporary folder on tmpfs where there is one (sparse files of
16 TiB, no disk in the way of a crash test).  Comparison reads only what is
allocated in one of the two files.
"""

import os
import pathlib
import shutil
import tempfile
from typing import Iterator, List, Optional, Tuple

CHUNK = 1 << 20


def temporary_root() -> str:
    """tmpfs if it is there and writable, else the system's choice."""
    root = os.environ.get("BLOCK_DRBD_TMP", "/dev/shm")
    return root if os.access(root, os.W_OK | os.X_OK) else tempfile.gettempdir()


class Workspace:
    """A temporary folder; kept when BLOCK_DRBD_KEEP is set or keep() was called."""

    def __init__(self, prefix: str = "drbd-test-"):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=temporary_root()))
        self._keep = bool(os.environ.get("BLOCK_DRBD_KEEP"))

    def __truediv__(self, name: str) -> pathlib.Path:
        return self.path / name

    def keep(self) -> None:
        self._keep = True

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, kind, value, trace) -> None:
        if not self._keep:
            shutil.rmtree(self.path, ignore_errors=True)


def make_image(path, size: int) -> str:
    """A sparse raw image."""
    with open(path, "wb") as image:
        image.truncate(size)
    return str(path)


def allocated(descriptor: int, size: int) -> Iterator[Tuple[int, int]]:
    """The ranges [begin, end) of a file that hold data."""
    position = 0
    while position < size:
        try:
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:
            return
        end = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        yield begin, end
        position = end


def compare_images(first, second, size: Optional[int] = None,
                   block: int = 4096, limit: int = 16) -> List[int]:
    """The offsets of differing blocks, at most `limit`; empty means equal.

    `size` limits the comparison to the data area; files shorter than the
    range read as zeroes there.
    """
    with open(first, "rb") as a, open(second, "rb") as b:
        size_a, size_b = os.fstat(a.fileno()).st_size, os.fstat(b.fileno()).st_size
        if size is None:
            size = max(size_a, size_b)
        ranges = sorted([*allocated(a.fileno(), min(size, size_a)),
                         *allocated(b.fileno(), min(size, size_b))])
        different: List[int] = []
        done = 0
        for begin, end in ranges:
            position = max(begin // block * block, done)
            while position < end:
                length = min(CHUNK, -(-(end - position) // block) * block, size - position)
                if length <= 0:
                    break
                _compare_range(a.fileno(), b.fileno(), position, length, block, different)
                if len(different) >= limit:
                    return different[:limit]
                position += length
            done = max(done, position)
        return different


def _compare_range(a: int, b: int, position: int, length: int, block: int, different: List[int]):
    left = os.pread(a, length, position).ljust(length, b"\0")
    right = os.pread(b, length, position).ljust(length, b"\0")
    if left == right:
        return
    for offset in range(0, length, block):
        if left[offset:offset + block] != right[offset:offset + block]:
            different.append(position + offset)
