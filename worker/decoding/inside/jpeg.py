"""What a JPEG's header says before anything is decoded: its size, its coding, and its scans.

Pillow tells neither: it takes every coding for decodable, and has no word for what it cannot read.
"""

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from PIL import JpegImagePlugin

from shared.reasons import FileCode
from worker.decoding.inside.polyglots import BLANK

MAX_SCANS: Final = 100
"""Normal progressive JPEGs have about 10 scans, the worst of a large corpus 53; each costs a pass
over all coefficients, so 500 scans take ten seconds where ten take a fraction of one."""

MAX_SEGMENTS: Final = 10_000
"""Segments that are walked over at the most; a 16 MB colour profile takes 255. What has more is
taken for damaged: its scans are not counted to the end, so it must not be decoded."""

_DECODED: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, Huffman and arithmetic (ITU-T T.81, table B.1). Lossless
ones cannot be shrunk while decoding, hierarchical ones nobody reads."""

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA
_NUMBER_OF_LINES: Final = 0xDC

_TAIL_BYTES: Final = 4096
"""What is looked at of the bytes behind an image: in front of a preview there is padding."""

_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""A marker that means something. Stuffed bytes, restarts, reserved codes, FFs that fill up and any
other bytes are stepped over where a marker is looked for, as libjpeg does."""

_CHUNK_BYTES: Final = 64 * 1024
"""Read at once: little enough to be read again behind each of MAX_SEGMENTS."""

_ICC_HEAD_BYTES: Final = 14
"""The name, the number and the count before a piece of a colour profile (ICC.1, annex B.4)."""

_APPLICATION_MARKERS: Final = (*range(0xFFE0, 0xFFF0), 0xFFFE)


@dataclass(slots=True)
class Header:
    """What stands before the pixels. `fault` is the reason for which they must not be decoded.

    `width` and `height` are 0 where no frame header tells them. `samples` is how many a pixel has,
    shared ones counted in part: 1.5 where colour is stored at half resolution in both directions.
    `scans` are the places of the scans that were walked over: of an image in a single scan, one.
    """

    width: int = 0
    height: int = 0
    components: int = 0
    samples: float = 0.0
    progressive: bool = False
    single_scan: bool = False
    scans: list[int] = field(default_factory=list)
    fault: FileCode | None = None


def read_header(file: BinaryIO) -> Header:
    """Read what stands before the pixels, and find the scans; leaves the file at its start.

    Walks from marker to marker, as far as there may be scans: nothing within a segment or behind
    the image's end counts. What is no JPEG has no fault here: its decoder has better words for it.
    """
    header = Header()
    file.seek(2)
    header.fault = _walk(file, header)
    file.seek(0)
    return header


def _walk(file: BinaryIO, header: Header) -> FileCode | None:
    size = file.seek(0, os.SEEK_END)
    file.seek(2)
    for _ in range(MAX_SEGMENTS):
        marker = _next_marker(file)
        if marker is None or marker == _END_OF_IMAGE:
            return None if header.scans or marker is not None else "damaged"
        if marker == _START_OF_IMAGE:
            continue
        place = file.tell() - 2
        stated = file.read(2)
        # libjpeg takes a length that does not even cover itself for an empty segment
        end = place + 2 + max(2, int.from_bytes(stated, "big"))
        if marker in _FRAMES and not header.scans:
            fault = _read_frame(marker, file.read(end - file.tell()), header)
            if fault is not None:
                return fault
        if end > size or len(stated) < 2:
            return None if header.scans else "damaged"
        if marker == _START_OF_SCAN:
            header.scans.append(place)
            if len(header.scans) > MAX_SCANS:
                return "too_expensive"
            # Where the first scan holds all components of a sequential image, there is no second.
            if not header.progressive and int.from_bytes(file.read(1)) >= header.components:
                header.single_scan = len(header.scans) == 1
                return None
        file.seek(end)
    return "damaged"


def ends_early(file: BinaryIO, header: Header) -> bool:
    """Whether the data of a single scan end at a marker that ends no image, or before more data.

    libjpeg paints the rest grey, without a word that Pillow would pass on. A preview may follow.
    """
    if not header.single_scan:
        return False
    file.seek(header.scans[0] + 2)
    file.seek(int.from_bytes(file.read(2), "big") - 2, os.SEEK_CUR)
    marker = _next_marker(file)
    if marker != _END_OF_IMAGE:
        return marker not in (None, _NUMBER_OF_LINES)
    behind = file.read(_TAIL_BYTES).strip(BLANK)
    return bool(behind) and not behind.startswith(b"\xff\xd8")


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


def _read_frame(marker: int, body: bytes, header: Header) -> FileCode | None:
    """Read precision in bits, height, width, and the components (T.81, B.2.2); give a fault."""
    if len(body) < 6:
        return "damaged"
    precision, header.height, header.width, header.components = struct.unpack_from("!BHHB", body)
    header.progressive = marker in (0xC2, 0xCA)
    # no height: it comes behind the first scan, if at all (T.81, B.2.5)
    if marker not in _DECODED or precision != 8 or not header.height:
        return "unsupported"
    if header.components not in (1, 3, 4):
        return "unsupported"
    factors = [(byte >> 4, byte & 15) for byte in body[7 : 6 + 3 * header.components : 3]]
    largest = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    header.samples = sum(h * v for h, v in factors) / max(1, largest)
    return None


def forgive_application_data() -> None:
    """Have Pillow's reader ignore what it cannot read in APPn and comments; may be repeated.

    An empty or short JFIF, Exif, Adobe or ICC segment breaks no image in any browser.
    """
    for marker in _APPLICATION_MARKERS:
        name, description, handler = JpegImagePlugin.MARKER[marker]
        if handler is not None and not isinstance(handler, _Forgiving):
            forgiving: Any = _Forgiving(handler)
            JpegImagePlugin.MARKER[marker] = (name, description, forgiving)
    # TEM has no length and no meaning (T.81, table B.1); Pillow does not know it.
    JpegImagePlugin.MARKER[0xFF01] = ("TEM", "Temporary", None)


class _Forgiving:
    """A handler of a segment, which has been read as a whole when what it says is looked at."""

    def __init__(self, handler: Callable[[Any, int], None]) -> None:
        self._handler = handler

    def __call__(self, image: JpegImagePlugin.JpegImageFile, marker: int) -> None:
        try:
            self._handler(image, marker)
        except OSError:  # the file ends before the segment does
            raise
        except Exception:  # Pillow lets struct.error, IndexError, ValueError and others escape
            return
        # Where the profile is put together, each piece is expected to have its number.
        image.icclist[:] = [piece for piece in image.icclist if len(piece) > _ICC_HEAD_BYTES]
