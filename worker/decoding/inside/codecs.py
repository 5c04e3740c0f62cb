"""Open an image with the reader of its format. Only configured formats are ever tried."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shared.errors import Undecodable
from shared.facts import NO_FACTS, Facts
from worker.decoding.inside import bmp, costs, heif, jpeg, png, tiff, webp
from worker.decoding.inside.colour_spaces import ColourSpace
from worker.decoding.inside.costs import Cost

Reader = type[ImageFile.ImageFile]

ALWAYS: Final[tuple[Reader, ...]] = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    GifImagePlugin.GifImageFile,
    WebPImagePlugin.WebPImageFile,
    BmpImagePlugin.BmpImageFile,
)
"""Readers of the formats that are always decoded. They are called directly, because Pillow's `open`
may load every installed reader. An MPO has several pictures, and the JPEG reader reads only the
first."""

_OPENERS: Final[dict[str, Callable[[BinaryIO], ImageFile.ImageFile]]] = {
    "BMP": bmp.open_image,
    "TIFF": tiff.open_image,
}
"""Functions that call Pillow's reader of a format and correct its result."""

_UNKNOWN: Final = ("unknown pixel mode", "unknown data organization", "unsupported", "no codec")
"""Words in the exception of a reader that does not support the file's variant of the format.
Nothing else in the exception shows this cause."""

MAX_TOP_LEVEL_PARTS: Final = 100
"""Maximum number of top-level boxes (ISO/IEC 14496-12) of an AVIF or HEIC that are read. Most files
have three."""

_readers: list[Reader] = list(ALWAYS)

# Some of Pillow's readers allocate memory before `costs` can check the header. This limit is for
# them. For all other images, `costs` has stricter limits.
Image.MAX_IMAGE_PIXELS = 2**28

ImageFile.LOAD_TRUNCATED_IMAGES = False
png.skip_unused_chunks()
jpeg.forgive_application_data()


@dataclass(slots=True)
class Findings:
    """What is known about an image so far. It is kept even if decoding fails later.

    The width and height in `facts` are those of the stored pixels, before any rotation. They are
    None until a header is read. `damaged` means that a part of the image is missing or wrong.
    `opened` is the image whose header was read last.
    """

    facts: Facts = NO_FACTS
    damaged: bool = False
    jpeg_header: jpeg.Header | None = None
    opened: ImageFile.ImageFile | None = None

    def has_size(self, width: int, height: int) -> None:
        """Record the width and height from a header, in pixels, unless they are impossible."""
        if 0 < width < 2**31 and 0 < height < 2**31:
            self.facts = replace(self.facts, width=width, height=height)


def choose_readers(more: Collection[str]) -> list[Reader]:
    """Set the formats that `open_image` reads: those in `ALWAYS` and in `more`.

    `more` may contain `avif`, `tiff`, `heic` and `jxl`. Returns the readers. They decode in the
    calling thread, except that libde265, which decodes HEIC, starts a thread. Raises ImportError if
    the decoder of HEIC or JPEG XL is needed and not installed. May be repeated.
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

        # Do not read embedded previews and auxiliary images, because a preview may show something
        # else.
        register_heif_opener(
            decode_threads=0, thumbnails=False, depth_images=False, aux_images=False
        )
        readers.append(HeifImageFile)
    if "jxl" in more:
        from worker.decoding.inside.jxl import JxlImageFile

        readers.append(JxlImageFile)
    _readers[:] = readers
    return readers


def open_image(file: BinaryIO, findings: Findings, budget: Cost) -> ImageFile.ImageFile:
    """Open an image with the reader that accepts its first bytes, and record its size.

    Only the header is read. Raises Undecodable, or any exception of the reader. `is_unknown` finds
    out what such an exception means.
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
    elif prefix[4:8] == b"ftyp" and heif.has_other_codec(heif.read_meta(file)):
        raise Undecodable("unsupported")
    refused: Exception | None = None
    for reader in _readers:
        _, accepts = Image.OPEN[reader.format or ""]
        if accepts is not None and accepts(prefix[:16]) is True:
            file.seek(0)
            try:
                image = _OPENERS.get(reader.format or "", reader)(file)
            # The file has another format: AVIF and HEIC begin alike, so the wrong reader may be
            # tried.
            except SyntaxError as error:
                refused = error
                continue
            findings.has_size(*image.size)
            findings.opened = image
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                findings.damaged |= tiff.lacks_pixels(image, file.seek(0, os.SEEK_END))
            return image
    raise refused or Undecodable("damaged")


def colour_of(image: ImageFile.ImageFile, file: BinaryIO) -> bytes | ColourSpace | None:
    """Return the colour space or the ICC profile of an opened image; None for sRGB.

    If a PNG has both cICP and iCCP, cICP is used. If it has both sRGB and gAMA, sRGB is used (PNG
    specification, third edition, 13.13). If an AVIF or HEIC has both a profile and code points, the
    profile is used.
    """
    if image.format == "PNG":
        return png.colour_of(image.info)
    profile = image.info.get("icc_profile")
    if profile is None and image.format in ("AVIF", "HEIF"):
        return heif.colour_space(heif.read_meta(file))
    return profile if isinstance(profile, bytes) else None


def is_lossless(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Return True if the file's format stores every pixel exactly."""
    match image.format:
        case "PNG" | "GIF" | "BMP":
            return True
        case "WEBP":
            return webp.is_lossless(file)
        case "TIFF":
            return image.info.get("compression") != "jpeg"
        case "AVIF" | "HEIF":
            return heif.is_exact(heif.read_meta(file))
        case "JXL":
            return bool(getattr(image, "keeps_every_pixel", False))
    return False


def is_unknown(file: BinaryIO, error: Exception) -> bool:
    """Return True if a reader raised `error` because the file has an unsupported variant."""
    words = str(error).lower()
    # Pillow looks up codes of the header in tables. A KeyError means that a code is unknown.
    if any(word in words for word in _UNKNOWN) or isinstance(error.__cause__, KeyError):
        return not tiff.is_cut_off(file) and stated_end(file) <= file.seek(0, os.SEEK_END)
    return False


def stated_end(file: BinaryIO) -> int:
    """Return the offset of the end of an AVIF or HEIC, from the lengths of its top-level boxes.

    The result is at least the size of the file. If the result is larger, the file is cut off. For
    other formats, returns the size of the file. Source: ISO/IEC 14496-12, 4.2.
    """
    size = file.seek(0, os.SEEK_END)
    end = 0
    for _ in range(MAX_TOP_LEVEL_PARTS):
        if end >= size:
            break
        file.seek(end)
        head = file.read(16)
        if not end and head[4:8] != b"ftyp":
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # with 0, the box reaches to the file's end
            break
        end += length
    return max(end, size)
