"""What a ZIP archive holds, by its directory: documents, programs and books are all ZIP.

The directory decides, not what lies first: Java and Office read nothing else. Layout and names of
fields are those of PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from worker.partial import RANGE_BYTES, PartialFile, Reading

ZIP: Final = "application/zip"
TAIL_BYTES: Final = RANGE_BYTES + 22
"""The end of the central directory has 22 bytes, and a comment of 64 KiB at the most behind it."""

_ENTRY, _END, _ZIP64_END, _ZIP64_LOCATOR = b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_DEFLATED: Final = 8

_OFFICE: Final = {
    b"word/": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.ms-word.document.macroEnabled.12",
    ),
    b"xl/": (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
    ),
    b"ppt/": (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
    ),
}
"""Office documents (ECMA-376) without and with macros, by the folder of their main part."""

_SAYS_ITSELF = re.compile(rb"application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40})")
"""The types that are believed to the entry `mimetype` (OpenDocument 1.2 part 3, EPUB OCF)."""


def identify_archive(file: PartialFile) -> Reading[str | None]:
    """Name what the directory at the end of a file tells of; None if there is none.

    Asks for the end and, where it lies before that, for the directory.
    """
    start = max(0, file.size - TAIL_BYTES)
    tail = yield from file.look(start, TAIL_BYTES)
    for end, length, offset in _ends(tail, start, file.size):
        if length == 0:
            return ZIP
        place = end - length
        begin = file.seen(place, place + len(_ENTRY))
        if len(begin) < len(_ENTRY):
            begin = yield from file.look(place, min(length, RANGE_BYTES))
        if begin.startswith(_ENTRY):
            entries, complete = yield from _entries(file, place, end)
            kind = _kind(entries, complete=complete)
            if kind == ZIP and (local := entries.get(b"mimetype")) is not None:
                kind = (yield from _said(file, place - offset + local)) or kind
            return kind
    return None


def _ends(tail: bytes, start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield where a directory may end, its length, and the offset that it says it has.

    What ends exactly where the file does comes first, then from the last on: as Java looks for it,
    which takes no notice of the offset, and so accepts anything before and behind the archive.
    """
    others = []
    at = len(tail)
    while (at := tail.rfind(_END, 0, at + len(_END) - 1)) >= 0:
        if len(tail) - at < 22:
            continue
        count, length, offset, comment = struct.unpack_from("<HIIH", tail, at + 10)
        found = [(start + at, length, offset, count)]
        if at >= 20 and tail.startswith(_ZIP64_LOCATOR, at - 20):
            # Where the locator says, or, behind a prefix, right before the locator.
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


def _entries(file: PartialFile, start: int, end: int) -> Reading[tuple[dict[bytes, int], bool]]:
    """Give the names in a directory, in lower case, with the offsets of what they name.

    And whether these are all: of a directory that is too large, the beginning and the end are read.
    """
    entries: dict[bytes, int] = {}
    while start < end:
        directory = yield from file.look(start, min(RANGE_BYTES, end - start))
        read = _parse(directory, entries)
        start += read
        if start >= end:
            return entries, True
        if read == 0:
            break
    rest = file.seen(max(start, file.size - TAIL_BYTES), end)
    _parse(rest[max(0, rest.find(_ENTRY)) :], entries)
    return entries, False


def _parse(directory: bytes, entries: dict[bytes, int]) -> int:
    """Read the entries that a piece of a directory begins with; tell how many bytes they take."""
    at = 0
    while directory.startswith(_ENTRY, at) and at + 46 <= len(directory):
        name, extra, comment = struct.unpack_from("<HHH", directory, at + 28)
        if at and at + 46 + name > len(directory):
            break  # cut: read again with the next piece
        offset = int.from_bytes(directory[at + 42 : at + 46], "little")
        entries.setdefault(directory[at + 46 : at + 46 + name].lower(), offset)
        at += 46 + name + extra + comment
    return at


def _kind(entries: dict[bytes, int], *, complete: bool) -> str:
    if b"androidmanifest.xml" in entries:
        return "application/vnd.android.package-archive"
    # Java finds its manifest in any case of letters. Of a directory that was not seen whole,
    # classes tell of one.
    if b"meta-inf/manifest.mf" in entries or (
        not complete and any(name.endswith(b".class") for name in entries)
    ):
        return "application/java-archive"
    if b"[content_types].xml" in entries:
        if b"xl/workbook.bin" in entries:
            return "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
        for folder, (plain, with_macros) in _OFFICE.items():
            if any(name.startswith(folder) for name in entries):
                return with_macros if folder + b"vbaproject.bin" in entries else plain
    return ZIP


def _said(file: PartialFile, place: int) -> Reading[str | None]:
    """Give the type that the entry `mimetype` at a place says, if it is one to be believed."""
    local = yield from file.look(place, 1024)
    if len(local) < 30 or not local.startswith(b"PK\3\4"):
        return None
    method, name, extra = struct.unpack_from("<8xH16xHH", local)
    body = local[30 + name + extra :]
    if method == _DEFLATED:
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, 100)
        except zlib.error:
            return None
    said = _SAYS_ITSELF.match(body)
    return said[0].decode() if said else None
