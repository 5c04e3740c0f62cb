"""Turn an image upright by its Exif orientation, as browsers do."""

from typing import Final

from PIL import Image, TiffImagePlugin

ORIENTATION: Final = 0x0112
"""The Exif tag of the orientation (Exif 3.0, tag 274)."""

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(image: Image.Image) -> int:
    """Return the orientation (1 to 8) in the Exif data of an image's header; 1 if it is missing.

    Call this before the pixels are decoded. Then an eXIf chunk after the pixels of a PNG is
    ignored, as in browsers. An orientation in XMP or in a PNG's text is ignored too. For a TIFF,
    use `left_to_turn`.
    """
    try:
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        value = exif.get(ORIENTATION, 1)
    except Exception:  # Pillow raises almost any exception; the thumbnail works without Exif
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def left_to_turn(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the orientation that still has to be applied to a decoded TIFF, 1 to 8.

    At the end of decoding, Pillow turns a TIFF and removes the tag. If decoding fails, it does
    neither, and the orientation must still be applied.
    """
    value = image.tag_v2.get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def swaps_edges(orientation: int) -> bool:
    """Return True if turning the image upright exchanges its width and height."""
    return orientation >= 5


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned upright, or the same image if it is upright already."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
