"""Read a JPEG's header before it is decoded: its size, its coding, and its scans.

Pillow does not check the coding. If it cannot decode a coding, its error does not name this cause.
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
"""Maximum number of scans in a JPEG that is decoded. Normal progressive JPEGs have about 10 scans;
the maximum in a large corpus is 53. Each scan costs a pass over all coefficients: 500 scans take
ten seconds, 10 scans a fraction of a second."""

MAX_SEGMENTS: Final = 10_000
"""Maximum number of segments that are read. A colour profile of 16 MB takes 255. A file with more
segments counts as damaged: its number of scans is unknown, so it must not be decoded."""

_DECODED: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Frame markers of the JPEGs that are decoded: baseline, extended and progressive, with Huffman or
arithmetic coding (ITU-T T.81, table B.1). Lossless JPEGs cannot be shrunk while they are decoded,
and no decoder reads hierarchical ones."""

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA
_NUMBER_OF_LINES: Final = 0xDC

_TAIL_BYTES: Final = 4096
"""After the end of an image, a preview may follow. There may be padding between the two, so the
start of the preview is searched in this number of bytes."""

_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Matches the markers that matter. A search for this pattern skips what libjpeg skips too: stuffed
bytes, restart markers, reserved codes, fill bytes (FF) and other data."""

_CHUNK_BYTES: Final = 64 * 1024
"""Number of bytes per read. It is small, because a chunk may be read again after each segment."""

_ICC_HEAD_BYTES: Final = 14
"""A colour profile may be split into pieces. This is the length, in bytes, of what comes before the
data of each piece: a name, the piece's number, and the number of pieces (ICC.1, annex B.4)."""

_APPLICATION_MARKERS: Final = (*range(0xFFE0, 0xFFF0), 0xFFFE)


@dataclass(slots=True)
class Header:
    """The values in a JPEG's header. `fault` is the reason why the pixels must not be decoded.

    `width` and `height` are in pixels, or 0 if no frame header gives them. `samples` is the average
    number of samples per pixel. It is 1.5 if colour has half resolution in both directions, because
    four pixels share each colour sample. `scans` has the offsets of the scans. If `single_scan` is
    true, there is only one.
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
    """Read the header and find the scans. Leaves the file at its start.

    Jumps from segment to segment up to the last scan. So bytes that look like a marker are ignored
    inside a segment and after the end of the image. The file must begin with the marker SOI, as
    every JPEG does.
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
        start = file.tell() - 2
        stated = file.read(2)
        # libjpeg treats a length below 2 (the two bytes of the length itself) as an empty segment.
        end = start + 2 + max(2, int.from_bytes(stated, "big"))
        if marker in _FRAMES and not header.scans:
            fault = _read_frame(marker, file.read(end - file.tell()), header)
            if fault is not None:
                return fault
        if end > size or len(stated) < 2:
            return None if header.scans else "damaged"
        if marker == _START_OF_SCAN:
            header.scans.append(start)
            if len(header.scans) > MAX_SCANS:
                return "too_expensive"
            # In a sequential image, a first scan with all components is the only scan.
            if not header.progressive and int.from_bytes(file.read(1)) >= header.components:
                header.single_scan = len(header.scans) == 1
                return None
        file.seek(end)
    return "damaged"


def ends_early(file: BinaryIO, header: Header) -> bool:
    """Return True if the data of an image with a single scan end too early.

    The data must end at the marker EOI (end of image) or DNL (number of lines). After EOI, only
    blanks or a preview may follow. This check is needed, because Pillow reports no error if rows
    are missing: libjpeg paints them grey. Returns False if the image has several scans.
    """
    if not header.single_scan:
        return False
    file.seek(header.scans[0] + 2)
    file.seek(int.from_bytes(file.read(2), "big") - 2, os.SEEK_CUR)
    marker = _next_marker(file)
    if marker != _END_OF_IMAGE:
        return marker not in (None, _NUMBER_OF_LINES)
    rest = file.read(_TAIL_BYTES).strip(BLANK)
    return bool(rest) and not rest.startswith(b"\xff\xd8")


def _next_marker(file: BinaryIO) -> int | None:
    """Return the code of the next marker, and leave the file after it; None if there is none.

    Entropy-coded data contain only restart markers (T.81, B.1.1.5), so any other marker ends them.
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
    """Read a frame header into `header` (T.81, B.2.2). Return its fault, or None if it has none."""
    if len(body) < 6:
        return "damaged"
    precision, header.height, header.width, header.components = struct.unpack_from("!BHHB", body)
    header.progressive = marker in (0xC2, 0xCA)
    # If the height is 0, the real height may come after the first scan (T.81, B.2.5).
    if marker not in _DECODED or precision != 8 or not header.height:
        return "unsupported"
    if header.components not in (1, 3, 4):
        return "unsupported"
    factors = [(byte >> 4, byte & 15) for byte in body[7 : 6 + 3 * header.components : 3]]
    largest = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    header.samples = sum(h * v for h, v in factors) / max(1, largest)
    return None


def forgive_application_data() -> None:
    """Make Pillow's reader ignore broken APPn and comment segments. May be repeated.

    Every browser shows an image with an empty or short JFIF, Exif, Adobe or ICC segment.
    """
    for marker in _APPLICATION_MARKERS:
        name, description, handler = JpegImagePlugin.MARKER[marker]
        if handler is not None and not isinstance(handler, _Forgiving):
            forgiving: Any = _Forgiving(handler)
            JpegImagePlugin.MARKER[marker] = (name, description, forgiving)
    # TEM has no length and no meaning (T.81, table B.1), and Pillow does not know it.
    JpegImagePlugin.MARKER[0xFF01] = ("TEM", "Temporary", None)


class _Forgiving:
    """Wraps Pillow's handler of a segment and ignores faults in the segment.

    The handler reads the whole segment before it parses it. So if parsing fails, the file is
    already at the next marker.
    """

    def __init__(self, handler: Callable[[Any, int], None]) -> None:
        self._handler = handler

    def __call__(self, image: JpegImagePlugin.JpegImageFile, marker: int) -> None:
        try:
            self._handler(image, marker)
        except OSError:  # the file ends inside the segment
            raise
        except Exception:  # Pillow raises struct.error, IndexError, ValueError and others
            return
        # When Pillow joins the pieces of a profile, each must have a number. Remove pieces without
        # one.
        image.icclist[:] = [piece for piece in image.icclist if len(piece) > _ICC_HEAD_BYTES]
