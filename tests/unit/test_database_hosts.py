"""Schemes, hosts and sockets in a database address, which the service reads as asyncpg does."""

from typing import Any

import pytest
from asyncpg import connect_utils

from shared.database_address import parse_address

BASE = "postgresql://u:p@h:5432/x"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_schemes_of_other_libraries_are_read(scheme: str) -> None:
    assert parse_address(f"{scheme}://u:p@h/x").dsn == "postgresql://u:p@h/x"


@pytest.mark.parametrize(
    "url", ["mysql://h/x", "jdbc:postgresql://h/x", "postgresql://u:p@ss@h/x", "postgresql://h/x#y"]
)
def test_an_address_of_another_scheme_than_postgresql_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address(url)


@pytest.mark.parametrize(
    ("url", "dsn", "place"),
    [
        ("postgres://u@a:1,b:2/x", "postgresql://u@a:1,b:2/x", "a:1,b:2"),
        ("postgres://u@a,b/x?port=6", "postgresql://u@a,b/x?port=6%2C6", "a,b"),
        ("postgres:///x?host=/run/pg", "postgresql:///x?host=%2Frun%2Fpg", "/run/pg"),
        ("postgres://%2Frun%2Fpg/x", "postgresql://%2Frun%2Fpg/x", "/run/pg"),
        ("postgres://u@a/x?hostaddr=::1", "postgresql://u@/x?host=%3A%3A1", "::1"),
        ("postgres:///x", "postgresql:///x", "the local socket"),
    ],
)
def test_hosts_and_sockets(url: str, dsn: str, place: str) -> None:
    found = parse_address(url)
    assert (found.dsn, found.server) == (dsn, place)


@pytest.mark.parametrize(
    ("url", "dsns"),
    [
        ("postgres://u:p@a:1,[::1]:2/x", ["postgresql://u:p@a:1/x", "postgresql://u:p@[::1]:2/x"]),
        ("postgres://a,b/x?port=6", ["postgresql://a:6/x", "postgresql://b:6/x"]),
        (
            "postgres://u@/x?host=a,b&port=6,7",
            ["postgresql://u@/x?host=a&port=6", "postgresql://u@/x?host=b&port=7"],
        ),
        ("postgres:///x", ["postgresql:///x"]),
    ],
)
def test_each_host_has_an_address_of_its_own(url: str, dsns: list[str]) -> None:
    assert list(parse_address(url).dsns) == dsns


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("postgresql://u:p@h/x?port=7", [("h", 7)]),
        ("postgresql://u:p@h:5432/x?port=7", [("h", 7)]),
        ("postgresql://u:p@[::1]:5432/x?port=7", [("::1", 7)]),
        ("postgresql://u:p@h1:,h2/x?port=7", [("h1", 7), ("h2", 7)]),
        ("postgresql://u:p@h1,h2/x?port=6,7", [("h1", 6), ("h2", 7)]),
        ("postgresql://u:p@h:6543/x?hostaddr=192.0.2.1", [("192.0.2.1", 6543)]),
        ("postgresql://u:p@h:6543/x?hostaddr=::1", [("::1", 6543)]),
        ("postgresql://u:p@a:1,b:2/x?hostaddr=192.0.2.1,::1", [("192.0.2.1", 1), ("::1", 2)]),
        ("postgresql://u:p@h:6543/x?hostaddr=192.0.2.1&port=7", [("192.0.2.1", 7)]),
        ("postgresql://u:p@/x?host=::1", [("::1", 5432)]),
        ("postgresql://u:p@localhost/x?host=other", [("other", 5432)]),
        ("postgresql://u:p@localhost:6/x?host=other", [("other", 6)]),
        ("postgresql://u:p@a:1,b:2/x?host=c,d", [("c", 1), ("d", 2)]),
        ("postgresql://u:p@localhost/x?host=/cloudsql/a:b:c", ["/cloudsql/a:b:c/.s.PGSQL.5432"]),
        ("postgresql://u:p@%2Frun%2Fpg:6/x?port=7", ["/run/pg/.s.PGSQL.7"]),
    ],
)
def test_the_driver_goes_where_libpq_would(url: str, reached: list[Any]) -> None:
    assert [place for dsn in parse_address(url).dsns for place in as_asyncpg(dsn)[0]] == reached


def test_parameters_replace_the_part_before_the_query() -> None:
    query = "user=other&password=a%2Bb%2Fc+d%40&dbname=y%2Fz"
    found = as_asyncpg(parse_address(f"{BASE}?{query}").dsns[0])[1]
    assert (found.user, found.password, found.database) == ("other", "a+b/c+d@", "y/z")


def as_asyncpg(dsn: str) -> tuple[list[Any], Any]:
    """Parse an address with asyncpg, and return its hosts and its login parameters."""
    words = (
        "host",
        "port",
        "user",
        "password",
        "passfile",
        "database",
        "ssl",
        "service",
        "servicefile",
        "direct_tls",
        "server_settings",
        "target_session_attrs",
        "krbsrvname",
        "gsslib",
    )
    given: Any = {"dsn": dsn, **dict.fromkeys(words)}
    # `_parse_connect_dsn_and_args` is private in asyncpg, and is not in its type stubs.
    read: Any = connect_utils
    places, parameters = read._parse_connect_dsn_and_args(**given)
    return places, parameters
