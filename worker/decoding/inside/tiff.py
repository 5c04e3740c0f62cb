"""Check a TIFF: its compression, and whether some of its data are after the end of the file.

A TIFF refers to its data by offsets, so directories and pixels may be anywhere in the file. The
numbers are from TIFF 6.0.
"""

import os
import struct
from typing import BinaryIO, Final

from PIL import TiffImagePlugin

from shared.errors import Undecodable

COMPRESSIONS: Final = frozenset(
    {
        "raw",
        "packbits",
        "tiff_lzw",
        "tiff_adobe_deflate",
        "tiff_deflate",
        "jpeg",
        "tiff_ccitt",
        "group3",
        "group4",
    }
)
"""Compressions that are decoded: those of TIFF 6.0 and its supplements that scanners and editors
write. libtiff may support others, but they are rare and few people have reviewed their code."""

_BIG_ENDIAN_BIGTIFF: Final = b"MM\0+"
_PHOTOMETRIC, _SAMPLES, _PLANAR = 262, 277, 284  # tags of TIFF 6.0, section 8
_YCBCR: Final = 6

_PIECES: Final = ((273, 279), (324, 325))
"""Each pair has the tag of the offsets and the tag of the byte counts. The first pair is for
strips, the second for tiles (TIFF 6.0, section 8)."""

_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Length of a value in bytes, by its type (TIFF 6.0, section 2)."""


def open_image(file: BinaryIO) -> TiffImagePlugin.TiffImageFile:
    """Read the header of a TIFF, and choose a decoder that reads its layout of samples correctly.

    Pillow's own decoder of uncompressed pixels fails if the pixels are in planes, or if their
    colours are subsampled. libtiff reads these layouts correctly. Raises Undecodable with
    `unsupported` if the compression is not allowed, or if libtiff cannot read the layout either.
    """
    file.seek(0)
    # Pillow would read the directory of this file as that of a usual TIFF
    if file.read(4) == _BIG_ENDIAN_BIGTIFF:
        raise Undecodable("unsupported")
    image = _open(file, by_libtiff=True)
    if image.info.get("compression") not in COMPRESSIONS:
        raise Undecodable("unsupported")
    tags = image.tag_v2
    has_planes = tags.get(_PLANAR, 1) == 2 and tags.get(_SAMPLES, 1) > 1
    is_ycbcr = tags.get(_PHOTOMETRIC) == _YCBCR
    is_raw = image.info.get("compression") == "raw"
    if has_planes and is_ycbcr:
        raise Undecodable("unsupported")
    if is_raw and not (has_planes or is_ycbcr):
        return _open(file, by_libtiff=False)
    return image


def _open(file: BinaryIO, *, by_libtiff: bool) -> TiffImagePlugin.TiffImageFile:
    file.seek(0)
    TiffImagePlugin.READ_LIBTIFF = by_libtiff
    try:
        return TiffImagePlugin.TiffImageFile(file)
    finally:
        TiffImagePlugin.READ_LIBTIFF = False


def lacks_pixels(image: TiffImagePlugin.TiffImageFile, size: int) -> bool:
    """Return True if pixels are after the end of a file of `size` bytes.

    libtiff does not report this cause, but only that it cannot decode the pixels. Uncompressed
    pixels are not checked, because Pillow ignores their byte counts too.
    """
    if image.info.get("compression") == "raw":
        return False
    for begins, counts in _PIECES:
        pieces = zip(image.tag_v2.get(begins, ()), image.tag_v2.get(counts, ()), strict=False)
        if any(begin + count > size for begin, count in pieces):
            return True
    return False


def is_cut_off(file: BinaryIO) -> bool:
    """Return True if the file ends inside a TIFF's first directory or inside one of its values."""
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
    for _, kind, count, offset in struct.iter_unpack(f"{order}HHII", file.read(12 * entries)):
        length = count * _BYTES.get(kind, 0)
        # up to 4 bytes are stored in place of the offset
        if length > 4 and offset + length > size:
            return True
    return False
