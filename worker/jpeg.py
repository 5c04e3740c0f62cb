"""What a JPEG's header says before anything is decoded: its coding, and how often it is gone over.

Pillow tells neither: it takes every coding for decodable, and has no word for what it cannot read.
"""

import os
import re
from typing import BinaryIO, Final

from shared.errors import Rejected

MAX_SCANS: Final = 100
"""Normal progressive JPEGs have about 10 scans, the worst of a large corpus 53; each costs a pass
over all coefficients, so 500 scans take ten seconds where ten take a fraction of one."""

MAX_SEGMENTS: Final = 10_000
"""Segments that are walked over at the most; a 16 MB colour profile takes 255. What has more is
taken for broken: its scans are not counted to the end, so it must not be decoded."""

_DECODED: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, Huffman and arithmetic (ITU-T T.81, table B.1). Lossless
ones cannot be shrunk while decoding, hierarchical ones nobody reads."""

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA

_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""A marker that means something. Stuffed bytes, restarts, reserved codes, FFs that fill up and any
other bytes are stepped over where a marker is looked for, as libjpeg does."""

_CHUNK_BYTES: Final = 64 * 1024
"""Read at once: little enough to be read again behind each of MAX_SEGMENTS."""


def check_header(file: BinaryIO) -> None:
    """Refuse what is not decoded, or would be gone over too often; leaves the file at its start.

    Walks from marker to marker, as far as there may be scans: nothing within a segment or behind
    the image's end counts. Raises Rejected with `unsupported`, `too_many_scans`, `truncated` or
    `broken`. What else is no JPEG passes: its decoder has better words for it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(2)
    components = scans = 0
    progressive = False
    for _ in range(MAX_SEGMENTS):
        marker = _next_marker(file)
        if marker is None and not scans:
            raise Rejected("truncated")
        if marker is None or marker == _END_OF_IMAGE:
            break
        if marker == _START_OF_IMAGE:
            continue
        stated = file.read(2)
        # libjpeg takes a length that does not even cover itself for an empty segment
        end = file.tell() - 2 + max(2, int.from_bytes(stated, "big"))
        if end > size or len(stated) < 2:
            raise Rejected("truncated")
        if marker in _FRAMES and not scans:
            precision, height, _, components = _frame(file.read(6))
            # no height: it comes behind the first scan, if at all (T.81, B.2.5)
            if marker not in _DECODED or precision != 8 or not height:
                raise Rejected("unsupported")
            if components not in (1, 3, 4):
                raise Rejected("unsupported")
            progressive = marker in (0xC2, 0xCA)
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise Rejected("too_many_scans")
            # Where the first scan holds all components of a sequential image, there is no second.
            if not progressive and int.from_bytes(file.read(1)) >= components:
                break
        file.seek(end)
    else:
        raise Rejected("broken")
    file.seek(0)


def _next_marker(file: BinaryIO) -> int | None:
    """Find the next marker and give its code, with the file behind it; None where there is none.

    In entropy-coded data none but restarts can stand (T.81, B.1.1.5), so the next one ends it.
    """
    window = file.read(2)
    while not (found := _MARKER.search(window)):
        chunk = file.read(_CHUNK_BYTES)
        if not chunk:
            return None
        window = window[-1:] + chunk
    file.seek(found.end() - len(window), os.SEEK_CUR)
    return window[found.end() - 1]


def _frame(body: bytes) -> tuple[int, int, int, int]:
    """Give precision in bits, height, width, and the number of components (T.81, B.2.2)."""
    body = body.ljust(6, b"\0")
    return (
        body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5],
    )  # fmt: skip
