"""Limits that a client sets for one attachment: less than the service allows."""

import re
from collections.abc import Iterable

from shared.content_types import essence

# RFC 6838, section 4.2: the restricted names of a type and a subtype. "*" is not one of their
# characters, so "*/*" is no pattern; it would allow everything.
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_PATTERN = re.compile(rf"{_NAME}/(?:{_NAME}|\*)", re.ASCII)


def is_pattern(text: str) -> bool:
    """Whether it is `type/subtype` or `type/*`, without parameters."""
    return _PATTERN.fullmatch(text) is not None


def allows(patterns: Iterable[str], content_type: str) -> bool:
    """Whether a content type is one of some patterns; case and parameters are ignored.

    `image/*` is every type that begins with `image/`, so `image/svg+xml` too.
    """
    name = essence(content_type)
    family = f"{name.partition('/')[0]}/*"
    return any(pattern in (name, family) for pattern in patterns)
