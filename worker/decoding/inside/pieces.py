"""A file object for a film that FFmpeg reads as a whole file, while only some ranges are known."""

import os
from collections.abc import Sequence
from typing import BinaryIO, Final

from shared.errors import AttachmentsError

STEP_BYTES: Final = 256 * 1024
"""Number of bytes that are requested at a place that does not continue a known range."""

MAX_STEP_BYTES: Final = 4 * 1024 * 1024
"""Maximum number of bytes that are requested at once. A range that continues a known one has the
same length as that one, so a long track list needs few requests."""


class MissingRange(AttachmentsError):
    """The bytes from `start` to `end` are needed, but were not read yet."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(start, end)
        self.start, self.end = start, end


class Pieces:
    """A readable and seekable file of `size` bytes.

    `file` holds the bytes of the `extents` (start, end), one after the other. A read of any other
    byte returns nothing, as at the end of a file, and `missing` is set to the first range that is
    needed. No exception is raised, because FFmpeg would hide it, or PyAV would print it.
    """

    def __init__(self, file: BinaryIO, size: int, extents: Sequence[Sequence[int]]) -> None:
        self._file = file
        self._size = size
        self._at = 0
        self._extents: list[tuple[int, int, int]] = []
        place = 0
        for start, end in extents:
            self._extents.append((start, end, place))
            place += end - start
        self.missing: MissingRange | None = None

    def known(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`, or fewer if a byte among them is not known."""
        found = b""
        while len(found) < length and (piece := self._piece(start + len(found))) is not None:
            place, left = piece
            self._file.seek(place)
            found += self._file.read(min(left, length - len(found)))
        return found

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; none at the end, and none where a byte is missing."""
        count = min(count, self._size - self._at)
        if count <= 0:
            return b""
        if self._piece(self._at) is None:
            self.missing = self.missing or self._range()
            return b""
        found = self.known(self._at, count)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset, which may be one that is not known."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def _piece(self, at: int) -> tuple[int, int] | None:
        """Return where in the file a byte is, and how many bytes are known from there on."""
        for start, end, place in self._extents:
            if start <= at < end:
                return place + at - start, end - at
        return None

    def _range(self) -> MissingRange:
        before, growing = self._at, True
        while growing:  # find the start of the known bytes before this one
            growing = False
            for start, end, _ in self._extents:
                if end == before and start < end:
                    before, growing = start, True
        step = min(max(self._at - before, STEP_BYTES), MAX_STEP_BYTES)
        later = [start for start, _, _ in self._extents if start > self._at]
        return MissingRange(self._at, min(self._at + step, self._size, *later))
