"""The addresses to which webhooks may connect, and the URLs that a webhook may have."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from yarl import URL

from shared.proxies import Network

MAX_URL: Final = 2048

NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""IPv6 addresses that contain an IPv4 address (RFC 6052, RFC 8215). A translator in the network may
map such an address to any IPv4 address."""

COMPATIBLE = IPv6Network("::/96")
"""IPv6 addresses that contain an IPv4 address in a deprecated way (RFC 4291)."""

_TEXT = re.compile(r"[\x21-\x7e\x80-\U0010ffff]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Return whether a webhook may connect to an address.

    Allowed are addresses that are reachable from the whole internet, and addresses in `networks`.
    An IPv6 address that contains an IPv4 address (mapped, NAT64, 6to4, Teredo) is allowed only if
    it is in `networks`, because no receiver needs such an address.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        # The system connects to the mapped IPv4 address, so that address must be in `networks`.
        return any(parsed.ipv4_mapped in network for network in networks)
    if any(parsed.version == network.version and parsed in network for network in networks):
        return True
    return _is_public(parsed)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    # `is_global` is false for private, shared, loopback, link-local, documentation and reserved
    # addresses. It is true for some multicast addresses, so they are checked as well.
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv6Address):
        if address.is_site_local or address.sixtofour is not None or address.teredo is not None:
            return False
        return not any(address in network for network in (*NAT64, COMPATIBLE))
    return True


def find_fault(url: str, *, allow_http: bool, networks: Sequence[Network]) -> str | None:
    """Return the rule that the URL of a webhook breaks, or None if the URL is accepted.

    If the host is an address, it is checked here. If it is a name, the name is resolved and its
    address is checked at each connection, because the address of a name may change.
    """
    if len(url) > MAX_URL:
        return f"is too long (maximum is {MAX_URL} characters)"
    if not _TEXT.fullmatch(url) or _SURROGATE.search(url):
        return "is invalid"
    try:
        parsed = URL(url)
        host, _ = parsed.host, parsed.port
    except ValueError:
        return "is invalid"
    if not host or parsed.scheme not in ("http", "https"):
        return "must be an https:// address"
    if parsed.scheme == "http" and not allow_http:
        return "must be an https:// address"
    if parsed.user is not None or parsed.password is not None or "#" in url:
        return "must have no user, password or fragment"
    if _is_refused(host, networks):
        return "must lead to a public address"
    return None


def _is_refused(host: str, networks: Sequence[Network]) -> bool:
    """Return whether a host is an IP address, in any notation, to which no webhook may connect."""
    try:
        ip_address(host)
    except ValueError:
        # Resolvers read 127.1, 0x7f000001 and 2130706433 as addresses. No domain ends in a number.
        last = host.rstrip(".").rpartition(".")[2].lower()
        if last.isdigit() or re.fullmatch("0x[0-9a-f]*", last):
            return True
        return host.rstrip(".") == "localhost" and not is_allowed("127.0.0.1", networks)
    return not is_allowed(host, networks)
