"""What shares a container that is no ZIP: OLE compound files, files of boxes, and Matroska.

Pure: what must be seen besides the first bytes is asked for (worker/partial.py). Whatever lengths
a file gives, no more than `MAX_STEPS` of its parts are looked at.
"""

import struct
from typing import Final
from uuid import UUID

from worker.partial import PartialFile, Reading

MAX_STEPS: Final = 200

# --- OLE compound files: [MS-CFB], sections 2.2 and 2.6 ---

OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE: Final = "application/x-ole-storage"
_DOC, _XLS, _PPT = "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"
_MSI, _MSG = "application/x-msi", "application/vnd.ms-outlook"

_CLASSES: Final = {
    **dict.fromkeys((0x000C1082, 0x000C1084, 0x000C1086), _MSI),  # transform, package, patch
    **dict.fromkeys((0x00020900, 0x00020906), _DOC),
    **dict.fromkeys((0x00020810, 0x00020820), _XLS),
    0x00020D0B: _MSG,
}
"""What wrote a compound file, by the first field of its class; the others are always the same."""

_STREAMS: Final = {
    "worddocument": _DOC,
    "workbook": _XLS,
    "book": _XLS,
    "powerpoint document": _PPT,
    "__properties_version1.0": _MSG,
}
_MSI_TABLE: Final = "\u4840"
"""What the name of each table of an installer's database begins with, and no other name does."""


def identify_compound(file: PartialFile) -> Reading[str]:
    """Name what an OLE file is by its root's class and the streams right below it.

    Asks for the beginning of the directory where `head` has it not.
    """
    if len(file.head) < 512:
        return _OLE
    (shift,) = struct.unpack_from("<H", file.head, 30)
    (sector,) = struct.unpack_from("<I", file.head, 48)
    if shift not in (9, 12):
        return _OLE
    directory = yield from file.look((sector + 1) << shift, 1 << 12)
    if len(directory) < 128:
        return _OLE
    first, *rest = struct.unpack_from("<IHH8s", directory, 80)
    if [*rest] == [0, 0, UUID("00000000-0000-0000-c000-000000000046").bytes[8:]]:
        kind = _CLASSES.get(first)
        if kind is not None:
            return kind
    if directory[80:96] == UUID("64818d10-4f9b-11cf-86ea-00aa00b929e8").bytes_le:
        return _PPT
    entries = [directory[at : at + 128] for at in range(0, len(directory) - 127, 128)]
    names = [_entry_name(entry) for entry in entries]
    if any(name.startswith(_MSI_TABLE) for name in names):
        return _MSI
    # Those below the root first: a document may hold another one of a different kind.
    below = [names[index] for index in _below_root(entries)]
    return next((_STREAMS[name] for name in below + names if name in _STREAMS), _OLE)


def _entry_name(entry: bytes) -> str:
    length, kind = struct.unpack_from("<HB", entry, 64)
    if kind not in (1, 2, 5) or not 2 < length <= 64:
        return ""  # free, or no entry at all: only the first sector is sure to be of the directory
    return entry[: length - 2].decode("utf-16-le", "replace").lower()


def _below_root(entries: list[bytes]) -> list[int]:
    """Give the indices of what is stored in the root: a tree of left and right siblings."""
    (child,) = struct.unpack_from("<I", entries[0], 76)
    found, ahead = [], [child]
    while ahead:
        index = ahead.pop()
        if 0 < index < len(entries) and index not in found:
            found.append(index)
            ahead += struct.unpack_from("<II", entries[index], 68)
    return found


# --- Files of boxes: ISO/IEC 14496-12, sections 4.2 to 8.4.3; HEIF is ISO/IEC 23008-12 ---

_IMAGES: Final = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "image/heic"),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic-sequence"),
}
_ANY_IMAGE: Final = {b"mif1": "image/heif", b"mif2": "image/heif", b"msf1": "image/heif-sequence"}
_OTHERS: Final = {
    b"crx ": "image/x-canon-cr3",
    b"mj2s": "video/mj2",
    b"mjp2": "video/mj2",
    b"qt  ": "video/quicktime",
    b"M4V ": "video/x-m4v",
    b"M4VH": "video/x-m4v",
    b"M4VP": "video/x-m4v",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"F4A ": "audio/mp4",
    b"F4B ": "audio/mp4",
}
_FILM_BRANDS: Final = frozenset(
    {b"isom", b"mp41", b"mp42", b"avc1", b"dash", b"MSNV", b"cmfc", b"F4V "}
    | {b"iso%d" % number for number in range(2, 10)}
)
_QUICKTIME_BOXES: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


