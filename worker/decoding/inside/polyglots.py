"""Find where an image ends in its file: other data may follow it, or the file may be cut off.

If a script or a ZIP follows the image, the file still gets a thumbnail. But browsers must download
the original instead of showing it. This module runs only inside the sandbox.
"""

import os
from typing import BinaryIO, Final

MAX_BLOCKS: Final = 400_000
"""Maximum number of blocks that are read, which takes a quarter of a second. If an image has more
blocks, its end counts as unknown. An animation of 50,000 small frames has 200,000 blocks."""

_TRAILER_BYTES: Final = 12
"""Minimum length of a PNG's IEND chunk, in bytes."""

BLANK: Final = b"\0\t\n\v\f\r "
"""Bytes after an image that are harmless: padding or line ends."""

_CHUNK_BYTES: Final = 1024 * 1024

_PNG: Final = b"\x89PNG\r\n\x1a\n"


def carries_more(file: BinaryIO) -> bool:
    """Return True if data follow the end of a PNG, GIF or WebP, or a GIF begins like a script.

    Blank bytes after the end are ignored. If the end cannot be found, returns True. A JPEG is not
    checked, because cameras often append previews and films. This is safe: with the type of a JPEG,
    no browser treats a file as a script, a page or an archive.
    """
    if not _has_end(_signature(file)):
        return False
    end = find_end(file)
    return end is None or not _is_blank_from(file, end)


def is_cut_off(file: BinaryIO) -> bool:
    """Return True if a PNG, GIF or WebP is cut off: its stated end is after the last byte."""
    end = find_end(file)
    return end is not None and end > file.seek(0, os.SEEK_END)


def find_end(file: BinaryIO) -> int | None:
    """Return the offset after the end of a PNG, GIF or WebP, as the file states it.

    If the file is cut off, the offset is larger than its size. Returns None if the end cannot be
    found. A GIF without a trailer is not cut off: some programs do not write one, and no reader
    needs it.
    """
    head = _signature(file)
    if head.startswith(_PNG):
        return _png_end(file)
    if head.startswith(b"GIF8"):
        return _gif_end(file)
    if _is_webp(head):
        end = 8 + int.from_bytes(head[4:8], "little")
        return end + end % 2
    return None


def _is_blank_from(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    while chunk := file.read(_CHUNK_BYTES):
        if chunk.strip(BLANK):
            return False
    return True


def _signature(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(12)


def _is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:] == b"WEBP"


def _has_end(head: bytes) -> bool:
    return head.startswith((_PNG, b"GIF8")) or _is_webp(head)


def _png_end(file: BinaryIO) -> int | None:
    """Return the offset after IEND (PNG specification, section 5.3: length, type, data, CRC)."""
    file.seek(8)
    for _ in range(MAX_BLOCKS):
        header = file.read(8)
        if len(header) < 8:
            return file.tell() + _TRAILER_BYTES
        end = file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)
        if header[4:] == b"IEND":
            return end
    return None


def _gif_end(file: BinaryIO) -> int | None:
    """Return the offset after a GIF's trailer or last block (GIF89a, sections 18 to 27)."""
    file.seek(0)
    header = file.read(13)
    if len(header) < 13:
        return 14
    if header[6:8] == b"/*":  # in JavaScript, this begins a comment
        return None
    _skip_colours(file, header[10])
    blocks = 0
    while blocks < MAX_BLOCKS:
        introducer = file.read(1)
        if introducer in (b";", b""):
            return file.tell()
        if introducer == b"!":
            file.seek(1, os.SEEK_CUR)
        elif introducer == b",":
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return file.tell() + 1
            _skip_colours(file, descriptor[8])
            file.seek(1, os.SEEK_CUR)
        else:
            return None
        while blocks < MAX_BLOCKS:
            blocks += 1
            length = file.read(1)
            if not length:
                return file.tell() + 1
            if length == b"\0":
                break
            file.seek(length[0], os.SEEK_CUR)
    return None


def _skip_colours(file: BinaryIO, packed: int) -> None:
    if packed & 0x80:
        file.seek(3 << ((packed & 7) + 1), os.SEEK_CUR)
