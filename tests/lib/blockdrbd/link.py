# SPDX-License-Identifier: GPL-2.0-or-later
"""The network between two nodes: a TCP relay that can be cut, stalled and slowed.

In: for each way a listening address, the address behind it and the source
address to dial from.  Out: relayed bytes, counted; faults on command, on all
streams or on one (`data` or `meta`, told apart by DRBD's first packet).
Invariants: a pipe holds at most BUFFER bytes, so a reader that stops is felt by
the writer; one thread does everything, the methods may be called from any.
"""

import collections
import os
import selectors
import socket
import struct
import threading
import time
from typing import Callable, Deque, List, Optional, Tuple

from .daemon import wait_for

BUFFER = 256 << 10
KINDS = {b"\xff\xf2": "data", b"\xff\xf1": "meta"}
Address = Tuple[str, int]


class Pipe:
    """One direction of one stream."""

    def __init__(self, source: socket.socket, sink: socket.socket):
        self.source, self.sink = source, sink
        self.queue: Deque[Tuple[float, bytes]] = collections.deque()
        self.held = 0                       # bytes in the queue
        self.total = 0                      # bytes that arrived
        self.stalled = False
        self.limit: Optional[int] = None    # cut when `total` gets here
        self.ended = self.shut = False


class Stream:
    """One TCP connection; `toward` is the name of the way it was dialled."""

    def __init__(self, toward: str, near: socket.socket, far: socket.socket):
        self.toward, self.kind = toward, "new"
        self.near, self.far = near, far
        self.pipes = (Pipe(near, far), Pipe(far, near))    # with the dial, against it
        self.first = b""


