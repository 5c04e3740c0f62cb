"""Files to upload, drawn from code: images of every kind, and what only looks like one."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from PIL import Image, ImageChops, ImageCms, PngImagePlugin

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CLEAR: Final = (0, 0, 0, 0)
SECRET: Final = "do-not-publish-4711"
"""A text that stands in the metadata of `with_metadata` and must never reach a thumbnail."""
PAYLOAD: Final = b"<script>alert('payload-4711')</script>"
"""What the polyglots carry besides their image."""


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Save an image; `options` are Pillow's."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def quadrants(width: int = 120, height: int = 80) -> Image.Image:
    """Draw red, green / blue, white: no turn or flip of it looks like another."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Give the pixels at the middle of each quadrant, in RGBA: left to right, top to bottom.

    What is transparent is `CLEAR`, whatever its colour.
    """
    rgba = image.convert("RGBA")
    x, y = image.width // 4, image.height // 4
    places = [(x, y), (3 * x, y), (x, 3 * y), (3 * x, 3 * y)]
    pixels = [tuple(rgba.getpixel(place)) for place in places]  # type: ignore[arg-type]  # RGBA
    return [pixel if pixel[3] else CLEAR for pixel in pixels]


def opaque(*colours: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """Give colours as `corners` does."""
    return [(*colour, 255) for colour in colours]


def photo(width: int = 800, height: int = 600, colour: tuple[int, int, int] = RED) -> bytes:
    """Draw a JPEG of one colour."""
    return encode(Image.new("RGB", (width, height), colour), "JPEG")


def gradient_photo(width: int = 800, height: int = 600) -> bytes:
    """Draw a JPEG that gets lighter from top to bottom."""
    return encode(Image.linear_gradient("L").resize((width, height)).convert("RGB"), "JPEG")


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Draw what hardly compresses."""
    bands = [Image.effect_noise((width, height), 90) for _ in Image.new(mode, (1, 1)).getbands()]
    return bands[0] if len(bands) == 1 else Image.merge(mode, bands)


def _with_alpha() -> Image.Image:
    image = quadrants().convert("RGBA")
    image.paste((0, 0, 0, 0), (60, 40, 120, 80))
    return image


def _palette() -> Image.Image:
    image = Image.new("P", (120, 80), 3)
    image.putpalette([*RED, *GREEN, *BLUE, *WHITE])
    for index, box in enumerate([(0, 0, 60, 40), (60, 0, 120, 40), (0, 40, 60, 80)]):
        image.paste(index, box)
    return image


def _grey() -> Image.Image:
    return quadrants().convert("L")


def _sixteen_bits() -> Image.Image:
    values = b"".join(
        struct.pack("<120H", *[(0 if y < 40 else 65535) if x < 60 else 32768 for x in range(120)])
        for y in range(80)
    )
    return Image.frombytes("I;16", (120, 80), values)


_COLOURS = opaque(RED, GREEN, BLUE, WHITE)
_GREYS = opaque(*[(value,) * 3 for value in (76, 150, 29, 255)])
_BITS = opaque((0, 0, 0), WHITE, (0, 0, 0), WHITE)
_STEPS = opaque((0, 0, 0), (128,) * 3, WHITE, (128,) * 3)
_HOLE = [*opaque(RED, GREEN, BLUE), CLEAR]

