"""Identify the content type of a file by its bytes. What the client or the store says is not used.

libmagic identifies a file by its first bytes. `identify` continues if that is not enough: for
documents that share a container, for texts, and for formats that are marked at the end of the file.
For the image formats that are always decoded, it reads no further range of the file.
"""

import re
from typing import Final

from shared import content_types
from shared.reserved import TYPES as RESERVED
from worker.decoding.formats import FILMS, IMAGES, MORE, PDF
from worker.sniffing.id3 import MAGIC as ID3
from worker.sniffing.id3 import identify_tagged
from worker.sniffing.iso_media import identify_iso_media
from worker.sniffing.libmagic import mime_type, text_encoding
from worker.sniffing.matroska import EBML_MAGIC, identify_matroska
from worker.sniffing.ole import OFFICE_97, OLE_MAGIC, identify_compound
from worker.sniffing.ole_preview import find_in_compound
from worker.sniffing.protocol import Identified
from worker.sniffing.ranges import PREVIEW_RANGES, PartialFile, Reading
from worker.sniffing.raws import X3F
from worker.sniffing.runnables import identify_runnable
from worker.sniffing.text import TEXTS, identify_text
from worker.sniffing.unlisted import identify_unlisted
from worker.sniffing.zip import OFFICE, OPEN_DOCUMENT, ZIP, identify_archive
from worker.sniffing.zip_directory import TAIL_BYTES
from worker.sniffing.zip_preview import find_in_archive

SNIFFED_BYTES: Final = 4 * 1024
"""Number of bytes that libmagic gets. The signatures that libmagic must find are within these
bytes. Other modules look for signatures at later offsets. libmagic's time for empty lines grows
with the square of their number: 65 ms for 4 KiB, 250 ms for 16 KiB. So if a text is mostly white
space, its long gaps are shortened first."""

_SPACE: Final = b" \t\n\r\f\v"
_LONG_SPACE: Final = re.compile(rb"(\s{16})\s++")

UNKNOWN: Final = "application/octet-stream"
_MP4: Final = "video/mp4"
_DOS_PROGRAM: Final = "application/x-dosexec"
_LATM: Final = "audio/x-mp4a-latm"
_LATM_MARK: Final = 0x2B7
_LATM_FRAMES: Final = 3
_DISK_IMAGE: Final = "application/x-apple-diskimage"

# libmagic's name → the registered name, or the name that browsers use
_NAMES: Final = {
    "application/cdfv2": "application/x-ole-storage",
    "application/x-empty": UNKNOWN,
    "inode/x-empty": UNKNOWN,
    "image/svg": "image/svg+xml",
    "application/x-gzip": "application/gzip",
    "application/x-rar": "application/vnd.rar",
    "audio/x-hx-aac-adif": "audio/aac",
    "audio/x-hx-aac-adts": "audio/aac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/x-portable-greymap": "image/x-portable-graymap",
    "image/x-x3f": X3F,
    "text/x-html": "text/html",
}

_PROGRAM_STARTS: Final = (b"MZ", b"ZM")
"""The first bytes of programs for Windows and DOS. libmagic also returns this type for files that
begin with certain instructions, as one in 130 random files does. Windows runs such a file only if
its name ends in `.com`, and such names are reserved."""

_GUESSED: Final = frozenset({UNKNOWN, "image/x-tga"})
"""Results of libmagic that do not identify a type. TGA has no signature, so random bytes often look
like it."""

_SETTLED: Final = IMAGES.union(*MORE.values()) - FILMS
"""Types that stay images even if another file is appended to the image."""

_PDF_START = re.compile(rb"%PDF-\d")
_PDF_JUNK_BYTES: Final = 1024
"""Number of other bytes that PDF readers accept before the start of a PDF (Adobe's PDF Reference
1.7, appendix H.3, note 13)."""


def sniff(head: bytes) -> str:
    """Return the content type of a file by the first 4 KiB of its `head`, with libmagic.

    Takes less than a millisecond, but several milliseconds for a text. Never raises, whatever the
    bytes are. Do not call it from two threads at the same time (`libmagic.mime_type`).
    """
    if not head:
        return UNKNOWN
    # libmagic does not identify a single byte.
    sniffed = head[:SNIFFED_BYTES] if len(head) > 1 else head + b"\n"
    if 2 * len(sniffed.translate(None, _SPACE)) < len(sniffed):
        sniffed = _LONG_SPACE.sub(rb"\1", sniffed)
    name = (mime_type(sniffed) or "").partition(";")[0].strip().lower()
    if "/" not in name or not content_types.is_well_formed(name):
        return UNKNOWN
    if (name == _DOS_PROGRAM and not head.startswith(_PROGRAM_STARTS)) or (
        name == _LATM and not _is_latm(head)
    ):
        return UNKNOWN
    return _NAMES.get(name, name)


