"""Small valid files of every decoded format, from which tests make truncated and changed files."""

import io
import struct
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Final

from PIL import Image, TiffImagePlugin

from tests.data import drawings, pdfs
from tests.data.bitmaps import HEIGHT, WIDTH, bmp, dib, icon_of
from tests.data.images import encode
from tests.data.pieces import tiff


def grain(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw noise, which compression hardly makes smaller. Every call returns the same pixels."""
    random = Random(seed)
    return Image.frombytes("RGB", (width, height), random.randbytes(width * height * 3))


def _animation(kind: str) -> bytes:
    file = io.BytesIO()
    frames = [grain(24, 16, number) for number in range(3)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=10)
    return file.getvalue()


def _scanned() -> bytes:
    """Draw a TIFF as scanners write it: first the directory, then the pixels in LZW strips."""
    content = encode(grain(48, 32), "TIFF", compression="tiff_lzw", strip_size=1024)
    with Image.open(io.BytesIO(content)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        begins, counts, rows = (image.tag_v2[tag] for tag in (273, 279, 278))
    strips = [content[at : at + count] for at, count in zip(begins, counts, strict=True)]
    return tiff(48, 32, strips, rows=rows, compression=5)


def _heif() -> bytes:
    import pillow_heif  # only HEIC needs this optional package

    file = io.BytesIO()
    pillow_heif.from_pillow(grain(64, 48)).save(file, quality=50)
    return file.getvalue()


def _jxl(distance: float) -> bytes:
    from tests.data import jxl  # only JPEG XL needs this optional package

    return jxl.encode(grain(64, 48), distance=distance)


def _bmp_with_alpha() -> bytes:
    """Draw a BMP of version 5 with a mask for alpha."""
    pixels = grain(WIDTH, HEIGHT).convert("RGBA").tobytes()
    return bmp(32, pixels, masks=struct.pack("<4I", 0, 0, 0, 0xFF000000), header_bytes=124)


ALWAYS: Final[Mapping[str, Callable[[], bytes]]] = {
    "jpg": lambda: encode(grain(96, 64), "JPEG", quality=70),
    "progressive.jpg": lambda: encode(grain(96, 64), "JPEG", quality=70, progressive=True),
    "png": lambda: encode(grain(48, 32), "PNG"),
    "palette.png": lambda: encode(grain(64, 48).quantize(64), "PNG"),
    "animated.png": lambda: _animation("PNG"),
    "gif": lambda: encode(grain(64, 48).quantize(64), "GIF"),
    "animated.gif": lambda: _animation("GIF"),
    "webp": lambda: encode(grain(96, 64), "WEBP", quality=70),
    "lossless.webp": lambda: encode(grain(48, 32), "WEBP", lossless=True),
    "animated.webp": lambda: _animation("WEBP"),
    "pdf": pdfs.plain,
    "text.pdf": pdfs.text,
    "svg": drawings.with_picture,
    "bmp": lambda: encode(grain(48, 32), "BMP"),
    "alpha.bmp": _bmp_with_alpha,
    "ico": lambda: encode(grain(32, 32), "ICO"),
    "cur": lambda: icon_of((16, 32, dib(32, b"\x20\x40\x60\x80", edge=16)), kind=2),
}
"""Functions that draw a file of each format that every worker decodes."""

MORE: Final[Mapping[str, Callable[[], bytes]]] = {
    "tiff": lambda: encode(grain(48, 32), "TIFF"),
    "deflated.tiff": lambda: encode(grain(48, 32), "TIFF", compression="tiff_adobe_deflate"),
    "lzw.tiff": lambda: encode(grain(48, 32), "TIFF", compression="tiff_lzw"),
    "scanned.tiff": _scanned,
    "avif": lambda: encode(grain(64, 48), "AVIF", quality=50, speed=10),
    "heic": _heif,
    "jxl": lambda: _jxl(1.0),
    "lossless.jxl": lambda: _jxl(0.0),
}
"""Functions for the formats that a worker decodes only if its settings enable them."""


def _film(kind: str, codec: str = "mpeg4") -> bytes:
    from tests.data import films  # only films need this optional package

    return films.film(kind, codec, seconds=1, size=(96, 64))


FILMS: Final[Mapping[str, Callable[[], bytes]]] = {
    "mp4": lambda: _film("mp4"),
    "mov": lambda: _film("mov", "mjpeg"),
    "webm": lambda: _film("webm", "libvpx"),
    "mkv": lambda: _film("matroska"),
    "avi": lambda: _film("avi"),
    "ts": lambda: _film("mpegts", "mpeg2video"),
}
"""Functions for films, which a worker decodes only if its settings enable them."""


@cache
def seed(name: str) -> bytes:
    """Draw a valid file of a format. The result is cached, so later calls return the same bytes."""
    return {**ALWAYS, **MORE, **FILMS}[name]()
