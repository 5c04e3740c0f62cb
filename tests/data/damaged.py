"""Damaged copies of valid files: truncated, or with flipped bits, wrong checksums, or frames in the
wrong order.

The files belong to rows 72 and 78 of limits.md.
"""

import struct
import zlib
from functools import partial
from random import Random
from typing import Final

from PIL import Image

from tests.data.images import RED, encode, quadrants
from tests.data.pieces import png, png_chunk, png_chunks, png_header, webp
from tests.data.sample import (
    ANY_OUTCOME,
    DAMAGED,
    DOCUMENT,
    READY,
    Outcome,
    Sample,
    image,
    ready,
)
from tests.data.seeds import seed

PIECES: Final = 16
FLIPPED: Final = 8
"""The number of files with flipped bits for each format. Their seeds begin at 0."""

STILL: Final = (
    "jpg",
    "progressive.jpg",
    "png",
    "palette.png",
    "gif",
    "webp",
    "lossless.webp",
    "pdf",
)


def cut(name: str, sixteenths: int) -> bytes:
    """Return the beginning of a valid file: `sixteenths` / 16 of its bytes."""
    content = seed(name)
    return content[: len(content) * sixteenths // PIECES]


def flipped(name: str, number: int) -> bytes:
    """Flip up to eight random bits of a valid file; `number` is the seed of the random numbers.

    The first 16 bytes do not change, because they hold the signature of the format.
    """
    random = Random(f"{name} {number}")
    content = bytearray(seed(name))
    for _ in range(random.randint(1, 8)):
        content[random.randrange(16, len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def _of_seed(
    row: int, title: str, name: str, make: partial[bytes], allowed: frozenset[Outcome]
) -> Sample:
    if name == "pdf":
        return Sample(
            row=row,
            title=title,
            draw=make,
            file_name="document.pdf",
            allowed=DOCUMENT,
            content_types=frozenset({"application/pdf"}),
        )
    return image(row, title, name.rpartition(".")[2], make, allowed)


CUT = tuple(
    _of_seed(72, f"{name}-{part}-of-16", name, partial(cut, name, part), DAMAGED)
    for name in STILL
    for part in range(1, PIECES)
)

FLIPS = tuple(
    _of_seed(78, f"{name}-flipped-{number}", name, partial(flipped, name, number), ANY_OUTCOME)
    for name in STILL
    for number in range(FLIPPED)
)


def _without(marker: bytes, content: bytes) -> bytes:
    return content[: content.rindex(marker)]


def _wrong_crc(name: bytes) -> bytes:
    content = encode(quadrants(), "PNG", dpi=(72, 72))
    return png(
        *(
            png_chunk(kind, body, crc=0 if kind == name else None)
            for kind, body in png_chunks(content)
            if kind != b"IEND"
        )
    )


def _lossless_jpeg() -> bytes:
    return seed("jpg").replace(b"\xff\xc0", b"\xff\xc3", 1)


def _twelve_bits() -> bytes:
    at = seed("jpg").index(b"\xff\xc0") + 4
    return seed("jpg")[:at] + b"\x0c" + seed("jpg")[at + 1 :]


BROKEN = (
    image(
        72,
        "jpeg-only-a-header",
        "jpg",
        lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(500),
        DAMAGED,
    ),
    image(
        72,
        "jpeg-without-tables",
        "jpg",
        lambda: seed("jpg").replace(b"\xff\xc4", b"\xff\xe9"),
        DAMAGED | READY,
    ),
    image(
        72,
        "jpeg-of-two-components",
        "jpg",
        lambda: seed("jpg").replace(b"\x03\x01\x22\0", b"\x02\x01\x22\0", 1),
        DAMAGED | ready("unsupported"),
    ),
    # The worker cannot decode the next two kinds of JPEG. It must report them as `unsupported`, not
    # as `damaged`.
    image(72, "jpeg-lossless", "jpg", _lossless_jpeg, ready("unsupported")),
    image(72, "jpeg-12-bits", "jpg", _twelve_bits, ready("unsupported")),
    image(
        72,
        "jpeg-arithmetic",
        "jpg",
        lambda: seed("jpg").replace(b"\xff\xc0", b"\xff\xc9", 1),
        DAMAGED | ready(None, "unsupported"),
    ),
    image(72, "png-without-pixels", "png", lambda: png(png_header(10, 10)), DAMAGED),
    image(
        72,
        "png-without-palette",
        "png",
        lambda: png(png_header(10, 10, colour=3), png_chunk(b"IDAT", zlib.compress(bytes(110)))),
        DAMAGED | READY,
    ),
    image(
        72,
        "png-with-a-corrupt-stream",
        "png",
        lambda: png(png_header(10, 10), png_chunk(b"IDAT", b"\x78\x9c" + b"\xff" * 50)),
        DAMAGED,
    ),
    image(
        72,
        "png-with-half-its-rows",
        "png",
        lambda: png(png_header(10, 10), png_chunk(b"IDAT", zlib.compress(bytes(155)))),
        DAMAGED | READY,
    ),
    image(72, "gif-without-frames", "gif", lambda: b"GIF89a\x0a\0\x0a\0\0\0\0;", DAMAGED),
    image(72, "webp-without-image", "webp", webp, DAMAGED),
)


CHECKSUMS = (
    image(78, "png-bad-crc-of-header", "png", lambda: _wrong_crc(b"IHDR"), DAMAGED),
    image(78, "png-bad-crc-of-pixels", "png", lambda: _wrong_crc(b"IDAT"), DAMAGED | READY),
    image(78, "png-bad-crc-of-resolution", "png", lambda: _wrong_crc(b"pHYs"), DAMAGED | READY),
    image(
        78,
        "png-bad-adler",
        "png",
        lambda: png(
            png_header(10, 10), png_chunk(b"IDAT", zlib.compress(bytes(310))[:-4] + bytes(4))
        ),
        DAMAGED | READY,
    ),
    image(78, "png-without-end", "png", lambda: encode(quadrants(), "PNG")[:-12], DAMAGED | READY),
    image(
        78,
        "jpeg-without-end",
        "jpg",
        lambda: _without(b"\xff\xd9", encode(quadrants(), "JPEG")),
        DAMAGED | READY,
    ),
    image(
        78,
        "gif-without-end",
        "gif",
        lambda: _without(b";", encode(quadrants(), "GIF")),
        DAMAGED | READY,
    ),
)


def _frame(
    number: int, *, width: int = 10, height: int = 10, x: int = 0, dispose: int = 0, blend: int = 0
) -> bytes:
    numbers = (number, width, height, x, 0, 1, 100, dispose, blend)
    return png_chunk(b"fcTL", struct.pack("!IIIIIHHBB", *numbers))


def _pixels(number: int | None = None) -> bytes:
    data = zlib.compress(bytes(310))
    if number is None:
        return png_chunk(b"IDAT", data)
    return png_chunk(b"fdAT", struct.pack("!I", number) + data)


def _apng(*chunks: bytes, frames: int = 2) -> bytes:
    return png(png_header(10, 10), png_chunk(b"acTL", struct.pack("!II", frames, 0)), *chunks)


ANIMATIONS = tuple(
    image(78, f"apng-{title}", "png", partial(_apng, *chunks, frames=frames), DAMAGED | READY)
    for title, chunks, frames in (
        ("of-0-frames", (_frame(0), _pixels()), 0),
        ("of-2^31-frames", (_frame(0), _pixels()), 2**31),
        ("with-fewer-frames", (_frame(0), _pixels()), 9),
        ("out-of-order", (_frame(2), _pixels(), _frame(0), _pixels(1)), 2),
        ("of-one-number", (_frame(0), _pixels(), _frame(0), _pixels(0)), 2),
        ("beyond-its-canvas", (_frame(0, x=5), _pixels()), 1),
        ("of-frames-of-2^31", (_frame(0, width=2**31 - 1, height=2**31 - 1), _pixels()), 1),
        ("of-frames-of-no-pixel", (_frame(0, width=0, height=0), _pixels()), 1),
        ("with-pixels-before-its-frame", (_pixels(0), _frame(1), _pixels()), 2),
        ("of-unknown-blending", (_frame(0, dispose=9, blend=9), _pixels()), 1),
        (
            "with-two-headers",
            (png_chunk(b"acTL", struct.pack("!II", 5, 0)), _frame(0), _pixels()),
            2,
        ),
        ("with-a-short-header", (png_chunk(b"fcTL", bytes(3)), _pixels()), 2),
    )
)


def _junk_after_one_pixel() -> bytes:
    return encode(Image.new("RGB", (1, 1), RED), "JPEG") + Random(1).randbytes(100_000)


TAILS = (image(78, "jpeg-with-junk-after", "jpg", _junk_after_one_pixel, READY),)

SAMPLES: tuple[Sample, ...] = CUT + FLIPS + BROKEN + CHECKSUMS + ANIMATIONS + TAILS
