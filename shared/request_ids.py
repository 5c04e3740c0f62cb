"""Ids of requests: read from a request's headers, sent with a wake-up, written in log lines."""

import os
import re
from collections.abc import Mapping
from typing import Any, Final

HEADER: Final = "X-Request-Id"

# Visible ASCII without quotes, backslash and white space, so an id is safe in logs and messages.
_ID: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}", re.ASCII)

# W3C Trace Context, section 3.2.2: version, trace id, parent id, flags. Version ff is invalid.
# Later versions may append more fields.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
MAX_TRACEPARENT: Final = 128


def read_id(value: Any) -> str | None:
    """Return a value from outside if it has the form of an id, else None."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def read_traceparent(value: Any) -> str | None:
    """Return the trace id in a `traceparent` header, or None if the header is not valid."""
    if not isinstance(value, str) or len(value) > MAX_TRACEPARENT:
        return None
    found = _TRACEPARENT.fullmatch(value)
    return found[1] if found else None


def new_id() -> str:
    """Return a new id: 32 random hexadecimal digits."""
    return os.urandom(16).hex()


def request_id(headers: Mapping[str, str]) -> str:
    """Return the id of a request from its headers: `X-Request-Id`, `traceparent` or a new id.

    The first valid header decides. Headers that are not valid are ignored.
    """
    if (own := headers.get(HEADER)) is not None and (found := read_id(own)):
        return found
    if (parent := headers.get("traceparent")) is not None and (found := read_traceparent(parent)):
        return found
    return new_id()
