"""Origins of web pages, in the form of the `Origin` header: `scheme://host[:port]`.

Source: RFC 6454, section 6.2 (serialization of an origin).
"""

import re
from collections.abc import Iterable

from shared.hosts import MAX_PORT, normal_host

USUAL_PORTS = {"http": 80, "https": 443}

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

ANY_LOOPBACK = tuple(
    f"{scheme}://{host}:*" for scheme in ("http", "https") for host in LOOPBACK_HOSTS
)
"""The origins of all pages that come from the browser's own machine, with any port."""

RULE = (
    "must be origins such as https://app.example or http://localhost:*, as browsers send them:"
    " http or https, a host, and a port unless it is the usual one; no path; only localhost,"
    " 127.0.0.1 and [::1] may have the port *"
)

_LOCAL = re.compile(
    r"(https?://(?:localhost|127\.0\.0\.1|\[::1\]))(?::([1-9][0-9]{0,4}))?", re.ASCII
)


def normal_origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without the scheme's usual port.

    The port `*` means any port, also the usual one, which browsers leave out. `*` is allowed only
    for loopback hosts. Raises ValueError for any other text.
    """
    scheme, found, netloc = text.partition("://")
    scheme = scheme.lower()
    if not found or scheme not in USUAL_PORTS:
        raise ValueError(RULE)
    host = netloc.removesuffix(":*")
    try:
        normal = normal_host(host)
    except ValueError:
        raise ValueError(RULE) from None
    if host != netloc:
        if normal not in LOOPBACK_HOSTS:
            raise ValueError(RULE)
        return f"{scheme}://{normal}:*"
    return f"{scheme}://{normal.removesuffix(f':{USUAL_PORTS[scheme]}')}"


class Origins:
    """The allowed origins, each as `normal_origin` returns it."""

    def __init__(self, allowed: Iterable[str]) -> None:
        given = set(allowed)
        self._any_port = frozenset(each[:-2] for each in given if each.endswith(":*"))
        self._exact = frozenset(each for each in given if not each.endswith(":*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._any_port)

    def allow(self, origin: str) -> bool:
        """Return whether an `Origin` header names an allowed origin in exactly that spelling."""
        if origin in self._exact:
            return True
        local = _LOCAL.fullmatch(origin) if self._any_port else None
        return local is not None and local[1] in self._any_port and int(local[2] or 1) <= MAX_PORT
