"""The limits of types that a client sets for one attachment, in addition to the service's own."""

import re
from collections.abc import Iterable

from shared.content_types import essence

# RFC 6838, section 4.2: the characters of a type's and a subtype's name. "*" is not one of them, so
# the pattern "*/*", which would allow every type, does not match.
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_PATTERN = re.compile(rf"{_NAME}/(?:{_NAME}|\*)", re.ASCII)


def is_pattern(text: str) -> bool:
    """Return whether a text has the form `type/subtype` or `type/*`, without parameters."""
    return _PATTERN.fullmatch(text) is not None


def allows(patterns: Iterable[str], content_type: str) -> bool:
    """Return whether a content type matches one of the patterns. Case and parameters are ignored.

    `image/*` matches every type that begins with `image/`, including `image/svg+xml`.
    """
    name = essence(content_type)
    family = f"{name.partition('/')[0]}/*"
    return any(pattern in (name, family) for pattern in patterns)
