"""Read a file of which only some pieces are known, by requesting a few more ranges."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Reading = Generator[tuple[int, int], bytes, T]
"""A generator that reads a file. It yields a range (start, end) of bytes that it needs, and the
caller sends these bytes to it. At its end it returns a T."""

RANGES = 3
"""Maximum number of ranges that may be requested. Each costs a request to the store."""

PREVIEW_RANGES = 2
"""Maximum number of further ranges that may be requested to find the preview of a document."""

RANGE_BYTES = 64 * 1024
"""Usual length of a range, in bytes."""

LARGE_RANGE_BYTES = 4 * 1024 * 1024
"""Maximum length, in bytes, of one additional large range. All of it is held in memory."""


class PartialFile:
    """The known pieces of a file of `size` bytes. At most `ranges` more pieces are requested."""

    def __init__(self, head: bytes, size: int, ranges: int = RANGES) -> None:
        self.head = head
        self.size = max(size, len(head))
        self._pieces = {0: head}
        self._ranges = ranges
        self._large_ranges = 1

    def learn(self, start: int, piece: bytes) -> None:
        """Add the bytes of a range that was read."""
        self._pieces[start] = piece

    def allow(self, ranges: int) -> None:
        """From now on, request at most `ranges` more, and no large one."""
        self._ranges, self._large_ranges = ranges, 0

    def seen(self, start: int, end: int) -> bytes:
        """Return the known bytes from `start` to `end` (excluded), or to the first unknown byte."""
        found = b""
        while (at := start + len(found)) < end:
            for first, piece in self._pieces.items():
                if first <= at < first + len(piece):
                    found += piece[at - first : end - first]
                    break
            else:
                break
        return found

    def look(self, start: int, length: int = RANGE_BYTES, *, spare: int = 0) -> Reading[bytes]:
        """Return `length` bytes from `start`; request the unknown ones among them as one range.

        Returns fewer bytes at the end of the file. Requests nothing if the number of ranges that
        are left is `spare` or less; then it returns only known bytes.
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
        """Return the bytes from `start` to `end`; request up to `LARGE_RANGE_BYTES` of them.

        Returns fewer bytes if that limit is reached, or if a large range was requested before.
        """
        missing = start + len(self.seen(start, end))
        if missing < end and self._large_ranges:
            self._large_ranges -= 1
            yield from self._ask(missing, end, LARGE_RANGE_BYTES)
        return self.seen(start, end)

    def _ask(self, start: int, end: int, most: int | None = None) -> Reading[None]:
        # A known piece at the end of the range is not requested again. A known piece in the middle
        # is requested again, so that one request is enough.
        known = [at for at, piece in self._pieces.items() if at < end <= at + len(piece)]
        until = min(known, default=end)
        self.learn(start, (yield start, until if most is None else min(until, start + most)))
