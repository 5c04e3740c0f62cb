"""Office and OpenDocument files with a preview picture. Some of the files are hostile.

The hostile files belong to row 114 of limits.md.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Final

from tests.data.containers import large_zip_of, ole_of, zip_of
from tests.data.images import PAYLOAD, encode, gif_with_script, png_with_zip, quadrants
from tests.data.pieces import deflated_zeros, png, png_chunk, png_header
from tests.data.sample import READY, Sample
from tests.data.seeds import grain, seed
from tests.data.writing import HEAD, XML

DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT: Final = "application/vnd.oasis.opendocument.text"
DOC: Final = "application/msword"

PART: Final = "docProps/thumbnail.jpeg"
_THUMBNAIL: Final = (
    "http://schemas.openxmlformats.org/package/2006/relationships/metadata/thumbnail"
)

Entries = list[tuple[str, bytes]]
Change = tuple[()] | tuple[int, bytes]

_DEFLATED: Final = b"\x08\0"
_MUCH: Final = struct.pack("<I", 2**31)


def jpeg() -> bytes:
    """Draw a preview of four colours as JPEG."""
    return encode(quadrants(), "JPEG", quality=95, subsampling=0)


def relationship(target: str = PART, more: str = "") -> str:
    """Write the relationship of a package to its preview."""
    return f'<Relationship Id="rId4" Type="{_THUMBNAIL}" Target="{target}"{more}/>'


def _filling(length: int) -> bytes:
    """Return random bytes, which compression does not shorten. They are the same in each call."""
    return Random(length).randbytes(length)


def office_parts(
    *previews: tuple[str, bytes],
    related: str | None = None,
    folder: str = "word",
    filling: int = 0,
) -> Entries:
    """Return the parts of an Office document with these previews, in their order in the file.

    `related` replaces the relationship to the preview. `filling` is the length of the main part.
    """
    others = '<Relationship Id="rId1" Type="http://x.example/officeDocument" Target="word/a.xml"/>'
    text = others + (relationship() if related is None else related)
    return [
        ("[Content_Types].xml", XML + b"<Types/>"),
        ("_rels/.rels", XML + f"<Relationships>{text}</Relationships>".encode()),
        (f"{folder}/document.xml", _filling(filling)),
        *previews,
        ("docProps/app.xml", XML + b"<Properties/>"),
        (f"{folder}/media/photo.jpg", _filling(filling)),
    ]


def docx(
    preview: bytes | None = None, part: str = PART, *, filling: int = 0, compressed: bool = True
) -> bytes:
    """Write a Word document. If `preview` is None, its relationships name no preview."""
    previews = [] if preview is None else [(part, preview)]
    related = "" if preview is None else relationship(part)
    parts = office_parts(*previews, related=related, filling=filling)
    return zip_of(parts, compressed=compressed)


def opendocument(preview: bytes | None = None, *, filling: int = 0) -> bytes:
    """Write an OpenDocument text. The preview of such a file is usually a PNG."""
    previews = [] if preview is None else [("Thumbnails/thumbnail.png", preview)]
    return zip_of(
        [
            ("mimetype", ODT.encode()),
            *previews,
            ("content.xml", _filling(filling)),
            ("styles.xml", XML + b"<a/>"),
            ("META-INF/manifest.xml", XML + b"<a/>"),
        ]
    )


def summary(
    picture: bytes, clipboard: int = 8, *, tag: int = 0xFFFFFFFF, kind: int = 0x47
) -> bytes:
    """Write a property set of an OLE document ([MS-OLEPS]): a code page, and a preview.

    `clipboard` is the number of a format of Windows: 8 is a DIB, 3 is WMF.
    """
    value = struct.pack("<IIII", 0x47, 8 + len(picture), tag, clipboard) + picture
    section = struct.pack("<IIIIIIII", 32 + len(value), 2, 1, 24, 0x11, 32, 2, 1252) + value
    return struct.pack("<HHI16sI16sI", 0xFFFE, 0, 2, b"", 1, b"\xe0" * 16, 48) + section


def doc(content: bytes, *, gap: int = 0, before: int = 0, shift: int = 9) -> bytes:
    """Write a Word 97 document whose property set is `content`."""
    name = "\x05SummaryInformation"
    streams = ["WordDocument", name]
    return ole_of(streams, contents={name: content}, gap=gap, before=before, shift=shift)


def dib() -> bytes:
    """Draw a bitmap of four colours without its file header."""
    return encode(quadrants(), "BMP")[14:]


def with_headers(content: bytes, name: str, *, central: Change = (), local: Change = ()) -> bytes:
    """Change fields of a member in the directory and in its local header.

    A change is an offset in the header, and the bytes to write there.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        begin, at = archive.getinfo(name).header_offset, archive.start_dir
        for info in archive.infolist():
            if info.filename == name:
                break
            at += 46 + len(info.filename) + len(info.extra) + len(info.comment)
    changed = bytearray(content)
    for place, change in ((at, central), (begin, local)):
        if change:
            offset, value = change
            changed[place + offset : place + offset + len(value)] = value
    return bytes(changed)


