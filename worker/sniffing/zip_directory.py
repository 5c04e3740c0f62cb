"""Read the central directory of a ZIP archive, and find the bytes of its members.

The layout is from PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16. No I/O, and
nothing is inflated: bytes that are needed are requested (`worker.sniffing.ranges`).
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from worker.sniffing.ranges import RANGE_BYTES, PartialFile, Reading

TAIL_BYTES: Final = RANGE_BYTES + 22
"""Number of bytes at the end of a file that are searched. The end record has 22 bytes, and a
comment of at most 64 KiB may follow it."""

DEFLATED: Final = 8

_LOCAL, _ENTRY, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_ZIP64_END, _ZIP64_LOCATOR = b"PK\6\6", b"PK\6\7"
_STORED: Final = 0
_ENCRYPTED: Final = 0x2041
"""The flags of an encrypted member, of strong encryption, and of masked headers (APPNOTE 4.4.4)."""

_WALKED_BYTES: Final = 3 * RANGE_BYTES
"""Number of bytes of a ZIP directory that are parsed entry by entry: at most 4,000 entries, in 2
ms."""

_LOCAL_BYTES: Final = 2048
"""Number of bytes that are requested for the local header of a member, in addition to its data. The
header has 30 bytes, the name, and an extra field, in which Office stores padding."""

Names = Callable[[bytes], Iterable[bytes]]
"""A function that searches an unparsed part of a directory. It returns the names that matter, in
lower case."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive, as the directory describes it.

    `start` is the offset of its local header. `packed` and `unpacked` are lengths in bytes. If
    `deflated` is false, the bytes are stored without compression.
    """

    name: bytes
    start: int
    deflated: bool
    packed: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class Directory:
    """A ZIP directory: the offsets of its entries in the file, by their names in lower case.

    If several entries have the same name, the first one is used. `base` is the offset at which the
    archive begins in the file. `end` is the offset of the record after the directory.
    """

    entries: dict[bytes, int]
    base: int
    end: int

    def local_header(self, file: PartialFile, name: bytes) -> int | None:
        """Return the offset of a member's local header; None if there is no such member."""
        record = self._record(file, name)
        return self.base + int.from_bytes(record[42:46], "little") if record else None

    def member(self, file: PartialFile, name: bytes) -> Member | None:
        """Return a member; None if it is missing, empty, encrypted or packed in an unusual way.

        Members whose sizes are only in a ZIP64 field are not returned.
        """
        record = self._record(file, name)
        if len(record) < 46:
            return None
        flags, method, packed, unpacked = struct.unpack_from("<HH8xII", record, 8)
        start = self.base + int.from_bytes(record[42:46], "little")
        if (
            flags & _ENCRYPTED
            or method not in (_STORED, DEFLATED)
            or not 0 < packed <= file.size
            or unpacked == 0
            or (method == _STORED and packed != unpacked)
        ):
            return None
        return Member(name, start, method == DEFLATED, packed, unpacked)

    def _record(self, file: PartialFile, name: bytes) -> bytes:
        at = self.entries.get(name)
        return b"" if at is None else file.seen(at, at + 46)


def read_directory(file: PartialFile, late: Names = lambda _: ()) -> Reading[Directory | None]:
    """Return the ZIP directory at the end of a file; None if there is none.

    Requests the end of the file. If the directory begins before the requested bytes, also requests
    the directory, up to 4 MiB of it. `late` finds names in the parts that are not parsed. The
    directory of an empty archive has no entries.
    """
    start = max(0, file.size - TAIL_BYTES)
    tail = yield from file.look(start, TAIL_BYTES)
    for end, length, offset in _ends(tail, start, file.size):
        directory = end - length
        if length == 0:
            return Directory({}, directory - offset, end)
        begin = file.seen(directory, directory + len(_ENTRY))
        if len(begin) < len(_ENTRY):
            begin = yield from file.look(directory, min(length, RANGE_BYTES))
        if begin.startswith(_ENTRY):
            entries = yield from _entries(file, directory, end, late)
            return Directory(entries, directory - offset, end)
    return None


def find_data(file: PartialFile, member: Member) -> Reading[tuple[int, int] | None]:
    """Return where the packed bytes of a member start and end in the file.

    Requests the local header, with as much of the data as one range has. Returns None if the local
    header is missing or contradicts the directory, or if the data are not in the file.
    """
    length = min(_LOCAL_BYTES + member.packed, RANGE_BYTES)
    local = yield from file.look(member.start, length)
    if len(local) < 30 or not local.startswith(_LOCAL):
        return None
    flags, method, name, extra = struct.unpack_from("<6xHH16xHH", local)
    start = member.start + 30 + name + extra
    if (
        flags & _ENCRYPTED
        or method != (DEFLATED if member.deflated else _STORED)
        or local[30 : 30 + name].lower() != member.name
        or start + member.packed > file.size
    ):
        return None
    return start, start + member.packed


def _ends(tail: bytes, start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the end, the length and the stated offset of each possible directory.

    A record that ends exactly at the end of the file is tried first, then the others from last to
    first, as Java does. Java ignores the stated offset, so data before and after the archive are
    allowed.
    """
    others = []
    at = len(tail)
    while (at := tail.rfind(_END, 0, at + len(_END) - 1)) >= 0:
        if len(tail) - at < 22:
            continue
        count, length, offset, comment = struct.unpack_from("<HIIH", tail, at + 10)
        found = [(start + at, length, offset, count)]
        if at >= 20 and tail.startswith(_ZIP64_LOCATOR, at - 20):
            # The locator contains the offset of the Zip64 record. If data precede the archive, this
            # offset is wrong, and the record is directly before the locator.
            (said,) = struct.unpack_from("<Q", tail, at - 12)
            for record in (said - start, at - 20 - 56):
                if 0 <= record <= at - 20 - 56 and tail.startswith(_ZIP64_END, record):
                    count, length, offset = struct.unpack_from("<QQQ", tail, record + 32)
                    found.append((start + record, length, offset, count))
                    break
        for end, length, offset, count in found:
            if length <= end and 46 * count <= length:
                if start + at + 22 + comment == size:
                    yield end, length, offset
                elif length:
                    others.append((end, length, offset))
    yield from others


def _entries(file: PartialFile, start: int, end: int, late: Names) -> Reading[dict[bytes, int]]:
    """Return the names in a ZIP directory, in lower case, with the offsets of their entries.

    The first 192 KiB are parsed. In the rest, `late` finds names, whose offsets are 0. If the
    directory is larger than `LARGE_RANGE_BYTES`, only its start and its end are read.
    """
    entries: dict[bytes, int] = {}
    directory = yield from file.look_far(start, end)
    read = _parse(directory[:_WALKED_BYTES], start, entries)
    rest = file.seen(max(start + len(directory), file.size - TAIL_BYTES), end)
    for piece in (directory[read:], rest):
        for name in late(piece):
            entries.setdefault(name, 0)
    return entries


def _parse(directory: bytes, start: int, entries: dict[bytes, int]) -> int:
    """Add the entries of `directory`, which begins at `start`; return their length in bytes."""
    at = 0
    while directory.startswith(_ENTRY, at) and at + 46 <= len(directory):
        name, extra, comment = struct.unpack_from("<HHH", directory, at + 28)
        if at and at + 46 + name > len(directory):
            break  # the entry is cut off
        entries.setdefault(directory[at + 46 : at + 46 + name].lower(), start + at)
        at += 46 + name + extra + comment
    return at
