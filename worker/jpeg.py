"""What a JPEG's header says before anything is decoded: its coding, and how often it is gone over.

Pillow tells neither: it takes every coding for decodable, and has no word for what it cannot read.
"""

import os
from typing import BinaryIO, Final

from shared.errors import Rejected

MAX_SCANS: Final = 100
"""Normal progressive JPEGs have about 10 scans, the worst of a large corpus 53; each costs a pass
over all coefficients, so 500 scans take ten seconds where ten take a fraction of one."""

MAX_SEGMENTS: Final = 10_000
"""Segments that are walked over at the most; a 16 MB colour profile takes 255."""

_DECODED: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, Huffman and arithmetic (ITU-T T.81, table B.1). Lossless
ones cannot be shrunk while decoding, hierarchical ones nobody reads."""

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN: Final = 0xDA


def check_header(file: BinaryIO) -> None:
    """Refuse what is not decoded, or would be gone over too often; leaves the file at its start.

    Raises Rejected with `unsupported`, `too_many_scans` or `truncated`. What is no JPEG header at
    all passes: its decoder has better words for it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(2)
    components = 0
    progressive = False
    for _ in range(MAX_SEGMENTS):
        marker = file.read(2)
        while marker == b"\xff\xff":  # any number of these may fill up (T.81, B.1.1.2)
            marker = b"\xff" + file.read(1)
        if len(marker) == 2 and marker[0] == 0xFF and marker[1] in _BARE:
            continue
        stated = file.read(2)
        length = int.from_bytes(stated, "big")
        end = file.tell() - 2 + length
        if end > size or len(stated) < 2:
            raise Rejected("truncated")
        if marker[0] != 0xFF or length < 2:
            break
        if marker[1] in _FRAMES:
            precision, height, _, components = _frame(file.read(6))
            # no height: it comes behind the first scan, if at all (T.81, B.2.5)
            if marker[1] not in _DECODED or precision != 8 or not height:
                raise Rejected("unsupported")
            if components not in (1, 3, 4):
                raise Rejected("unsupported")
            progressive = marker[1] in (0xC2, 0xCA)
        elif marker[1] == _START_OF_SCAN:
            # Where the first scan holds all components of a sequential image, there is no second.
            first = file.read(1)[0]
            if (progressive or first < components) and _scans(file) > MAX_SCANS:
                raise Rejected("too_many_scans")
            break
        file.seek(end)
    file.seek(0)


def _frame(body: bytes) -> tuple[int, int, int, int]:
    """Give precision in bits, height, width, and the number of components (T.81, B.2.2)."""
    body = body.ljust(6, b"\0")
    return (
        body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5],
    )  # fmt: skip


def _scans(file: BinaryIO) -> int:
    """Count start-of-scan markers; inside entropy-coded data none can stand (ITU-T T.81, B.1.1)."""
    file.seek(0)
    count, last = 0, b""
    while chunk := file.read(1 << 20):
        count += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:]
    return count