MODES: Final[Mapping[str, tuple[Callable[[], bytes], list[tuple[int, ...]]]]] = {
    "jpeg-rgb": (lambda: encode(quadrants(), "JPEG"), _COLOURS),
    "jpeg-progressive": (lambda: encode(quadrants(), "JPEG", progressive=True), _COLOURS),
    "jpeg-grey": (lambda: encode(_grey(), "JPEG"), _GREYS),
    "jpeg-cmyk": (lambda: encode(quadrants().convert("CMYK"), "JPEG"), _COLOURS),
    "png-rgb": (lambda: encode(quadrants(), "PNG"), _COLOURS),
    "png-rgba": (lambda: encode(_with_alpha(), "PNG"), _HOLE),
    "png-one-colour-transparent": (
        lambda: encode(quadrants(), "PNG", transparency=WHITE),
        _HOLE,
    ),
    "png-palette": (
        lambda: encode(_palette(), "PNG"),
        _COLOURS,
    ),
    "png-palette-transparent": (
        lambda: encode(_palette(), "PNG", transparency=3),
        _HOLE,
    ),
    "png-la": (lambda: encode(_with_alpha().convert("LA"), "PNG"), [*_GREYS[:3], CLEAR]),
    "png-l": (lambda: encode(_grey(), "PNG"), _GREYS),
    "png-1": (
        lambda: encode(
            quadrants().convert("L").point(lambda value: 255 * (value > 100)).convert("1"), "PNG"
        ),
        _BITS,
    ),
    "png-16": (lambda: encode(_sixteen_bits(), "PNG"), _STEPS),
    "gif": (lambda: encode(_palette(), "GIF"), _COLOURS),
    "gif-transparent": (
        lambda: encode(_palette(), "GIF", transparency=3),
        _HOLE,
    ),
    "gif-animated": (
        lambda: encode(
            quadrants(),
            "GIF",
            save_all=True,
            append_images=[Image.new("RGB", (120, 80), BLUE)] * 3,
        ),
        _COLOURS,
    ),
    "webp-lossy": (lambda: encode(quadrants(), "WEBP", quality=95), _COLOURS),
    "webp-lossless-alpha": (lambda: encode(_with_alpha(), "WEBP", lossless=True), _HOLE),
    "webp-animated": (
        lambda: encode(
            quadrants(),
            "WEBP",
            save_all=True,
            lossless=True,
            append_images=[Image.new("RGB", (120, 80), BLUE)] * 3,
        ),
        _COLOURS,
    ),
}
"""Images of every format and mode, 120×80; and the corners that a thumbnail must show."""

_AS_STORED: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def oriented(orientation: int, kind: str = "JPEG", *, width: int = 120, height: int = 80) -> bytes:
    """Store `quadrants` turned, with the EXIF orientation (1 to 8) that sets it upright."""
    image = quadrants(width, height)
    if orientation in _AS_STORED:
        image = image.transpose(_AS_STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif.tobytes())


def with_metadata(kind: str) -> bytes:
    """Draw an image with `SECRET` in EXIF, GPS, XMP and comment, and with an ICC profile."""
    exif = Image.Exif()
    exif[0x010E] = SECRET  # ImageDescription
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 29: SECRET}  # GPS
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{SECRET}</x:xmpmeta>".encode()
    image = quadrants()
    match kind:
        case "JPEG":
            return encode(image, kind, exif=exif, icc_profile=profile, comment=SECRET, xmp=xmp)
        case "PNG":
            text = PngImagePlugin.PngInfo()
            text.add_text("Comment", SECRET)
            text.add_itxt("XML:com.adobe.xmp", xmp.decode())
            return encode(image, kind, exif=exif, icc_profile=profile, pnginfo=text)
        case "GIF":
            return encode(image, kind, comment=SECRET)
        case _:
            return encode(image, kind, exif=exif.tobytes(), icc_profile=profile, xmp=xmp)


def with_profile(kind: str, profile: bytes) -> bytes:
    """Draw an image with an ICC profile of any bytes."""
    return encode(quadrants(), kind, icc_profile=profile)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + name + body + struct.pack("!I", zlib.crc32(name + body))


def png_of_size(width: int, height: int) -> bytes:
    """Make a PNG of one bit a pixel that says it is that large, and holds hardly any data."""
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
    """Make a GIF that says it is that large, and holds one pixel."""
    small = encode(Image.new("P", (1, 1)), "GIF")
    at = small.index(b",")  # the image descriptor
    return (
        small[:6]
        + struct.pack("<HH", width, height)
        + small[10 : at + 5]
        + struct.pack("<HH", width, height)
        + small[at + 9 :]
    )


