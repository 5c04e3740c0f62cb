"""What reads which image: only formats that were asked for, and in them only what is well tried."""

import os
from collections.abc import Collection
from typing import BinaryIO, Final

from PIL import (
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shared.errors import Rejected
from worker import jpeg, png, tiff
from worker.polyglots import is_cut_off

Reader = type[ImageFile.ImageFile]

ALWAYS: Final[tuple[Reader, ...]] = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    GifImagePlugin.GifImageFile,
    WebPImagePlugin.WebPImageFile,
)
"""What reads the formats that are always decoded. They are called by name, never found by Pillow's
`open`, which loads whatever reader it has; the JPEG one sees the first picture of an MPO only."""

_CUT: Final = ("truncated", "unexpected end", "end of file")
_UNKNOWN: Final = ("unknown pixel mode", "unknown data organization", "unsupported", "no codec")
"""Decoders' words for a file that ends too early, and for a kind that they do not know; they are
the only sign of it."""

MAX_BOXES: Final = 100
"""Boxes of an AVIF or HEIC that are walked over at the most; most have three."""

_readers: list[Reader] = list(ALWAYS)

ImageFile.LOAD_TRUNCATED_IMAGES = False
png.ignore_what_is_not_used()


def choose_readers(more: Collection[str]) -> list[Reader]:
    """Read JPEG, PNG, GIF, WebP and `more` from now on: `avif`, `tiff` or `heic`.

    They decode in the calling thread; but libde265, which HEIC needs, starts one of its own.
    Raises ImportError where `heic` is named and its decoder is not installed.
    """
    readers = list(ALWAYS)
    if "tiff" in more:
        readers.append(TiffImagePlugin.TiffImageFile)
    if "avif" in more:
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        readers.append(AvifImagePlugin.AvifImageFile)
    if "heic" in more:
        from pillow_heif import HeifImageFile, register_heif_opener

        # What else such a file holds is not looked at: a preview need not show the same.
        register_heif_opener(
            decode_threads=0, thumbnails=False, depth_images=False, aux_images=False
        )
        readers.append(HeifImageFile)
    _readers[:] = readers
    return readers


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Read the header by the reader that its first bytes call for.

    Raises Rejected, or whatever that reader raises; `fault` names it.
    """
    file.seek(0)
    prefix = file.read(16)
    if prefix.startswith(b"\xff\xd8"):
        jpeg.check_header(file)
    refused: Exception | None = None
    for reader in _readers:
        _, accepts = Image.OPEN[reader.format or ""]
        if accepts is not None and accepts(prefix) is True:
            file.seek(0)
            try:
                image = reader(file)
            except SyntaxError as error:  # its word for "not mine"; AVIF and HEIC begin alike
                refused = error
                continue
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                tiff.check_header(image, file.seek(0, os.SEEK_END))
            return image
    raise refused or Rejected("broken")


def fault(file: BinaryIO, error: Exception) -> str:
    """Name the reason for which an image could not be decoded."""
    words = str(error).lower()
    if any(word in words for word in _CUT) or isinstance(error, EOFError):
        return "truncated"
    if is_cut_off(file) or tiff.is_cut_off(file) or _has_cut_box(file):
        return "truncated"
    # a KeyError behind it: a code in the header that Pillow has no entry for
    if any(word in words for word in _UNKNOWN) or isinstance(error.__cause__, KeyError):
        return "unsupported"
    return "broken"


def _has_cut_box(file: BinaryIO) -> bool:
    """Whether a box of an AVIF or HEIC goes on where the bytes end."""
    size = file.seek(0, os.SEEK_END)
    end = 0
    for _ in range(MAX_BOXES):
        file.seek(end)  # a box's length, with this head, and name (ISO/IEC 14496-12, 4.2)
        head = file.read(8)
        if not end and head[4:] != b"ftyp":
            break
        if 0 < len(head) < 8:
            return True
        length = int.from_bytes(head[:4], "big")
        if length < 8:  # 0: up to the end, wherever that is; 1: longer than any image
            break
        end += length
    return end > size
