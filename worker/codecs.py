"""What reads which image: only formats that were asked for, and in them only what is well tried."""

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
from worker import jpeg, png
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

TIFF_COMPRESSIONS: Final = frozenset(
    {
        "raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg",
        "tiff_ccitt", "group3", "group4",
    }
)  # fmt: skip
"""Compressions that are decoded in TIFF: those of TIFF 6.0 and its supplements that scanners and
editors write. What else libtiff may have been built with is rare, and code that few look at."""

_CUT: Final = ("truncated", "unexpected end", "end of file")
_UNKNOWN: Final = ("unknown pixel mode", "unknown data organization", "unsupported", "no codec")
"""Decoders' words for a file that ends too early, and for a kind that they do not know; they are
the only sign of it."""

_readers: list[Reader] = list(ALWAYS)

ImageFile.LOAD_TRUNCATED_IMAGES = False
png.ignore_what_is_not_used()


def choose_readers(more: Collection[str]) -> list[Reader]:
    """Read JPEG, PNG, GIF, WebP and `more` from now on: `avif`, `tiff` or `heic`.

    They decode in the calling thread; but libde265, which HEIC needs, starts one of its own.
    Raises ImportError where `heic` is named and its extra is not installed.
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
            if image.format == "TIFF" and image.info.get("compression") not in TIFF_COMPRESSIONS:
                raise Rejected("unsupported")
            return image
    raise refused or Rejected("broken")


def fault(file: BinaryIO, error: Exception) -> str:
    """Name the reason for which an image could not be decoded."""
    words = str(error).lower()
    if any(word in words for word in _CUT) or isinstance(error, EOFError) or is_cut_off(file):
        return "truncated"
    # a KeyError behind it: a code in the header that Pillow has no entry for
    if any(word in words for word in _UNKNOWN) or isinstance(error.__cause__, KeyError):
        return "unsupported"
    return "broken"
