"""Read the headers of trusted proxies: the client's address, the scheme, and the requested host.

The headers of a request are read only if its peer is a trusted proxy. Each proxy appends to the
right end of a header, so a header is read from the right. Reading stops at the first address that
is not a trusted proxy's. That is the client's address, and the client may have sent everything to
the left of the address.
Sources: RFC 7239 (Forwarded). X-Forwarded-For, -Proto, -Host and -Port have no standard.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from itertools import islice
from typing import Literal, Protocol

from shared.hosts import normal_host

ForwardedHeaders = Literal["any", "x-forwarded", "forwarded"]
"""The kinds of header fields that are read; see `Proxies`."""

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_HOPS = 32
"""At most this many entries of a header are read. Further entries are ignored."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_PORT = re.compile(r":[0-9]{1,5}\Z", re.ASCII)
# RFC 7239, section 4: a name, and a value that is a token or a quoted string.
_PARAMETER = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\";,]*))\s*(?:;|\Z)"
)
_MARK = re.compile(r"\\.|[\",]")
_USUAL_PORTS = {"http": "80", "https": "443"}


class Headers(Protocol):
    """The header fields of a request. The case of names does not matter."""

    def getall(self, name: str, default: list[str], /) -> Sequence[str]:
        """Return the values of all lines of a field, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """The facts about a request that trusted proxies report; None means not reported.

    `host` is `host[:port]` in lower case. It is not yet compared with the hosts of the settings.
    """

    address: str
    scheme: str | None = None
    host: str | None = None


def parse_network(word: str) -> Network:
    """Parse a network or an address. Raises ValueError for names and for bits beyond the prefix."""
    try:
        network = ip_network(word)
    except ValueError:
        raise ValueError(
            "must be networks or addresses such as 10.0.0.0/8 or 127.0.0.1: no names,"
            " and no bits beyond the length of the prefix"
        ) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        # A socket for IPv6 reports an IPv4 peer as a mapped address. Mapped addresses are compared
        # as IPv4, so a mapped network must be converted too.
        mapped = int(network.network_address) & 0xFFFF_FFFF
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


class Proxies:
    """The networks of the trusted proxies, and the kind of headers that they set.

    `headers` is `x-forwarded`, `forwarded` or `any`. With `any`, X-Forwarded-* is read if a request
    has X-Forwarded-For, else Forwarded. The two kinds are never mixed, because a proxy that sets
    one kind may forward the other as the client sent it.
    """

    def __init__(
        self,
        networks: Sequence[Network] = (),
        *,
        headers: ForwardedHeaders = "any",
    ) -> None:
        self._networks = tuple(networks)
        self._headers = headers
        self._trusts = lru_cache(maxsize=1024)(self._is_inside)

    def __bool__(self) -> bool:
        """Return whether any proxy is trusted."""
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Return whether an address is a trusted proxy's."""
        return self._trusts(address)

    def _is_inside(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def read(self, peer: str, headers: Headers) -> Forwarded:
        """Return the client's address, the scheme and the host of a request from `peer`.

        Reading stops at a text that is not an address, such as `unknown`. The client's address is
        then that of the trusted proxy that reported the text.
        """
        if not self._networks or not self.trusts(peer):
            return Forwarded(address=peer)
        if self._headers == "forwarded":
            return self._read_forwarded(peer, headers)
        given = headers.getall("X-Forwarded-For", [])
        if self._headers == "any" and not given and headers.getall("Forwarded", []):
            return self._read_forwarded(peer, headers)
        return self._read_x_forwarded(peer, headers)

    def _read_x_forwarded(self, peer: str, headers: Headers) -> Forwarded:
        address = peer
        for item in _from_right(headers.getall("X-Forwarded-For", [])):
            reported = _reported(item)
            if reported is None:
                break
            address = reported
            if not self.trusts(reported):
                break
        scheme = _scheme(_last(headers, "X-Forwarded-Proto"))
        host = _host(_last(headers, "X-Forwarded-Host"))
        port = _last(headers, "X-Forwarded-Port")
        if host and scheme and _is_unusual(port, scheme) and not _PORT.search(host):
            host = f"{host}:{port}"
        return Forwarded(address=address, scheme=scheme, host=host)

    def _read_forwarded(self, peer: str, headers: Headers) -> Forwarded:
        found = Forwarded(address=peer)
        for element in _from_right(headers.getall("Forwarded", [])):
            parameters = _parameters(element)
            if parameters is None:
                break
            # If there are two trusted proxies, the values of the one nearer to the client are used:
            # it received the client's own request.
            found = Forwarded(
                address=found.address,
                scheme=_scheme(parameters.get("proto")) or found.scheme,
                host=_host(parameters.get("host")) or found.host,
            )
            reported = _reported(parameters.get("for", ""))
            if reported is None:
                break
            found = Forwarded(address=reported, scheme=found.scheme, host=found.host)
            if not self.trusts(reported):
                break
        return found


def plain_address(address: str) -> str | None:
    """Return an address without its zone. IPv4-mapped ones become IPv4. None for other texts."""
    parsed = _parsed(address)
    return None if parsed is None else str(parsed)


def _parsed(address: str) -> Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _reported(item: str) -> str | None:
    """Parse a reported address, with or without brackets and port. Returns None for other texts."""
    item = item.strip()
    if item.startswith("["):
        inside, bracket, rest = item[1:].partition("]")
        if not bracket or (rest and not _PORT.fullmatch(rest)):
            return None
        item = inside
    elif item.count(":") == 1:
        item = _PORT.sub("", item)
    return plain_address(item)


def _from_right(lines: Sequence[str]) -> Iterator[str]:
    """Yield up to MAX_HOPS elements of a header's comma-separated list, the last one first.

    Empty elements are skipped (RFC 9110, section 5.6.1.2). Commas in quotes do not separate. An
    element with an unpaired quote is yielded, but cannot be parsed.
    """
    every = (each for line in reversed(lines) for each in _elements(line) if each.strip())
    yield from islice(every, MAX_HOPS)


def _elements(line: str) -> Iterator[str]:
    end, quoted = len(line), False
    for mark in reversed(list(_MARK.finditer(line))):
        if mark[0] == '"':
            quoted = not quoted
        elif mark[0] == "," and not quoted:
            yield line[mark.end() : end]
            end = mark.start()
    yield line[:end]


def _last(headers: Headers, name: str) -> str | None:
    lines = headers.getall(name, [])
    return lines[-1].rpartition(",")[2].strip() if lines else None


def _parameters(element: str) -> Mapping[str, str] | None:
    found: dict[str, str] = {}
    offset = 0
    text = element.strip()
    while offset < len(text):
        match = _PARAMETER.match(text, offset)
        if match is None:
            return None
        value = match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        found[match[1].lower()] = value
        offset = match.end()
    return found or None


def _is_unusual(port: str | None, scheme: str) -> bool:
    return _PORT.fullmatch(f":{port}") is not None and port != _USUAL_PORTS[scheme]


def _scheme(text: str | None) -> str | None:
    lowered = (text or "").lower()
    return lowered if lowered in _USUAL_PORTS else None


def _host(text: str | None) -> str | None:
    try:
        return normal_host(text) if text else None
    except ValueError:
        return None
