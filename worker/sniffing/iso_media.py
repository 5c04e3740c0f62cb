"""Identify ISO media files: HEIF, AVIF, MP4, QuickTime and related formats.

Such a file consists of boxes, which begin with their length and name. Source: ISO/IEC 14496-12,
sections 4.2 to 8.4.3; HEIF is ISO/IEC 23008-12. No I/O: bytes after the head are requested by
yielding a range (`worker.sniffing.ranges`).
"""

from typing import Final

from worker.sniffing.ranges import PartialFile, Reading

MAX_STEPS: Final = 200
"""Maximum number of boxes or brands that are read, even if there are more."""

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
_QUICKTIME_FIRST: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_SOUND_AND_TEXT: Final = frozenset({b"soun", b"text", b"sbtl", b"subt", b"clcp"})
"""Track handlers that a sound file may have (ISO/IEC 14496-12, 8.4.3; QuickTime)."""


class _UnseenError(Exception):
    """A box was not found in the bytes that were read, or is malformed."""


def identify_iso_media(file: PartialFile, *, named: bool = False) -> Reading[str | None]:
    """Return the type of an ISO media file by its brands; for a film, also by its tracks.

    A film whose tracks are all sound is audio. Returns None if the file has another format or its
    brands are unknown. `named` means that libmagic has returned another type than MP4: then the
    major brand of a film must be known, and its compatible brands are ignored. Requests at most one
    range: for `moov`.
    """
    length, name = int.from_bytes(file.head[:4], "big"), file.head[4:8]
    if name != b"ftyp":
        return (yield from _quicktime(file)) if name in _QUICKTIME_FIRST else None
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
        # A general brand only means "an image". The compatible brands give the format.
        return next((_IMAGES[b] for b in brands if b in _IMAGES), None) or _ANY_IMAGE.get(
            next((b for b in [major, *brands] if b in _ANY_IMAGE), b"")
        )
    if named and major not in _FILM_BRANDS:
        return None
    return "audio/mp4" if (yield from _is_audio(file)) else "video/mp4"


def _quicktime(file: PartialFile) -> Reading[str | None]:
    """Return the type of a film without `ftyp`: old QuickTime files begin with another box.

    Returns None if the file has no `moov`.
    """
    try:
        yield from _find(file, b"moov", 0, file.size)
    except _UnseenError:
        return None
    return "video/quicktime"


def _is_audio(file: PartialFile) -> Reading[bool]:
    """Return True if a film has a track of sound and no track of video.

    Tracks of text do not matter: audio books have one for their chapters. Returns False if the
    tracks cannot be found.
    """
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
                if not kinds <= _SOUND_AND_TEXT:
                    return False
            at = end
    except _UnseenError:
        return False
    return b"soun" in kinds and at >= moov_end


def _find(
    file: PartialFile, wanted: bytes, at: int, end: int, *, or_end: bool = False
) -> Reading[tuple[int, int]]:
    """Find a box between two offsets; return the offsets where its body begins and ends.

    Raises _UnseenError if there is no such box. With `or_end`, returns `end, end` if all boxes up
    to `end` were read and the box is not among them.
    """
    for _ in range(MAX_STEPS):
        if end - at < 8 and or_end:
            return end, end
        header = file.seen(at, at + 16)
        if len(header) < min(16, end - at):
            # Keep two of the allowed ranges for the end of the file (`identify._by_its_end`).
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
