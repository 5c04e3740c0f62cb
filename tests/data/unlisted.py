"""Files of types that libmagic 5.41 does not know or reports wrongly, with their true types."""

import struct
from collections.abc import Callable
from typing import Final

from tests.data.containers import box, file_type, movie, ole_of, zip_of
from tests.data.raws import RAWS, SIZE
from tests.data.sounds import SOUNDS
from tests.data.writing import jar


def tga(kind: int = 2, depth: int = 24) -> bytes:
    """Return a TGA without a signature. A TGA of 24 bits begins with the same bytes as a cursor."""
    return struct.pack("<BBB9xHHBB", 0, 0, kind, *SIZE, depth, 0) + b"\x40" * 20_000


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
    **RAWS,
    **SOUNDS,
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
    "jphc": (
        lambda: b"\xff\x4f\xff\x51\0\x2f\x40\0" + struct.pack(">IIII", *SIZE, 0, 0) + bytes(99),
        "image/jphc",
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
    "wordperfect-of-macintosh": (
        lambda: b"\xffWPC\x10\0\0\0\1\x2c\2\1" + bytes(300),
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
    "tga-that-begins-like-a-cursor": (tga, "image/x-tga"),
    "tga-of-32-bits": (lambda: tga(depth=32), "image/x-tga"),
    "tga-with-run-lengths": (lambda: tga(10), "image/x-tga"),
    "tga-in-grey": (lambda: tga(3, 8), "image/x-tga"),
    "graymap": (lambda: b"P5\n10 10\n255\n" + bytes(100), "image/x-portable-graymap"),
    "emf": (lambda: b"\1\0\0\0\x6c" + bytes(35) + b" EMF" + bytes(100), "image/emf"),
    "parquet": (lambda: b"PAR1\x15\4" + bytes(99) + b"PAR1", "application/vnd.apache.parquet"),
    "short-jump-that-is-no-program": (
        lambda: b"\xeb\x01\x90\x0d" + b"\x8a\x92" * 900,
        "application/octet-stream",
    ),
    "instructions-that-are-no-program": (
        lambda: b"\xb8\xe4\xd9\x55" + b"\xcd\x21" * 900,
        "application/octet-stream",
    ),
    "dos-program": (lambda: b"MZ" + bytes(200), "application/x-dosexec"),
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
    "unix-archive-with-a-jar-first": (
        lambda: unix_archive(jar(), b"abc"),
        "application/x-archive",
    ),
    "unix-archive-with-a-jar-in-the-middle": (
        lambda: unix_archive(b"abc", jar(), bytes(900)),
        "application/x-archive",
    ),
    "unix-archive-of-a-zip": (lambda: unix_archive(zip_of([("a", b"")])), "application/x-archive"),
}
"""Files by name: the function that makes the bytes, and the type that the worker must find."""


def _jpeg_2000(brand: bytes) -> bytes:
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    header = box(b"jp2h", box(b"ihdr", struct.pack(">IIHBBBB", *reversed(SIZE), 3, 7, 7, 0, 0)))
    return signature + box(b"ftyp", brand + bytes(4) + brand) + header + bytes(100)
