"""Identify OLE compound files: Office documents before 2007, installers, Outlook messages.

Source: [MS-CFB], sections 2.2 and 2.6. No I/O: bytes after the head are requested by yielding a
range (`worker.sniffing.ranges`).
"""

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from worker.sniffing.ranges import PartialFile, Reading

OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE: Final = "application/x-ole-storage"
_DOC, _XLS, _PPT = "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"
_MSI, _MSG = "application/x-msi", "application/vnd.ms-outlook"

_CLASSES: Final = {
    # the three kinds of installers: transform, package, patch
    **dict.fromkeys((0x000C1082, 0x000C1084, 0x000C1086), _MSI),
    **dict.fromkeys((0x00020900, 0x00020906), _DOC),
    **dict.fromkeys((0x00020810, 0x00020820), _XLS),
    0x00020D0B: _MSG,
}
"""The types of OLE files by the class id of their root entry. Each key is the first field of a
class id. The other fields are the same in all these class ids."""

_END_OF_CHAIN: Final = 0xFFFFFFFA
"""Numbers of sectors from this one on have other meanings ([MS-CFB], section 2.1)."""

_MAX_SECTORS: Final = 64
"""Maximum number of sectors of a directory that are read: 256 entries, or more in large sectors."""

_PPT_CLASS: Final = UUID("64818d10-4f9b-11cf-86ea-00aa00b929e8").bytes_le

_STREAMS: Final = {
    "worddocument": _DOC,
    "workbook": _XLS,
    "book": _XLS,
    "powerpoint document": _PPT,
    "__properties_version1.0": _MSG,
}
_MSI_TABLE: Final = "\u4840"
"""The first character of the name of every table in an installer's database. No other name begins
with it."""


OFFICE_97: Final = frozenset({_DOC, _XLS, _PPT})
"""Types of Office documents before 2007."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An entry of the directory: a name in lower case, the first sector, and the size in bytes."""

    name: str
    sector: int
    size: int


def read_entries(file: PartialFile) -> Reading[list[Stream]]:
    """Return the entries directly below the root, from the same sectors as `identify_compound`."""
    entries = _split((yield from _directory(file)))
    return [
        Stream(_entry_name(entries[index]), *struct.unpack_from("<II", entries[index], 116))
        for index in (_below_root(entries) if entries else ())
    ]


def identify_compound(file: PartialFile) -> Reading[str]:
    """Return the type of an OLE file by its streams and the class id of its root.

    Requests at most one range: the start of the directory or its chain of sectors, if `head` does
    not contain it. Never raises for any bytes.
    """
    directory = yield from _directory(file)
    if len(directory) < 128:
        return _OLE
    entries = _split(directory)
    names = [_entry_name(entry) for entry in entries]
    kind = _class(directory)
    if kind == _MSI or any(name.startswith(_MSI_TABLE) for name in names):
        return _MSI
    # Check the streams directly in the root first, because programs choose the type by these
    # streams and ignore the class id. Deeper streams may belong to an embedded document of another
    # type.
    for name in [names[index] for index in _below_root(entries)]:
        if name in _STREAMS:
            return _STREAMS[name]
    return kind or next((_STREAMS[name] for name in names if name in _STREAMS), _OLE)


def _directory(file: PartialFile) -> Reading[bytes]:
    """Return the start of the directory; no bytes if the header is cut off or wrong.

    The sectors of the directory form a chain, which is stored in another table. If that table is
    not known, the sectors after the first one are returned, which usually belong to the directory.
    """
    if len(file.head) < 512:
        return b""
    (shift,) = struct.unpack_from("<H", file.head, 30)
    (sector,) = struct.unpack_from("<I", file.head, 48)
    if shift not in (9, 12):
        return b""
    size = 1 << shift
    assumed = yield from file.look((sector + 1) << shift, 1 << 12)
    found = assumed[:size]
    per_table = size // 4
    for _ in range(_MAX_SECTORS):
        at = 76 + 4 * (sector // per_table)
        if at >= 512:  # the header lists only the first 109 sectors of the table
            return assumed
        (table,) = struct.unpack_from("<I", file.head, at)
        place = ((table + 1) << shift) + 4 * (sector % per_table)
        # Keep two of the allowed ranges for the end of the file (`identify._by_its_end`).
        link = yield from file.look(place, 4, spare=2)
        if len(link) < 4:
            return assumed
        (sector,) = struct.unpack("<I", link)
        if sector >= _END_OF_CHAIN:
            break
        piece = file.seen((sector + 1) << shift, (sector + 2) << shift)
        if not piece:
            break
        found += piece
    return found


def _split(directory: bytes) -> list[bytes]:
    return [directory[at : at + 128] for at in range(0, len(directory) - 127, 128)]


def _class(directory: bytes) -> str | None:
    """Return the type by the class id of the root entry; None if that class id is unknown."""
    first, *rest = struct.unpack_from("<IHH8s", directory, 80)
    if [*rest] == [0, 0, UUID("00000000-0000-0000-c000-000000000046").bytes[8:]]:
        return _CLASSES.get(first)
    return _PPT if directory[80:96] == _PPT_CLASS else None


def _entry_name(entry: bytes) -> str:
    length, kind = struct.unpack_from("<HB", entry, 64)
    if kind not in (1, 2, 5) or not 2 < length <= 64:
        # The entry is unused, or these bytes are not an entry: of the sectors that were read, only
        # the first certainly belongs to the directory.
        return ""
    return entry[: length - 2].decode("utf-16-le", "replace").lower()


def _below_root(entries: list[bytes]) -> list[int]:
    """Return the indexes of the root's children, which form a tree of left and right siblings."""
    (child,) = struct.unpack_from("<I", entries[0], 76)
    found, ahead = [], [child]
    while ahead:
        index = ahead.pop()
        if 0 < index < len(entries) and index not in found:
            found.append(index)
            ahead += struct.unpack_from("<II", entries[index], 68)
    return found
