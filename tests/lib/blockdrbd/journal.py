# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest wrote, what it was promised, and whether the promise was kept.

In: submissions, acknowledgements and failures of writes, zeroes and flushes.
Out: for every block the set of contents that it may have now, and a judgement of
an image or an export.  Every 512 bytes of a block say which block and which
write they are from, so a torn or misplaced write is seen as what it is.
Invariant: one request per block at a time, so the order of writes to a block is
the order of their numbers.
"""

import dataclasses
import struct
from typing import Callable, Dict, Iterable, List, Optional, Set, Tuple

BLOCK = 4096
SECTOR = 512
_STAMP = struct.Struct("<8sQQQ")
_MAGIC = b"drbdtest"
ZEROES = 0          # the number that an empty sector has


class RecordLost(AssertionError):
    """The disk does not hold what was promised."""


def payload(block: int, number: int) -> bytes:
    """One block's content; number 0 is zeroes."""
    if number == ZEROES:
        return bytes(BLOCK)
    return b"".join((_STAMP.pack(_MAGIC, block, number, sector) * 16)[:SECTOR]
                    for sector in range(BLOCK // SECTOR))


def read_stamps(block: int, content: bytes) -> List[Optional[int]]:
    """The number of each sector; None where it is nothing that was ever written there."""
    numbers: List[Optional[int]] = []
    for sector in range(BLOCK // SECTOR):
        piece = content[sector * SECTOR:(sector + 1) * SECTOR]
        magic, where, number, index = _STAMP.unpack_from(piece)
        if not any(piece):
            numbers.append(ZEROES)
        elif magic == _MAGIC and where == block and index == sector \
                and piece == (_STAMP.pack(magic, where, number, index) * 16)[:SECTOR]:
            numbers.append(number)
        else:
            numbers.append(None)
    return numbers


@dataclasses.dataclass
class BlockHistory:
    settled: Set[int] = dataclasses.field(default_factory=lambda: {ZEROES})
    unsettled: Optional[Tuple[int, int]] = None     # (number, content) of a request in flight
    ever: Set[int] = dataclasses.field(default_factory=lambda: {ZEROES})


class Journal:
    """`settled` holds every content that a block may have when nothing is in flight:
    one after an acknowledgement, two after a request whose end nobody saw."""

    def __init__(self) -> None:
        self.blocks: Dict[int, BlockHistory] = {}
        self._number = 0
        self.submitted = self.acknowledged = self.failed = self.unknown = 0

    def submit(self, block: int, zero: bool = False) -> int:
        """Returns the number of the write; its content is payload(block, content)."""
        history = self.blocks.setdefault(block, BlockHistory())
        assert history.unsettled is None, f"block {block} is being written already"
        self._number += 1
        self.submitted += 1
        content = ZEROES if zero else self._number
        history.unsettled = (self._number, content)
        history.ever.add(content)
        return self._number

    def is_busy(self, block: int) -> bool:
        history = self.blocks.get(block)
        return history is not None and history.unsettled is not None

    def acknowledge(self, block: int) -> None:
        history = self.blocks[block]
        content = history.unsettled[1]
        history.settled, history.unsettled = {content}, None
        self.acknowledged += 1

    def fail(self, block: int) -> None:
        """An error: the block may hold either."""
        history = self.blocks[block]
        history.settled |= {history.unsettled[1]}
        history.unsettled = None
        self.failed += 1

    def abandon(self) -> int:
        """The guest is gone with these requests in flight: each was done or not."""
        count = 0
        for history in self.blocks.values():
            if history.unsettled is not None:
                history.settled |= {history.unsettled[1]}
                history.unsettled = None
                count += 1
        self.unknown += count
        return count

    def everything(self, block: int) -> Set[int]:
        """All that was ever written there: for a copy of which nothing was promised."""
        return set(self.blocks[block].ever)

    # -- judging ------------------------------------------------------------------

    def judge(self, read: Callable[[int], bytes], settle: bool = True,
              blocks: Optional[Iterable[int]] = None) -> int:
        """read(block) -> 4096 bytes.  Raises RecordLost; returns the number of blocks looked
        at.  With `settle` what is found is what the block holds from now on."""
        lost: List[str] = []
        looked = 0
        for block in sorted(self.blocks if blocks is None else blocks):
            history = self.blocks[block]
            assert history.unsettled is None, "judge after the writer has stopped"
            numbers = read_stamps(block, read(block))
            looked += 1
            found = set(numbers)
            if None in found or not found <= history.settled:
                lost.append(f"block {block} holds {numbers}, may hold {sorted(history.settled)}")
            elif settle and len(found) == 1:
                history.settled = found
        if lost:
            raise RecordLost(f"{len(lost)} of {looked} blocks lost what was promised:\n"
                             + "\n".join(lost[:12]))
        return looked

    def judge_file(self, path: str, settle: bool = True) -> int:
        with open(path, "rb") as image:
            def read(block: int) -> bytes:
                image.seek(block * BLOCK)
                return image.read(BLOCK)
            return self.judge(read, settle)

    def judge_guest(self, guest, settle: bool = True) -> int:
        return self.judge(lambda block: guest.pread(BLOCK, block * BLOCK), settle)
