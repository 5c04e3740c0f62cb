"""What reads which image: only formats that were asked for, and in them only what is well tried."""

import os
from collections.abc import Collection
from dataclasses import dataclass
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

from shared.errors import Undecodable
from worker.decoding.inside import costs, jpeg, png, tiff, webp
from worker.decoding.inside.costs import Cost

Reader = type[ImageFile.ImageFile]

ALWAYS: Final[tuple[Reader, ...]] = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    GifImagePlugin.GifImageFile,
    WebPImagePlugin.WebPImageFile,
)
"""What reads the formats that are always decoded. They are called by name, never found by Pillow's
`open`, which loads whatever reader it has; the JPEG one sees the first picture of an MPO only."""

_UNKNOWN: Final = ("unknown pixel mode", "unknown data organization", "unsupported", "no codec")
"""Decoders' words for a kind that they do not know; they are the only sign of it."""

MAX_BOXES: Final = 100
"""Boxes of an AVIF or HEIC that are walked over at the most; most have three."""

_readers: list[Reader] = list(ALWAYS)

# `costs` estimates by the header. This limit holds where a reader of Pillow's allocates before the
# header has been checked.
Image.MAX_IMAGE_PIXELS = 2**28

ImageFile.LOAD_TRUNCATED_IMAGES = False
png.ignore_what_is_not_used()
jpeg.forgive_application_data()


@dataclass(slots=True)
class Findings:
    """What is found out about an image on the way, whatever comes of it.

    `width` and `height` are in pixels as stored, None where no header tells them. It is `damaged`
    where something of it is missing or wrong. `opened` is the image whose header was read last.
    """

    width: int | None = None
    height: int | None = None
    carries_more: bool = False
    damaged: bool = False
    jpeg_header: jpeg.Header | None = None
    opened: ImageFile.ImageFile | None = None

    def has_size(self, width: int, height: int) -> None:
        """Note what a header says, if it can be true."""
        if 0 < width < 2**31 and 0 < height < 2**31:
            self.width, self.height = width, height


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


def open_image(file: BinaryIO, findings: Findings, budget: Cost) -> ImageFile.ImageFile:
    """Read the header by the reader that its first bytes call for, and note the size.

    Raises Undecodable, or whatever that reader raises; `is_unknown` tells what it means.
    """
    file.seek(0)
    prefix = file.read(30)
    if prefix.startswith(b"\xff\xd8"):
        findings.jpeg_header = jpeg.read_header(file)
        findings.has_size(findings.jpeg_header.width, findings.jpeg_header.height)
        if findings.jpeg_header.fault is not None:
            raise Undecodable(findings.jpeg_header.fault)
    elif (size := webp.read_size(prefix)) is not None and prefix.startswith(b"RIFF"):
        findings.has_size(*size)
        if costs.of_webp(*size).exceeds(budget):
            raise Undecodable("too_expensive")
    refused: Exception | None = None
    for reader in _readers:
        _, accepts = Image.OPEN[reader.format or ""]
        if accepts is not None and accepts(prefix[:16]) is True:
            file.seek(0)
            try:
                image = reader(file)
            except SyntaxError as error:  # its word for "not mine"; AVIF and HEIC begin alike
                refused = error
                continue
            findings.has_size(*image.size)
            findings.opened = image
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                tiff.check_header(image)
                findings.damaged |= tiff.lacks_pixels(image, file.seek(0, os.SEEK_END))
            return image
    raise refused or Undecodable("damaged")


def is_unknown(file: BinaryIO, error: Exception) -> bool:
    """Whether a reader raised this for a kind of image that it does not know, not for damage."""
    words = str(error).lower()
    # a KeyError behind it: a code in the header that Pillow has no entry for
    if any(word in words for word in _UNKNOWN) or isinstance(error.__cause__, KeyError):
        return not tiff.is_cut_off(file) and stated_end(file) <= file.seek(0, os.SEEK_END)
    return False


def stated_end(file: BinaryIO) -> int:
    """Find where the last box of an AVIF or HEIC says that it ends; the file's end, or beyond it.

    Of any other file it is its end (ISO/IEC 14496-12, 4.2).
    """
    size = file.seek(0, os.SEEK_END)
    end = 0
    for _ in range(MAX_BOXES):
        if end >= size:
            break
        file.seek(end)
        head = file.read(16)
        if not end and head[4:8] != b"ftyp":
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: up to the end, wherever that is
            break
        end += length
    return max(end, size)
