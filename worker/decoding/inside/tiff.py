"""What of a TIFF is decoded, and what of it lies beyond the end of its file.

TIFFs are put together by offsets: their directories and pixels may be anywhere. The numbers are
those of TIFF 6.0.
"""

import os
import struct
from typing import BinaryIO, Final

from PIL import TiffImagePlugin

from shared.errors import Undecodable

COMPRESSIONS: Final = frozenset(
    {
        "raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg",
        "tiff_ccitt", "group3", "group4",
    }
)  # fmt: skip
"""Compressions that are decoded in TIFF: those of TIFF 6.0 and its supplements that scanners and
editors write. What else libtiff may have been built with is rare, and code that few look at."""

_PIECES: Final = ((273, 279), (324, 325))
"""Tags of where strips and tiles begin, and of how many bytes they have (section 8)."""

_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""How long a value of each type is (section 2)."""


def check_header(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse what is not decoded: raises Undecodable with `unsupported`."""
    if image.info.get("compression") not in COMPRESSIONS:
        raise Undecodable("unsupported")


def lacks_pixels(image: TiffImagePlugin.TiffImageFile, size: int) -> bool:
    """Whether pixels are beyond the end of a file of `size` bytes.

    libtiff says of those no more than that it cannot decode them. Pixels that are not compressed
    are not asked for how many bytes they have, as Pillow does not either.
    """
    if image.info.get("compression") == "raw":
        return False
    for begins, counts in _PIECES:
        pieces = zip(image.tag_v2.get(begins, ()), image.tag_v2.get(counts, ()), strict=False)
        if any(begin + count > size for begin, count in pieces):
            return True
    return False


def is_cut_off(file: BinaryIO) -> bool:
    """Whether a TIFF's first directory, or what stands in it, goes on where the bytes end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(8)
    if len(head) < 8 or head[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order = "<" if head.startswith(b"II") else ">"
    at = file.seek(*struct.unpack(f"{order}I", head[4:]))
    stated = file.read(2)
    if len(stated) < 2:
        return True
    (entries,) = struct.unpack(f"{order}H", stated)
    if at + 2 + 12 * entries + 4 > size:
        return True
    for _, kind, count, place in struct.iter_unpack(f"{order}HHII", file.read(12 * entries)):
        length = count * _BYTES.get(kind, 0)
        if length > 4 and place + length > size:  # shorter ones stand in place of their offset
            return True
    return False
