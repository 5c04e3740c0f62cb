"""Read the masks of a BMP, as browsers do. Pillow ignores or rejects some masks.

Masks give the places of red, green, blue and alpha in a pixel. From version 4 on, the header of a
BMP always has a mask for alpha. Chromium also uses this mask if pixels of 32 bits have no masks for
colours. The headers are BITMAPV4HEADER and BITMAPV5HEADER in Microsoft's documentation.
"""

import io
import os
import struct
from typing import BinaryIO, Final

from PIL import BmpImagePlugin

_WITH_ALPHA: Final = frozenset({56, 108, 124})
"""Lengths of headers that have a mask for alpha, in bytes: those of versions 3, 4 and 5."""

_VERSION_4: Final = 108  # length of the header

_PLAIN, _BY_MASKS, _BY_ALL_MASKS = 0, 3, 6  # values of the field `compression`

_MASKS: Final = 54
"""Offset of the masks: in the header, or directly after a header of 40 bytes."""

_COLOURS_32, _ALPHA_32 = (0xFF0000, 0xFF00, 0xFF), 0xFF000000  # the usual masks

_LAYOUTS: Final = {
    (32, *_COLOURS_32, _ALPHA_32): "BGRA",
    (32, *_COLOURS_32, 0): "BGRX",
    (32, 0xFF, 0xFF00, 0xFF0000, _ALPHA_32): "RGBA",
    (32, 0xFF, 0xFF00, 0xFF0000, 0): "RGBX",
    (32, 0xFF00, 0xFF0000, 0xFF000000, 0xFF): "ARGB",
    (32, 0xFF00, 0xFF0000, 0xFF000000, 0): "XRGB",
    (32, 0xFF000000, 0xFF0000, 0xFF00, 0xFF): "ABGR",
    (32, 0xFF000000, 0xFF0000, 0xFF00, 0): "XBGR",
    (16, 0x7C00, 0x3E0, 0x1F, 0x8000): "BGRA;15",
}
"""Pillow's names of layouts by the bits per pixel and the masks of red, green, blue and alpha.
Pillow's own reader gets the images with other layouts."""


def open_image(file: BinaryIO) -> BmpImagePlugin.BmpImageFile:
    """Read the header of a BMP. If it has a mask for alpha, the image has the mode RGBA."""
    file.seek(0)
    head = file.read(_MASKS + 16)
    file.seek(0)
    layout = _layout(head)
    if layout is None:
        return BmpImagePlugin.BmpImageFile(file)
    image = BmpImagePlugin.BmpImageFile(_WithoutMasks(file))
    if len(image.tile) == 1 and image.mode == "RGB":
        tile = image.tile[0]
        assert isinstance(tile.args, tuple)
        # `_mode` is private in Pillow, which has no public way to change the mode before decoding.
        image._mode = "RGBA" if "A" in layout else "RGB"
        image.tile = [tile._replace(args=(layout, *tile.args[1:]))]
    return image


def _layout(head: bytes) -> str | None:
    """Return Pillow's name of the layout of pixels; None if Pillow reads the header correctly."""
    if len(head) < _MASKS + 16:
        return None
    pixels_at, header, bits, compression = struct.unpack_from("<II10xHI", head, 10)
    colours, alpha = struct.unpack_from("<3I", head, _MASKS), head[_MASKS + 12 : _MASKS + 16]
    has_alpha = header in _WITH_ALPHA or compression == _BY_ALL_MASKS
    masks = (*colours, int.from_bytes(alpha, "little") if has_alpha else 0)
    if compression == _PLAIN and bits == 32 and header >= _VERSION_4:
        masks = (*_COLOURS_32, masks[3])
    elif compression not in (_BY_MASKS, _BY_ALL_MASKS) or not pixels_at:
        return None
    return _LAYOUTS.get((bits, *masks))


class _WithoutMasks(io.RawIOBase, BinaryIO):
    """A view of a BMP whose header says that it has no masks, so that Pillow accepts it."""

    _AT: Final = 30
    """Offset of the field `compression`, which has 4 bytes."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, count: int | None = -1) -> bytes:
        at = self._file.tell()
        body = self._file.read(-1 if count is None else count)
        if at >= self._AT + 4 or at + len(body) <= self._AT:
            return body
        start = max(0, self._AT - at)
        zeros = bytes(min(len(body), self._AT + 4 - at) - start)
        return body[:start] + zeros + body[start + len(zeros) :]
