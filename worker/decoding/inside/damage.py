"""Decode the readable part of a damaged image, and find the pixels that are missing.

Most decoders write the pixels that they can read into an existing image. So the file is decoded
twice, into a black image and into a white one. Pixels that differ were never written. Decoders of
WebP, AVIF and HEIC return only whole images. For these formats, the missing end of the file is
filled with bytes of one value, and the second time with bytes of another value.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, ImageChops, ImageFile

from shared.errors import Undecodable
from worker.decoding.inside import codecs, png, webp
from worker.decoding.inside.codecs import Findings

FILLS: Final = (0x00, 0xFF)
WEBP_FILLS: Final = (0x00, 0x55)
"""The missing end of a WebP is filled with these bytes. libwebp decodes both as pixels, but it
rejects an image that is filled with FF."""


MAX_EARLIER_ENDS: Final = 3
"""To skip a broken scan of a JPEG, scans are removed one by one from the end. At most this number
of scans are removed."""

MAX_PADDING_BYTES: Final = 64 * 1024 * 1024
"""Maximum number of bytes that are added to an AVIF or HEIC that is cut off."""

STRIP_PIXELS: Final = 4_000_000
"""Number of pixels that are compared at a time."""

GREY: Final = range(120, 137)
"""Where data are missing, libjpeg paints grey. Conversions between colour spaces are rounded, so
the value of this grey varies within this range."""

Open = Callable[[BinaryIO], ImageFile.ImageFile]
"""A function that reads the header of an image, and sets how its pixels will be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """The part of an image that was decoded.

    `missing` is a mask: 255 at pixels that were not decoded. It is None if all pixels were decoded.
    """

    image: ImageFile.ImageFile
    missing: Image.Image | None


def decode_rest(file: BinaryIO, findings: Findings, open_: Open) -> Rest:
    """Decode the readable part of an image that could not be decoded as a whole.

    Raises Undecodable with `damaged` if no part is readable. Passes on exceptions of `open_`,
    except OSError, ValueError and EOFError.
    """
    with _lenient():
        for one, other in _views(file, findings):
            try:
                rest = _compare(_decode(one, FILLS[0], open_), _decode(other, FILLS[1], open_))
            except (OSError, ValueError, EOFError):  # no pixel is readable
                continue
            if rest is not None:
                return rest
    raise Undecodable("damaged")


