"""Whether an image file is nothing but the image: what follows its end may be a script or a ZIP.

Such a file is measured and gets its thumbnail like any other, but a browser is told to download
the original and not to show it. Run inside the box only.
"""

import os
from typing import BinaryIO

MAX_BLOCKS = 200_000
"""Blocks that are walked over at the most; an image in more pieces is not believed to be one."""


def carries_more(file: BinaryIO, kind: str | None) -> bool:
    """Whether a PNG, GIF or WebP goes on after its end, or a GIF begins as a script does.

    A JPEG is not looked at: cameras append previews and films to it as a matter of course.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    match kind:
        case "PNG":
            return _png_end(file) != size
        case "GIF":
            return _gif_end(file) != size
        case "WEBP":
            header = file.read(8)
            end = 8 + int.from_bytes(header[4:8], "little")
            return size > end + end % 2
    return False


def _png_end(file: BinaryIO) -> int | None:
    """Find the byte after IEND (PNG specification, section 5.3: length, type, data, CRC)."""
    file.seek(8)
    for _ in range(MAX_BLOCKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)
        if header[4:] == b"IEND":
            return file.tell()
    return None


def _gif_end(file: BinaryIO) -> int | None:
    """Find the byte after the trailer (GIF89a, sections 18 to 27)."""
    header = file.read(13)
    if len(header) < 13 or header[6:8] == b"/*":  # a width of 10,799 opens a script's comment
        return None
    _skip_colours(file, header[10])
    blocks = 0
    while blocks < MAX_BLOCKS:
        introducer = file.read(1)
        if introducer == b";":
            return file.tell()
        if introducer == b"!":
            file.seek(1, os.SEEK_CUR)
        elif introducer == b",":
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return None
            _skip_colours(file, descriptor[8])
            file.seek(1, os.SEEK_CUR)
        else:
            return None
        while length := file.read(1):
            blocks += 1
            if length == b"\0" or blocks >= MAX_BLOCKS:
                break
            file.seek(length[0], os.SEEK_CUR)
    return None


def _skip_colours(file: BinaryIO, packed: int) -> None:
    if packed & 0x80:
        file.seek(3 << ((packed & 7) + 1), os.SEEK_CUR)
