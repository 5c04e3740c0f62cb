"""Identify types that libmagic 5.41, the version in the wheel, does not know or confuses.

There is one table of signatures, and a few checks of structure. All of them read the head of the
file. The checks of ASF and of camera raws may request one range after the head. Sources: the
registrations at IANA, the specification of each format, and shared-mime-info for the names of
formats that are not registered.
"""

import re
import struct
from typing import Final

from worker.sniffing.ranges import PartialFile, Reading
from worker.sniffing.raws import MRW, RAF, identify_raw

_SIGNATURES: Final = re.compile(
    b"|".join(
        rb"(?P<%s>%s)" % (name.encode(), pattern)
        for name, pattern in {
            "woff": rb"wOFF",
            "woff2": rb"wOF2",
            "wasm": rb"\0asm[\1-\x0f]\0[\0-\1]\0",
            "qoi": rb"qoif.{8}[\3\4][\0\1]",
            "jph": rb"\0\0\0\x0cjP  \r\n\x87\n.{4}ftypjph ",
            "jphc": rb"\xff\x4f\xff\x51..[\x40-\x7f\xc0-\xff]",
            "j2c": rb"\xff\x4f\xff\x51",
            "dsf": rb"DSD \x1c\0{7}",
            "dff": rb"FRM8.{8}DSD ",
            "pst": rb"!BDN.{4}SM",
            "wordperfect": rb"\xffWPC.{4}\x01[\x0a\x2c]",
            "mobi": rb".{31}\0.{28}(?:BOOKMOBI|TEXtREAd)",
            "wavpack": rb"wvpk.{4}[\x02-\x10]\x04",
            "caf": rb"caff\0\x01\0\0desc",
            "ttf": rb"(?:\0\x01\0\0|true)\0[\x01-\x7f].{6}[A-Za-z][A-Za-z0-9/ ]{3}",
            "otf": rb"OTTO\0[\x01-\x7f]",
            "ttc": rb"ttcf\0[\1\2]\0\0",
            "eot": rb".{8}[\0-\2]\0[\1\2]\0.{22}LP",
            "hdr": rb"#\?(?:RADIANCE|RGBE)\r?\n",
            "dds": rb"DDS \x7c\0\0\0",
            "ktx2": rb"\xabKTX 20\xbb\r\n\x1a\n",
            "sqlite": rb"SQLite format 3\0",
            "parquet": rb"PAR1",
            "emf": rb"\x01\0\0\0.{36} EMF",
            "m2ts": rb".{4}G(?:.{191}G){3}",
            "ts": rb"G[\0-\x5f].[\x10-\x3f](?:.{184}G[\0-\x5f].[\x10-\x3f]){3}",
            "raf": rb"FUJIFILMCCD-RAW ",
            "mrw": rb"\0MRM",
        }.items()
    ),
    re.DOTALL,
)

_TYPES: Final = {
    "woff": "font/woff",  # RFC 8081
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "ttc": "font/collection",
    "eot": "application/vnd.ms-fontobject",
    "wasm": "application/wasm",
    "qoi": "image/qoi",
    "jph": "image/jph",
    "jphc": "image/jphc",  # ITU-T T.814: bit 14 of the capabilities
    "j2c": "image/j2c",
    "dsf": "audio/x-dsf",
    "dff": "audio/x-dff",
    "wavpack": "audio/x-wavpack",
    "caf": "audio/x-caf",
    "pst": "application/vnd.ms-outlook-pst",
    "wordperfect": "application/vnd.wordperfect",
    "mobi": "application/x-mobipocket-ebook",
    "hdr": "image/vnd.radiance",
    "dds": "image/vnd.ms-dds",
    "ktx2": "image/ktx2",
    "sqlite": "application/vnd.sqlite3",
    "parquet": "application/vnd.apache.parquet",
    "emf": "image/emf",
    "m2ts": "video/mp2t",
    "ts": "video/mp2t",  # libmagic: only some that begin with the table of programs
    "raf": RAF,
    "mrw": MRW,
}
"""Types by the names of the groups in `_SIGNATURES`."""

ICON: Final = "image/vnd.microsoft.icon"
CURSOR: Final = "image/x-win-bitmap"
ISO_9660: Final = "application/x-iso9660-image"

_SECTOR: Final = 2048
_ICON_BITS: Final = frozenset({0, 1, 4, 8, 16, 24, 32})

_ASF_HEADER: Final = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
_ASF_STREAM: Final = bytes.fromhex("9107DCB7B7A9CF118EE600C00C205365")
_ASF_AUDIO: Final = bytes.fromhex("409E69F84D5BCF11A8FD00805F5C442B")
_ASF_VIDEO: Final = bytes.fromhex("C0EF19BC4D5BCF11A8FD00805F5C442B")
_MAX_OBJECTS: Final = 100


def identify_unlisted(file: PartialFile) -> Reading[str | None]:
    """Return the type of a file; None if this module does not know the type.

    Requests at most one range. Never raises for any bytes.
    """
    head = file.head
    if found := _SIGNATURES.match(head):
        return _TYPES[str(found.lastgroup)]
    if head.startswith((b"\0\0\1\0", b"\0\0\2\0")):
        return _icon(head, file.size)
    if head.startswith(_ASF_HEADER):
        return (yield from _asf(file))
    if head[16 * _SECTOR :].startswith(b"\1CD001\1"):  # ECMA-119, section 8.4
        return ISO_9660
    return (yield from identify_raw(file))


def _icon(head: bytes, size: int) -> str | None:
    """Check the directory of an icon or a cursor; a TGA may begin with the same four bytes.

    Every entry in the head must describe a picture that is inside the file.
    """
    kind, count = struct.unpack_from("<HH", head.ljust(6, b"\0"), 2)
    if count == 0 or 6 + 16 * count > size:
        return None
    for at in range(6, min(6 + 16 * count, len(head) - 15), 16):
        reserved, planes, bits, length, start = struct.unpack_from("<3xBHHII", head, at)
        if reserved not in (0, 255) or length < 16 or not 6 + 16 * count <= start <= size - length:
            return None
        if kind == 1 and (planes > 1 or bits not in _ICON_BITS):
            return None
    return ICON if kind == 1 else CURSOR


def _asf(file: PartialFile) -> Reading[str | None]:
    """Return the type of an ASF file: WMV if a stream is video, else WMA if a stream is sound.

    Returns None if no stream is found. If the cover picture in the header is longer than the head,
    requests the range after it. Source: Advanced Systems Format, sections 3.1 and 3.3.
    """
    kinds = set()
    end = 30
    if len(file.head) >= end:
        end = min(struct.unpack_from("<Q", file.head, 16)[0], file.size)
    at = 30
    for _ in range(_MAX_OBJECTS):
        if at + 24 > end:
            break
        start = file.seen(at, at + 40)
        if len(start) < 40:
            # Keep two of the allowed ranges for the end of the file (`identify._by_its_end`).
            start = (yield from file.look(at, spare=2))[:40]
        if len(start) < 24:
            break
        (length,) = struct.unpack_from("<Q", start, 16)
        if start.startswith(_ASF_STREAM):
            kinds.add(start[24:40])
        if length < 24:
            break
        at += length
    if _ASF_VIDEO in kinds:
        return "video/x-ms-wmv"
    return "audio/x-ms-wma" if _ASF_AUDIO in kinds else None
