# SPDX-License-Identifier: GPL-2.0-or-later
"""A synchronous QMP client: one command at a time, events kept in a queue.

In: a connected UNIX socket.  Out: return values as Python objects, errors as
QmpError.  An event is taken from the queue exactly once, by wait_event with a
predicate, whatever arrived between command and reply.  Commands marked out of
band overtake a command that is still running.
"""

import collections
import json
import select
import socket
import time
from typing import Any, Callable, Deque, Dict, Optional

DEFAULT_TIMEOUT_S = 30.0


class QmpError(Exception):
    """The command was refused: error class and text as QEMU gave them."""

    def __init__(self, command: str, error: Dict[str, Any]):
        super().__init__(f"{command}: {error.get('desc')}")
        self.command = command
        self.error_class = error.get("class")
        self.description = error.get("desc", "")


class QmpTimeout(Exception):
    """What was waited for did not arrive before the deadline."""


class QmpClosed(Exception):
    """The other end is gone."""


class QmpClient:
    def __init__(self, connection: socket.socket, timeout_s: float = DEFAULT_TIMEOUT_S):
        self._socket = connection
        self._socket.setblocking(False)
        self._received = b""
        self._replies: Dict[int, Dict[str, Any]] = {}
        self._next_id = 1
        self.timeout_s = timeout_s
        self.events: Deque[Dict[str, Any]] = collections.deque()
        greeting = self._wait(lambda: self._pop_greeting(), timeout_s, "greeting")
        self.oob = "oob" in greeting["QMP"].get("capabilities", [])
        self.version = greeting["QMP"]["version"]
        self.command("qmp_capabilities", **({"enable": ["oob"]} if self.oob else {}))

    # -- commands ---------------------------------------------------------

    def command(self, name: str, timeout_s: Optional[float] = None, **arguments: Any) -> Any:
        """Runs a command; underscores in argument names stand for hyphens."""
        return self.wait_reply(self.send(name, **arguments), name, timeout_s)

    def raw(self, name: str, arguments: Dict[str, Any], timeout_s: Optional[float] = None) -> Any:
        """Runs a command with its arguments exactly as given."""
        return self.wait_reply(self.send_raw(name, arguments), name, timeout_s)

    def oob_command(self, name: str, timeout_s: Optional[float] = None, **arguments: Any) -> Any:
        """Runs a command out of band, past one that is still running."""
        if not self.oob:
            raise QmpError(name, {"desc": "this monitor has no out-of-band commands"})
        identifier = self.send_raw(name, _hyphens(arguments), key="exec-oob")
        return self.wait_reply(identifier, name, timeout_s)

    def send(self, name: str, **arguments: Any) -> int:
        return self.send_raw(name, _hyphens(arguments))

    def send_raw(self, name: str, arguments: Dict[str, Any], key: str = "execute") -> int:
        """Sends without waiting; the number returned goes to wait_reply."""
        identifier = self._next_id
        self._next_id += 1
        message = {key: name, "arguments": arguments, "id": identifier}
        data = memoryview(json.dumps(message).encode() + b"\n")
        deadline = time.monotonic() + self.timeout_s
        while data:
            try:
                data = data[self._socket.send(data):]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise QmpTimeout(f"{name}: the monitor does not read its socket") from None
                select.select([], [self._socket], [], 0.1)
            except OSError as error:
                raise QmpClosed(f"{name}: {error}") from error
        return identifier

    def has_reply(self, identifier: int) -> bool:
        """Whether the answer to an earlier send is there; does not take it."""
        self._receive(0)
        return identifier in self._replies

    def wait_reply(self, identifier: int, name: str = "command",
                   timeout_s: Optional[float] = None) -> Any:
        reply = self._wait(lambda: self._replies.pop(identifier, None), timeout_s,
                           f"reply to {name}")
        if "error" in reply:
            raise QmpError(name, reply["error"])
        return reply["return"]

    # -- events -----------------------------------------------------------

    def wait_event(self, name: str, predicate: Callable[[Dict[str, Any]], bool] = lambda data: True,
                   timeout_s: Optional[float] = None) -> Dict[str, Any]:
        """Takes the first event of that name whose data satisfy the predicate."""
        return self._wait(lambda: self._take_event(name, predicate), timeout_s, f"event {name}")

    def take_events(self, name: Optional[str] = None) -> list:
        """Takes all events that are there now, without waiting."""
        self._receive(0)
        taken = [event for event in self.events if name in (None, event["event"])]
        self.events = collections.deque(event for event in self.events if event not in taken)
        return taken

    def wait_until(self, condition: Callable[[], Any], what: str,
                   timeout_s: Optional[float] = None, poll_s: float = 0.01) -> Any:
        """Evaluates a condition (usually a query) until it is true."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise QmpTimeout(f"{what}: not so before the deadline")
            self._receive(poll_s)

    def wait_closed(self, timeout_s: Optional[float] = None) -> None:
        """Waits until the other end has closed the connection."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        try:
            while time.monotonic() < deadline:
                self._receive(max(0.0, deadline - time.monotonic()))
        except QmpClosed:
            return
        raise QmpTimeout("the monitor is still open")

    def close(self) -> None:
        self._socket.close()

    # -- inside -----------------------------------------------------------

    def _take_event(self, name, predicate):
        for index, event in enumerate(self.events):
            if event["event"] == name and predicate(event.get("data", {})):
                del self.events[index]
                return event
        return None

    def _pop_greeting(self):
        return self._replies.pop(0, None)

    def _wait(self, take: Callable[[], Any], timeout_s: Optional[float], what: str) -> Any:
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            value = take()
            if value is not None:
                return value
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                names = sorted({event["event"] for event in self.events})
                raise QmpTimeout(f"no {what} before the deadline; events in the queue: {names}")
            self._receive(remaining)

    def _receive(self, timeout_s: float) -> None:
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        if not readable:
            return
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise QmpClosed(str(error)) from error
        if not data:
            raise QmpClosed("the monitor has closed its connection")
        lines = (self._received + data).split(b"\n")
        self._received = lines.pop()
        for line in lines:
            if line.strip():
                self._dispatch(json.loads(line))

    def _dispatch(self, message: Dict[str, Any]) -> None:
        if "event" in message:
            self.events.append(message)
        elif "QMP" in message:
            self._replies[0] = message
        else:
            self._replies[message.get("id", -1)] = message


def _hyphens(arguments: Dict[str, Any]) -> Dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in arguments.items()}
