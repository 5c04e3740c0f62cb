"""Matroska and WebM, by the first bytes of a file.

Source: EBML is RFC 8794, the ids of elements are in RFC 9559.
"""

from typing import Final

MAX_STEPS: Final = 200
"""Parts of a file that are read, whatever lengths the file gives."""

EBML_MAGIC: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT, _TRACKS, _TRACK, _TRACK_TYPE, _DOC_TYPE = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x4282
_CLUSTER: Final = 0x1F43B675
_MATROSKA: Final = {b"webm": "webm", b"matroska": "x-matroska"}
_AUDIO: Final = 2


def identify_matroska(head: bytes) -> str | None:
    """Name a Matroska file by its kind and its tracks, as far as they stand in `head`."""
    kind, tracks, complete = None, set(), False
    at, steps = 0, 0
    while (steps := steps + 1) < MAX_STEPS and (found := _element(head, at)) is not None:
        element, body, end = found
        at = end
        if element in (0x1A45DFA3, _SEGMENT, _TRACKS, _TRACK):
            at = body  # walk on inside
            complete = complete or (element == _TRACKS and end <= len(head))
        elif element == _DOC_TYPE:
            kind = _MATROSKA.get(head[body:end].rstrip(b"\0"))
        elif element == _TRACK_TYPE:
            tracks.add(int.from_bytes(head[body:end], "big"))
        elif element == _CLUSTER:
            break
    if kind is None:
        return None
    return f"audio/{kind}" if complete and tracks == {_AUDIO} else f"video/{kind}"


def _element(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Read an element's head: its id, where its body begins and ends; None if it is cut."""
    size_at = at + _width(data, at)
    body = size_at + _width(data, size_at)
    if not at < size_at < body <= len(data):
        return None
    length = int.from_bytes(data[size_at:body], "big") & ((1 << 7 * (body - size_at)) - 1)
    return int.from_bytes(data[at:size_at], "big"), body, body + length


def _width(data: bytes, at: int) -> int:
    """Tell how many bytes a number has, by the zeros before its first bit: 1 to 8, 0 if none."""
    return (9 - data[at].bit_length()) % 9 if at < len(data) else 0
