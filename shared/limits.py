"""The limits of types that a client sets for one attachment, in addition to the service's own."""

import re
from collections.abc import Iterable

from shared.content_types import essence

# RFC 6838, section 4.2: the characters of a type's and a subtype's name. "*" is not one of them, so
# the pattern "*/*", which would allow every type, does not match.
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_PATTERN = re.compile(rf"{_NAME}/(?:{_NAME}|\*)", re.ASCII)

_SAME = (
    ("image/jpeg", "image/jpg", "image/pjpeg"),
    ("image/png", "image/x-png"),
    ("image/bmp", "image/x-bmp", "image/x-ms-bmp"),
    ("image/vnd.microsoft.icon", "image/x-icon", "image/ico"),
    ("image/tiff", "image/tif"),
    ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    ("audio/mpeg", "audio/mp3", "audio/x-mpeg"),
    ("audio/mp4", "audio/x-m4a", "audio/m4a"),
    ("audio/aac", "audio/x-aac"),
    ("audio/flac", "audio/x-flac"),
    ("audio/aiff", "audio/x-aiff"),
    ("video/x-msvideo", "video/avi", "video/msvideo"),
    ("application/pdf", "application/x-pdf"),
    ("application/zip", "application/x-zip", "application/x-zip-compressed"),
    ("application/gzip", "application/x-gzip"),
    ("application/vnd.rar", "application/x-rar", "application/x-rar-compressed"),
    ("application/json", "text/json"),
    ("text/xml", "application/xml"),
    ("text/csv", "application/csv"),
    ("text/markdown", "text/x-markdown"),
)
"""Names that clients and browsers use for the same type. The first is the one that is measured, if
it is measured at all."""

_CANONICAL = {name: names[0] for names in _SAME for name in names}


def is_pattern(text: str) -> bool:
    """Return whether a text has the form `type/subtype` or `type/*`, without parameters."""
    return _PATTERN.fullmatch(text) is not None


def allows(patterns: Iterable[str], content_type: str) -> bool:
    """Return whether a content type matches one of the patterns. Case and parameters are ignored.

    `image/*` matches every type that begins with `image/`, including `image/svg+xml`. Usual other
    names of a type match too: `image/jpg` matches `image/jpeg`.
    """
    name = essence(content_type)
    names = {name, _CANONICAL.get(name, name)}
    names |= {f"{each.partition('/')[0]}/*" for each in names}
    return any(_CANONICAL.get(pattern, pattern) in names for pattern in patterns)
