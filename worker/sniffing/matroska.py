"""Identify Matroska and WebM by the first bytes of a file.

Sources: RFC 8794 for EBML, RFC 9559 for the ids of elements.
"""

from typing import Final

MAX_STEPS: Final = 200
"""Maximum number of elements that are read, even if there are more."""

EBML_MAGIC: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT, _TRACKS, _TRACK, _TRACK_TYPE, _DOC_TYPE = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x4282
_CLUSTER: Final = 0x1F43B675
_MATROSKA: Final = {b"webm": "webm", b"matroska": "x-matroska"}
_AUDIO: Final = 2


def identify_matroska(head: bytes) -> str | None:
    """Return the type of a Matroska file by its DocType and its tracks, if `head` has them.

    Returns None if the DocType is unknown. The type is an audio type only if all tracks are in
    `head` and are audio.
    """
    kind, tracks, complete = None, set(), False
    at, steps = 0, 0
    while (steps := steps + 1) < MAX_STEPS and (found := _element(head, at)) is not None:
        element, body, end = found
        at = end
        if element in (0x1A45DFA3, _SEGMENT, _TRACKS, _TRACK):
            at = body  # continue inside this element
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
    """Read an element's header: its id, and the offsets of its body and end; None if it is cut
    off."""
    size_at = at + _width(data, at)
    body = size_at + _width(data, size_at)
    if not at < size_at < body <= len(data):
        return None
    length = int.from_bytes(data[size_at:body], "big") & ((1 << 7 * (body - size_at)) - 1)
    return int.from_bytes(data[at:size_at], "big"), body, body + length


def _width(data: bytes, at: int) -> int:
    """Return the length of a number by its leading zero bits: 1 to 8 bytes, or 0 if invalid."""
    return (9 - data[at].bit_length()) % 9 if at < len(data) else 0
