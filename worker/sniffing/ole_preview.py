"""Find the preview picture in the summary of an OLE file: Office documents before 2007.

Office itself stores previews as WMF, which is not decoded. Other programs store a DIB, or a JPEG or
PNG. Sources: [MS-CFB], sections 2.2, 2.3 and 2.6; [MS-OLEPS], sections 2.11, 2.20 and 2.21. No I/O:
bytes that are needed are requested (`worker.sniffing.ranges`).
"""

import struct
from typing import Final

from worker.packing import Packing
from worker.sniffing.ole import read_entries
from worker.sniffing.protocol import MAX_EXTENTS, MAX_PREVIEW_BYTES, Preview
from worker.sniffing.ranges import RANGE_BYTES, PartialFile, Reading

_SUMMARY: Final = "\x05summaryinformation"
_THUMBNAIL: Final = 0x11
_CLIPBOARD: Final = 0x47
_WINDOWS: Final = 0xFFFFFFFF
"""A value that means: the next number is a clipboard format of Windows."""

_DIBS: Final = frozenset({8, 17})
"""CF_DIB and CF_DIBV5."""

_MIN_SUMMARY_BYTES: Final = 4096
"""A summary of this length or less has no preview. Word and Excel pad a summary without a preview
to this length. Shorter summaries are stored in another place of the file."""

_MAX_PROPERTIES: Final = 100
_FAT_SECTORS: Final = 109
"""Number of sectors of the table (FAT) that the header names, enough for 7 MB."""


def find_in_compound(file: PartialFile) -> Reading[Preview | None]:
    """Return the preview of an OLE file; None if it has no preview that can be decoded.

    Requests the beginning of a long summary. Only if it holds a preview, requests the table of the
    file's sectors too. Never raises for any bytes.
    """
    entries = yield from read_entries(file)
    summary = next((each for each in entries if each.name == _SUMMARY), None)
    if summary is None or not _MIN_SUMMARY_BYTES < summary.size <= file.size:
        return None
    (shift,) = struct.unpack_from("<H", file.head, 30)
    start = (summary.sector + 1) << shift
    stream = yield from file.look(start, min(summary.size, RANGE_BYTES))
    try:
        value = _thumbnail(stream)
    except struct.error:  # the bytes end before the numbers
        return None
    if value is None:
        return None
    first, length, packing = value
    if length > MAX_PREVIEW_BYTES or first + length > summary.size:
        return None
    extents = yield from _extents(file, summary.sector, first + length, shift)
    # The bytes that were parsed must be those of the stream.
    if not extents or extents[0][1] - extents[0][0] < first:
        return None
    found, at = [], 0
    for begin, end in extents:
        low, high = max(first, at), min(first + length, at + end - begin)
        if low < high:
            found.append((begin + low - at, begin + high - at))
        at += end - begin
    whole = sum(end - begin for begin, end in found) == length
    inside = all(end <= file.size for _, end in found)
    return Preview(tuple(found), packing) if whole and inside else None


def _thumbnail(stream: bytes) -> tuple[int, int, Packing] | None:
    """Return where a picture is in a summary: its start, its length in bytes, its packing.

    Raises struct.error if the summary is cut off.
    """
    (section,) = struct.unpack_from("<I", stream, 44)
    (count,) = struct.unpack_from("<I", stream, section + 4)
    for index in range(min(count, _MAX_PROPERTIES)):
        number, offset = struct.unpack_from("<II", stream, section + 8 + 8 * index)
        if number == _THUMBNAIL:
            break
    else:
        return None
    at = section + offset
    kind, length, tag, clipboard = struct.unpack_from("<IIII", stream, at)
    if kind != _CLIPBOARD or tag != _WINDOWS or length <= 8:
        return None
    if clipboard in _DIBS:
        return at + 16, length - 8, "dib"
    if stream.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"), at + 16):
        return at + 16, length - 8, "stored"
    return None


def _extents(
    file: PartialFile, sector: int, size: int, shift: int
) -> Reading[list[tuple[int, int]] | None]:
    """Return the ranges of the file that the first `size` bytes of a stream occupy, in order.

    Follows the chain of sectors from `sector`. Returns None if the chain is too scattered, or if
    its table is not known and cannot be requested.
    """
    each = (1 << shift) // 4
    extents: list[tuple[int, int]] = []
    left = -(-size // (1 << shift))
    while True:
        start = (sector + 1) << shift
        if extents and extents[-1][1] == start:
            extents[-1] = (extents[-1][0], start + (1 << shift))
        elif len(extents) == MAX_EXTENTS:
            return None
        else:
            extents.append((start, start + (1 << shift)))
        left -= 1
        if left == 0:
            return extents
        index, place = divmod(sector, each)
        if index >= _FAT_SECTORS:
            return None
        (table,) = struct.unpack_from("<I", file.head, 76 + 4 * index)
        at = ((table + 1) << shift) + 4 * place
        entry = file.seen(at, at + 4)
        if len(entry) < 4:
            # neighbours of this sector belong to the table too, in most files
            entry = (yield from file.look(at, RANGE_BYTES))[:4]
        if len(entry) < 4:
            return None
        sector = int.from_bytes(entry, "little")
