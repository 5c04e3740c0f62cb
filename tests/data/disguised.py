"""Files with a false name or type: web pages, programs, other formats, and two formats in one file.

The files belong to rows 67, 69 to 71, 83, 86 and 89 of limits.md, and to the reserved types of
contract.md.
"""

import struct
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from shared.reserved import TYPES
from tests.data import images, pdfs
from tests.data.containers import zip_of
from tests.data.documents import DOCUMENTS
from tests.data.images import HTML, PAYLOAD, SVG, encode, quadrants
from tests.data.pieces import box, riff_chunk, segment, with_segments
from tests.data.sample import DAMAGED, DOCUMENT, EXPENSIVE, READY, Sample, image, rejected
from tests.data.writing import jar

SCRIPT: Final = b"alert(document.cookie);\n" * 9
EICAR: Final = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The harmless test file of virus scanners.

The code splits it, so that scanners do not report this module.
"""


def archive(*names: str) -> bytes:
    """Write a ZIP archive; the content of each of its files is `PAYLOAD`."""
    return zip_of([(name, PAYLOAD) for name in names])


def _reserved(title: str, draw: Callable[[], bytes], file_name: str = "holiday.jpg") -> Sample:
    return Sample(
        row=0,
        title=f"reserved-{title}",
        draw=draw,
        file_name=file_name,
        allowed=rejected("reserved_type"),
        thumbnail=False,
        never_inline=True,
    )


RESERVED = (
    *(
        _reserved(name, draw)
        for name, (draw, _, content_type) in DOCUMENTS.items()
        if content_type in TYPES
    ),
    _reserved("exe-named-like-a-document", lambda: images.PE, "invoice.pdf"),
    _reserved("bat", lambda: b"@echo off\r\ndel /q *.*\r\n"),
    _reserved("mach-o", lambda: struct.pack("<4I", 0xFEEDFACF, 0x01000007, 3, 2) + bytes(300)),
    _reserved(
        "deb",
        lambda: (
            b"!<arch>\n"
            + b"debian-binary".ljust(16)
            + b"0".ljust(12)
            + b"0".ljust(6) * 2
            + b"100644".ljust(8)
            + b"4".ljust(10)
            + b"`\n2.0\n"
            + bytes(99)
        ),
    ),
    _reserved(
        "rpm",
        lambda: (
            b"\xed\xab\xee\xdb\x03\0\0\0\0\x01name-1.0-1".ljust(96, b"\0")
            + b"\x8e\xad\xe8\x01"
            + bytes(100)
        ),
    ),
)


def _kept(
    row: int,
    title: str,
    draw: Callable[[], bytes],
    *content_types: str,
    file_name: str = "img.jpg",
    never_inline: bool = True,
) -> Sample:
    """Describe a file that the worker identifies by its bytes and never decodes.

    If `never_inline` is true, the service offers the file only as a download.
    """
    return Sample(
        row=row,
        title=title,
        draw=draw,
        file_name=file_name,
        content_types=frozenset(content_types),
        thumbnail=False,
        never_inline=never_inline,
    )


def _drawn(row: int, title: str, draw: Callable[[], bytes], file_name: str = "a.svg") -> Sample:
    """Describe an SVG that gets a thumbnail. The service offers the SVG only as a download."""
    return Sample(
        row=row,
        title=title,
        draw=draw,
        file_name=file_name,
        content_types=frozenset({"image/svg+xml"}),
        never_inline=True,
    )


PAGES = (
    _kept(67, "no-bytes", lambda: b"", "application/octet-stream", file_name="img.png"),
    _kept(67, "no-bytes-named-pdf", lambda: b"", "application/octet-stream", file_name="a.pdf"),
    _kept(69, "html-as-png", lambda: HTML, "text/html", file_name="img.png"),
    _kept(69, "html-after-white-space", lambda: b" \r\n\t" * 50 + HTML, "text/html"),
    _kept(69, "html-after-a-comment", lambda: b"<!-- " + b"x" * 400 + b" -->" + HTML, "text/html"),
    _kept(69, "html-with-bom", lambda: b"\xef\xbb\xbf" + HTML, "text/html"),
    _kept(
        69,
        "js-as-png",
        lambda: SCRIPT,
        "text/plain",
        "text/javascript",
        "application/javascript",
        file_name="img.png",
    ),
    _kept(69, "html-named-html", lambda: HTML, "text/html", file_name="page.html"),
    _drawn(70, "svg", lambda: SVG, file_name="img.jpg"),
    _drawn(70, "svg-named-svg", lambda: SVG),
    _drawn(
        70,
        "svg-after-a-comment",
        lambda: SVG.replace(b"?><svg", b"?><!-- " + b"x" * 2000 + b" --><svg"),
    ),
    _kept(70, "xml", lambda: b'<?xml version="1.0"?><a/>', "text/xml", "application/xml"),
    _kept(89, "eicar", lambda: EICAR, "text/plain", file_name="eicar.txt"),
    _kept(89, "eicar-as-jpg", lambda: EICAR, "text/plain"),
    _kept(
        89,
        "eicar-in-zip",
        lambda: archive("eicar.com").replace(PAYLOAD, EICAR),
        file_name="eicar.zip",
    ),
)


def _heif(brand: bytes) -> bytes:
    return (
        box(b"ftyp", brand + bytes(4) + brand + b"mif1")
        + box(b"meta", bytes(60))
        + box(b"mdat", Random(1).randbytes(500))
    )


def photoshop() -> bytes:
    """Draw the header of a Photoshop document, followed by some data."""
    size = struct.pack("!HIIHH", 3, 80, 120, 8, 3)
    return b"8BPS\0\x01" + bytes(6) + size + bytes(14) + bytes(3 * 120 * 80)


def _saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return encode(quadrants().convert(mode), kind, **options)


OTHER_FORMATS = (
    _kept(83, "tiff", partial(_saved, "TIFF"), "image/tiff"),
    _kept(83, "tiff-named-tiff", partial(_saved, "TIFF"), "image/tiff", file_name="img.tif"),
    _kept(83, "psd", photoshop, "image/vnd.adobe.photoshop"),
    _kept(83, "eps", partial(_saved, "EPS"), "application/postscript"),
    _kept(83, "blp", partial(_saved, "BLP", "P")),
    _drawn(83, "svg", lambda: SVG, file_name="img.jpg"),
    Sample(
        row=83,
        title="bmp-2^31-1",
        draw=lambda: _saved("BMP")[:18] + struct.pack("<ii", *[2**31 - 1] * 2) + _saved("BMP")[26:],
        file_name="img.bmp",
        content_types=frozenset({"image/bmp"}),
        allowed=EXPENSIVE,
        thumbnail=False,
        never_inline=True,
    ),
    _kept(83, "pcx", partial(_saved, "PCX")),
    _kept(83, "tga", partial(_saved, "TGA")),
    _kept(83, "dds", partial(_saved, "DDS")),
    _kept(83, "ppm", partial(_saved, "PPM"), "image/x-portable-pixmap"),
    _kept(83, "jpeg-2000", partial(_saved, "JPEG2000"), "image/jp2"),
    _kept(86, "heic-garbage", lambda: _heif(b"heic"), "image/heic", file_name="img.heic"),
    _kept(86, "avif-garbage", lambda: _heif(b"avif"), "image/avif", never_inline=False),
)


def _appended(kind: str, tail: bytes) -> bytes:
    return encode(quadrants(), kind) + tail


POLYGLOTS = (
    image(71, "gif+js", "gif", images.gif_with_script, READY, never_inline=True),
    image(
        71,
        "png+zip",
        "png",
        lambda: _appended("PNG", archive("evil.html")),
        READY,
        never_inline=True,
    ),
    image(71, "png+html", "png", images.png_with_html, READY, never_inline=True),
    image(71, "gif+jar", "gif", lambda: _appended("GIF", jar()), READY, never_inline=True),
    image(71, "gif+html", "gif", lambda: _appended("GIF", HTML), READY, never_inline=True),
    image(
        71,
        "webp+zip",
        "webp",
        lambda: _appended("WEBP", archive("evil.html")),
        READY,
        never_inline=True,
    ),
    image(
        71,
        "webp+html-in-a-chunk",
        "webp",
        lambda: riff_chunk(b"RIFF", encode(quadrants(), "WEBP")[8:] + riff_chunk(b"html", HTML)),
        READY,
    ),
    # Some cameras append films to their photos. So extra data after the end of a JPEG or a document
    # is no reason to reject the file.
    image(71, "jpeg+zip", "jpg", lambda: _appended("JPEG", archive("evil.html")), READY),
    image(71, "jpeg+jar", "jpg", lambda: _appended("JPEG", jar()), READY),
    image(
        71,
        "jpeg+html-in-a-comment",
        "jpg",
        lambda: with_segments(encode(quadrants(), "JPEG"), segment(0xFE, HTML)),
        READY,
    ),
    image(
        71,
        "jpeg+js",
        "jpg",
        lambda: with_segments(encode(quadrants(), "JPEG"), segment(0xFE, b"*/=1;" + PAYLOAD)),
        READY,
    ),
    Sample(
        row=71,
        title="pdf+zip",
        draw=lambda: pdfs.plain() + archive("evil.html"),
        file_name="document.pdf",
        allowed=DOCUMENT,
        content_types=frozenset({"application/pdf"}),
    ),
    Sample(
        row=71,
        title="pdf+html",
        draw=lambda: pdfs.plain() + HTML,
        file_name="document.pdf",
        allowed=DOCUMENT,
        content_types=frozenset({"application/pdf"}),
    ),
    _kept(71, "html+pdf", lambda: HTML + pdfs.plain(), "text/html", file_name="document.pdf"),
    _kept(
        71,
        "html+png",
        lambda: HTML + encode(quadrants(), "PNG"),
        "text/html",
        "application/octet-stream",
        file_name="img.png",
    ),
)

SIGNS_ALONE = tuple(
    image(72, f"{extension}-sign-alone", extension, partial(bytes, sign), DAMAGED)
    for extension, sign in (
        ("jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
        ("gif", b"GIF89a"),
        ("webp", b"RIFF\x10\0\0\0WEBPVP8 "),
    )
)

SAMPLES: tuple[Sample, ...] = RESERVED + PAGES + OTHER_FORMATS + POLYGLOTS + SIGNS_ALONE
