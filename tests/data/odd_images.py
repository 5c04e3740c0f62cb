"""Images that few encoders write: many frames, many scans, or a false size in the header."""

import struct
import zlib

from PIL import Image, ImageChops

from tests.data.images import BLUE, GREEN, RED, draw_palette, encode, quadrants


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + name + body + struct.pack("!I", zlib.crc32(name + body))


def png_of_size(width: int, height: int) -> bytes:
    """Make a PNG of one bit per pixel whose header has this size, but which has almost no data."""
    header = struct.pack("!IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(bytes(1000))),
            _chunk(b"IEND", b""),
        ]
    )


def gif_of_size(width: int, height: int) -> bytes:
    """Make a GIF whose header has this size, but whose data has only one pixel."""
    small = encode(Image.new("P", (1, 1)), "GIF")
    at = small.index(b",")  # a comma begins the image descriptor
    return (
        small[:6]
        + struct.pack("<HH", width, height)
        + small[10 : at + 5]
        + struct.pack("<HH", width, height)
        + small[at + 9 :]
    )


def many_scans(count: int, *, progressive: bool = True) -> bytes:
    """Draw a JPEG of several scans, and repeat the last scan `count` more times.

    A sequential JPEG has each of its three components in a separate scan (ITU-T T.81, B.2.3).
    """
    if not progressive:
        grey = encode(quadrants().convert("L"), "JPEG")
        scan, frame = grey.index(b"\xff\xda"), grey.index(b"\xff\xc0")
        of_three = (
            b"\xff\xc0"
            + struct.pack("!HBHHB", 17, 8, 80, 120, 3)
            + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
        )
        scans = [grey[scan : scan + 5] + bytes([n]) + grey[scan + 6 : -2] for n in (1, 2, 3)]
        rest = grey[frame + 13 : scan]
        return grey[:frame] + of_three + rest + b"".join(scans) + scans[2] * count + grey[-2:]
    body = encode(quadrants(), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * (count + 1) + body[-2:]


def jpeg_variant(*, marker: int = 0xC0, precision: int = 8, components: int = 3) -> bytes:
    """Draw a JPEG whose frame header has these values. Its data is always the same.

    ITU-T T.81, B.2.2, describes the frame header.
    """
    body = bytearray(encode(quadrants(), "JPEG"))
    at = body.index(b"\xff\xc0")
    body[at + 1], body[at + 4], body[at + 9] = marker, precision, components
    return bytes(body)


def jpeg_cmyk(*, adobe: bool = True) -> bytes:
    """Draw a CMYK JPEG.

    If `adobe` is true, the file has Adobe's marker, and its values are inverted. Otherwise the file
    has no such marker, and its values are not inverted.
    """
    image = quadrants().convert("CMYK")
    if adobe:
        return encode(image, "JPEG", quality=95)
    body = encode(ImageChops.invert(image), "JPEG", quality=95)
    at = body.index(b"\xff\xee")
    return body[:at] + body[at + 2 + int.from_bytes(body[at + 2 : at + 4], "big") :]


def jpeg_ycck() -> bytes:
    """Draw a CMYK JPEG whose data are YCbCr and black (transform 2 of Adobe's marker)."""
    cyan, magenta, yellow, black = quadrants().convert("CMYK").split()
    # A decoder inverts the decoded colours to get cyan, magenta and yellow. It does not invert
    # black.
    bands = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    black = ImageChops.invert(black)
    # Pillow inverts all four bands when it saves the image. So they are inverted first.
    stored = ImageChops.invert(Image.merge("CMYK", (*bands, black)))
    body = bytearray(encode(stored, "JPEG", quality=95))
    at = body.index(b"\xff\xee")
    body[at + 15] = 2
    return bytes(body)


def png(
    size: tuple[int, int], depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """Write a PNG of any bit depth and colour type.

    Each row of pixels in `rows` begins with a filter byte.
    """
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack("!IIBBBBB", *size, depth, colour, 0, 0, 0)),
            *(_chunk(name, body) for name, body in chunks),
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        ]
    )


