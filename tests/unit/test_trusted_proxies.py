"""In header fields, the API uses only the entries that trusted proxies have added."""

from typing import Any

import pytest
from multidict import CIMultiDict

from shared.proxies import MAX_HOPS, Forwarded, ForwardedHeaders, Proxies, parse_network

TRUSTED = ("10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48", "::ffff:192.168.0.0/112")
PROXY = "10.0.0.1"
CLIENT = "198.51.100.7"


def read(
    peer: str,
    *fields: tuple[str, str],
    headers: ForwardedHeaders = "any",
    trusted: tuple[str, ...] = TRUSTED,
) -> Forwarded:
    """Read the forwarding header fields of a request that comes from the address `peer`."""
    proxies = Proxies([parse_network(each) for each in trusted], headers=headers)
    return proxies.read(peer, CIMultiDict(fields))


def xff(value: str) -> tuple[str, str]:
    """Make the header field X-Forwarded-For."""
    return "X-Forwarded-For", value


def rfc(value: str) -> tuple[str, str]:
    """Make the header field Forwarded."""
    return "Forwarded", value


EVERY = (
    xff("203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "8443"),
    rfc("for=203.0.113.9;proto=https;host=evil.example"),
)


@pytest.mark.parametrize("peer", [CLIENT, "11.0.0.1", "2001:db8:2::1", "unknown", "", "10.0.0.1x"])
def test_a_peer_that_is_no_trusted_proxy_is_not_believed(peer: str) -> None:
    assert read(peer, *EVERY) == Forwarded(address=peer)


def test_without_the_setting_nobody_is_believed() -> None:
    assert read(PROXY, *EVERY, trusted=()) == Forwarded(address=PROXY)
    assert not Proxies()


ADDRESSES = {
    "one proxy": ((xff(CLIENT),), CLIENT),
    "what the client sent is left of it": ((xff(f"203.0.113.9, {CLIENT}"),), CLIENT),
    "a trusted address that the client sent": ((xff(f"10.9.9.9, {CLIENT}"),), CLIENT),
    "a chain of proxies": ((xff(f"203.0.113.9, {CLIENT}, 10.2.0.1, 127.0.0.1"),), CLIENT),
    "in several lines": ((xff("203.0.113.9"), xff(f"{CLIENT} ,10.2.0.1"), xff("10.3.0.1")), CLIENT),
    "all trusted": ((xff("10.5.0.1, 10.4.0.1"),), "10.5.0.1"),
    "with a port": ((xff(f"{CLIENT}:4711"),), CLIENT),
    "IPv6": ((xff("2001:DB8:0::7"),), "2001:db8::7"),
    "IPv6 in brackets": ((xff("[2001:db8::7]"),), "2001:db8::7"),
    "IPv6 with a port": ((xff("[2001:db8::7]:4711"),), "2001:db8::7"),
    "IPv4 in IPv6": ((xff(f"::ffff:{CLIENT}, ::ffff:10.1.0.1, ::ffff:192.168.0.7"),), CLIENT),
    "no address": ((xff(f"{CLIENT}, unknown"),), PROXY),
    "no address after a proxy": ((xff(f"{CLIENT}, _hidden, 10.2.0.1"),), "10.2.0.1"),
    "empty": ((xff(""),), PROXY),
    "a comma at the end": ((xff(f"{CLIENT}, ,"),), CLIENT),
    "not there": ((), PROXY),
    "RFC 7239": ((rfc(f"for={CLIENT}"),), CLIENT),
    "RFC 7239, a chain": ((rfc(f'for=203.0.113.9, For="{CLIENT}:80";by=x, for=10.2.0.1'),), CLIENT),
    "RFC 7239, IPv6": ((rfc('for="[2001:db8::7]:4711";proto=http'),), "2001:db8::7"),
    "RFC 7239, in lines": ((rfc("for=203.0.113.9"), rfc(f"proto=http;for={CLIENT}")), CLIENT),
    "RFC 7239, hidden": ((rfc(f"for={CLIENT}, for=_hidden"),), PROXY),
    "RFC 7239, unknown": ((rfc("for=unknown"),), PROXY),
    "RFC 7239, no grammar": ((rfc(f"for={CLIENT}, for 203.0.113.9"),), PROXY),
    "RFC 7239, an open quote": ((rfc(f'for={CLIENT}, for="203.0.113.9'),), PROXY),
    "RFC 7239, a comma in quotes": ((rfc(f'by="a,for=203.0.113.9";for={CLIENT}'),), CLIENT),
    "RFC 7239, an escaped quote": ((rfc(f'by="\\",for=203.0.113.9";for={CLIENT}'),), CLIENT),
    "both: never mixed": ((rfc("for=203.0.113.9;host=evil.example"), xff(CLIENT)), CLIENT),
}


@pytest.mark.parametrize(("fields", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy(
    fields: Any, address: str
) -> None:
    found = read(PROXY, *fields)

    assert found == Forwarded(address=address, scheme=found.scheme)


def test_the_setting_chooses_the_family_of_headers() -> None:
    both = (xff("203.0.113.1"), rfc("for=203.0.113.2"))

    assert read(PROXY, *both, headers="x-forwarded").address == "203.0.113.1"
    assert read(PROXY, *both, headers="forwarded").address == "203.0.113.2"
    assert read(PROXY, both[1], headers="x-forwarded").address == PROXY
    assert read(PROXY, both[0], headers="forwarded").address == PROXY


def with_host(**fields: str) -> tuple[str | None, str | None]:
    """Return the scheme and the host that a trusted proxy reports in X-Forwarded-* fields."""
    found = read(PROXY, *((f"X-Forwarded-{name}", value) for name, value in fields.items()))
    return found.scheme, found.host


def test_scheme_and_host_are_those_of_the_nearest_proxy() -> None:
    assert with_host(Proto="HTTPS", Host="API.Example") == ("https", "api.example")
    assert with_host(Proto="https, http", Host="evil.example, a.example") == ("http", "a.example")
    assert with_host(Proto="https", Host="a.example", Port="443") == ("https", "a.example")
    assert with_host(Proto="https", Host="a.example", Port="8443") == ("https", "a.example:8443")
    assert with_host(Proto="https", Host="a.example:1", Port="8443") == ("https", "a.example:1")
    assert with_host(Proto="http", Host="[2001:db8::1]", Port="81") == ("http", "[2001:db8::1]:81")
    assert with_host(Proto="ftp", Host="a b") == (None, None)
    assert with_host(Proto="", Host="", Port="x") == (None, None)


def test_of_forwarded_scheme_and_host_are_those_of_the_outermost_trusted_proxy() -> None:
    found = read(
        PROXY,
        rfc(
            "for=203.0.113.9;host=evil.example;proto=https,"
            f" for={CLIENT};host=A.example;proto=https, for=10.2.0.1;host=inner;proto=http"
        ),
    )

    assert found == Forwarded(address=CLIENT, scheme="https", host="a.example")


def test_a_chain_is_read_up_to_a_bound() -> None:
    found = read(PROXY, xff(", ".join([CLIENT] + ["10.2.0.1"] * MAX_HOPS)))

    assert found.address == "10.2.0.1"


@pytest.mark.parametrize("word", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "*"])
def test_an_invalid_network_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="must be networks or addresses"):
        parse_network(word)