class Link:
    """`ways`: name -> (listen address, target address, source host)."""

    def __init__(self, ways):
        self._ways = dict(ways)
        self._selector = selectors.DefaultSelector()
        self._streams: List[Stream] = []
        self._listeners = {}
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._commands: Deque[Callable[[], None]] = collections.deque()
        self._closing = False
        self._refuse = self._hold = False
        self.delay_s = 0.0
        self.accepted = 0
        for toward, (listen, _target, _source) in self._ways.items():
            family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(listen)
            listener.listen(16)
            listener.setblocking(False)
            self._listeners[listener] = toward
            self._selector.register(listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # -- faults ---------------------------------------------------------------

    def cut(self, silent: bool = False) -> None:
        """Resets everything and refuses new connections; `silent`: nothing more
        is told to anybody, as when a cable is pulled."""
        def do():
            if silent:
                self._hold = True
                for stream in self._streams:
                    for pipe in stream.pipes:
                        pipe.stalled = True
            else:
                self._refuse = True
                for stream in list(self._streams):
                    self._reset(stream)
        self._do(do)

    def heal(self) -> None:
        """New connections pass again; those that a silent cut held are reset, as
        their ends have long given them up or will."""
        def do():
            if self._hold:
                for stream in list(self._streams):
                    self._reset(stream)
            self._refuse = self._hold = False
        self._do(do)

    def cut_stream(self, kind: str) -> int:
        """Resets the streams of one kind; returns how many there were."""
        found = []

        def do():
            found.extend(s for s in self._streams if s.kind == kind)
            for stream in found:
                self._reset(stream)
        self._do(do)
        return len(found)

    def stall(self, kind: Optional[str] = None, stalled: bool = True) -> None:
        """Stops forwarding on the streams of one kind (default: all there are)."""
        def do():
            for stream in self._streams:
                if kind in (None, stream.kind):
                    for pipe in stream.pipes:
                        pipe.stalled = stalled
        self._do(do)

    def resume(self) -> None:
        self.stall(stalled=False)

    def cut_after(self, kind: str, count: int) -> None:
        """Resets the streams of a kind when `count` more bytes came one way."""
        def do():
            for stream in self._streams:
                if stream.kind == kind:
                    for pipe in stream.pipes:
                        pipe.limit = pipe.total + count
        self._do(do)

    # -- what is there ----------------------------------------------------------

    def kinds(self) -> List[str]:
        with self._lock:
            return sorted(stream.kind for stream in self._streams)

    def bytes(self, kind: str) -> int:
        """Both ways, of the streams that exist now."""
        with self._lock:
            return sum(pipe.total for s in self._streams if s.kind == kind for pipe in s.pipes)

    def wait_kinds(self, *kinds: str, timeout_s: float = 30.0) -> None:
        wait_for(lambda: self.kinds() == sorted(kinds), f"streams {kinds}", timeout_s)

    def close(self) -> None:
        if self._thread.is_alive():
            self._closing = True
            os.write(self._wake_write, b"x")
            self._thread.join(10)
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, kind, value, trace) -> None:
        self.close()

    # -- inside: the thread ---------------------------------------------------------

    def _do(self, command: Callable[[], None]) -> None:
        """Runs something in the relay's thread and waits for it."""
        done = threading.Event()
        self._commands.append(lambda: (command(), done.set()))
        os.write(self._wake_write, b"x")
        if not done.wait(10):
            raise TimeoutError("the relay's thread does not answer")

    def _run(self) -> None:
        while not self._closing:
            events = self._selector.select(self._arm())
            with self._lock:
                for key, mask in events:
                    if key.fileobj == self._wake_read:
                        try:
                            os.read(self._wake_read, 4096)
                        except BlockingIOError:
                            pass
                    elif key.fileobj in self._listeners:
                        self._accept(key.fileobj)
                while self._commands:
                    self._commands.popleft()()
                for stream in list(self._streams):
                    self._forward(stream)
        for stream in list(self._streams):
            self._reset(stream)
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _arm(self) -> Optional[float]:
        """Says what each socket waits for; returns when the next delayed bytes are due."""
        due, now = None, time.monotonic()
        for stream in self._streams:
            wanted = {stream.near: 0, stream.far: 0}
            for pipe in stream.pipes:
                if pipe.stalled:
                    continue
                if not pipe.ended and pipe.held < BUFFER:
                    wanted[pipe.source] |= selectors.EVENT_READ
                if pipe.queue:
                    wait = pipe.queue[0][0] - now
                    if wait <= 0:
                        wanted[pipe.sink] |= selectors.EVENT_WRITE
                    else:
                        due = wait if due is None else min(due, wait)
            for sock, mask in wanted.items():
                self._watch(sock, mask)
        return due

    def _watch(self, sock: socket.socket, mask: int) -> None:
        key = self._selector.get_map().get(sock.fileno())
        if key is None:
            if mask:
                self._selector.register(sock, mask)
        elif not mask:
            self._selector.unregister(sock)
        elif key.events != mask:
            self._selector.modify(sock, mask)

    def _accept(self, listener: socket.socket) -> None:
        toward = self._listeners[listener]
        try:
            near, _ = listener.accept()
        except OSError:
            return
        self.accepted += 1
        _, target, source = self._ways[toward]
        if self._refuse:
            near.close()
            return
        far = socket.socket(listener.family, socket.SOCK_STREAM)
        try:
            if source:
                far.bind((source, 0))
            far.settimeout(1)
            far.connect(target)
        except OSError:
            near.close()
            far.close()
            return
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = Stream(toward, near, far)
        for pipe in stream.pipes:
            pipe.stalled = self._hold
        self._streams.append(stream)

    def _forward(self, stream: Stream) -> None:
        try:
            for pipe in stream.pipes:
                if not pipe.stalled:
                    self._read(stream, pipe)
                    self._write(pipe)
            if all(pipe.shut for pipe in stream.pipes):
                self._close(stream)
        except OSError:
            self._reset(stream)

    def _read(self, stream: Stream, pipe: Pipe) -> None:
        if pipe.ended or pipe.held >= BUFFER:
            return
        try:
            data = pipe.source.recv(64 << 10)
        except BlockingIOError:
            return
        if not data:
            pipe.ended = True
            return
        if stream.kind == "new" and pipe is stream.pipes[0]:
            stream.first += data[:8]
            if len(stream.first) >= 8:
                stream.kind = KINDS.get(stream.first[4:6], "other")
        pipe.total += len(data)
        if pipe.limit is not None and pipe.total >= pipe.limit:
            raise ConnectionResetError("the limit of cut_after")
        pipe.held += len(data)
        pipe.queue.append((time.monotonic() + self.delay_s, data))

    def _write(self, pipe: Pipe) -> None:
        now = time.monotonic()
        while pipe.queue and pipe.queue[0][0] <= now:
            due, data = pipe.queue[0]
            try:
                sent = pipe.sink.send(data)
            except BlockingIOError:
                return
            pipe.held -= sent
            if sent < len(data):
                pipe.queue[0] = (due, data[sent:])
                return
            pipe.queue.popleft()
        if pipe.ended and not pipe.queue and not pipe.shut:
            pipe.shut = True
            pipe.sink.shutdown(socket.SHUT_WR)

    def _reset(self, stream: Stream) -> None:
        for sock in (stream.near, stream.far):
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        self._close(stream)

    def _close(self, stream: Stream) -> None:
        for sock in (stream.near, stream.far):
            if self._selector.get_map().get(sock.fileno()) is not None:
                self._selector.unregister(sock)
            sock.close()
        if stream in self._streams:
            self._streams.remove(stream)
