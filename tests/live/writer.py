# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes all the time, in a thread of its own.

In: an export.  Out: counters, the errors it saw, and a check at the end that
every block holds the last write to it.  `with Writer(...)` begins and ends;
`progress()` waits until more writes have completed, so a test can be sure that
what it did happened in the middle of them.
"""

import collections
import random
import threading
from typing import Dict, Optional

from blockdrbd import GuestDisk
from blockdrbd.daemon import wait_for
from stack import BLOCK, pattern


class Writer:
    def __init__(self, socket_path: str, export: str = "drbd0", depth: int = 32, seed: int = 1,
                 blocks: Optional[range] = None, flush_every: int = 50):
        self._socket_path, self._export, self._depth = socket_path, export, depth
        self._random = random.Random(seed)
        self._blocks = blocks
        self._flush_every = flush_every
        self.completed = 0
        self.errors: collections.Counter = collections.Counter()
        self.last: Dict[int, int] = {}      # block -> number of its last acknowledged write
        self._busy: set = set()
        self._stop = threading.Event()
        self._failure: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        self.progress(10)
        return self

    def __exit__(self, kind, value, trace) -> None:
        self.stop(check=kind is None)

    def stop(self, check: bool = True) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the writer hangs"
        if check and self._failure:
            raise self._failure

    def progress(self, count: int = 100, timeout_s: float = 30.0) -> None:
        """Waits until `count` more writes have completed."""
        aim = self.completed + count
        wait_for(lambda: self.completed >= aim or self._failure, f"{count} more writes", timeout_s)
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            with GuestDisk(self._socket_path, self._export) as guest:
                blocks = self._blocks or range(guest.size // BLOCK)
                number = 0
                while not self._stop.is_set():
                    number += 1
                    self._submit(guest, self._random.choice(blocks), number)
                    while guest.in_flight >= self._depth:
                        guest.poll(0.5)
                guest.drain()
                if not self.errors:
                    self._verify(guest)
        except BaseException as error:  # pylint: disable=broad-except
            self._failure = error

    def _submit(self, guest: GuestDisk, block: int, number: int) -> None:
        if block in self._busy:
            return

        def done(error: int) -> None:
            self._busy.discard(block)
            if error:
                self.errors[error] += 1
            else:
                self.completed += 1
                self.last[block] = number

        self._busy.add(block)
        guest.submit("write", block * BLOCK, pattern(number), fua=number % 17 == 0, done=done)
        if number % self._flush_every == 0:
            guest.submit("flush", 0)

    def _verify(self, guest: GuestDisk) -> None:
        for block, number in self.last.items():
            assert guest.pread(BLOCK, block * BLOCK) == pattern(number), f"block {block} lost write {number}"