@contextmanager
def _lenient() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _views(file: BinaryIO, findings: Findings) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Yield pairs of views of a file, the best pair first.

    Both views of a pair end at the same offset. Only the bytes that fill a missing end differ.
    """
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"RIFF"):
        one, other = (io.BytesIO(webp.first_picture(file, fill)) for fill in WEBP_FILLS)
        yield one, other
        return
    if head[4:8] == b"ftyp":
        end = min(codecs.stated_end(file), file.seek(0, os.SEEK_END) + MAX_PADDING_BYTES)
        yield _Filled(file, end, FILLS[0]), _Filled(file, end, FILLS[1])
        return
    if head.startswith(b"\x89PNG") and (last := png.last_of_pixels(file)) is not None:
        cut = _Filled(file, last, 0)
        yield cut, cut
        return
    yield file, file
    if findings.jpeg_header is not None:
        # If a progressive JPEG has a broken scan, libjpeg returns no pixels at all. So end the file
        # before the broken scan.
        reached = file.tell()
        ends = [start for start in findings.jpeg_header.scans[1:] if start < reached]
        for end in ends[: -MAX_EARLIER_ENDS - 1 : -1]:
            cut = _Filled(file, end, 0)
            yield cut, cut


def _decode(file: BinaryIO, fill: int, open_: Open) -> ImageFile.ImageFile:
    """Decode into an image that is filled with one colour. Ignore exceptions of the decoder."""
    image = open_(file)
    if image.format == "GIF":
        # A tuple of three values: the bits, whether the image is interlaced, the transparent
        # colour.
        arguments = image.tile[0].args
        image.info["interlace"] = isinstance(arguments, tuple) and bool(arguments[1])
    if image.format not in ("WEBP", "AVIF", "HEIF"):
        # `_tile_size` is private in Pillow. The tiles of a TIFF may be larger than the image.
        size = getattr(image, "_tile_size", image.size)
        image.im = Image.new(image.mode, size, _ink(image.mode, fill)).im
        with suppress(OSError, SyntaxError, ValueError, EOFError, IndexError):
            image.load()
        image.tile = []
    else:
        image.load()
    return image


def _ink(mode: str, fill: int) -> int | tuple[int, ...]:
    if mode.startswith("I;16"):
        return fill * 257
    bands = Image.getmodebands(mode)
    return fill if bands == 1 else (fill,) * bands


def _compare(one: ImageFile.ImageFile, other: ImageFile.ImageFile) -> Rest | None:
    """Find the pixels that were never written. Returns None if no pixel was written."""
    missing = _differences(one, other)
    whole = missing.getbbox()
    if one.format in ("WEBP", "AVIF", "HEIF") and whole is not None:
        # Below the first row that differs, no pixel is reliable, even if both images are equal
        # there.
        missing.paste(255, (0, whole[1], *missing.size))
    if missing.getextrema() == (255, 255):
        return None
    if one.info.get("interlace"):
        missing = _spread(one, missing)
    if one.format == "JPEG" and _is_blank_jpeg(one):
        return None
    return Rest(image=one, missing=missing if whole is not None else None)


def _differences(one: Image.Image, other: Image.Image) -> Image.Image:
    """Return a mask that is 255 where two images differ.

    Compares a few rows at a time, so that no whole image is copied.
    """
    found = Image.new("L", one.size)
    rows = max(1, STRIP_PIXELS // one.width)
    for top in range(0, one.height, rows):
        strip = (0, top, one.width, min(top + rows, one.height))
        apart = ImageChops.difference(_numbers(one.crop(strip)), _numbers(other.crop(strip)))
        found.paste(_brightest(apart).point([0] + [255] * 255), strip)
    return found


def _spread(image: Image.Image, missing: Image.Image) -> Image.Image:
    """Copy the pixels of an interlaced image to their missing neighbours, as browsers do.

    Fills up to 7 pixels to the right and down, because the pixels of the first pass are 8 pixels
    apart. Returns the mask of the pixels that are still missing.
    """
    for step in (1, 2, 4):
        for across, down in ((step, 0), (0, step)):
            there = ImageChops.invert(ImageChops.offset(missing, across, down))
            # `offset` also moves pixels across the edge to the opposite edge, where they are no
            # neighbours.
            there.paste(0, (0, 0, across or there.width, down or there.height))
            filled = ImageChops.darker(missing, there)
            image.paste(ImageChops.offset(image, across, down), mask=filled)
            missing = ImageChops.subtract(missing, filled)
    return missing


def _numbers(image: Image.Image) -> Image.Image:
    """Return the samples, or the palette indexes, in a mode that ImageChops can compare."""
    if image.mode == "P":
        return Image.frombytes("L", image.size, image.tobytes())
    if image.mode == "1" or image.mode.startswith("I;16"):
        return image.convert("L")
    return image


def _brightest(image: Image.Image) -> Image.Image:
    bands = image.split()
    brightest = bands[0]
    for band in bands[1:]:
        brightest = ImageChops.lighter(brightest, band)
    return brightest


def _is_blank_jpeg(image: Image.Image) -> bool:
    return all(
        low == high and low in GREY for low, high in (band.getextrema() for band in image.split())
    )


class _Filled(io.RawIOBase, BinaryIO):
    """A view of a file that ends at `end`.

    A longer file is cut there. A shorter file is filled up with bytes of one value.
    """

    def __init__(self, file: BinaryIO, end: int, fill: int) -> None:
        super().__init__()
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._end = end
        self._fill = bytes([fill])
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int | None = -1) -> bytes:
        left = max(0, self._end - self._at)
        count = left if count is None or count < 0 else min(count, left)
        self._file.seek(self._at)
        body = self._file.read(max(0, min(count, self._size - self._at)))
        body += self._fill * (count - len(body))
        self._at += count
        return body
