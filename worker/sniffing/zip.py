"""What a ZIP archive holds, by its directory: documents, programs and books are all ZIP.

The directory decides, not what lies first: Java and Office read nothing else. Layout and names of
fields are those of PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from worker.sniffing.ranges import RANGE_BYTES, PartialFile, Reading

ZIP: Final = "application/zip"
TAIL_BYTES: Final = RANGE_BYTES + 22
"""The end of the central directory has 22 bytes, and a comment of 64 KiB at the most behind it."""

_ENTRY, _END, _ZIP64_END, _ZIP64_LOCATOR = b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_DEFLATED: Final = 8

_JAVA, _ANDROID = b"meta-inf/manifest.mf", b"androidmanifest.xml"
_PROGRAMS: Final = {
    b"appxmanifest.xml": "application/vnd.ms-appx",
    b"appxmetadata/appxbundlemanifest.xml": "application/vnd.ms-appx",
}
"""Entries at the top that make an installer of an archive, in lower case. What is a program by its
name alone, such as a zipped Python module, is left to the name: as a ZIP it is just opened."""

_MACROS: Final = b"vbaproject.bin"

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

_WALKED_BYTES: Final = 3 * RANGE_BYTES
"""How much of a directory is read entry by entry: 4,000 of them at the most, 2 ms."""

_PROGRAM: Final = re.compile(
    rb"PK\x01\x02.{24}(?:%s)"
    % b"|".join(
        rb"%s.{16}((?i:%s))" % (re.escape(struct.pack("<H", len(name))), re.escape(name))
        for name in (_JAVA, _ANDROID)
    ),
    re.DOTALL,
)
"""An entry that makes a program of an archive: its signature, the length of its name, its name.

4 MiB are searched in 2 ms, in 20 ms at the most.
"""

_SAYS_ITSELF = re.compile(rb"application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40})")
"""The types that are believed to the entry `mimetype` (OpenDocument 1.2 part 3, EPUB OCF)."""


def identify_archive(file: PartialFile) -> Reading[str | None]:
    """Name what the directory at the end of a file tells of; None if there is none.

    Asks for the end and, where it lies before that, for the directory, up to 4 MiB of it.
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
            entries = yield from _entries(file, place, end)
            kind = _kind(entries)
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


def _entries(file: PartialFile, start: int, end: int) -> Reading[dict[bytes, int]]:
    """Give the names in a directory, in lower case, with the offsets of what they name.

    Behind its first 192 KiB, it is only searched for what makes a program of it, and for macros. Of
    more than `LARGE_RANGE_BYTES`, the beginning and the end are read.
    """
    entries: dict[bytes, int] = {}
    directory = yield from file.look_far(start, end)
    read = _parse(directory[:_WALKED_BYTES], entries)
    rest = file.seen(max(start + len(directory), file.size - TAIL_BYTES), end)
    for piece in (directory[read:], rest):
        if program := _PROGRAM.search(piece):
            entries.setdefault((program[1] or program[2]).lower(), 0)
        names = piece.lower()
        entries |= {folder + _MACROS: 0 for folder in _OFFICE if folder + _MACROS in names}
    return entries


def _parse(directory: bytes, entries: dict[bytes, int]) -> int:
    """Read the entries that a piece of a directory begins with; tell how many bytes they take."""
    at = 0
    while directory.startswith(_ENTRY, at) and at + 46 <= len(directory):
        name, extra, comment = struct.unpack_from("<HHH", directory, at + 28)
        if at and at + 46 + name > len(directory):
            break  # cut
        offset = int.from_bytes(directory[at + 42 : at + 46], "little")
        entries.setdefault(directory[at + 46 : at + 46 + name].lower(), offset)
        at += 46 + name + extra + comment
    return at


def _kind(entries: dict[bytes, int]) -> str:
    if _ANDROID in entries:
        return "application/vnd.android.package-archive"
    if _JAVA in entries:  # Java finds it in any case of letters
        return "application/java-archive"
    for name, kind in _PROGRAMS.items():
        if name in entries:
            return kind
    if b"[content_types].xml" in entries:
        if b"xl/workbook.bin" in entries:
            return "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
        for folder, (plain, with_macros) in _OFFICE.items():
            if any(name.startswith(folder) for name in entries):
                return with_macros if folder + _MACROS in entries else plain
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
