"""Identify documents, programs and books that are ZIP archives, by the central directory.

The first entry of the file is ignored, because Java and Office read only the directory. The layout
is from PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from worker.sniffing.ranges import RANGE_BYTES, PartialFile, Reading

ZIP: Final = "application/zip"
TAIL_BYTES: Final = RANGE_BYTES + 22
"""Number of bytes at the end of a file that are searched. The end record has 22 bytes, and a
comment of at most 64 KiB may follow it."""

_AR: Final = b"!<arch>\n"
_ENTRY, _END, _ZIP64_END, _ZIP64_LOCATOR = b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_DEFLATED: Final = 8

_JAVA, _ANDROID = b"meta-inf/manifest.mf", b"androidmanifest.xml"
_PROGRAMS: Final = {
    b"appxmanifest.xml": "application/vnd.ms-appx",
    b"appxmetadata/appxbundlemanifest.xml": "application/vnd.ms-appx",
}
"""Types of installers by a top-level entry, in lower case. A zipped Python module is not detected
here. Only its file name makes it a program, and other code checks the file name. Under another
name, a desktop just opens it as a ZIP."""

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
"""Types of Office documents (ECMA-376) by the folder of the main part: first the type without
macros, then the type with macros."""

_WALKED_BYTES: Final = 3 * RANGE_BYTES
"""Number of bytes of a ZIP directory that are parsed entry by entry: at most 4,000 entries, in 2
ms."""

_PROGRAM: Final = re.compile(
    rb"PK\x01\x02.{24}(?:%s)"
    % b"|".join(
        rb"%s.{16}((?i:%s))" % (re.escape(struct.pack("<H", len(name))), re.escape(name))
        for name in (_JAVA, _ANDROID)
    ),
    re.DOTALL,
)
"""Matches a directory entry that makes an archive a program: signature, length of the name, name.

Searching 4 MiB usually takes 2 ms, at most 20 ms.
"""

_STORED_TYPE = re.compile(rb"application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40})")
"""Types that the entry `mimetype` may declare (OpenDocument 1.2 part 3, EPUB OCF)."""


def identify_archive(file: PartialFile) -> Reading[str | None]:
    """Return the type of an archive by the ZIP directory at the end of the file.

    Returns None if the file has no ZIP directory, or if the archive is only a member of a Unix
    archive. Requests the end of the file. If the directory begins before the requested bytes,
    also requests the directory, up to 4 MiB of it.
    """
    start = max(0, file.size - TAIL_BYTES)
    tail = yield from file.look(start, TAIL_BYTES)
    for end, length, offset in _ends(tail, start, file.size):
        if length == 0:
            return ZIP
        directory = end - length
        begin = file.seen(directory, directory + len(_ENTRY))
        if len(begin) < len(_ENTRY):
            begin = yield from file.look(directory, min(length, RANGE_BYTES))
        if begin.startswith(_ENTRY):
            entries = yield from _entries(file, directory, end)
            kind = _kind(entries)
            if kind == ZIP and (local := entries.get(b"mimetype")) is not None:
                kind = (yield from _stored_type(file, directory - offset + local)) or kind
            if file.head.startswith(_AR) and (yield from _is_member(file, directory - offset, end)):
                return None
            return kind
    return None


def _is_member(file: PartialFile, start: int, end: int) -> Reading[bool]:
    """Return True if the archive at `start` is a member of a Unix archive.

    `end` is the offset of the archive's end record, which has 22 bytes and a comment. The member's
    header has 60 bytes and is directly before the archive. The header must give exactly the
    archive's size (POSIX `ar`).
    """
    header = yield from file.look(start - 60, 60)
    if len(header) < 60 or not header.endswith(b"`\n") or not header[48:58].strip().isdigit():
        return False
    record = file.seen(end, end + 22)
    comment = int.from_bytes(record[20:22], "little")
    return len(record) == 22 and start + int(header[48:58]) == end + 22 + comment


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


def _entries(file: PartialFile, start: int, end: int) -> Reading[dict[bytes, int]]:
    """Return the names in a ZIP directory, in lower case, with the offsets of their local headers.

    The first 192 KiB are parsed. The rest is only searched for names of programs and of macros. If
    the directory is larger than `LARGE_RANGE_BYTES`, only its start and its end are read.
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
    """Add the entries at the start of `directory` to `entries`; return their length in bytes."""
    at = 0
    while directory.startswith(_ENTRY, at) and at + 46 <= len(directory):
        name, extra, comment = struct.unpack_from("<HHH", directory, at + 28)
        if at and at + 46 + name > len(directory):
            break  # the entry is cut off
        offset = int.from_bytes(directory[at + 42 : at + 46], "little")
        entries.setdefault(directory[at + 46 : at + 46 + name].lower(), offset)
        at += 46 + name + extra + comment
    return at


def _kind(entries: dict[bytes, int]) -> str:
    if _ANDROID in entries:
        return "application/vnd.android.package-archive"
    if _JAVA in entries:  # Java ignores the case of this name
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


def _stored_type(file: PartialFile, start: int) -> Reading[str | None]:
    """Return the type that the entry `mimetype` declares; None if that type is not accepted."""
    local = yield from file.look(start, 1024)
    if len(local) < 30 or not local.startswith(b"PK\3\4"):
        return None
    method, name, extra = struct.unpack_from("<8xH16xHH", local)
    body = local[30 + name + extra :]
    if method == _DEFLATED:
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, 100)
        except zlib.error:
            return None
    said = _STORED_TYPE.match(body)
    return said[0].decode() if said else None
