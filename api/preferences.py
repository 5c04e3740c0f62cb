"""Parse how long a client wants to wait: the parameter `wait`, and the header `Prefer: wait`."""

import re

from aiohttp import web

from api.problems import bad_parameter
from api.waiters import MAX_WAIT_S

_SECONDS = re.compile(r"[0-9]+", re.ASCII)


def parse_wait(text: str) -> int:
    """Parse the parameter `wait` in seconds. A larger value than MAX_WAIT_S becomes MAX_WAIT_S.

    Raises Problem 400 if the text is not a whole number of at least 0.
    """
    seconds = _seconds(text)
    if seconds is None:
        raise bad_parameter("wait", "Parameter 'wait' must be a whole number of seconds from 0")
    return seconds


def preferred_wait(request: web.Request) -> int | None:
    """Return the seconds of `Prefer: wait=…`, at most MAX_WAIT_S; None if it is missing.

    If there are several, the first one is used. A `wait` that is not a number is ignored, like
    unknown preferences (RFC 7240, section 2).
    """
    for header in request.headers.getall("Prefer", []):
        for preference in header.split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            if name.strip().lower() == "wait":
                return _seconds(value.strip().strip('"'))
    return None


def _seconds(text: str) -> int | None:
    if not _SECONDS.fullmatch(text):
        return None
    digits = text.lstrip("0")
    return min(int(digits or "0"), MAX_WAIT_S) if len(digits) <= 6 else MAX_WAIT_S
