r"""Decide whether a store could read a key as another key, and whether the key may be copied.

A store may read several spellings as the same key. SeaweedFS reads `\` as `/`, and `a//b` as `a/b`.
A file system may ignore case, Unicode forms, or trailing dots and spaces (Windows, macOS, NFS
gateways). A proxy may decode percent signs twice. So `may_be_copied` compares the fold of a key, a
form that is the same for all of these spellings. A doubtful key may not be copied.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from shared.keys import PREFIX

MAX_KEY_BYTES = 1024
"""The longest key in bytes. Source: Amazon S3 User Guide, "Naming Amazon S3 objects"."""

MAX_ROUNDS = 8
"""A key is decoded at most this many times. A key that is still encoded after that may not be
copied."""

MAX_FOLDED = 2 * MAX_KEY_BYTES
"""Maximum number of characters in a fold. A key with a longer fold may not be copied. The limit is
needed, because one character can become eighteen (U+FDFA)."""

ORIGINALS = PREFIX.rstrip("/")
"""The folder of the attachments' objects. In the service's bucket, a key whose fold begins with
this folder may not be copied."""

VERSIONS = ".versions"
"""The end of the names of the folders in which SeaweedFS stores old versions of an object."""

# Characters that look like a slash or backslash, and that some code page or gateway replaces by one
# of them. The full-width and small forms are not listed, because NFKC folds them. In the code pages
# 932 and 949, the yen and won signs have the code of the backslash.
_SLASHES = re.compile("[\\\\\u00a5\u20a9\u2044\u2215\u2216\u2571\u2572\u29f5\u29f8\u29f9]")
# Code points that are ignorable by default (Unicode, DerivedCoreProperties) and not of category Cf
# or Mn, and the control pictures with which rclone replaces control characters.
_IGNORED = re.compile("[\u115f\u1160\u2400-\u2421\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]")
_IGNORED_CATEGORIES = frozenset({"Cc", "Cf", "Mn", "Me"})
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_SPACES = re.compile(r"[\s+]")  # web forms encode a space as a plus sign
_NOT_PLAIN = re.compile("[\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNICODE_ESCAPE = re.compile(r"%u([0-9a-f]{4})")  # IIS decodes this form
_OVERLONG = re.compile(
    rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
)
# The short name that NTFS gives to a folder named "attachments".
_SHORT_NAME = re.compile(r"at[a-z0-9_]{0,4}~[0-9a-f]{1,4}")


def may_be_copied(key: str, *, ours: bool, fences: Sequence[str] = ("",)) -> bool:
    r"""Return whether a client may copy the object under this key to an attachment.

    `ours` is true for a key in the service's own bucket, where no key below `attachments/files` may
    be copied. `fences` are the prefixes from which the caller may copy; an empty one means the
    whole bucket. The answer depends only on the text, not on what is stored.

    A key may not be copied if stores may read it in more than one way: if it has `\`, a control
    character, an empty segment, `.` or `..` in any spelling, or more than 1,024 bytes. A key whose
    first segment begins with a dot may not be copied, because stores and file systems store their
    own data there (`.uploads` of SeaweedFS, `.sgwtmp` of versitygw, `.minio.sys`, `.snapshot`). A
    key in a folder of old versions may not be copied either.
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
    r"""Return whether every store splits a key into the same segments, only at `/`.

    Such a key has 1 to 1,024 bytes. It has no `\`, no control character, no lone surrogate, and no
    segment that is empty, `.` or `..`.
    """
    if _NOT_PLAIN.search(key) or len(key.encode()) > MAX_KEY_BYTES:
        return False
    return not any(segment in ("", ".", "..") for segment in key.split("/"))


def fold(key: str) -> str | None:
    """Return the fold of a key. All spellings that a store may read as one key have the same fold.

    Returns None for a key that must not be copied: one that contains `..`, names a folder or a
    version, or is still encoded after MAX_ROUNDS.
    """
    segments = _folded_segments(key)
    return None if segments is None else "/".join(segments)


@lru_cache(maxsize=256)  # cached, because a request checks its keys twice
def _folded_segments(key: str) -> tuple[str, ...] | None:
    text = _decoded(key)
    if text is None or "?versionid=" in text:  # in x-amz-copy-source, this text ends the key
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
    """Decode and fold a text until nothing changes. Returns None after MAX_ROUNDS rounds."""
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
        # Compatibility forms are folded first, so that full-width percent signs are decoded too.
        # NFKD separates accents from their letters, and the accents are then removed.
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
    """Decode an overlong UTF-8 sequence. Strict decoders refuse it, but others accept it."""
    first, *rest = match[0]
    number = first & (0x1F, 0x0F, 0x07)[len(rest) - 1]
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return chr(number).encode()


def _are_originals(segments: Sequence[str]) -> bool:
    # On NTFS, ":" begins the name of a stream. macOS reads ":" as a slash.
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