class _UnseenError(Exception):
    """A box is not among what was seen, or is not well-formed."""


def identify_boxes(file: PartialFile, *, named: bool = False) -> Reading[str | None]:
    """Name a file of boxes by its brands and, of a film, by whether it has pictures.

    None if it is none, or of a brand not known here; also, if it was `named` before as something
    else than MP4, where only those that it is compatible with are known. Asks once at the most: for
    `moov`.
    """
    length, name = int.from_bytes(file.head[:4], "big"), file.head[4:8]
    if name != b"ftyp":
        return (yield from _quicktime(file)) if name in _QUICKTIME_BOXES else None
    major = file.head[8:12]
    brands = [file.head[at : at + 4] for at in range(16, min(length, 16 + 4 * MAX_STEPS), 4)]
    if major in _IMAGES:
        return _IMAGES[major]
    if major in _OTHERS:
        return _OTHERS[major]
    if major.startswith((b"3gp", b"3gr", b"3gs", b"3ge", b"3gg")):
        return "audio/3gpp" if (yield from _is_audio(file)) else "video/3gpp"
    if major.startswith(b"3g2"):
        return "audio/3gpp2" if (yield from _is_audio(file)) else "video/3gpp2"
    if major in _ANY_IMAGE or not _FILM_BRANDS.intersection([major, *brands]):
        # A general brand says "some image": which one stands among those it is compatible with.
        return next((_IMAGES[b] for b in brands if b in _IMAGES), None) or _ANY_IMAGE.get(
            next((b for b in [major, *brands] if b in _ANY_IMAGE), b"")
        )
    if named and major not in _FILM_BRANDS:
        return None
    return "audio/mp4" if (yield from _is_audio(file)) else "video/mp4"


def _quicktime(file: PartialFile) -> Reading[str | None]:
    """Name a film from before there was `ftyp`: it begins with another box, and has a `moov`."""
    try:
        yield from _find(file, b"moov", 0, file.size)
    except _UnseenError:
        return None
    return "video/quicktime"


def _is_audio(file: PartialFile) -> Reading[bool]:
    """Whether each track of a film is of sound; False where that cannot be seen."""
    kinds = set()
    try:
        at, moov_end = yield from _find(file, b"moov", 0, file.size)
        for _ in range(MAX_STEPS):
            if at >= moov_end:
                break
            body, end = yield from _find(file, b"trak", at, moov_end, or_end=True)
            if body < end:
                media = yield from _find(file, b"mdia", body, end)
                handler, _ = yield from _find(file, b"hdlr", *media)
                kinds.add(file.seen(handler + 8, handler + 12))
                if kinds != {b"soun"}:
                    return False
            at = end
    except _UnseenError:
        return False
    return bool(kinds) and at >= moov_end


def _find(
    file: PartialFile, wanted: bytes, at: int, end: int, *, or_end: bool = False
) -> Reading[tuple[int, int]]:
    """Find a box among those that lie between two places: where its body begins and ends.

    Raises _UnseenError where there is none; gives `end, end` instead if `or_end` and all were seen.
    """
    for _ in range(MAX_STEPS):
        if end - at < 8 and or_end:
            return end, end
        header = file.seen(at, at + 16)
        if len(header) < min(16, end - at):
            # Two ranges are left for what lies at the file's end.
            header = (yield from file.look(at, spare=2))[:16]
        if len(header) < 8 or at + 8 > end:
            break
        length, body = int.from_bytes(header[:4], "big"), at + 8
        if length == 1 and len(header) == 16:
            length, body = int.from_bytes(header[8:], "big"), at + 16
        elif length == 0:
            length = end - at
        if length < body - at:
            break
        if header[4:8] == wanted:
            return body, min(at + length, end)
        at += length
    raise _UnseenError


# --- Matroska and WebM: EBML is RFC 8794, the ids are of RFC 9559 ---

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
