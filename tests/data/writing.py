"""Functions that write documents, archives, films and texts, and the constants that they share."""

import io
import json
import struct
import tarfile
from collections.abc import Callable
from typing import Final

from tests.data.containers import box, file_type, movie, ole_of, zip_of

HEAD: Final = 64 * 1024
"""The worker first reads this number of bytes of every file.

A test file with `far` in its name has its signature after these bytes.
"""
WORDS: Final = b"Every good boy deserves a second chance; so do girls.\n"
CLASS_FILE: Final = b"\xca\xfe\xba\xbe\x00\x00\x00\x34" + bytes(60)
XML: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
MANIFEST: Final = ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nMain-Class: A\r\n\r\n")


def ooxml(main_part: str, *, macros: bool = False, first: str = "", filling: int = 0) -> bytes:
    """Write an Office document.

    If `first` is not empty, an entry of this name comes before the others. `filling` is the size of
    the embedded media file in bytes.
    """
    folder = main_part.partition("/")[0]
    entries = [
        ("[Content_Types].xml", XML + b"<Types/>"),
        ("_rels/.rels", XML + b"<Relationships/>"),
        (f"{folder}/media/image1.bin", bytes(filling)),
        (main_part, XML + b"<document/>"),
        ("docProps/app.xml", XML + b"<Properties/>"),
    ]
    if macros:
        entries.append((f"{folder}/vbaProject.bin", ole_of(["PROJECT"])))
    return zip_of([(first, b"words"), *entries] if first else entries)


def with_mimetype(
    kind: str, *parts: str, filling: int = 0, first: bool = True, compressed: bool = False
) -> bytes:
    """Write a ZIP in which an entry `mimetype` contains the type, as in OpenDocument and EPUB."""
    entries = [(part, XML + b"<a/>") for part in parts] + [("media.bin", bytes(filling))]
    entries.insert(0 if first else len(entries), ("mimetype", kind.encode()))
    return zip_of(entries, compressed=compressed)


def jar(
    *,
    before: int = 0,
    after: int = 0,
    prefix: bytes = b"",
    comment: bytes = b"",
    manifest: str = MANIFEST[0],
    name_bytes: int = 12,
) -> bytes:
    """Write a Java archive.

    `before` and `after` are the numbers of entries before and after its manifest.
    """
    other = [(f"a/{index:0{name_bytes}}.txt", b"") for index in range(before + after)]
    entries = [*other[:before], (manifest, MANIFEST[1]), *other[before:], ("A.class", CLASS_FILE)]
    return zip_of(entries, prefix=prefix, comment=comment)


def jar_that_looks_like_docx() -> bytes:
    """Write a Java archive whose first entries are those of an Office document."""
    return zip_of(
        [
            ("[Content_Types].xml", XML + b"<Types/>"),
            ("word/document.xml", XML),
            MANIFEST,
            ("A.class", CLASS_FILE),
        ]
    )


def jar_after_other_end() -> bytes:
    """Write a Java archive, then bytes that look like the end record of another ZIP."""
    return jar() + b"PK\5\6" + bytes(4) + struct.pack("<HHIIH", 9, 9, 414, 7, 5) + bytes(90)


def apk(filling: int = 0) -> bytes:
    """Write an Android package."""
    return zip_of([("classes.dex", b"dex\n035\0" + bytes(filling)), ("AndroidManifest.xml", b"\3")])


def plain_zip(filling: int = 0) -> bytes:
    """Write a ZIP archive that holds a text and a Java archive.

    The embedded Java archive does not make the whole file a Java archive.
    """
    return zip_of([("words.txt", WORDS), ("fill.bin", bytes(filling)), ("lib.jar", jar())])


def tar() -> bytes:
    """Write a tape archive (tar) of one text."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("words.txt")
        entry.size = len(WORDS)
        archive.addfile(entry, io.BytesIO(WORDS))
    return file.getvalue()


def dmg(filling: int = 3000) -> bytes:
    """Write an Apple disk image: any bytes, then a trailer of 512 bytes with the signature."""
    return bytes([1, 7, 3] * (filling // 3)) + struct.pack("!4sII500s", b"koly", 4, 512, b"")


def film(
    major: bytes,
    *handlers: bytes,
    compatible: tuple[bytes, ...] = (b"isom",),
    filling: int = 2000,
    last: bool = False,
    table_bytes: int = 0,
) -> bytes:
    """Write a film whose tracks have these handlers.

    If `last` is true, the `moov` box follows the samples. Otherwise it precedes them.
    """
    samples, about = box(b"mdat", bytes(filling)), movie(*handlers, table_bytes=table_bytes)
    parts = [samples, about] if last else [about, samples]
    return file_type(major, *compatible) + b"".join(parts)


def film_of_long_parts(*handlers: bytes) -> bytes:
    """Write a film whose samples are in a box with a length field of eight bytes.

    The `moov` box declares no length, so it extends to the end of the file.
    """
    samples = struct.pack("!I4sQ", 1, b"mdat", 16 + HEAD) + bytes(HEAD)
    about = movie(*handlers)
    return file_type(b"isom") + samples + bytes(4) + about[4:]


def quicktime_without_type() -> bytes:
    """Write a film without an `ftyp` box, as old versions of QuickTime did."""
    return box(b"wide") + box(b"mdat", bytes(2000)) + movie(b"vide")


def heif(major: bytes, *compatible: bytes) -> bytes:
    """Write the beginning of a HEIF image of any brand."""
    handler = box(b"hdlr", bytes(8), b"pict", bytes(13))
    return file_type(major, *compatible) + box(b"meta", bytes(4), handler) + box(b"mdat", bytes(99))


def svg(before: str = "", *, encoding: str = "utf-8", name: str = "svg") -> bytes:
    """Write an SVG drawing; `before` is the text before its first element."""
    return (before + f'<{name} xmlns="http://www.w3.org/2000/svg"><g/></{name}>').encode(encoding)


def pdf(junk: bytes = b"") -> bytes:
    """Write an empty document of one page; `junk` comes before it.

    The offsets in its cross-reference table are correct only without junk.
    """
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>",
    ]
    body, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        junk
        + body
        + b"xref\n0 4\n0000000000 65535 f \n%strailer\n<</Size 4/Root 1 0 R>>\n" % (table)
        + b"startxref\n%d\n%%%%EOF\n" % len(body)
    )


def long_json() -> bytes:
    """Write a JSON text that is longer than HEAD bytes."""
    rows = [
        {"id": n, "name": 'a, "b" [c] {d}', "on": n % 2 == 0, "x": [1.5e3]} for n in range(3000)
    ]
    return json.dumps(rows, indent=1).encode()


Document = tuple[Callable[[], bytes], str, str]
"""A test file: the function that makes its bytes, the client's file name, and the true type."""
