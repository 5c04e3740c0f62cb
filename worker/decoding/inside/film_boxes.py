"""Read from a film what FFmpeg does not report.

That is: which of FFmpeg's readers fits, whether the film is cut off, and whether it states only a
part of its length.

Sources: ISO/IEC 14496-12 (8.8.1, 8.8.2), RFC 8794 and RFC 9559 for Matroska, and Microsoft's
reference of AVI files.
"""

from typing import Final

from worker.decoding.inside.pieces import Pieces

_QUICKTIME: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_MAX_BOXES: Final = 1000
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_PACKET_BYTES: Final = 188
_HEAD_BYTES: Final = 4096


def demuxer_of(pieces: Pieces) -> str | None:
    """Return the name of FFmpeg's reader for a film, or None if its container is not supported.

    If FFmpeg chose the reader itself, it could choose one for playlists, which opens other files.
    """
    head = pieces.known(0, _HEAD_BYTES)
    if head[4:8] in _QUICKTIME:
        return "mov"
    if head.startswith(_EBML):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:11] == b"AVI":
        return "avi"
    # M2TS has four more bytes before each packet.
    if any(head[at :: _PACKET_BYTES + at][:4] == b"G" * 4 for at in (0, 4)):
        return "mpegts"
    return None


def is_cut_off(pieces: Pieces, demuxer: str, size: int, indexed_end: int) -> bool:
    """Return True if a film of `size` bytes states that it is longer.

    `indexed_end` is the end of the last frame in its index.
    """
    head = pieces.known(0, _HEAD_BYTES)
    if demuxer == "avi":
        return 8 + int.from_bytes(head[4:8], "little") > size
    if demuxer == "matroska":
        at = head.find(_SEGMENT) + len(_SEGMENT)
        length, end = _vint(head, at) if at >= len(_SEGMENT) else (None, 0)
        return length is not None and end + length > size
    return indexed_end > size


def is_partly_stated(pieces: Pieces, demuxer: str, size: int) -> bool:
    """Return True if a film has fragments and does not state the length of all of them.

    FFmpeg then returns the length of the fragments that it has read.
    """
    if demuxer != "mov" or (movie := _find(pieces, b"moov", 0, size)) is None:
        return False
    extends = _find(pieces, b"mvex", *movie)
    return extends is not None and _find(pieces, b"mehd", *extends) is None


def _find(pieces: Pieces, wanted: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Find a box among those from `at` to `end`. Return the start and end of its body, or None."""
    for _ in range(_MAX_BOXES):
        header = pieces.known(at, 16)
        if at >= end or len(header) < 8:
            break
        length, body = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, body = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:
            length = end - at
        if header[4:8] == wanted:
            return at + body, min(at + length, end)
        if length < body:
            break
        at += length
    return None


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """Read a length in EBML. Return it (None if it is unknown), and the offset after it."""
    width = 9 - data[at].bit_length() if at < len(data) and data[at] else 1
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value, at + width
