"""Identify the sound after an ID3 tag: MPEG audio, FLAC, AAC or another format.

Source: ID3v2.4.0, section 3.1. No I/O: bytes after the head are requested by yielding a range
(`worker.sniffing.ranges`).
"""

import re
from typing import Final

from worker.sniffing.ranges import PartialFile, Reading

MAGIC: Final = b"ID3"
MPEG: Final = "audio/mpeg"
_LOOKED_AT: Final = 4096
_MAX_TAGS: Final = 4

_TAG: Final = re.compile(rb"ID3[\2-\4][^\xff].([\0-\x7f]{4})", re.DOTALL)
_SOUND: Final = re.compile(
    rb"(?P<flac>fLaC)|(?P<aac>\xff[\xf0\xf1\xf8\xf9])|(?P<ogg>OggS)|(?P<x_dsf>DSD \x1c)"
    rb"|(?P<x_ape>MAC )|(?P<x_musepack>MPCK|MP\+)|(?P<x_wavpack>wvpk)|(?P<x_tta>TTA[12])"
    rb"|(?P<wav>RIFF.{4}WAVE)|(?P<x_aiff>FORM.{4}AIF[FC])|(?P<mpeg>\xff[\xe0-\xff])",
    re.DOTALL,
)


def identify_tagged(file: PartialFile) -> Reading[str | None]:
    """Return the type of the sound after the ID3 tags at a file's start; None if there is no tag.

    If the sound is not recognised, the type is MPEG audio, because ID3 was made for it. Requests at
    most one range: the 4 KiB after a tag that is longer than the known bytes.
    """
    at = 0
    found: str | None = None
    for _ in range(_MAX_TAGS):
        piece = file.seen(at, at + _LOOKED_AT)
        if len(piece) < min(10, file.size - at):
            piece = yield from file.look(at, _LOOKED_AT, spare=2)
        tag = _TAG.match(piece)
        if tag is None:
            if found is None:
                return None
            sound = _SOUND.match(piece.lstrip(b"\0"))  # padding may follow the tag
            if sound is not None:
                found = f"audio/{str(sound.lastgroup).replace('_', '-')}"
            return found
        found = MPEG
        # 0x10 means that a footer follows
        at += 10 + _synchsafe(tag[1]) + (10 if piece[5] & 0x10 else 0)
    return found


def _synchsafe(four: bytes) -> int:
    """Read a number of four times seven bits (ID3v2.4.0, section 6.2)."""
    return four[0] << 21 | four[1] << 14 | four[2] << 7 | four[3]
