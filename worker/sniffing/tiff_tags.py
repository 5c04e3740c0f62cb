"""Read the directories of a TIFF and its tags.

Source: TIFF 6.0, section 2; BigTIFF; Exif 3.0, section 4.6. Only numbers at offsets that the format
defines are read, from bytes that the worker has already read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from worker.sniffing.ranges import PartialFile

Size = tuple[int, int]

MAX_ENTRIES: Final = 512
"""Maximum number of entries of one directory that are read. Cameras write about 50."""

_MAX_DIRECTORIES: Final = 16

WIDTH, HEIGHT, PHOTOMETRIC, MAKE, ORIENTATION = 256, 257, 262, 271, 274
SUBFILES, EXIF = 330, 34665

_FORMS: Final = {1: "B", 3: "H", 4: "I", 9: "i", 13: "I", 16: "Q", 18: "Q"}
"""The format characters of `struct` for the field types that contain integers (TIFF 6.0, page 15;
BigTIFF)."""
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory: the type and the number of its values, and their offset."""

    kind: int
    count: int
    at: int


class Directory(dict[int, Entry]):
    """The entries of one directory by their tags."""


class Tiff:
    """The known pieces of a TIFF. Methods raise struct.error if bytes that they need are unknown.

    The first bytes need not be those of a TIFF: camera raws with another signature have the same
    structure.
    """

    def __init__(self, file: PartialFile) -> None:
        self._file = file
        self.order = "<" if file.head.startswith(b"II") else ">"
        self.big = self._read("H", 2) == 43
        self.first = self._read("Q" if self.big else "I", 8 if self.big else 4)

    def _read(self, form: str, at: int) -> int:
        (value,) = self._unpack(form, at)
        return int(value)

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        form = self.order + form
        return struct.unpack(form, self._file.seen(at, at + struct.calcsize(form)))

    def has_seen(self, at: int) -> bool:
        """Return True if the bytes at the start of a directory at this offset are known."""
        return len(self._file.seen(at, at + 8)) == 8

    def directory(self, at: int) -> tuple[Directory, int]:
        """Return a directory's entries and the offset of the next directory, 0 if there is none."""
        count = self._read("Q" if self.big else "H", at)
        at += 8 if self.big else 2
        width, offset = (20, "Q") if self.big else (12, "I")
        end = at + min(count, MAX_ENTRIES) * width
        body = self._file.seen(at, end)
        found = Directory()
        for start in range(0, end - at, width):
            tag, kind, values = struct.unpack_from(f"{self.order}HH{offset}", body, start)
            inline = _BYTES.get(kind, 1) * values <= struct.calcsize(offset)
            value_at = start + (12 if self.big else 8)
            if inline:
                found[tag] = Entry(kind, values, at + value_at)
            else:
                (far,) = struct.unpack_from(f"{self.order}{offset}", body, value_at)
                found[tag] = Entry(kind, values, far)
        try:
            return found, self._read(offset, end)
        except struct.error:
            return found, 0

    def numbers(self, directory: Directory, tag: int, most: int = 8) -> list[int]:
        """Return the whole numbers of a field, at most `most` of them; empty if there are none."""
        entry = directory.get(tag)
        if entry is None:
            return []
        if entry.kind == 5:  # fractions
            pairs = self._unpack(f"{2 * min(entry.count, most)}I", entry.at)
            return [a // b if b else 0 for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        form = _FORMS.get(entry.kind)
        if form is None:
            return []
        return list(self._unpack(f"{min(entry.count, most)}{form}", entry.at))

    def number(self, directory: Directory, tag: int, otherwise: int = 0) -> int:
        """Return the first number of a field, or `otherwise` if there is none."""
        return next(iter(self.numbers(directory, tag, 1)), otherwise)

    def text(self, directory: Directory, tag: int) -> str:
        """Return the start of a text field in lower case; empty if there is none."""
        entry = directory.get(tag)
        if entry is None or entry.kind != 2:
            return ""
        raw = self._file.seen(entry.at, entry.at + min(entry.count, 100))
        return raw.partition(b"\0")[0].decode("latin-1").strip().lower()

    def directories(self) -> Iterator[Directory]:
        """Yield the first directory, the following ones, and their subfiles.

        A directory that is not completely known is left out.
        """
        ahead, seen = [self.first], set[int]()
        while ahead and len(seen) < _MAX_DIRECTORIES:
            at = ahead.pop(0)
            if at == 0 or at in seen:
                continue
            seen.add(at)
            try:
                found, following = self.directory(at)
            except struct.error:
                continue
            yield found
            try:
                ahead += [*self.numbers(found, SUBFILES), following]
            except struct.error:
                ahead.append(following)

    def size(self, directory: Directory) -> Size:
        """Return the width and height in a directory before rotation; 0 if one is missing."""
        return self.number(directory, WIDTH), self.number(directory, HEIGHT)

    def upright(self, directory: Directory, size: Size) -> Size:
        """Return the size after the rotation that a directory gives."""
        turned = self.number(directory, ORIENTATION, 1) in (5, 6, 7, 8)
        return (size[1], size[0]) if turned else size


def tiff_size(head: bytes) -> Size:
    """Return the width and height of the first image in a TIFF or BigTIFF, after rotation.

    Raises struct.error if the head ends before the numbers.
    """
    tiff = Tiff(PartialFile(head, len(head)))
    first, _ = tiff.directory(tiff.first)
    return tiff.upright(first, tiff.size(first))
