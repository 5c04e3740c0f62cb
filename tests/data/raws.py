"""Camera raw files, written by code, each with its true type."""

import struct
from collections.abc import Callable
from typing import Final

SIZE: Final = (6000, 4000)
"""Width and height of the picture in each camera raw file, in pixels. Its preview is smaller."""

_PREVIEW: Final = (160, 120)
_WIDTH, _HEIGHT, _PHOTOMETRIC, _MAKE, _ORIENTATION = 256, 257, 262, 271, 274
_SUBFILES, _EXIF, _DNG_VERSION, _DNG_CROP = 330, 34665, 50706, 50720
_SENSOR: Final = 32803

Value = int | tuple[int, int] | bytes
Tags = dict[int, Value]


def tiff(
    first: Tags,
    *below: Tags,
    order: str = "<",
    magic: bytes | None = None,
    exif: Tags | None = None,
) -> bytes:
    """Return a TIFF header, its first directory, the sub-directories `below`, and the Exif data."""
    start = magic or (b"II*\0" if order == "<" else b"MM\0*")
    out = bytearray(start.ljust(4, b"\0") + struct.pack(f"{order}I", 16) + bytes(8))
    tags = dict(first)
    length = 6 + 12 * (len(tags) + bool(below) + bool(exif)) + 200
    at, places = 16 + length, []
    blocks = []
    for each in [*below, *([exif] if exif else [])]:
        block = _directory(each, at, order)
        places.append(at)
        blocks.append(block)
        at += len(block)
    if exif:
        tags[_EXIF] = places.pop()
    if len(places) == 1:
        tags[_SUBFILES] = places[0]
    elif places:
        tags[_SUBFILES] = (places[0], places[1])
    out += _directory(tags, 16, order).ljust(length, b"\0")
    return bytes(out + b"".join(blocks) + bytes(4000))


def _directory(tags: Tags, at: int, order: str) -> bytes:
    body, beyond = b"", b""
    end = at + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if isinstance(value, int):
            body += struct.pack(f"{order}HHII", tag, 4, 1, value)
            continue
        raw = struct.pack(f"{order}II", *value) if isinstance(value, tuple) else value
        kind, count = (4, 2) if isinstance(value, tuple) else (2, len(raw))
        if len(raw) <= 4:
            body += struct.pack(f"{order}HHI", tag, kind, count) + raw.ljust(4, b"\0")
        else:
            body += struct.pack(f"{order}HHII", tag, kind, count, end + len(beyond))
            beyond += raw + bytes(len(raw) % 2)
    return struct.pack(f"{order}H", len(tags)) + body + bytes(4) + beyond


def raw(maker: bytes, order: str = "<") -> bytes:
    """Return a camera raw file: first a preview, then the sensor's data in a sub-directory."""
    first: Tags = {_WIDTH: _PREVIEW[0], _HEIGHT: _PREVIEW[1], _PHOTOMETRIC: 2, _MAKE: maker + b"\0"}
    sensor: Tags = {_WIDTH: SIZE[0], _HEIGHT: SIZE[1], _PHOTOMETRIC: _SENSOR}
    return tiff(first, {_WIDTH: 800, _HEIGHT: 600, _PHOTOMETRIC: 6}, sensor, order=order)


def far_raw(maker: bytes, order: str = "<") -> bytes:
    """Return a camera raw file. Its sub-directory follows a preview of 200 kB."""
    first: Tags = {_WIDTH: _PREVIEW[0], _HEIGHT: _PREVIEW[1], _PHOTOMETRIC: 2, _MAKE: maker + b"\0"}
    content = tiff(first | {_SUBFILES: 200_000}, order=order).ljust(200_000, b"\1")
    sensor: Tags = {_WIDTH: SIZE[0], _HEIGHT: SIZE[1], _PHOTOMETRIC: _SENSOR}
    return content + _directory(sensor, len(content), order) + bytes(300_000)


def raf(orientation: int = 1, *, tags: tuple[int, ...] = (0x100, 0x110, 0x111)) -> bytes:
    """Return a RAF file: a preview with Exif data, then a table with sizes."""
    exif = tiff({_ORIENTATION: orientation})
    preview = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
    preview = preview.ljust(150_000, b"\1")
    values = {
        0x100: struct.pack(">HH", SIZE[1] + 30, SIZE[0] + 50),
        0x110: struct.pack(">HH", 10, 20),
        0x111: struct.pack(">HH", SIZE[1], SIZE[0]),
        0x121: struct.pack(">HH", SIZE[1], SIZE[0]),
    }
    table = struct.pack(">I", len(tags))
    for tag in tags:
        table += struct.pack(">HH", tag, len(values[tag])) + values[tag]
    head = b"FUJIFILMCCD-RAW 0201FF123456X-T9".ljust(84, b"\0")
    places = struct.pack(">4I", 148, len(preview), 148 + len(preview), len(table))
    return (head + places).ljust(148, b"\0") + preview + table + bytes(100_000)


