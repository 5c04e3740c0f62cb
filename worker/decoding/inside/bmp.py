"""Keep the alpha of a BMP, as browsers do. Pillow ignores it in two layouts.

From version 4 on, the header of a BMP has a mask for alpha. Chromium also uses this mask if pixels
of 32 bits have no masks for colours, and in pixels of 16 bits that have them. Pillow does not. The
header is BITMAPV4HEADER in Microsoft's documentation.
"""

import struct
from typing import BinaryIO, Final

from PIL import BmpImagePlugin

_HEADERS: Final = frozenset({108, 124})
"""Lengths of the headers of versions 4 and 5, in bytes."""

_PLAIN, _BY_MASKS = 0, 3  # values of the field `compression`

_COLOURS_16: Final = [0x7C00, 0x3E0, 0x1F]
"""The masks of red, green and blue in pixels of 16 bits that have one bit of alpha."""

_ALPHA_32, _ALPHA_16 = 0xFF000000, 0x8000  # the masks of alpha


def open_image(file: BinaryIO) -> BmpImagePlugin.BmpImageFile:
    """Read the header of a BMP. If it has a mask for alpha, the image has the mode RGBA."""
    file.seek(0)
    head = file.read(70)
    file.seek(0)
    image = BmpImagePlugin.BmpImageFile(file)
    layout = _layout(head)
    if layout is not None and image.mode == "RGB" and len(image.tile) == 1:
        tile = image.tile[0]
        assert isinstance(tile.args, tuple)
        # `_mode` is private in Pillow, which has no public way to change the mode before decoding.
        image._mode = "RGBA"
        image.tile = [tile._replace(args=(layout, *tile.args[1:]))]
    return image


def _layout(head: bytes) -> str | None:
    """Return Pillow's name of the layout of pixels; None if the header has no mask for alpha."""
    if len(head) < 70:
        return None
    header, bits, compression = struct.unpack_from("<I10xHI", head, 14)
    *colours, alpha = struct.unpack_from("<4I", head, 54)
    if header not in _HEADERS:
        return None
    if (compression, bits, alpha) == (_PLAIN, 32, _ALPHA_32):
        return "BGRA"
    if (compression, bits, alpha) == (_BY_MASKS, 16, _ALPHA_16) and colours == _COLOURS_16:
        return "BGRA;15"
    return None
