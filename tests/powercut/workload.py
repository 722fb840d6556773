# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's side of a run: a seeded stream of requests over NBD, at a depth
that changes, each recorded in the sequence log.

Submit is logged before a request is sent and Complete after its reply, so the
log never claims more than the guest was promised.  Request numbers go up over
all phases of a run; they are the owners that sectors name.
"""

import dataclasses
import random
from typing import Callable, List, Optional

import nbd
import seqlog
from blockdrbd import GuestDisk
from seqlog import COMPLETE, FAIL, SECTOR, SUBMIT

WINDOW = 256 << 10


@dataclasses.dataclass
class Mix:
    """Shares of each kind, out of 100; the rest are writes."""

    flush: int = 10
    zero: int = 7
    trim: int = 6
    fua: int = 15            # of the changes
    large: int = 3           # of the writes: up to 1 MiB
    depth_max: int = 16


class Guest:
    def __init__(self, log: seqlog.SequenceLog, windows: List[int], guest_bytes: int, seed: int,
                 mix: Optional[Mix] = None):
        self.log = log
        self.windows = windows
        self.guest_bytes = guest_bytes
        self.random = random.Random(seed)
        self.mix = mix or Mix()
        self.next_request = seqlog.FIRST_REQUEST
        self.acknowledged = 0
        self.errors: List[str] = []

    def run(self, disk: GuestDisk, count: int,
            interrupt: Optional[Callable[[], None]] = None) -> None:
        """Sends `count` requests; then waits, or calls `interrupt` with
        requests still in flight and leaves."""
        depth = 1
        for index in range(count):
            if index % 64 == 0:
                depth = self.random.choice([1, 2, 4, 8, self.mix.depth_max, self.mix.depth_max])
            while disk.in_flight >= depth:
                disk.poll()
            self._submit_one(disk)
        if interrupt is None:
            disk.drain()
        if self.errors:
            raise AssertionError(f"the guest saw errors: {self.errors[:5]}")
        if interrupt is not None:
            self._leave_unflushed(disk)
            interrupt()
            self._take_last_replies(disk)
            self.errors.clear()  # those of requests that died with the daemon

    def flush(self, disk: GuestDisk) -> None:
        self._send(disk, "flush", 0, 0, False)
        disk.drain()

    def _leave_unflushed(self, disk: GuestDisk) -> None:
        """Some writes that are acknowledged and not flushed, more in flight."""
        for _ in range(6):
            self._send(disk, "write", *self._place(), False)
        while disk.in_flight > 3:
            disk.poll()

    @staticmethod
    def _take_last_replies(disk: GuestDisk) -> None:
        """What was answered before the daemon died still counts as answered."""
        try:
            while disk.in_flight:
                disk.poll(5.0)
        except nbd.Error:
            pass

    def _submit_one(self, disk: GuestDisk) -> None:
        draw = self.random.randrange(100)
        if draw < self.mix.flush:
            self._send(disk, "flush", 0, 0, False)
            return
        fua = self.random.randrange(100) < self.mix.fua
        offset, length = self._place()
        if draw < self.mix.flush + self.mix.zero:
            self._send(disk, "zero", offset, length, fua)
        elif draw < self.mix.flush + self.mix.zero + self.mix.trim:
            self._send(disk, "trim", offset, length, fua)
        else:
            self._send(disk, "write", offset, length, fua)

    def _place(self) -> tuple:
        source = self.random
        begin = source.choice(self.windows)
        if source.randrange(100) < self.mix.large:
            length = source.randrange(WINDOW, (1 << 20) + 1, SECTOR)
            offset = begin
        else:
            length = SECTOR * min(2 ** source.randrange(8), 1 + source.randrange(128))
            offset = begin + source.randrange(0, WINDOW - length + 1, SECTOR)
        return offset, min(length, self.guest_bytes - offset)

    def _send(self, disk: GuestDisk, kind: str, offset: int, length: int, fua: bool) -> None:
        request = self.next_request
        self.next_request += 1
        data = seqlog.pattern(offset, length, request) if kind == "write" else b""
        self.log.guest(kind, SUBMIT, request, offset, length, fua)

        def done(error: int) -> None:
            if error:
                self.errors.append(f"{kind} {request}: errno {error}")
            self.acknowledged += not error
            self.log.guest(kind, FAIL if error else COMPLETE, request, offset, length, fua)

        disk.submit(kind, offset, data, length, fua, done)