def gif_with_script() -> bytes:
    """A GIF that is JavaScript too: its width reads `/*`, and its comment ends that."""
    image = quadrants(int.from_bytes(b"/*", "little"), 8).convert("P")
    return encode(image, "GIF", comment=b"*/=1;" + PAYLOAD + b"//")


def png_with_zip() -> bytes:
    """A PNG with a ZIP archive behind it; each opens as what it is."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.html", PAYLOAD)
    return encode(quadrants(), "PNG") + archive.getvalue()


def png_with_html() -> bytes:
    """A PNG with a page in a text chunk and another one behind it."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", PAYLOAD.decode())
    return encode(quadrants(), "PNG", pnginfo=text) + b"<html>" + PAYLOAD


def many_scans(count: int, *, progressive: bool = True) -> bytes:
    """Draw a JPEG of several scans, and repeat the last one `count` times more.

    Sequential, its three components are in scans of their own (ITU-T T.81, B.2.3).
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
    """Draw a JPEG, and say in its frame header that it is of another kind (T.81, B.2.2)."""
    body = bytearray(encode(quadrants(), "JPEG"))
    at = body.index(b"\xff\xc0")
    body[at + 1], body[at + 4], body[at + 9] = marker, precision, components
    return bytes(body)


def jpeg_cmyk(*, adobe: bool = True) -> bytes:
    """Draw a JPEG of four inks: the other way round and signed by Adobe, or as it is and not."""
    image = quadrants().convert("CMYK")
    if adobe:
        return encode(image, "JPEG", quality=95)
    body = encode(ImageChops.invert(image), "JPEG", quality=95)
    at = body.index(b"\xff\xee")
    return body[:at] + body[at + 2 + int.from_bytes(body[at + 2 : at + 4], "big") :]


def jpeg_ycck() -> bytes:
    """Draw a JPEG of four inks stored as luminance, colour and black (Adobe's transform 2)."""
    cyan, magenta, yellow, black = quadrants().convert("CMYK").split()
    # decoding takes the colours from white once more, which turns them round; black it leaves
    bands = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    black = ImageChops.invert(black)
    # Pillow turns four bands round as it writes, which is not wanted here
    stored = ImageChops.invert(Image.merge("CMYK", (*bands, black)))
    body = bytearray(encode(stored, "JPEG", quality=95))
    at = body.index(b"\xff\xee")
    body[at + 15] = 2
    return bytes(body)


def png(
    size: tuple[int, int], depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """Write a PNG of any depth and colour type from its rows, each with its filter byte."""
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
    """Add any chunk before the pixels of a PNG, or of one that is drawn."""
    whole = whole or encode(quadrants(), "PNG")
    return whole[:33] + _chunk(name, body) + whole[33:]


def deep_png(colour: int, *, key: bytes = b"") -> bytes:
    """Write a PNG of 16 bits a sample, four pixels: black, grey, nearly white, white."""
    levels = (0, 0x8000, 0xFFFE, 0xFFFF)
    bands = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = b"".join(struct.pack("!H", level) * bands for level in levels)
    return png((4, 1), 16, colour, b"\0" + row, *([(b"tRNS", key)] if key else []))


def gif_in_a_corner(*, transparent: bool) -> bytes:
    """Write an animation whose first frame covers the lower right quarter only, in red."""
    canvas = Image.new("P", (60, 40), 1)
    canvas.putpalette([*BLUE, *RED, *GREEN])
    options = {"transparency": 2} if transparent else {}
    body = bytearray(
        encode(canvas, "GIF", save_all=True, append_images=[Image.new("P", (60, 40))], **options)
    )
    body[6:10] = struct.pack("<HH", 120, 80)
    at = body.index(b",\0\0\0\0\x3c\0\x28\0")  # the first frame's place and size
    body[at + 1 : at + 5] = struct.pack("<HH", 60, 40)
    return bytes(body)


def animation(kind: str, *, frames: int = 3, default_image: bool = False) -> bytes:
    """Draw an animation that begins with `quadrants`, and goes on in blue."""
    rest = [Image.new("RGB", (120, 80), (0, 0, 255 - number % 200)) for number in range(frames)]
    options = {"default_image": True} if default_image else {}
    return encode(quadrants(), kind, save_all=True, append_images=rest, lossless=True, **options)


def apng_of_many(frames: int) -> bytes:
    """Write an animation of that many frames of one pixel, which follow `quadrants`."""
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
    """Write an animation of that many frames of one pixel, which follow `quadrants`."""
    whole = encode(_palette(), "GIF", save_all=True, append_images=[Image.new("P", (120, 80))])
    pixel = b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return whole[:-1] + pixel * frames + b";"


def jpeg_segments(body: bytes) -> set[int]:
    """List the markers of a JPEG's segments, up to its pixels."""
    found, at = set(), 2
    while body[at + 1] != 0xDA:
        assert body[at] == 0xFF
        found.add(body[at + 1])
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return {*found, 0xDA}


def chunks(body: bytes) -> set[bytes]:
    """List the names of the chunks of a PNG or WebP."""
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


RGB_SPACES: Final[Mapping[str, tuple[tuple[float, ...], float]]] = {
    "display-p3": (
        (0.51512, 0.29198, 0.15710, 0.24120, 0.69225, 0.06657, -0.00105, 0.04189, 0.78407),
        2.2,
    ),
    "adobe-rgb": (
        (0.60974, 0.20528, 0.14919, 0.31111, 0.62567, 0.06322, 0.01947, 0.06087, 0.74457),
        2.19921875,
    ),
    "prophoto": ((0.79767, 0.13519, 0.03134, 0.28804, 0.71188, 0.00009, 0.0, 0.0, 0.82491), 1.8),
}
"""Wide colour spaces: what turns linear red, green and blue into XYZ at D50, row by row, as their
publishers give it; and their gamma (Display P3's curve is sRGB's, here its approximation)."""


def _icc(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """Write a profile of a display, version 2.4 (ICC.1:2001-04, section 6)."""
    at = 128 + 4 + 12 * len(tags)
    table, data = [struct.pack("!I", len(tags))], b""
    for name, body in tags.items():
        body += bytes(-len(body) % 4)
        table.append(name + struct.pack("!II", at + len(data), len(body)))
        data += body
    d50 = struct.pack("!III", 0xF6D6, 0x10000, 0xD32D)
    header = (
        struct.pack("!I", at + len(data))
        + bytes(4)
        + b"\x02\x40\0\0"
        + b"mntr"
        + space
        + b"XYZ "
        + bytes(12)
        + b"acsp"
        + bytes(28)
        + d50
    )
    return header.ljust(128, b"\0") + b"".join(table) + data


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack("!IH", 1, round(gamma * 256))


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack("!i", round(v * 65536)) for v in values)


def rgb_profile(name: str, *, padding: int = 0) -> bytes:
    """Write the profile of one of RGB_SPACES, with so many bytes besides that mean nothing."""
    matrix, gamma = RGB_SPACES[name]
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249)}
    for place, colour in enumerate((b"r", b"g", b"b")):
        tags[colour + b"XYZ"] = _xyz(*matrix[place::3])
        tags[colour + b"TRC"] = _gamma(gamma)
    if padding:
        tags[b"junk"] = b"data" + bytes(padding)
    return _icc(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """Write the profile of a grey of that gamma."""
    return _icc(b"GRAY", {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"kTRC": _gamma(gamma)})


HTML: Final = b"<!DOCTYPE html><html><body>" + PAYLOAD + b"</body></html>"
SVG: Final = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">' + PAYLOAD + b"</svg>"
SCRIPT: Final = b"#!/bin/sh\nrm -rf /\n"
BATCH: Final = b"@echo off\r\ndel /q *.*\r\n"
ELF: Final = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(100)
PE: Final = b"MZ" + bytes(58) + b"\x80\x00\x00\x00" + bytes(64) + b"PE\x00\x00\x64\x86" + bytes(200)
