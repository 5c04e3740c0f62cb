"""Files of types that libmagic 5.41 does not know or confuses, each with its true type."""

import struct
from collections.abc import Callable
from typing import Final

from tests.data.containers import box, file_type, movie, ole_of, zip_of
from tests.data.writing import jar

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
    """Return a TIFF header with its first directory, sub-directories (`below`) and Exif data."""
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

    Its first directory describes a preview; its Exif data has the true size of the picture.
    """
    made = bytearray(tiff({_WIDTH: 1536, _HEIGHT: 1024}, exif={40962: SIZE[0], 40963: SIZE[1]}))
    made[8:12] = b"CR\2\0"
    return bytes(made)


def panasonic() -> bytes:
    """Return an RW2 file. Its directory has the borders of the picture on the sensor."""
    return tiff({2: 6100, 3: 4100, 4: 10, 5: 20, 6: 4010, 7: 6020}, magic=b"IIU\0")


def olympus(magic: bytes = b"IIRO", order: str = "<") -> bytes:
    return tiff({_WIDTH: SIZE[0], _HEIGHT: SIZE[1]}, magic=magic, order=order)


def id3(sound: bytes, length: int = 3000, *, footer: bool = False) -> bytes:
    """Return audio data that follows an ID3 tag of `length` bytes with a title."""
    digits = bytes(length >> shift & 127 for shift in (21, 14, 7, 0))
    title = b"TIT2\0\0\0\5\0\0\0Song"
    tag = b"ID3\4\0" + (b"\x10" if footer else b"\0") + digits + title.ljust(length, b"\0")
    return tag + (b"3DI\4\0\x10" + digits if footer else b"") + sound + bytes(2000)


def asf(*kinds: str) -> bytes:
    """Return an ASF file with streams of these kinds: `audio`, `video`."""
    guids = {
        "audio": "409E69F84D5BCF11A8FD00805F5C442B",
        "video": "C0EF19BC4D5BCF11A8FD00805F5C442B",
    }
    stream = bytes.fromhex("9107DCB7B7A9CF118EE600C00C205365")
    # The next object of the ASF file describes the file itself.
    file = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
    objects = [file + struct.pack("<Q", 104) + bytes(80)]
    objects += [
        stream + struct.pack("<Q", 78) + bytes.fromhex(guids[kind]) + bytes(38) for kind in kinds
    ]
    body = b"".join(objects)
    header = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
    return header + struct.pack("<QIH", 30 + len(body), len(objects), 0x201) + body + bytes(500)


def icon(kind: int = 1, edge: int = 32) -> bytes:
    """Return an icon (kind 1) or a cursor (kind 2) with one black picture."""
    picture = struct.pack("<IiiHH", 40, edge, 2 * edge, 1, 32).ljust(40, b"\0")
    picture += bytes(edge * edge * 5)
    # In a cursor, these two fields are the coordinates of its hot spot.
    planes, bits = (1, 32) if kind == 1 else (3, 5)
    entry = struct.pack("<BBBBHHII", edge, edge, 0, 0, planes, bits, len(picture), 22)
    return struct.pack("<HHH", 0, kind, 1) + entry + picture


def iso_9660() -> bytes:
    return bytes(16 * 2048) + b"\1CD001\1" + bytes(40_000)


def unix_archive(*members: bytes) -> bytes:
    """Return a Unix archive (`ar`) of these members."""
    made = b"!<arch>\n"
    for body in members:
        made += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (b"a/", 0, 0, 0, b"644", len(body))
        made += body + b"\n" * (len(body) % 2)
    return made


def book() -> bytes:
    """Return an audio book: one audio track, and one text track with the chapters."""
    return file_type(b"M4A ", b"isom") + movie(b"soun", b"text")


UNLISTED: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "woff": (lambda: b"wOFF\0\1\0\0" + bytes(200), "font/woff"),
    "woff2": (lambda: b"wOF2OTTO" + bytes(200), "font/woff2"),
    "ttf": (lambda: b"\0\1\0\0\0\x0c\0\x80\0\3\0\x40DSIG" + bytes(300), "font/ttf"),
    "otf": (lambda: b"OTTO\0\x0a\0\x80\0\3\0\x20CFF " + bytes(300), "font/otf"),
    "ttc": (lambda: b"ttcf\0\2\0\0\0\0\0\2" + bytes(300), "font/collection"),
    "eot": (
        lambda: bytes(8) + b"\1\0\2\0" + bytes(22) + b"LP" + bytes(300),
        "application/vnd.ms-fontobject",
    ),
    "wasm": (lambda: b"\0asm\1\0\0\0" + bytes(100), "application/wasm"),
    "wasm-component": (lambda: b"\0asm\x0d\0\1\0" + bytes(100), "application/wasm"),
    "qoi": (lambda: b"qoif" + struct.pack(">IIBB", *SIZE, 4, 0) + bytes(99), "image/qoi"),
    "chm": (lambda: b"ITSF\3\0\0\0" + bytes(200), "application/vnd.ms-htmlhelp"),
    "jp2": (lambda: _jpeg_2000(b"jp2 "), "image/jp2"),
    "jpx": (lambda: _jpeg_2000(b"jpx "), "image/jpx"),
    "jph": (lambda: _jpeg_2000(b"jph "), "image/jph"),
    "j2c": (
        lambda: b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">IIII", *SIZE, 0, 0) + bytes(99),
        "image/j2c",
    ),
    "dsf": (lambda: b"DSD " + struct.pack("<QQQ", 28, 300, 0) + bytes(300), "audio/x-dsf"),
    "dff": (lambda: b"FRM8" + bytes(8) + b"DSD FVER" + bytes(300), "audio/x-dff"),
    "pst": (
        lambda: b"!BDN" + bytes(4) + b"SM\x17\0" + bytes(600),
        "application/vnd.ms-outlook-pst",
    ),
    "wordperfect": (
        lambda: b"\xffWPC\x10\0\0\0\1\x0a\2\1" + bytes(300),
        "application/vnd.wordperfect",
    ),
    "mobi": (
        lambda: b"A_title".ljust(60, b"\0") + b"BOOKMOBI" + bytes(300),
        "application/x-mobipocket-ebook",
    ),
    "iso-9660": (iso_9660, "application/x-iso9660-image"),
    "wavpack": (lambda: b"wvpk\0\1\0\0\x10\4" + bytes(99), "audio/x-wavpack"),
    "caf": (lambda: b"caff\0\1\0\0desc" + bytes(99), "audio/x-caf"),
    "hdr": (lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9 +X 9\n", "image/vnd.radiance"),
    "dds": (lambda: b"DDS \x7c\0\0\0" + bytes(200), "image/vnd.ms-dds"),
    "ktx2": (lambda: b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(200), "image/ktx2"),
    "sqlite": (lambda: b"SQLite format 3\0" + bytes(200), "application/vnd.sqlite3"),
    "flac-after-id3": (lambda: id3(b"fLaC\0\0\0\x22"), "audio/flac"),
    "flac-after-id3-of-200-kB": (lambda: id3(b"fLaC\0\0\0\x22", 200_000), "audio/flac"),
    "flac-after-two-tags": (lambda: id3(b"", 500)[:510] + id3(b"fLaC\0\0\0\x22"), "audio/flac"),
    "aac-after-id3-with-footer": (lambda: id3(b"\xff\xf1\x50\x80", footer=True), "audio/aac"),
    "wav-after-id3": (lambda: id3(b"RIFF\0\0\0\0WAVEfmt "), "audio/wav"),
    "mp3-after-id3": (lambda: id3(b"\xff\xfb\x90\x64"), "audio/mpeg"),
    "mp3-after-id3-of-200-kB": (lambda: id3(b"\xff\xfb\x90\x64", 200_000), "audio/mpeg"),
    "unknown-after-id3": (lambda: id3(b"something"), "audio/mpeg"),
    "wma": (lambda: asf("audio"), "audio/x-ms-wma"),
    "wmv": (lambda: asf("audio", "video"), "video/x-ms-wmv"),
    "m4b": (lambda: file_type(b"M4B ", b"M4A ") + movie(b"soun", b"text"), "audio/mp4"),
    "m4b-of-general-brand": (
        lambda: file_type(b"isom", b"mp42") + movie(b"soun", b"text"),
        "audio/mp4",
    ),
    "film-with-titles": (
        lambda: file_type(b"isom") + movie(b"soun", b"vide", b"text"),
        "video/mp4",
    ),
    "titles-alone": (lambda: file_type(b"isom") + movie(b"text"), "video/mp4"),
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
    "raf": (lambda: b"FUJIFILMCCD-RAW 0201FF" + bytes(200), "image/x-fuji-raf"),
    "mrw": (lambda: b"\0MRM\0\0\1\0\0PRD" + bytes(200), "image/x-minolta-mrw"),
    "tiff-of-a-camera": (
        lambda: tiff({_WIDTH: 9, _HEIGHT: 9, _PHOTOMETRIC: 2, _MAKE: b"NIKON\0"}),
        "image/tiff",
    ),
    "icon": (icon, "image/vnd.microsoft.icon"),
    "icon-of-256": (lambda: icon(edge=0), "image/vnd.microsoft.icon"),
    "cursor": (lambda: icon(2), "image/x-win-bitmap"),
    "xls-with-the-class-of-word": (
        lambda: ole_of(["Workbook"], clsid="00020906-0000-0000-c000-000000000046"),
        "application/vnd.ms-excel",
    ),
    "xls-with-an-unknown-class": (
        lambda: ole_of(["Book"], clsid="12345678-0000-0000-c000-000000000046"),
        "application/vnd.ms-excel",
    ),
    "installer-with-a-workbook": (
        lambda: ole_of(["Workbook"], clsid="000c1084-0000-0000-c000-000000000046"),
        "application/x-msi",
    ),
    "unix-archive-of-a-jar": (lambda: unix_archive(b"abc", jar()), "application/x-archive"),
    "unix-archive-before-a-jar": (
        lambda: unix_archive(b"abc") + jar(),
        "application/java-archive",
    ),
    "unix-archive-of-a-zip": (lambda: unix_archive(zip_of([("a", b"")])), "application/x-archive"),
}
"""Files by name: the function that makes the bytes, and the type that the worker must find."""


def _jpeg_2000(brand: bytes) -> bytes:
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    header = box(b"jp2h", box(b"ihdr", struct.pack(">IIHBBBB", *reversed(SIZE), 3, 7, 7, 0, 0)))
    return signature + box(b"ftyp", brand + bytes(4) + brand) + header + bytes(100)
