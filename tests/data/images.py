"""Test images of every kind, drawn by code, and files that only look like images."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Final

from PIL import Image, ImageCms, PngImagePlugin

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CLEAR: Final = (0, 0, 0, 0)
SECRET: Final = "do-not-publish-4711"
"""A text that `with_metadata` writes into metadata. No thumbnail may contain it."""
PAYLOAD: Final = b"<script>alert('payload-4711')</script>"
"""The web page or script that files of two formats contain, inside their image or after it."""


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Save an image in a format; `options` are the options of Pillow's `save`."""
    if kind == "HEIF":
        import pillow_heif  # only HEIC needs this optional package

        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def quadrants(width: int = 120, height: int = 80) -> Image.Image:
    """Draw four quadrants: red and green above, blue and white below.

    Every rotation and every reflection of the image looks different.
    """
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the RGBA pixel in the middle of each quadrant: left to right, then top to bottom.

    A transparent pixel is returned as `CLEAR`, because nobody sees its colour.
    """
    rgba = image.convert("RGBA")
    x, y = image.width // 4, image.height // 4
    places = [(x, y), (3 * x, y), (x, 3 * y), (3 * x, 3 * y)]
    pixels = [tuple(rgba.getpixel(place)) for place in places]  # type: ignore[arg-type]  # RGBA
    return [pixel if pixel[3] else CLEAR for pixel in pixels]


def opaque(*colours: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """Return opaque colours as RGBA pixels, in the form that `corners` returns."""
    return [(*colour, 255) for colour in colours]


def photo(width: int = 800, height: int = 600, colour: tuple[int, int, int] = RED) -> bytes:
    """Draw a JPEG of one colour; width and height are in pixels."""
    return encode(Image.new("RGB", (width, height), colour), "JPEG")


def gradient_photo(width: int = 800, height: int = 600) -> bytes:
    """Draw a JPEG that becomes lighter from top to bottom; width and height are in pixels."""
    return encode(Image.linear_gradient("L").resize((width, height)).convert("RGB"), "JPEG")


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Draw random noise, which hardly becomes smaller by compression."""
    bands = [Image.effect_noise((width, height), 90) for _ in Image.new(mode, (1, 1)).getbands()]
    return bands[0] if len(bands) == 1 else Image.merge(mode, bands)


def tiled_noise(width: int, height: int) -> Image.Image:
    """Draw random noise in equal tiles of 1000 × 1000 pixels.

    So a large image is drawn quickly; `noise` takes 0.1 s of CPU time for each million pixels.
    """
    tile, image = noise(1000, 1000), Image.new("RGB", (width, height))
    for x in range(0, width, 1000):
        for y in range(0, height, 1000):
            image.paste(tile, (x, y))
    return image


def _with_alpha() -> Image.Image:
    image = quadrants().convert("RGBA")
    image.paste((0, 0, 0, 0), (60, 40, 120, 80))
    return image


def draw_palette() -> Image.Image:
    """Draw an image whose pixels are indexes into a palette."""
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
        lambda: encode(draw_palette(), "PNG"),
        _COLOURS,
    ),
    "png-palette-transparent": (
        lambda: encode(draw_palette(), "PNG", transparency=3),
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
    "gif": (lambda: encode(draw_palette(), "GIF"), _COLOURS),
    "gif-transparent": (
        lambda: encode(draw_palette(), "GIF", transparency=3),
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
"""Images of 120×80 pixels in every format and mode, with the corner pixels of their thumbnails."""

AS_STORED: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright image is turned before it is stored with each orientation of Exif."""


def oriented(orientation: int, kind: str = "JPEG", *, width: int = 120, height: int = 80) -> bytes:
    """Draw `quadrants` rotated or reflected, with the EXIF orientation that restores the original
    view.

    `orientation` is from 1 to 8.
    """
    image = quadrants(width, height)
    if orientation in AS_STORED:
        image = image.transpose(AS_STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif.tobytes())


def with_metadata(kind: str) -> bytes:
    """Draw an image with an ICC profile, and with `SECRET` in EXIF, GPS, XMP and the comment."""
    exif = Image.Exif()
    exif[0x010E] = SECRET  # ImageDescription
    # 0x8825 is the directory of GPS data.
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 29: SECRET}
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
    """Draw `quadrants` with the given bytes as its ICC profile."""
    return encode(quadrants(), kind, icc_profile=profile)


def gif_with_script() -> bytes:
    """Return a GIF that is also valid JavaScript.

    The two bytes of its width are `/*`, which begin a JavaScript comment. The GIF's own comment
    ends this JavaScript comment.
    """
    image = quadrants(int.from_bytes(b"/*", "little"), 8).convert("P")
    return encode(image, "GIF", comment=b"*/=1;" + PAYLOAD + b"//")


def png_with_zip() -> bytes:
    """Return a PNG file followed by a ZIP archive; programs can open it as either format."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.html", PAYLOAD)
    return encode(quadrants(), "PNG") + archive.getvalue()


def png_with_html() -> bytes:
    """Return a PNG with an HTML page in a text chunk, and another page after the PNG's end."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", PAYLOAD.decode())
    return encode(quadrants(), "PNG", pnginfo=text) + b"<html>" + PAYLOAD


HTML: Final = b"<!DOCTYPE html><html><body>" + PAYLOAD + b"</body></html>"
SVG: Final = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">' + PAYLOAD + b"</svg>"
SCRIPT: Final = b"#!/bin/sh\nrm -rf /\n"
BATCH: Final = b"@echo off\r\ndel /q *.*\r\n"
ELF: Final = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(100)
PE: Final = b"MZ" + bytes(58) + b"\x80\x00\x00\x00" + bytes(64) + b"PE\x00\x00\x64\x86" + bytes(200)