def dng(orientation: int = 1) -> bytes:
    """Return a DNG file whose sensor has margins that are not part of the picture."""
    first: Tags = {
        _WIDTH: _PREVIEW[0],
        _HEIGHT: _PREVIEW[1],
        _DNG_VERSION: b"\1\6\0\0",
        _ORIENTATION: orientation,
    }
    sensor: Tags = {_WIDTH: 6040, _HEIGHT: 4020, _PHOTOMETRIC: _SENSOR, _DNG_CROP: SIZE}
    return tiff(first, sensor)


def cr2() -> bytes:
    """Return a CR2 file.

    The first directory describes a preview. The Exif data has the picture's true size.
    """
    made = bytearray(tiff({_WIDTH: 1536, _HEIGHT: 1024}, exif={40962: SIZE[0], 40963: SIZE[1]}))
    made[8:12] = b"CR\2\0"
    return bytes(made)


def cr2_with_far_exif() -> bytes:
    """Return a CR2 file. Its Exif data follows a preview of 100 kB."""
    made = bytearray(tiff({_WIDTH: 1536, _HEIGHT: 1024, _EXIF: 100_000}).ljust(100_000, b"\1"))
    made[8:12] = b"CR\2\0"
    return bytes(made) + _directory({40962: SIZE[0], 40963: SIZE[1]}, 100_000, "<") + bytes(9000)


def far_dng() -> bytes:
    """Return a DNG file with the preview's size in the Exif data, the picture's after 100 kB."""
    exif: Tags = {40962: _PREVIEW[0], 40963: _PREVIEW[1]}
    first: Tags = {_WIDTH: _PREVIEW[0], _HEIGHT: _PREVIEW[1], _DNG_VERSION: b"\1\6\0\0"}
    content = tiff(first | {_SUBFILES: 100_000}, exif=exif).ljust(100_000, b"\1")
    sensor: Tags = {_WIDTH: 6040, _HEIGHT: 4020, _PHOTOMETRIC: _SENSOR, _DNG_CROP: SIZE}
    return content + _directory(sensor, 100_000, "<") + bytes(9000)


def panasonic() -> bytes:
    """Return an RW2 file. Its directory has the borders of the picture on the sensor."""
    return tiff({2: 6100, 3: 4100, 4: 10, 5: 20, 6: 4010, 7: 6020}, magic=b"IIU\0")


def olympus(magic: bytes = b"IIRO", order: str = "<") -> bytes:
    return tiff({_WIDTH: SIZE[0], _HEIGHT: SIZE[1]}, magic=magic, order=order)


RAWS: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "dng": (dng, "image/x-adobe-dng"),
    "nef": (lambda: raw(b"NIKON CORPORATION"), "image/x-nikon-nef"),
    "nef-big-endian": (lambda: raw(b"NIKON CORPORATION", order=">"), "image/x-nikon-nef"),
    "arw": (lambda: raw(b"SONY"), "image/x-sony-arw"),
    "pef": (lambda: raw(b"PENTAX Corporation"), "image/x-pentax-pef"),
    "srw": (lambda: raw(b"SAMSUNG"), "image/x-samsung-srw"),
    "3fr": (lambda: raw(b"Hasselblad"), "image/x-hasselblad-3fr"),
    "raw-of-another-camera": (lambda: raw(b"New Cameras"), "image/x-dcraw"),
    "cr2": (cr2, "image/x-canon-cr2"),
    "rw2": (panasonic, "image/x-panasonic-rw2"),
    "orf": (olympus, "image/x-olympus-orf"),
    "orf-big-endian": (lambda: olympus(b"MMOR", ">"), "image/x-olympus-orf"),
    "arw-with-a-far-directory": (lambda: far_raw(b"SONY"), "image/x-sony-arw"),
    "nef-with-a-far-directory": (lambda: far_raw(b"NIKON", ">"), "image/x-nikon-nef"),
    "cr2-with-far-exif": (cr2_with_far_exif, "image/x-canon-cr2"),
    "dng-with-a-far-crop": (far_dng, "image/x-adobe-dng"),
    "raf": (raf, "image/x-fuji-raf"),
    "raf-of-an-old-camera": (lambda: raf(tags=(0x110, 0x121)), "image/x-fuji-raf"),
    "mrw": (
        lambda: b"\0MRM\0\0\1\0\0PRD\0\0\0\x18" + bytes(12) + _high_wide() + bytes(200),
        "image/x-minolta-mrw",
    ),
    "x3f": (lambda: b"FOVb\0\0\2\0" + bytes(20) + _wide_high() + bytes(200), "image/x-sigma-x3f"),
    "tiff-of-a-camera": (
        lambda: tiff({_WIDTH: 9, _HEIGHT: 9, _PHOTOMETRIC: 2, _MAKE: b"NIKON\0"}),
        "image/tiff",
    ),
}
"""Files by name: the function that makes the bytes, and the type that the worker must find."""


def _high_wide() -> bytes:
    return struct.pack(">HH", *reversed(SIZE))


def _wide_high() -> bytes:
    return struct.pack("<III", *SIZE, 0)
