# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest: an NBD client (libnbd) with many requests in flight.

`pwrite`, `flush` … wait; `submit` does not and returns at once, a callback
tells of the completion with its errno.  `poll` lets replies in; `drain` waits
for all of them.  One object is one connection and belongs to one thread.
"""

import errno
import time
from typing import Callable, Optional

import nbd

FUA = nbd.CMD_FLAG_FUA
DISCONNECTED = errno.ESHUTDOWN


class GuestDisk:
    def __init__(self, socket_path: str, export: str = "", structured_replies: bool = False):
        self._nbd = nbd.NBD()
        # QEMU's server drops a client with structured replies when a read fails;
        # without them the read gets its errno.
        self._nbd.set_request_structured_replies(structured_replies)
        self._nbd.set_export_name(export)
        self._nbd.set_strict_mode(0)
        self._nbd.connect_unix(str(socket_path))
        self.size = self._nbd.get_size()
        self.in_flight = 0

    # -- one request, waited for -------------------------------------------

    def pread(self, length: int, offset: int) -> bytes:
        return bytes(self._nbd.pread(length, offset))

    def pwrite(self, data: bytes, offset: int, fua: bool = False) -> None:
        self._nbd.pwrite(data, offset, FUA if fua else 0)

    def zero(self, length: int, offset: int, fua: bool = False, may_unmap: bool = True) -> None:
        self._nbd.zero(length, offset, (FUA if fua else 0) | (0 if may_unmap else nbd.CMD_FLAG_NO_HOLE))

    def trim(self, length: int, offset: int, fua: bool = False) -> None:
        self._nbd.trim(length, offset, FUA if fua else 0)

    def flush(self) -> None:
        self._nbd.flush()

    # -- many requests -----------------------------------------------------

    def submit(self, kind: str, offset: int, data: bytes = b"", length: int = 0, fua: bool = False,
               done: Optional[Callable[[int], None]] = None) -> None:
        """Sends `write`, `zero`, `trim` or `flush`; done(errno) at its reply."""
        flags = FUA if fua else 0

        def completion(error):
            self.in_flight -= 1
            if done is not None:
                done(int(error) if not hasattr(error, "value") else error.value)
            return 1  # the command is retired by libnbd

        self.in_flight += 1
        try:
            if kind == "write":
                buffer = nbd.Buffer.from_bytearray(bytearray(data))
                self._nbd.aio_pwrite(buffer, offset, completion, flags)
            elif kind == "zero":
                self._nbd.aio_zero(length, offset, completion, flags)
            elif kind == "trim":
                self._nbd.aio_trim(length, offset, completion, flags)
            elif kind == "flush":
                self._nbd.aio_flush(completion, 0)
            else:
                raise ValueError(f"unknown request {kind}")
        except nbd.Error:
            self.in_flight -= 1
            raise

    def poll(self, timeout_s: float = 1.0) -> None:
        """Lets one round of replies in."""
        self._nbd.poll(int(timeout_s * 1000))

    def drain(self, timeout_s: float = 30.0) -> None:
        """Waits until nothing is in flight."""
        deadline = time.monotonic() + timeout_s
        while self.in_flight:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.in_flight} requests unanswered after {timeout_s} s")
            self.poll(0.5)

    def close(self) -> None:
        try:
            self._nbd.shutdown()
        except nbd.Error:
            pass
        del self._nbd  # the binding closes the socket with the object

    def __enter__(self) -> "GuestDisk":
        return self

    def __exit__(self, kind, value, trace) -> None:
        self.close()
