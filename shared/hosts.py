"""Hosts in the form of HTTP's Host header: `host[:port]`."""

import functools
import re
from ipaddress import ip_address

from yarl import URL

# RFC 3986, section 3.2: a host and an optional port. Non-ASCII names are converted to ASCII first.
_HOST = re.compile(r"(?:[a-z0-9._-]{1,255}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::([1-9][0-9]{0,4}))?", re.ASCII)

MAX_PORT = 65535


def normal_host(text: str) -> str:
    """Return a host as browsers send it: `host[:port]`, lower case, non-ASCII names in Punycode.

    Raises ValueError for other texts, such as an address with a scheme or a path.
    """
    if any(letter in "/?#@\\%*" or letter.isspace() for letter in text) or text.endswith(":"):
        raise ValueError("is not a host")
    url = URL(f"http://{text}")
    port = "" if url.explicit_port is None else f":{url.explicit_port}"
    host = f"{url.host_subcomponent}{port}"
    if not _HOST.fullmatch(host):
        raise ValueError("is not a host")
    return host


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach a server that listens on `address`."""
    if address.lower() == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


@functools.lru_cache(maxsize=256)
def names_loopback(host: str) -> bool:
    """Return whether a Host header in lower case names a loopback address. Any port is allowed."""
    match = _LOOPBACK.fullmatch(host)
    return match is not None and int(match[1] or 80) <= MAX_PORT
