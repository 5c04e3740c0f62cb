"""Writers of containers that many document formats use: ZIP, OLE, ISO boxes and EBML."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

FREE, END_OF_CHAIN, FAT_SECTOR, NO_ENTRY = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
STREAM_BYTES: Final = 4096
"""The size of a test stream in bytes. OLE would store a smaller stream in the mini stream."""


def zip_of(
    entries: Sequence[tuple[str, bytes]],
    *,
    prefix: bytes = b"",
    comment: bytes = b"",
    compressed: bool = False,
) -> bytes:
    """Write a ZIP with its entries in the given order.

    `prefix` is put before the archive, like the program of a self-extracting archive.
    """
    file = io.BytesIO()
    file.write(prefix)
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, body in entries:
            kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), body, kind)
    return file.getvalue()


def large_zip_of(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """Write the same ZIP as `zip_of` for more than 65,535 entries, but six times as fast.

    The names are ASCII.
    """
    files, directory = bytearray(), bytearray()
    for name, body in entries:
        # Version 2.0, no flags, no compression, and the first moment of 1980 as its time.
        head = struct.pack("<5H", 20, 0, 0, 0, 0x21)
        head += struct.pack("<3I2H", zlib.crc32(body), len(body), len(body), len(name), 0)
        more = struct.pack("<3H2I", 0, 0, 0, 0o600 << 16, len(files))
        directory += b"PK\1\2\x14\3" + head + more + name.encode("ascii")
        files += b"PK\3\4" + head + name.encode("ascii") + body
    count, length, start = len(entries), len(directory), len(files)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + length, 1)
    last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, length, start, 0)
    return bytes(files + directory + record + locator + last)


def zip64_of(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """Write a ZIP whose end record only refers to the ZIP64 end record (APPNOTE 4.3.14)."""
    plain = zip_of(entries)
    end = len(plain) - 22
    count, length, start = struct.unpack("<HII", plain[end + 10 : end + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:end] + record + locator + last


def _ole_entry(
    name: str, kind: int, *, right: int, child: int, clsid: bytes, start: int, size: int
) -> bytes:
    encoded = name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII16sI8s8sIQ",
        encoded,
        len(encoded) + 2,
        kind,
        1,
        NO_ENTRY,
        right,
        child,
        clsid,
        0,
        b"",
        b"",
        start,
        size,
    )


def ole_of(
    streams: Sequence[str],
    *,
    clsid: str = "",
    before: int = 0,
    shift: int = 9,
    within: Sequence[str] = (),
    contents: Mapping[str, bytes] | None = None,
    gap: int = 0,
) -> bytes:
    """Write an OLE compound file ([MS-CFB]) with streams of these names.

    `before` is the number of sectors before the directory. A sector has `1 << shift` bytes; `shift`
    is 9 or 12. `within` names the streams of an embedded document, whose entries come first in the
    directory. `contents` are the bytes of streams by name; other streams have STREAM_BYTES bytes.
    If `gap` is not 0, one unused sector follows the first `gap` sectors of each stream.
    """
    sector = 1 << shift
    names = [*within, *streams]
    directory_sectors = -(-(len(names) + 2) * 128 // sector)
    bodies = [
        (contents or {}).get(name, b"\xec\xa5\xc1\0").ljust(STREAM_BYTES, b"\1") for name in names
    ]
    # for each stream, the numbers of its sectors in the order of its bytes
    chains: list[list[int]] = []
    used = before + directory_sectors
    for body in bodies:
        count = -(-len(body) // sector)
        skipped = int(0 < gap < count)
        chains.append([used + index + (skipped and index >= gap) for index in range(count)])
        used += count + skipped
    entries = [
        _ole_entry(
            "Root Entry",
            5,
            right=NO_ENTRY,
            child=len(within) + 1,
            size=0,
            clsid=UUID(clsid).bytes_le if clsid else bytes(16),
            start=END_OF_CHAIN,
        )
    ]
    for index, name in enumerate(names):
        right = NO_ENTRY if index + 1 == len(within) else index + 2
        entries.append(
            _ole_entry(
                name,
                2,
                right=right,
                child=NO_ENTRY,
                clsid=bytes(16),
                start=chains[index][0],
                size=len(bodies[index]),
            )
        )
    entries.append(
        _ole_entry(
            "ObjectPool",
            1,
            right=NO_ENTRY,
            child=1 if within else NO_ENTRY,
            size=0,
            clsid=bytes(16),
            start=0,
        )
    )
    directory = b"".join(entries).ljust(directory_sectors * sector, b"\0")
    fat_sectors = 1
    while fat_sectors * sector // 4 < used + fat_sectors:
        fat_sectors += 1
    fat = [FREE] * (fat_sectors * sector // 4)
    fat[before : before + directory_sectors] = [
        *range(before + 1, before + directory_sectors),
        END_OF_CHAIN,
    ]
    fat[used : used + fat_sectors] = [FAT_SECTOR] * fat_sectors
    sectors = bytearray(sector * (used - before - directory_sectors))
    for chain, body in zip(chains, bodies, strict=True):
        for index, place in enumerate(chain):
            fat[place] = chain[index + 1] if index + 1 < len(chain) else END_OF_CHAIN
            at = (place - before - directory_sectors) * sector
            piece = body[index * sector : (index + 1) * sector]
            sectors[at : at + len(piece)] = piece
    places = [used + index for index in range(fat_sectors)]
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"",
        0x3E,
        3 if shift == 9 else 4,
        0xFFFE,
        shift,
        6,
        b"",
        0 if shift == 9 else directory_sectors,
        fat_sectors,
        before,
        0,
        STREAM_BYTES,
        END_OF_CHAIN,
        0,
        END_OF_CHAIN,
        0,
    ) + struct.pack("<109I", *places, *[FREE] * (109 - len(places)))
    return (
        header.ljust(sector, b"\0")
        + bytes(before * sector)
        + directory
        + sectors
        + struct.pack(f"<{len(fat)}I", *fat)
    )


def scattered_ole_of(streams: Sequence[str], *, clsid: str = "") -> bytes:
    """Write an OLE compound file whose directory is not in one piece.

    Each sector of the directory is followed by a sector with entries that belong to no file.
    """
    whole = ole_of(streams, clsid=clsid)
    count = -(-(len(streams) + 2) * 128 // 512)
    pieces = [whole[512 * (1 + index) : 512 * (2 + index)] for index in range(count)]
    false = _ole_entry(
        "WordDocument",
        2,
        right=NO_ENTRY,
        child=NO_ENTRY,
        clsid=bytes(16),
        start=END_OF_CHAIN,
        size=0,
    )
    table = [FAT_SECTOR]
    for index in range(count):
        table += [2 * index + 3 if index + 1 < count else END_OF_CHAIN, FREE]
    table += [FREE] * (128 - len(table))
    header = whole[:48] + struct.pack("<I", 1) + whole[52:76] + struct.pack("<I", 0) + whole[80:512]
    return header + struct.pack("<128I", *table) + b"".join(each + 4 * false for each in pieces)


def box(name: bytes, *bodies: bytes) -> bytes:
    """Write an ISO box (ISO/IEC 14496-12): its length, its name, and its body."""
    body = b"".join(bodies)
    return struct.pack("!I4s", 8 + len(body), name) + body


def file_type(major: bytes, *compatible: bytes) -> bytes:
    """Write the `ftyp` box, which comes first in an ISO media file."""
    return box(b"ftyp", major, bytes(4), *compatible)


def movie(*handlers: bytes, table_bytes: int = 0) -> bytes:
    """Write a `moov` box with one track per handler (`vide`, `soun`).

    Each track has a sample table of `table_bytes` bytes.
    """
    tracks = [
        box(
            b"trak",
            box(b"tkhd", bytes(84)),
            box(
                b"mdia",
                box(b"mdhd", bytes(24)),
                box(b"hdlr", bytes(8), handler, bytes(13)),
                box(b"minf", box(b"stbl", bytes(table_bytes))),
            ),
        )
        for handler in handlers
    ]
    return box(b"moov", box(b"mvhd", bytes(100)), *tracks)


def element(name: str, *bodies: bytes) -> bytes:
    """Write an EBML element (RFC 8794).

    `name` is the element's id in hexadecimal. The length is stored in one byte or in four.
    """
    body = b"".join(bodies)
    size = len(body)
    length = bytes([0x80 | size]) if size < 127 else struct.pack("!I", 0x10000000 | size)
    return bytes.fromhex(name) + length + body


def matroska(kind: bytes, *track_types: int) -> bytes:
    """Write the beginning of a Matroska file. Track type 1 is video, track type 2 is audio."""
    header = element(
        "1A45DFA3",
        element("4286", b"\1"),
        element("42F7", b"\1"),
        element("42F2", b"\4"),
        element("42F3", b"\x08"),
        element("4282", kind),
        element("4287", b"\4"),
        element("4285", b"\2"),
    )
    tracks = [element("AE", element("D7", b"\1"), element("83", bytes([t]))) for t in track_types]
    return header + element(
        "18538067",
        element("EC", bytes(60)),
        element("1549A966", element("2AD7B1", b"\x0f\x42\x40")),
        element("1654AE6B", *tracks),
        element("1F43B675", bytes(500)),
    )