def _is_latm(head: bytes) -> bool:
    """Return True if a file consists of frames of AAC in LOAS; libmagic checks only one frame.

    A frame begins with 11 bits of a mark and 13 bits of its length (ISO/IEC 14496-3, 1.7.2).
    """
    at = 0
    for _ in range(_LATM_FRAMES):
        frame = int.from_bytes(head[at : at + 3], "big")
        if len(head) - at < 3 or frame >> 13 != _LATM_MARK:
            return False
        at += 3 + (frame & 0x1FFF)
    return True


def identify_document(head: bytes, size: int) -> Reading[Identified]:
    """Return the content type of a file of `size` bytes, and the preview of a document.

    `head` is its first 64 KiB. Requests the ranges of `identify`. To find a preview, requests at
    most two more, of at most 64 KiB each. For a document without a preview, usually neither of
    these two is requested. Never raises for any bytes.
    """
    file = PartialFile(head, size)
    name = yield from identify(file)
    file.allow(PREVIEW_RANGES)
    preview = None
    if name in OFFICE or name.startswith(OPEN_DOCUMENT):
        preview = yield from find_in_archive(name, file)
    elif name in OFFICE_97:
        preview = yield from find_in_compound(file)
    return Identified(name, preview)


def identify(file: PartialFile) -> Reading[str]:
    """Return the content type of a file of which only the first 64 KiB are known.

    This is a generator: it yields a range (start, end) of bytes that it needs, and the caller sends
    them. It yields at most four ranges: one of up to 4 MiB, the others of up to 65,558 bytes each.
    If the caller sends fewer bytes, the rest is treated as unreadable. Never raises, whatever the
    bytes are.
    """
    name = sniff(file.head)
    if name in IMAGES or name in RESERVED:
        return name
    name = yield from _by_its_beginning(name, file)
    if name in _SETTLED or name in RESERVED:
        return name
    return (yield from _by_its_end(name, file))


def _by_its_beginning(name: str, file: PartialFile) -> Reading[str]:
    """Return the type of a file by the structure at its start. `name` is libmagic's result."""
    head = file.head
    if (runnable := identify_runnable(head)) is not None:
        return runnable
    if head.startswith(OLE_MAGIC):
        found = yield from identify_compound(file)
        return name if found == "application/x-ole-storage" and name != UNKNOWN else found
    if head[4:8] == b"ftyp" or name in _GUESSED:
        media = yield from identify_iso_media(file, named=name not in _GUESSED | {_MP4})
        if media is not None:
            return media
    if head.startswith(ID3) and (tagged := (yield from identify_tagged(file))) is not None:
        return tagged
    if (unlisted := (yield from identify_unlisted(file))) is not None:
        return unlisted
    if head.startswith(EBML_MAGIC):
        return identify_matroska(head) or name
    if name == PDF or name in _GUESSED or name in TEXTS:
        if _is_pdf(head):
            return PDF
        if name == PDF:  # libmagic searches only the first 256 bytes for the signature of a PDF
            name = UNKNOWN if text_encoding(head) == "binary" else "text/plain"
    if name in TEXTS:
        return identify_text(name, head, whole=len(head) == file.size)
    return name


def _by_its_end(name: str, file: PartialFile) -> Reading[str]:
    """Return the type by the end of the file: an Apple disk image, or an archive.

    `name` is the type by the start of the file. If the start makes the type certain, only a
    reserved type replaces `name`, because files of reserved types are never accepted.
    """
    tail = yield from file.look(max(0, file.size - TAIL_BYTES), TAIL_BYTES)
    # the header of a disk image: "koly", version 4, 512 bytes long
    if len(tail) >= 512 and tail[-512:-500] == b"koly\0\0\0\4\0\0\2\0":
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
    """Return True if a PDF begins within the first KiB.

    A text that only mentions `%PDF` is no PDF.
    """
    found = _PDF_START.search(head, 0, _PDF_JUNK_BYTES + 8)
    if found is None:
        return False
    before = head[: found.start()]
    return not before or (
        b" obj" in head
        and (not before.isascii() or b"\0" in before or before.endswith((b"\r", b"\n")))
    )
