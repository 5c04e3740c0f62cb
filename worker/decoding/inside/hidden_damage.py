"""Find damage that a reader does not report as an error."""

from typing import BinaryIO

from PIL import Image, ImageFile

from worker.decoding.inside import damage, png
from worker.decoding.inside.polyglots import is_cut_off


def is_damaged(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Return True if the file has a fault, although its first frame was decoded without an error.

    The file may be cut off in a later frame or in a PNG's last chunks, or a PNG's checksum may be
    wrong.
    """
    return is_cut_off(file) or (image.format == "PNG" and png.has_wrong_checksum(file))


def ends_unwritten(image: Image.Image) -> bool:
    """Return True if the last row has only zeros: the decoder has probably not written the row.

    Returns False if the image has alpha.
    """
    if image.mode in ("LA", "RGBA"):
        return False  # unwritten pixels are transparent, so they do no harm
    return image.crop((0, image.height - 1, image.width, image.height)).getbbox() is None


def ends_grey(image: Image.Image) -> bool:
    """Return True if the last pixel has the grey that libjpeg paints where data are missing."""
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    return all(value in damage.GREY for value in last.tobytes())
