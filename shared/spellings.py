r"""Spellings of a key: which other keys a store could take it for, and whether it may be copied.

A store may know more spellings of a key than the text that we compare. SeaweedFS reads `\` as `/`
and `a//b` as `a/b`. A file system may ignore case, Unicode forms, or trailing dots and spaces
(Windows, macOS, NFS gateways). A proxy may decode percent signs twice. `may_be_copied` therefore
compares the fold of a key, in which all of these spellings are equal, and refuses in doubt.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from shared.keys import PREFIX

MAX_KEY_BYTES = 1024
"""Source: Amazon S3 User Guide, "Naming Amazon S3 objects"."""

MAX_ROUNDS = 8
"""A key that is still encoded after so many decodings is refused, which bounds the work."""

MAX_FOLDED = 2 * MAX_KEY_BYTES
"""A key that unfolds to more characters is refused: U+FDFA alone unfolds to eighteen."""

ORIGINALS = PREFIX.rstrip("/")
"""The folder of attachments' objects. A key whose fold begins with this text is refused."""

VERSIONS = ".versions"
"""The end of a folder in which SeaweedFS keeps the former versions of an object."""

# Characters that look like a slash and are replaced by one in some code page or gateway. NFKC
# folds the full-width and small forms itself. Yen and won signs are the backslash of the code
# pages 932 and 949.
_SLASHES = re.compile("[\\\\\u00a5\u20a9\u2044\u2215\u2216\u2571\u2572\u29f5\u29f8\u29f9]")
# Default ignorable code points (Unicode, DerivedCoreProperties) that are neither Cf nor Mn, and
# the control pictures that rclone writes for control characters.
_IGNORED = re.compile("[\u115f\u1160\u2400-\u2421\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]")
_IGNORED_CATEGORIES = frozenset({"Cc", "Cf", "Mn", "Me"})
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_SPACES = re.compile(r"[\s+]")  # a plus is a space where a key is decoded like a form
_NOT_PLAIN = re.compile("[\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNICODE_ESCAPE = re.compile(r"%u([0-9a-f]{4})")  # as IIS decodes it
_OVERLONG = re.compile(
    rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
)
# The short name that NTFS gives to a folder called "attachments".
_SHORT_NAME = re.compile(r"at[a-z0-9_]{0,4}~[0-9a-f]{1,4}")


def may_be_copied(key: str, *, ours: bool, fences: Sequence[str] = ("",)) -> bool:
    r"""Whether an object that a client names by this key may be copied to an attachment.

    `ours` is whether the key is of the service's own bucket, in which nothing may be copied that
    lies below `attachments/files`. `fences` are the prefixes that the caller may copy from; an
    empty one is the whole bucket. The answer depends on the text alone, never on what is stored.

    Refused are keys that stores read in more than one way: with `\`, with control characters, with
    an empty segment, `.` or `..` in any spelling, of more than 1,024 bytes. Refused as well are
    keys whose first segment begins with a dot, because stores and file systems keep data of their
    own there (`.uploads` of SeaweedFS, `.sgwtmp` of versitygw, `.minio.sys`, `.snapshot`), and
    keys in a folder of former versions.
    """
    if not is_plain(key) or not key.startswith(tuple(fences)):
        return False
    segments = _folded_segments(key)
    if segments is None:
        return False
    if not segments or segments[0].startswith("."):
        return False
    if any(segment.endswith(VERSIONS) for segment in segments[:-1]):
        return False
    return not (ours and _are_originals(segments))


def is_plain(key: str) -> bool:
    r"""Whether no store reads a key as other segments than `/` separates.

    That is: not empty, at most 1,024 bytes, no `\`, no control character or lone surrogate, no
    segment that is empty, `.` or `..`.
    """
    if _NOT_PLAIN.search(key) or len(key.encode()) > MAX_KEY_BYTES:
        return False
    return not any(segment in ("", ".", "..") for segment in key.split("/"))


def fold(key: str) -> str | None:
    """Write a key so that all spellings which a store may take for one are one.

    None if it climbs to a folder above (`..`), names a folder or a version, or stays encoded: no
    such key may be trusted.
    """
    segments = _folded_segments(key)
    return None if segments is None else "/".join(segments)


@lru_cache(maxsize=256)  # a request judges its keys twice: all of them first, then each
def _folded_segments(key: str) -> tuple[str, ...] | None:
    text = _decoded(key)
    if text is None or "?versionid=" in text:  # the end of a key in x-amz-copy-source
        return None
    segments, kept = [], ""
    for segment in text.split("/"):
        kept = segment.strip(" ").rstrip(". ")
        if kept:
            segments.append(kept)
        elif segment.count(".") > 1:
            return None
    return tuple(segments) if kept else None


def _decoded(key: str) -> str | None:
    """Decode and fold in turns until nothing changes; None if that takes too many rounds."""
    text = key
    for _ in range(MAX_ROUNDS):
        before, text = text, _once(text)
        if text == before:
            return text
        if len(text) > MAX_FOLDED:
            break
    return None


def _once(text: str) -> str:
    if text.isascii():
        text = _CONTROLS.sub("", text.lower())
    else:
        # Compatibility forms come first, so that full-width percent signs are decoded as well.
        # NFKD takes accents off their letters; they are then dropped as marks.
        text = unicodedata.normalize("NFKD", text).upper().casefold()
        text = "".join(
            character
            for character in unicodedata.normalize("NFKD", text)
            if character.isspace() or unicodedata.category(character) not in _IGNORED_CATEGORIES
        )
        text = _IGNORED.sub("", text)
    text = _SLASHES.sub("/", _SPACES.sub(" ", text))
    if "%" not in text:
        return text
    text = _UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    raw = unquote_to_bytes(text.encode("utf-8", "ignore"))
    return _OVERLONG.sub(_shortened, raw).decode("utf-8", "ignore")


def _shortened(match: re.Match[bytes]) -> bytes:
    """Decode an overlong sequence, which strict decoders refuse and lax ones take."""
    first, *rest = match[0]
    number = first & (0x1F, 0x0F, 0x07)[len(rest) - 1]
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return chr(number).encode()


def _are_originals(segments: Sequence[str]) -> bool:
    # ":" begins a stream's name on NTFS, and is a slash to macOS.
    for rule in ("/", None):
        parts = [
            part.strip(" ").rstrip(". ")
            for segment in segments
            for part in (segment.split(":") if rule else [segment.partition(":")[0]])
        ]
        parts = [part for part in parts if part and not part.startswith("$index")]
        if parts and _SHORT_NAME.fullmatch(parts[0].partition(".")[0]):
            parts[0] = "attachments"
        if "/".join(parts).startswith(ORIGINALS):
            return True
    return False