def png_with_chunk(name: bytes, body: bytes, whole: bytes = b"") -> bytes:
    """Insert a chunk before the pixels of the PNG file `whole`.

    If `whole` is empty, the PNG file is an image of `quadrants`.
    """
    whole = whole or encode(quadrants(), "PNG")
    return whole[:33] + _chunk(name, body) + whole[33:]


def deep_png(colour: int, *, key: bytes = b"") -> bytes:
    """Write a PNG of 16 bits per sample with four pixels: black, grey, nearly white, white."""
    levels = (0, 0x8000, 0xFFFE, 0xFFFF)
    bands = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = b"".join(struct.pack("!H", level) * bands for level in levels)
    return png((4, 1), 16, colour, b"\0" + row, *([(b"tRNS", key)] if key else []))


def gif_in_a_corner(*, transparent: bool) -> bytes:
    """Write an animation whose first frame is red and covers only the lower right quarter."""
    canvas = Image.new("P", (60, 40), 1)
    canvas.putpalette([*BLUE, *RED, *GREEN])
    options = {"transparency": 2} if transparent else {}
    body = bytearray(
        encode(canvas, "GIF", save_all=True, append_images=[Image.new("P", (60, 40))], **options)
    )
    body[6:10] = struct.pack("<HH", 120, 80)
    # These bytes are the position and the size of the first frame.
    at = body.index(b",\0\0\0\0\x3c\0\x28\0")
    body[at + 1 : at + 5] = struct.pack("<HH", 60, 40)
    return bytes(body)


def animation(kind: str, *, frames: int = 3, default_image: bool = False) -> bytes:
    """Draw an animation: its first frame is `quadrants`, and the next `frames` frames are blue."""
    rest = [Image.new("RGB", (120, 80), (0, 0, 255 - number % 200)) for number in range(frames)]
    options = {"default_image": True} if default_image else {}
    return encode(quadrants(), kind, save_all=True, append_images=rest, lossless=True, **options)


def apng_of_many(frames: int) -> bytes:
    """Write an animated PNG: `quadrants`, then `frames` frames of one pixel."""
    pixel = zlib.compress(b"\0\0\0\xff")
    body = [(b"acTL", struct.pack("!II", frames + 1, 0))]
    place = struct.Struct("!IIIIIHHBB")
    body.append((b"fcTL", place.pack(0, 120, 80, 0, 0, 1, 10, 0, 0)))
    whole = encode(quadrants(), "PNG")
    tail = [
        _chunk(b"fcTL", place.pack(2 * number + 1, 1, 1, 0, 0, 1, 10, 0, 0))
        + _chunk(b"fdAT", struct.pack("!I", 2 * number + 2) + pixel)
        for number in range(frames)
    ]
    head = b"".join(_chunk(name, data) for name, data in body)
    return whole[:33] + head + whole[33:-12] + b"".join(tail) + whole[-12:]


def gif_of_many(frames: int) -> bytes:
    """Write an animated GIF: a drawn image, then `frames` frames of one pixel."""
    whole = encode(draw_palette(), "GIF", save_all=True, append_images=[Image.new("P", (120, 80))])
    pixel = b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return whole[:-1] + pixel * frames + b";"


def jpeg_segments(body: bytes) -> set[int]:
    """Return the markers of a JPEG's segments before the pixels."""
    found, at = set(), 2
    while body[at + 1] != 0xDA:
        assert body[at] == 0xFF
        found.add(body[at + 1])
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return {*found, 0xDA}


def chunks(body: bytes) -> set[bytes]:
    """Return the names of the chunks of a PNG or WebP file."""
    found, at = set(), 8 if body.startswith(b"\x89PNG") else 12
    while at < len(body):
        if body.startswith(b"RIFF"):
            found.add(body[at : at + 4])
            length = int.from_bytes(body[at + 4 : at + 8], "little")
            at += 8 + length + length % 2
        else:
            found.add(body[at + 4 : at + 8])
            at += 12 + int.from_bytes(body[at : at + 4], "big")
    return found
