"""Small files that would cost much: too many pixels, scans, frames, chunks, too much text.

Rows 73 to 77 and 82 of limits.md.
"""

import struct
import zlib
from collections.abc import Sequence
from functools import partial
from itertools import repeat

from PIL import Image

from tests.data.images import RED, encode, gif_of_size, many_scans, png_of_size, quadrants
from tests.data.pieces import (
    MIB,
    bits_from_left,
    bits_from_right,
    deflated_zeros,
    gif,
    gif_frame,
    png,
    png_chunk,
    png_header,
    riff_chunk,
    segment,
    sub_blocks,
    webp,
    webp_canvas,
    webp_frame,
    webp_of_one_colour,
    with_png_chunks,
    with_segments,
)
from tests.data.sample import DAMAGED, EXPENSIVE, READY, Sample, image, ready

SIDE = 7000
"""Of the large images: 49 megapixels."""


def jpeg_of_size(width: int, height: int, *, progressive: bool = False) -> bytes:
    """Draw a JPEG whose frame header says it is that large, and that holds hardly any data."""
    small = encode(Image.new("L", (8, 8)), "JPEG", progressive=progressive)
    at = small.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    return small[:at] + struct.pack("!HH", height, width) + small[at + 4 :]


def _jpeg(
    frame: int, side: int, symbols: tuple[bytes, bytes], scans: bytes, *, components: int = 3
) -> bytes:
    """Put a JPEG together; `symbols` are those of its codes for DC and for AC.

    All codes of a table have one length, so the n-th symbol's code is n.
    """
    tables = b""
    for kind, values in zip((0x00, 0x10), symbols, strict=True):
        bits = len(values).bit_length()
        counts = bytes(len(values) if length == bits else 0 for length in range(1, 17))
        tables += segment(0xC4, bytes([kind]) + counts + values)
    named = b"".join(bytes([number, 0x11, 0]) for number in range(1, components + 1))
    header = struct.pack("!BHHB", 8, side, side, components) + named
    return b"\xff\xd8%b%b%b%b\xff\xd9" % (
        segment(0xDB, b"\0" + b"\1" * 64),
        segment(frame, header),
        tables,
        scans,
    )


def _scan(components: Sequence[int], spectrum: tuple[int, int], data: bytes) -> bytes:
    named = b"".join(bytes([number, 0x00]) for number in components)
    return segment(0xDA, bytes([len(components)]) + named + bytes([*spectrum, 0])) + data


