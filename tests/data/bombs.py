"""Small files that are costly to process: too many pixels, scans, frames or chunks, or too much
text.

The files belong to rows 73 to 77 and 82 of limits.md.
"""

from functools import partial

from PIL import Image

from tests.data.costly_images import (
    SIDE,
    apng,
    baseline,
    gif_in_tiny_blocks,
    jpeg_of_size,
    many_scans_after,
    progressive_scans,
    real_png,
    sequential_scans,
    webp_frames,
)
from tests.data.images import RED, encode, quadrants
from tests.data.odd_images import gif_of_size, many_scans, png_of_size
from tests.data.pieces import (
    MIB,
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


def _small_png(chunks: bytes, *, before: bytes = b"IDAT") -> bytes:
    return with_png_chunks(encode(quadrants(), "PNG"), chunks, before=before)


def _text(name: bytes, prefix: bytes, mebibytes: int) -> bytes:
    return png_chunk(name, prefix + deflated_zeros(mebibytes))


ZTXT, ITXT, ICCP = b"Comment\0\0", b"Comment\0\1\0\0\0", b"profile\0\0"


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
    # The next images have many pixels, but are cheap to decode.
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
    image(74, "jpeg-510-scans-after-zeros", "jpg", lambda: many_scans_after(bytes(4)), EXPENSIVE),
    image(
        74,
        "jpeg-510-scans-after-9000-segments",
        "jpg",
        lambda: many_scans_after(segment(0xFE, b"") * 9000),
        EXPENSIVE,
    ),
    image(
        74,
        "jpeg-510-scans-after-10001-segments",
        "jpg",
        lambda: many_scans_after(segment(0xFE, b"") * 10_001),
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
        "ztxt-after-the-pixels",
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
