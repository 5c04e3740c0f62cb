"""Small files whose images are costly to decode: large sizes, many scans, frames or blocks."""

import struct
import zlib
from collections.abc import Sequence
from itertools import repeat

from PIL import Image

from tests.data.images import encode
from tests.data.odd_images import many_scans
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
    segment,
    sub_blocks,
    webp,
    webp_canvas,
    webp_frame,
    webp_of_one_colour,
)

SIDE = 7000
"""Width and height of the large images, in pixels. Such an image has 49 megapixels."""


def jpeg_of_size(width: int, height: int, *, progressive: bool = False) -> bytes:
    """Draw a JPEG whose frame header has this width and height, but whose data is almost empty."""
    small = encode(Image.new("L", (8, 8)), "JPEG", progressive=progressive)
    at = small.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    return small[:at] + struct.pack("!HH", height, width) + small[at + 4 :]


def _jpeg(
    frame: int, side: int, symbols: tuple[bytes, bytes], scans: bytes, *, components: int = 3
) -> bytes:
    """Write a JPEG file. `symbols` are the symbols of the DC codes and of the AC codes.

    All codes of a table have the same length, so a symbol's code is its position in the table.
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
    """Draw a progressive JPEG of one colour: one DC scan, then `count - 1` empty scans.

    An empty scan has few bytes, because one code can stand for thousands of blocks without data
    (ITU-T T.81, G.1.2.2). But for each scan, a decoder must visit all blocks of the image.
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


def many_scans_after(junk: bytes) -> bytes:
    """Draw a JPEG of 510 scans. It has `junk` before its frame header; decoders skip the junk."""
    content = many_scans(510)
    at = content.index(b"\xff\xc2")
    return content[:at] + junk + content[at:]


def sequential_scans(count: int, side: int = 64) -> bytes:
    """Draw a sequential JPEG of `count` scans. Each scan holds one of the three components."""
    nothing = bits_from_left(repeat((0, 2), _blocks(side)))
    scans = (_scan((1 + number % 3,), (0, 63), nothing) for number in range(count))
    return _jpeg(0xC0, side, (b"\0", b"\0"), b"".join(scans))


def real_png(width: int, height: int, *, bits: int, colour: int) -> bytes:
    """Draw a PNG with the data of all its pixels; every byte of the pixels is zero."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = 1 + -(-width * samples * bits // 8)
    return png(
        png_header(width, height, bits=bits, colour=colour),
        png_chunk(b"IDAT", deflated_zeros(-(-row * height // MIB))),
    )


def apng(frames: int) -> bytes:
    """Draw an animated PNG of `frames` frames with one pixel each (APNG specification)."""
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
    """Draw an animated WebP of `count` frames with one pixel each."""
    return webp(webp_canvas(1, 1, animated=True), webp_frame(webp_of_one_colour(1, 1)) * count)


def baseline(side: int) -> bytes:
    """Draw a JPEG of one colour with the data of all its blocks, in one scan.

    Each block of each component takes two bits.
    """
    components = range(1, 4)
    blocks = bits_from_left([(0, 2 * len(components) * _blocks(side))])
    return _jpeg(0xC0, side, (b"\0", b"\0"), _scan(components, (0, 63), blocks))


def gif_in_tiny_blocks(side: int = 1000) -> bytes:
    """Draw a GIF whose data is divided into sub-blocks of one byte.

    With the default side, the GIF has half a million of these sub-blocks.
    """
    clear_and_two_pixels = bits_from_right([(4, 3), (0, 3), (0, 3)] * 8)
    data = clear_and_two_pixels * (side * side // 16) + b"\x05"
    frame = gif_frame(side, side)[:-5] + b"\x02" + sub_blocks(data, size=1)
    return gif(frame, width=side, height=side)