def raw_deflated(content: bytes, mebibytes: int) -> bytes:
    """Deflate `content` and after it `mebibytes` MiB of zeros."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = deflater.compress(content) + deflater.flush(zlib.Z_FULL_FLUSH)
    return begin + deflated_zeros(mebibytes)[2:-4]


def bomb(name: str = PART, parts: Entries | None = None) -> bytes:
    """Write a document whose preview claims 1,000 bytes, but has a JPEG and 900 MiB of zeros."""
    content = zip_of(parts or office_parts((name, raw_deflated(jpeg(), 900))))
    deflated, length = struct.pack("<H", 8), struct.pack("<I", 1000)
    content = with_headers(content, name, central=(10, deflated), local=(8, deflated))
    return with_headers(content, name, central=(24, length), local=(22, length))


def _many(*, first: bool) -> bytes:
    """Write a document of 100,000 members. If `first`, the preview comes before most of them."""
    many: Entries = [(f"word/{index:06}.xml", b"") for index in range(100_000)]
    parts = office_parts((PART, jpeg()))
    return large_zip_of(parts + many if first else parts[:2] + many + parts[2:])


def _twice(*bodies: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in office_parts(*((PART, body) for body in bodies)):
            if name in archive.NameToInfo:
                del archive.NameToInfo[name]  # otherwise zipfile warns
            archive.writestr(zipfile.ZipInfo(name), body)
    return file.getvalue()


def huge_png() -> bytes:
    """Write a PNG of 30,000 × 30,000 pixels."""
    return png(png_header(30_000, 30_000), png_chunk(b"IDAT", deflated_zeros(1)))


def _stored(preview: bytes, part: str = PART) -> Callable[[], bytes]:
    return lambda: docx(preview, part, compressed=False)


def _changed(*, central: Change = (), local: Change = ()) -> Callable[[], bytes]:
    content = docx(jpeg(), compressed=False)
    return lambda: with_headers(content, PART, central=central, local=local)


def _led(target: str, more: str = "") -> Callable[[], bytes]:
    return lambda: zip_of(office_parts((target, jpeg()), related=relationship(target, more)))


def _endless() -> bytes:
    """Write a document whose summary is a chain of sectors that leads back to its beginning."""
    content = bytearray(doc(summary(dib())))
    (table,) = struct.unpack_from("<I", content, 76)
    start = 1 + 8  # the sector after the directory and the first stream
    struct.pack_into("<I", content, ((table + 1) << 9) + 4 * (start + 1), start)
    return bytes(content)


WITHOUT: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "bomb": (bomb, DOCX),
    "bomb-in-opendocument": (
        lambda: bomb(
            "Thumbnails/thumbnail.png",
            [
                ("mimetype", ODT.encode()),
                ("Thumbnails/thumbnail.png", raw_deflated(jpeg(), 900)),
                ("content.xml", b"<a/>"),
            ],
        ),
        ODT,
    ),
    "outside": (_led("http://127.0.0.1:9/a.jpeg", ' TargetMode="External"'), DOCX),
    "file-outside": (_led("file:///etc/a.jpeg", ' TargetMode="External"'), DOCX),
    "above": (_led("../../../etc/a.jpeg"), DOCX),
    "target-missing": (lambda: zip_of(office_parts(("docProps/other.jpeg", jpeg()))), DOCX),
    "behind-100000-members": (lambda: _many(first=False), DOCX),
    "other-local-name": (_changed(local=(30, b"x")), DOCX),
    "no-local-header": (_changed(local=(0, b"PK\3\5")), DOCX),
    "other-local-method": (_changed(local=(8, _DEFLATED)), DOCX),
    "other-method": (_changed(central=(10, _DEFLATED)), DOCX),
    "stored-as-deflated": (_changed(central=(10, _DEFLATED), local=(8, _DEFLATED)), DOCX),
    "unknown-method": (_changed(central=(10, b"\x0e\0"), local=(8, b"\x0e\0")), DOCX),
    "encrypted": (_changed(central=(8, b"\1\0"), local=(6, b"\1\0")), DOCX),
    "beyond-the-file": (_changed(central=(42, _MUCH)), DOCX),
    "longer-than-the-file": (_changed(central=(20, _MUCH * 2)), DOCX),
    "zip64-size": (_changed(central=(20, b"\xff" * 8)), DOCX),
    "no-bytes": (_changed(central=(20, bytes(8))), DOCX),
    "too-long": (
        lambda: docx(encode(grain(1400, 1100), "BMP"), "docProps/a.bmp", compressed=False),
        DOCX,
    ),
    "30000-pixels": (_stored(huge_png()), DOCX),
    "cut-off": (lambda: docx(encode(grain(300, 200), "JPEG")[:-900], compressed=False), DOCX),
    "svg": (_stored(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), DOCX),
    "pdf": (lambda: docx(seed("pdf")), DOCX),
    "webp": (lambda: docx(seed("webp")), DOCX),
    "emf": (_stored(struct.pack("<II", 1, 108) + bytes(200), "docProps/thumbnail.emf"), DOCX),
    "emf-named-jpeg": (_stored(struct.pack("<II", 1, 108) + bytes(200)), DOCX),
    "document-in-document": (lambda: docx(docx(jpeg())), DOCX),
    "wmf-in-doc": (lambda: doc(summary(b"\xd7\xcd\xc6\x9a" + bytes(9000), 3)), DOC),
    "mac-in-doc": (lambda: doc(summary(dib(), tag=0xFFFFFFFE)), DOC),
    "circle-in-doc": (_endless, DOC),
    "30000-pixels-in-doc": (
        lambda: doc(summary(struct.pack("<IiiHHI", 40, 30_000, 30_000, 1, 24, 0) + bytes(9000))),
        DOC,
    ),
    "longer-than-its-stream": (
        lambda: doc(summary(dib()).replace(struct.pack("<I", 8 + len(dib())), b"\xff\xff\0\0")),
        DOC,
    ),
}
"""Documents by title, each with its content type. They get no thumbnail, and no reason for that."""

SHOWN: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "before-100000-members": (lambda: _many(first=True), DOCX),
    "twice": (lambda: _twice(jpeg(), b"no picture"), DOCX),
    "picture-and-page": (lambda: docx(jpeg() + PAYLOAD), DOCX),
    "picture-and-archive": (lambda: docx(png_with_zip()), DOCX),
    "picture-and-script": (lambda: docx(gif_with_script()), DOCX),
    "programs-before-the-archive": (
        lambda: zip_of(office_parts((PART, jpeg())), prefix=PAYLOAD * 9),
        DOCX,
    ),
}
"""Documents by title, each with its content type. They get a thumbnail, which must not be a copy of
the preview."""

_NAMES: Final = {DOCX: "a.docx", ODT: "a.odt", DOC: "a.doc"}


def _sample(title: str, made: tuple[Callable[[], bytes], str], *, thumbnail: bool) -> Sample:
    draw, content_type = made
    return Sample(
        row=114,
        title=f"preview-{title}",
        draw=draw,
        file_name=_NAMES[content_type],
        allowed=READY,
        content_types=frozenset({content_type}),
        thumbnail=thumbnail,
        never_inline=True,
    )


SAMPLES: Final[tuple[Sample, ...]] = tuple(
    _sample(title, made, thumbnail=shown)
    for cases, shown in ((WITHOUT, False), (SHOWN, True))
    for title, made in cases.items()
)

FAR: Final = 3 * HEAD
"""If other parts of this length precede the preview, it is outside of the bytes by which the worker
identifies the type."""
