# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes all the time and keeps a journal of what it was promised.

In: an export (socket, name), a journal that may have a past.  Out: the journal,
errors by number, the longest time that one request took.  It runs in a thread;
`progress` waits until more was acknowledged, so a test knows that its fault
happened in the middle of writes.  When the server dies the writer ends, and
the requests in flight are abandoned in the journal.
"""

import collections
import errno
import random
import threading
import time
from typing import Optional, Sequence

import nbd

from .daemon import wait_for
from .guest import GuestDisk
from .journal import BLOCK, Journal, payload


class RecordingWriter:
    def __init__(self, socket_path: str, export: str, journal: Optional[Journal] = None, *,
                 depth: int = 16, seed: int = 1, blocks: Optional[Sequence[int]] = None,
                 flush_every: int = 40, zeroes: float = 0.05, fua: float = 0.1, run: int = 4,
                 pace_s: float = 0.0):
        self.journal = journal if journal is not None else Journal()
        self._path, self._export, self._depth = socket_path, export, depth
        self._chance = random.Random(seed)
        self._blocks, self._flush_every = blocks, flush_every
        self._zeroes, self._fua, self._run_length, self._pace_s = zeroes, fua, run, pace_s
        self.errors: collections.Counter = collections.Counter()
        self.longest_s = 0.0
        self.flushes = 0
        self.server_died = False
        self._oldest: dict = {}
        self._stop = threading.Event()
        self._failure: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "RecordingWriter":
        self._thread.start()
        return self

    def __enter__(self) -> "RecordingWriter":
        self.start()
        self.progress(20)
        return self

    def __exit__(self, kind, value, trace) -> None:
        self.stop(check=kind is None)

    @property
    def acknowledged(self) -> int:
        return self.journal.acknowledged

    def progress(self, count: int = 100, timeout_s: float = 30.0) -> None:
        """Waits until `count` more writes were acknowledged."""
        aim = self.journal.acknowledged + count
        wait_for(lambda: self.journal.acknowledged >= aim or not self._thread.is_alive(),
                 f"{count} more writes", timeout_s)
        if self._failure:
            raise self._failure
        assert self.journal.acknowledged >= aim, "the writer ended early"

    def stop(self, check: bool = True, timeout_s: float = 60.0) -> Journal:
        self._stop.set()
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the writer hangs: a request has no end"
        if check and self._failure:
            raise self._failure
        return self.journal

    def in_flight_s(self) -> float:
        """How long the oldest request has been waiting."""
        begun = min(list(self._oldest.values()), default=None)
        return 0.0 if begun is None else time.monotonic() - begun

    # -- the thread --------------------------------------------------------------

    def _run(self) -> None:
        try:
            with GuestDisk(self._path, self._export) as guest:
                blocks = self._blocks or range(guest.size // BLOCK)
                try:
                    self._write(guest, blocks)
                    guest.drain(60)
                except nbd.Error as error:
                    self.server_died = True
                    if not self._is_end(error):
                        raise
        except BaseException as error:  # pylint: disable=broad-except
            self._failure = error
        finally:
            self.journal.abandon()

    @staticmethod
    def _is_end(error: nbd.Error) -> bool:
        text = str(error)
        return error.errnum in (errno.ESHUTDOWN, errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET, 0, None) \
            or "state" in text or "disconnected" in text or "closed" in text

    def _write(self, guest: GuestDisk, blocks: Sequence[int]) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            first = self._chance.choice(blocks)
            length = self._chance.choice((1, 1, 1, self._run_length))
            run = range(first, min(first + length, guest.size // BLOCK, blocks[-1] + 1))
            if not any(self.journal.is_busy(block) for block in run):
                self._submit(guest, run)
            if count % self._flush_every == 0:
                begun = self._begin()
                guest.submit("flush", 0, done=lambda error, begun=begun: self._flushed(begun, error))
            while guest.in_flight >= self._depth and not self._stop.is_set():
                guest.poll(0.2)
            if self._pace_s:
                self._stop.wait(self._pace_s)

    def _begin(self) -> object:
        token = object()
        self._oldest[token] = time.monotonic()
        return token

    def _end(self, token: object) -> None:
        self.longest_s = max(self.longest_s, time.monotonic() - self._oldest.pop(token))

    def _flushed(self, token: object, error: int) -> None:
        self._end(token)
        if error:
            if not self._gone(error):
                self.errors[error] += 1
        else:
            self.flushes += 1

    @staticmethod
    def _gone(error: int) -> bool:
        return error in (errno.ESHUTDOWN, errno.ENOTCONN)

    def _submit(self, guest: GuestDisk, run: range) -> None:
        zero = self._chance.random() < self._zeroes
        numbers = [self.journal.submit(block, zero) for block in run]
        token = self._begin()

        def done(error: int) -> None:
            self._end(token)
            if self._gone(error):
                return          # abandoned with the rest
            if error:
                self.errors[error] += 1
            for block in run:
                (self.journal.fail if error else self.journal.acknowledge)(block)

        fua = self._chance.random() < self._fua
        if zero:
            guest.submit(self._chance.choice(("zero", "trim")), run[0] * BLOCK,
                         length=len(run) * BLOCK, fua=fua, done=done)
        else:
            data = b"".join(payload(block, number) for block, number in zip(run, numbers))
            guest.submit("write", run[0] * BLOCK, data, fua=fua, done=done)
