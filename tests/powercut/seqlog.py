# SPDX-License-Identifier: GPL-2.0-or-later
"""The sequence log as Python appends to it: the guest's events and marks.

Layout and contract: recorder/seqlog.h.  Also a writer for logs that no driver
made, from which the checkers' own tests are built.
"""

import ctypes
from typing import Optional

import programs

WRITE, ZERO, TRIM, FLUSH, MARK = 1, 2, 3, 4, 5
SUBMIT, COMPLETE, FAIL = 1, 2, 3
DATA, METADATA, GUEST = 0, 1, 2
FUA = 1
SECTOR = 512
BASE_OWNER = 1
FIRST_REQUEST = 2
KINDS = {"write": WRITE, "zero": ZERO, "trim": TRIM, "flush": FLUSH}

_library: Optional[ctypes.CDLL] = None


def library() -> ctypes.CDLL:
    global _library
    if _library is None:
        _library = ctypes.CDLL(programs.build()["seqlog"])
        _library.seqlog_map.restype = ctypes.c_void_p
        _library.seqlog_map.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
        byte, word = ctypes.c_uint8, ctypes.c_uint64
        _library.seqlog_append.argtypes = [ctypes.c_void_p, byte, byte, byte, byte, word, word,
                                           word, ctypes.c_char_p, word]
        _library.seqlog_fill_pattern.argtypes = [ctypes.c_char_p, word, word, word]
    return _library


def pattern(offset: int, length: int, request: int) -> bytes:
    """What the guest's request writes at that place."""
    buffer = ctypes.create_string_buffer(length)
    library().seqlog_fill_pattern(buffer, offset // SECTOR, length // SECTOR, request)
    return buffer.raw


class SequenceLog:
    def __init__(self, path, capacity: int = 2 << 30):
        self.path = str(path)
        self._map = library().seqlog_map(self.path.encode(), capacity)
        if not self._map:
            raise OSError(f"{self.path}: cannot make a sequence log of {capacity} bytes")
        self._next_disk_id = 1 << 32

    def append(self, kind: int, phase: int, channel: int, flags: int, identifier: int,
               offset: int = 0, length: int = 0, payload: bytes = b"") -> None:
        if not library().seqlog_append(self._map, kind, phase, channel, flags, identifier, offset,
                                       length, payload, len(payload)):
            raise OSError(f"{self.path}: the sequence log is full, record with a larger one")

    def guest(self, kind: str, phase: int, identifier: int, offset: int = 0, length: int = 0,
              fua: bool = False) -> None:
        self.append(KINDS[kind], phase, GUEST, FUA if fua else 0, identifier, offset, length)

    def tail(self) -> int:
        """The place of the next record."""
        return ctypes.c_uint64.from_address(self._map + 16).value

    def disks_idle(self) -> bool:
        """Whether the recorder has ended every request it has read."""
        completed = ctypes.c_uint64.from_address(self._map + 32).value
        return ctypes.c_uint64.from_address(self._map + 24).value == completed + 1

    def mark(self, text: str) -> None:
        self.append(MARK, SUBMIT, GUEST, 0, 0, payload=text.encode())

    # -- a disk that a test plays itself ------------------------------------

    def disk_submit(self, kind: str, channel: int = DATA, offset: int = 0, payload: bytes = b"",
                    length: int = 0, fua: bool = False) -> tuple:
        """Submits; what is returned goes to disk_complete."""
        self._next_disk_id += 1
        request = (KINDS[kind], channel, FUA if fua else 0, self._next_disk_id, offset,
                   len(payload) or length)
        self.append(request[0], SUBMIT, *request[1:], payload)
        return request

    def disk_complete(self, request: tuple) -> None:
        self.append(request[0], COMPLETE, *request[1:])

    def disk(self, kind: str, channel: int = DATA, offset: int = 0, payload: bytes = b"",
             length: int = 0, fua: bool = False) -> None:
        self.disk_complete(self.disk_submit(kind, channel, offset, payload, length, fua))
