"""A file of which only pieces are seen: those we have, and those few that are asked for."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Reading = Generator[tuple[int, int], bytes, T]
"""Work that yields a range (start, end) of bytes that it must see, is sent them, and gives a T."""

RANGES = 3
"""How often more may be asked for: each costs a request to the store."""

RANGE_BYTES = 64 * 1024
"""How much is asked for at a time."""

LARGE_RANGE_BYTES = 4 * 1024 * 1024
"""How much is asked for besides, once, where only that tells: it is all held in memory."""


class PartialFile:
    """The pieces seen of a file of `size` bytes, and how many `ranges` may still be asked for."""

    def __init__(self, head: bytes, size: int, ranges: int = RANGES) -> None:
        self.head = head
        self.size = max(size, len(head))
        self._pieces = {0: head}
        self._ranges = ranges
        self._large_ranges = 1

    def seen(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` on that were seen in one run, `end` excluded."""
        found = b""
        while (at := start + len(found)) < end:
            for place, piece in self._pieces.items():
                if place <= at < place + len(piece):
                    found += piece[at - place : end - place]
                    break
            else:
                break
        return found

    def look(self, start: int, length: int = RANGE_BYTES, *, spare: int = 0) -> Reading[bytes]:
        """Give `length` bytes from `start` on, asking once for what of them was not seen yet.

        Fewer at the end of the file, and where no more than `spare` ranges may still be asked for.
        """
        if not 0 <= start < self.size:
            return b""
        end = min(start + length, self.size)
        missing = start + len(self.seen(start, end))
        if missing < end and self._ranges > spare:
            self._ranges -= 1
            yield from self._ask(missing, end)
        return self.seen(start, end)

    def look_far(self, start: int, end: int) -> Reading[bytes]:
        """Give the bytes from `start` to `end`, asking for up to `LARGE_RANGE_BYTES` of them.

        Fewer where that is not enough, and where it is the second time that so much is asked for.
        """
        missing = start + len(self.seen(start, end))
        if missing < end and self._large_ranges:
            self._large_ranges -= 1
            yield from self._ask(missing, end, LARGE_RANGE_BYTES)
        return self.seen(start, end)

    def _ask(self, start: int, end: int, most: int | None = None) -> Reading[None]:
        # What was seen of the end is not asked for again; a piece in the middle is.
        known = [at for at, piece in self._pieces.items() if at < end <= at + len(piece)]
        until = min(known, default=end)
        self._pieces[start] = yield start, until if most is None else min(until, start + most)