def _blocks(side: int) -> int:
    return (-(-side // 8)) ** 2


def progressive_scans(count: int, side: int = SIDE, *, components: int = 3) -> bytes:
    """Draw a progressive JPEG of one colour: one scan of DC, all others say "nothing" in few bytes.

    Each costs a decoder a walk over all blocks (ITU-T T.81, G.1.2.2: runs of ends of bands).
    """
    runs = bytes(power << 4 for power in range(15))
    empty, left = [], _blocks(side)
    while left:
        run = min(left, 0x7FFF)
        power = run.bit_length() - 1
        empty += [(power, 4), (run - (1 << power), power)]
        left -= run
    all_of_them = range(1, components + 1)
    first = _scan(all_of_them, (0, 0), bits_from_left([(0, components * _blocks(side))]))
    rest = _scan((1,), (1, 63), bits_from_left(empty))
    scans = first + rest * (count - 1)
    return _jpeg(0xC2, side, (b"\0", runs), scans, components=components)


def many_scans_behind(junk: bytes) -> bytes:
    """Draw a JPEG of 510 scans, with something before its frame's header that is stepped over."""
    content = many_scans(510)
    at = content.index(b"\xff\xc2")
    return content[:at] + junk + content[at:]


def sequential_scans(count: int, side: int = 64) -> bytes:
    """Draw a JPEG that is not progressive, whose components come in scans of their own, often."""
    nothing = bits_from_left(repeat((0, 2), _blocks(side)))
    scans = (_scan((1 + number % 3,), (0, 63), nothing) for number in range(count))
    return _jpeg(0xC0, side, (b"\0", b"\0"), b"".join(scans))


def real_png(width: int, height: int, *, bits: int, colour: int) -> bytes:
    """Draw a PNG of zeros that really has all its pixels."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = 1 + -(-width * samples * bits // 8)
    return png(
        png_header(width, height, bits=bits, colour=colour),
        png_chunk(b"IDAT", deflated_zeros(-(-row * height // MIB))),
    )


def apng(frames: int) -> bytes:
    """Draw an animated PNG of that many frames of one pixel (APNG specification)."""
    pixel = zlib.compress(bytes(4))
    control = struct.pack("!IIIIHHBB", 1, 1, 0, 0, 1, 100, 0, 0)

    def frame(number: int) -> bytes:
        sequence = struct.pack("!I", 2 * number - 1)
        data = struct.pack("!I", 2 * number) + pixel
        return png_chunk(b"fcTL", sequence + control) + png_chunk(b"fdAT", data)

    first = png_chunk(b"fcTL", bytes(4) + control) + png_chunk(b"IDAT", pixel)
    return png(
        png_header(1, 1),
        png_chunk(b"acTL", struct.pack("!II", frames, 0)),
        first,
        *map(frame, range(1, frames)),
    )


def webp_frames(count: int) -> bytes:
    """Draw an animated WebP of that many frames of one pixel."""
    return webp(webp_canvas(1, 1, animated=True), webp_frame(webp_of_one_colour(1, 1)) * count)


def baseline(side: int) -> bytes:
    """Draw a JPEG of one colour that really has all its blocks, in one scan of two bits each."""
    components = range(1, 4)
    blocks = bits_from_left([(0, 2 * len(components) * _blocks(side))])
    return _jpeg(0xC0, side, (b"\0", b"\0"), _scan(components, (0, 63), blocks))


def _small_png(chunks: bytes, *, before: bytes = b"IDAT") -> bytes:
    return with_png_chunks(encode(quadrants(), "PNG"), chunks, before=before)


def _text(name: bytes, prefix: bytes, mebibytes: int) -> bytes:
    return png_chunk(name, prefix + deflated_zeros(mebibytes))


ZTXT, ITXT, ICCP = b"Comment\0\0", b"Comment\0\1\0\0\0", b"profile\0\0"


def gif_in_tiny_blocks(side: int = 1000) -> bytes:
    """Draw a GIF whose data comes in blocks of one byte: half a million of them."""
    clear_and_two_pixels = bits_from_right([(4, 3), (0, 3), (0, 3)] * 8)
    data = clear_and_two_pixels * (side * side // 16) + b"\x05"
    frame = gif_frame(side, side)[:-5] + b"\x02" + sub_blocks(data, size=1)
    return gif(frame, width=side, height=side)


def _commented_gif(comments: int, size: int, block: int) -> bytes:
    comment = b"!\xfe" + sub_blocks(b"x" * size, size=block)
    return gif(comment * comments, gif_frame())


def _plain(kind: str, width: int, height: int) -> bytes:
    return encode(Image.new("RGB", (width, height), RED), kind)


PIXELS = (
    image(73, "png-30000", "png", lambda: png_of_size(30_000, 30_000), EXPENSIVE),
    image(
        73, "png-30000-whole", "png", lambda: real_png(30_000, 30_000, bits=1, colour=0), EXPENSIVE
    ),
    image(73, "png-2^31-1", "png", lambda: png_of_size(2**31 - 1, 2**31 - 1), EXPENSIVE),
    image(
        73,
        "png-50-megapixels-not-there",
        "png",
        lambda: png_of_size(3, 16_666_667),
        DAMAGED | EXPENSIVE,
    ),
    image(73, "png-0", "png", lambda: png(png_header(0, 0)), DAMAGED),
    image(73, "png-50-megapixels", "png", lambda: real_png(5000, 10_000, bits=1, colour=0), READY),
    # what is large, but cheap to decode
    image(73, "jpeg-200-megapixels", "jpg", lambda: baseline(14_143), READY),
    image(
        73, "jpeg-108-megapixels-progressive", "jpg", lambda: progressive_scans(10, 10_400), READY
    ),
    image(
        73, "png-61-megapixels-1-bit", "png", lambda: real_png(9600, 6400, bits=1, colour=0), READY
    ),
    image(73, "gif-65535", "gif", lambda: gif_of_size(65_535, 65_535), EXPENSIVE),
    image(
        73, "gif-frame-beyond-its-screen", "gif", lambda: gif(gif_frame(65_535, 65_535)), EXPENSIVE
    ),
    image(
        73,
        "gif-second-frame-65535",
        "gif",
        lambda: gif(gif_frame(), gif_frame(65_535, 65_535)),
        READY,
    ),
    image(
        73,
        "webp-canvas-16384",
        "webp",
        lambda: webp(
            webp_canvas(16_384, 16_384, animated=True), webp_frame(webp_of_one_colour(1, 1))
        ),
        EXPENSIVE,
    ),
    image(
        73,
        "webp-canvas-2^24",
        "webp",
        lambda: webp(webp_canvas(2**24, 255, animated=True), webp_frame(webp_of_one_colour(1, 1))),
        EXPENSIVE,
    ),
    image(
        73,
        "webp-lossless-16384",
        "webp",
        lambda: webp(webp_of_one_colour(16_384, 16_384)),
        EXPENSIVE,
    ),
    image(73, "jpeg-65500", "jpg", lambda: jpeg_of_size(65_500, 65_500), EXPENSIVE),
    image(73, "jpeg-65535", "jpg", lambda: jpeg_of_size(65_535, 65_535), EXPENSIVE),
    image(
        73,
        "jpeg-65535-progressive",
        "jpg",
        lambda: jpeg_of_size(65_535, 65_535, progressive=True),
        EXPENSIVE,
    ),
)

SCANS = (
    image(74, "jpeg-510-scans", "jpg", lambda: many_scans(510), EXPENSIVE),
    image(74, "jpeg-49-megapixels-510-scans", "jpg", lambda: progressive_scans(510), EXPENSIVE),
    image(74, "jpeg-510-scans-sequential", "jpg", lambda: sequential_scans(510), EXPENSIVE),
    image(74, "jpeg-510-scans-behind-zeros", "jpg", lambda: many_scans_behind(bytes(4)), EXPENSIVE),
    image(
        74,
        "jpeg-510-scans-behind-9000-segments",
        "jpg",
        lambda: many_scans_behind(segment(0xFE, b"") * 9000),
        EXPENSIVE,
    ),
    image(
        74,
        "jpeg-510-scans-behind-10001-segments",
        "jpg",
        lambda: many_scans_behind(segment(0xFE, b"") * 10_001),
        DAMAGED,
    ),
    image(
        74,
        "jpeg-49-megapixels-100-scans",
        "jpg",
        lambda: progressive_scans(100),
        ready(None) | EXPENSIVE,
    ),
)

LARGE = (
    image(
        75,
        "webp-49-megapixels-lossless",
        "webp",
        lambda: webp(webp_of_one_colour(SIDE, SIDE)),
        ready(None) | EXPENSIVE,
    ),
    image(
        75,
        "webp-49-megapixels-lossy",
        "webp",
        lambda: encode(quadrants(SIDE, SIDE), "WEBP", method=0, quality=10),
        ready(None) | EXPENSIVE,
    ),
    image(
        75,
        "webp-49-megapixels-animated",
        "webp",
        lambda: webp(
            webp_canvas(SIDE, SIDE, animated=True),
            webp_frame(webp_of_one_colour(SIDE, SIDE), SIDE, SIDE) * 3,
        ),
        ready(None) | EXPENSIVE,
    ),
    image(
        75,
        "png-49-megapixels-16-bits",
        "png",
        lambda: real_png(SIDE, SIDE, bits=16, colour=6),
        ready(None) | EXPENSIVE,
    ),
)

TEXT = (
    image(76, "ztxt", "png", lambda: _small_png(_text(b"zTXt", ZTXT, 300)), DAMAGED | READY),
    image(76, "itxt", "png", lambda: _small_png(_text(b"iTXt", ITXT, 300)), DAMAGED | READY),
    image(76, "iccp", "png", lambda: _small_png(_text(b"iCCP", ICCP, 300)), DAMAGED | READY),
    image(
        76, "many-ztxt", "png", lambda: _small_png(_text(b"zTXt", ZTXT, 1) * 200), DAMAGED | READY
    ),
    image(
        76,
        "ztxt-behind-the-pixels",
        "png",
        lambda: _small_png(_text(b"zTXt", ZTXT, 300), before=b"IEND"),
        DAMAGED | READY,
    ),
    image(
        76,
        "idat",
        "png",
        lambda: png(png_header(10, 10), png_chunk(b"IDAT", deflated_zeros(500))),
        READY,
    ),
    image(
        76,
        "text-of-3-MiB",
        "png",
        lambda: _small_png(png_chunk(b"tEXt", b"Comment\0" + b"x" * 3 * MIB)),
        DAMAGED | READY,
    ),
)

FRAMES = (
    image(77, "gif-50000-frames", "gif", lambda: gif(gif_frame() * 50_000), READY),
    image(77, "apng-50000-frames", "png", lambda: apng(50_000), READY),
    image(77, "webp-50000-frames", "webp", lambda: webp_frames(50_000), READY),
)

CHUNKS = (
    image(77, "png-300000-chunks", "png", lambda: _small_png(png_chunk(b"prVt") * 300_000), READY),
    image(
        77,
        "png-300000-texts",
        "png",
        lambda: _small_png(png_chunk(b"tEXt", b"a\0") * 300_000),
        READY | DAMAGED,
    ),
    image(
        77, "png-300000-empty-idat", "png", lambda: _small_png(png_chunk(b"IDAT") * 300_000), READY
    ),
    image(77, "gif-blocks-of-one-byte", "gif", gif_in_tiny_blocks, READY),
    image(
        77, "gif-comment-in-blocks-of-one-byte", "gif", lambda: _commented_gif(1, 30_000, 1), READY
    ),
    image(77, "gif-30000-comments", "gif", lambda: _commented_gif(30_000, 10, 255), READY),
    image(
        77,
        "jpeg-200000-segments",
        "jpg",
        lambda: with_segments(encode(quadrants(), "JPEG"), segment(0xFE, b"") * 200_000),
        DAMAGED,
    ),
    image(
        77,
        "jpeg-2-MiB-of-filling",
        "jpg",
        lambda: with_segments(encode(quadrants(), "JPEG"), b"\xff" * 2 * MIB),
        READY,
    ),
    image(
        77,
        "webp-100000-chunks",
        "webp",
        lambda: webp(
            webp_canvas(1, 1, animated=False),
            webp_of_one_colour(1, 1),
            riff_chunk(b"prVt", b"") * 100_000,
        ),
        READY,
    ),
)

EDGES = (
    *(
        image(
            82,
            f"{kind.lower()}-{width}×{height}",
            extension,
            partial(_plain, kind, width, height),
            READY,
        )
        for kind, extension in (("PNG", "png"), ("JPEG", "jpg"), ("GIF", "gif"))
        for width, height in ((1, 1), (1, 20_000), (20_000, 1))
    ),
    image(82, "webp-1×1", "webp", lambda: webp(webp_of_one_colour(1, 1)), READY),
    image(82, "webp-1×16384", "webp", lambda: webp(webp_of_one_colour(1, 16_384)), READY),
    image(
        82,
        "png-50000000×1",
        "png",
        lambda: real_png(50_000_000, 1, bits=1, colour=0),
        READY | DAMAGED,
    ),
)

SAMPLES: tuple[Sample, ...] = PIXELS + SCANS + LARGE + TEXT + FRAMES + CHUNKS + EDGES
