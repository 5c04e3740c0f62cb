"""What a file is, by its bytes, whatever client, name or store say.

libmagic names it by how it begins. Where that is not enough (documents that share a container,
texts, what is told by its end), `identify` goes on; images that are decoded are never asked twice.
"""

import re
from typing import Final

from shared import content_types
from shared.reserved import TYPES as RESERVED
from worker.decoding.formats import IMAGES, MORE, PDF
from worker.sniffing.iso_media import identify_boxes
from worker.sniffing.libmagic import mime_type, text_encoding
from worker.sniffing.matroska import EBML_MAGIC, identify_matroska
from worker.sniffing.ole import OLE_MAGIC, identify_compound
from worker.sniffing.ranges import PartialFile, Reading
from worker.sniffing.runnables import identify_runnable
from worker.sniffing.text import TEXTS, identify_text
from worker.sniffing.zip import TAIL_BYTES, ZIP, identify_archive

SNIFFED_BYTES: Final = 4 * 1024
"""How much libmagic is shown. No signature lies further back but those that are read here, and the
time that it takes for empty lines grows with their square: 65 ms for this much, 250 ms for 16 KiB.
So of a text that is mostly white space, it is shown no more than the beginnings of the gaps.
"""

_SPACE: Final = b" \t\n\r\f\v"
_LONG_SPACE: Final = re.compile(rb"(\s{16})\s++")

UNKNOWN: Final = "application/octet-stream"
_MP4: Final = "video/mp4"
_DISK_IMAGE: Final = "application/x-apple-diskimage"

# libmagic's names → the registered ones, or those that browsers use
_NAMES: Final = {
    "application/cdfv2": "application/x-ole-storage",
    "application/x-empty": UNKNOWN,
    "inode/x-empty": UNKNOWN,
    "image/svg": "image/svg+xml",
    "application/x-gzip": "application/gzip",
    "application/x-rar": "application/vnd.rar",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "text/x-html": "text/html",
}

_GUESSED: Final = frozenset({UNKNOWN, "image/x-tga"})
"""What libmagic says of anything: TGA has no signature, so that random bytes are often one."""

_SETTLED: Final = IMAGES.union(*MORE.values())
"""What stays an image though its end is another file: it is measured and shown as the image."""

_PDF_START = re.compile(rb"%PDF-\d")
_PDF_JUNK_BYTES: Final = 1024
"""Readers accept as much in front of a PDF (Adobe's PDF Reference 1.7, appendix H.3, note 13)."""


def sniff(head: bytes) -> str:
    """Name the content type of a file that begins with `head`; 4 KiB of it are looked at.

    Takes from tens to hundreds of microseconds, milliseconds for text. Never raises for what
    the bytes are.
    """
    if not head:
        return UNKNOWN
    # libmagic does not look at a single byte.
    sniffed = head[:SNIFFED_BYTES] if len(head) > 1 else head + b"\n"
    if 2 * len(sniffed.translate(None, _SPACE)) < len(sniffed):
        sniffed = _LONG_SPACE.sub(rb"\1", sniffed)
    name = (mime_type(sniffed) or "").partition(";")[0].strip().lower()
    if "/" not in name or not content_types.is_well_formed(name):
        return UNKNOWN
    return _NAMES.get(name, name)


def identify(head: bytes, size: int) -> Reading[str]:
    """Name the content type of a file of `size` bytes that begins with `head`, its first 64 KiB.

    Yields a range (start, end) of bytes that must be seen besides, four times at the most, three of
    64 KiB and 22 bytes at the most and one of 4 MiB, and is sent them; fewer are taken for the end
    of what can be had. Never raises for what the bytes are.
    """
    name = sniff(head)
    if name in IMAGES or name in RESERVED:
        return name
    file = PartialFile(head, size)
    name = yield from _by_its_beginning(name, file)
    if name in _SETTLED or name in RESERVED:
        return name
    return (yield from _by_its_end(name, file))


def _by_its_beginning(name: str, file: PartialFile) -> Reading[str]:
    """Name what libmagic calls `name` by the structure that its beginning has."""
    head = file.head
    if (runnable := identify_runnable(head)) is not None:
        return runnable
    if head.startswith(OLE_MAGIC):
        found = yield from identify_compound(file)
        return name if found == "application/x-ole-storage" and name != UNKNOWN else found
    if head[4:8] == b"ftyp" or name in _GUESSED:
        found_boxes = yield from identify_boxes(file, named=name not in _GUESSED | {_MP4})
        if found_boxes is not None:
            return found_boxes
    if head.startswith(EBML_MAGIC):
        return identify_matroska(head) or name
    if name == PDF or name in _GUESSED or name in TEXTS:
        if _is_pdf(head):
            return PDF
        if name == PDF:  # so libmagic calls whatever has a PDF's signature in its first 256 bytes
            name = UNKNOWN if text_encoding(head) == "binary" else "text/plain"
    if name in TEXTS:
        return identify_text(name, head, whole=len(head) == file.size)
    return name


def _by_its_end(name: str, file: PartialFile) -> Reading[str]:
    """Name what its end tells of: a disk image of Apple's, or an archive.

    A name that was found before gives way only to those that are never accepted.
    """
    tail = yield from file.look(max(0, file.size - TAIL_BYTES), TAIL_BYTES)
    if len(tail) >= 512 and tail[-512:-500] == b"koly\0\0\0\4\0\0\2\0":  # version 4, 512 bytes
        return _DISK_IMAGE
    archive = yield from identify_archive(file)
    if archive is None:
        return ZIP if name == UNKNOWN and file.head.startswith(b"PK\3\4") else name
    if archive in RESERVED or name in _GUESSED:
        return archive
    if file.head.startswith(b"PK") and archive != ZIP:
        return archive
    return name


def _is_pdf(head: bytes) -> bool:
    """Whether a PDF begins within the first KiB: as such, not as a text that speaks of one."""
    found = _PDF_START.search(head, 0, _PDF_JUNK_BYTES + 8)
    if found is None:
        return False
    before = head[: found.start()]
    return not before or (
        b" obj" in head
        and (not before.isascii() or b"\0" in before or before.endswith((b"\r", b"\n")))
    )
