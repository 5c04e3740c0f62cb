"""Parameters in the query of a database address: the service passes on, translates, ignores or
refuses them.
"""

import socket
from pathlib import Path
from typing import Any

import pytest

from shared.database_address import Address, parse_address
from shared.database_words import (
    CACHES,
    CHOICES,
    FILES,
    IGNORED,
    MEANINGLESS,
    PASSED,
    REFUSED,
    SOCKET_OPTIONS,
)

BASE = "postgresql://u:p@h:5432/x"
# The names come from https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
OF_LIBPQ = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslmode",
    "requiressl",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslkeylogfile",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "target_session_attrs",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
)


def parse(query: str) -> Address:
    """Parse a database address with this query."""
    return parse_address(f"{BASE}?{query}")


@pytest.mark.parametrize("word", OF_LIBPQ)
def test_every_word_of_libpq_is_known(word: str) -> None:
    try:
        unsure = parse(f"{word}=1").unsure
    except ValueError:
        unsure = {}
    assert unsure == {}


@pytest.mark.parametrize(
    "word", sorted({*PASSED, *FILES, *CHOICES, *REFUSED, *IGNORED, *MEANINGLESS, *SOCKET_OPTIONS})
)
def test_a_word_without_a_value_is_as_if_it_were_not_there(word: str) -> None:
    found = parse(f"{word}=")
    assert (found.dsn, dict(found.settings), found.socket_options) == (BASE, {}, ())


@pytest.mark.parametrize("word", sorted(set(REFUSED) - {"min_protocol_version", "sslcertmode"}))
def test_a_parameter_that_would_weaken_the_connection_is_refused_by_name(word: str) -> None:
    with pytest.raises(ValueError, match=f"asks for {word}, which is not supported: "):
        parse(f"{word}=require")


@pytest.mark.parametrize(
    ("query", "dsn"),
    [
        ("sslmode=require&sslnegotiation=direct", "?sslmode=require&sslnegotiation=direct"),
        ("target_session_attrs=read-write", "?target_session_attrs=read-write"),
        ("ssl=true", "?sslmode=require"),
        ("ssl=verify-full", "?sslmode=verify-full"),
        ("ssl=true&sslmode=verify-ca", "?sslmode=verify-ca"),
        ("requiressl=1", "?sslmode=require"),
        ("channel_binding=prefer&gssencmode=disable&sslsni=1", ""),
        ("service=mine&passfile=/none", "?service=mine&passfile=%2Fnone"),
        ("sslmode=disable&sslmode=require", "?sslmode=require"),
    ],
)
def test_parameters_that_asyncpg_reads_are_passed_on(query: str, dsn: str) -> None:
    assert parse(query).dsn == BASE + dsn


def test_application_name_options_and_schema_become_settings() -> None:
    assert parse("application_name=a%20b").settings == {"application_name": "a b"}
    assert parse("schema=My%20App").settings == {"search_path": '"My App"'}
    assert parse("currentSchema=a,b").settings == {"search_path": "a,b"}
    options = r"options=-c%20geqo%3Doff%20--statement-timeout%3D5min%20-cwork_mem%3D1\%20MB"
    assert parse(options).settings == {
        "geqo": "off",
        "statement_timeout": "5min",
        "work_mem": "1 MB",
    }
    assert parse("options=-c+geqo%3Doff").settings == {"geqo": "off"}
    assert parse("options=endpoint%3Dmine").settings == {"options": "endpoint=mine"}


def test_keepalives_become_options_of_the_socket() -> None:
    found = parse("keepalives_idle=30&keepalives_interval=5&keepalives_count=3")
    assert set(found.socket_options) == {
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    }
    assert parse("keepalives=0&keepalives_idle=0").socket_options == (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
    )


@pytest.mark.parametrize(
    ("query", "seconds"), [("connect_timeout=10", 10), ("connect_timeout=0", None)]
)
def test_connect_timeout_bounds_the_making_of_a_connection(query: str, seconds: Any) -> None:
    assert parse(query).timeout_s == seconds


@pytest.mark.parametrize("word", ["pgbouncer=true", *(f"{word}=0" for word in sorted(CACHES))])
def test_words_for_poolers_turn_prepared_statements_off(word: str) -> None:
    assert parse(word).pooled


def test_words_of_orms_are_ignored_by_name() -> None:
    found = parse("connection_limit=5&pool_timeout=0&pgbouncer=false&sslkeylogfile=/x")
    assert found.ignored == ("connection_limit", "pool_timeout", "sslkeylogfile")
    assert not found.pooled
    assert found.dsn == BASE


def test_a_word_that_nobody_knows_is_left_to_the_server() -> None:
    assert parse("work_mem=8MB&foo=1").unsure == {"work_mem": "8MB", "foo": "1"}


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("sslmode=no-verify", "sslmode that is not one of disable"),
        ("target_session_attrs=standby", "target_session_attrs that is not one of"),
        ("sslnegotiation=direct", "must have sslmode=require"),
        ("sslrootcert=system&sslmode=require", "must have sslmode=verify-full"),
        ("sslrootcert=/nowhere/at/all", "names a file in sslrootcert"),
        ("port=x", "has a port"),
        ("connect_timeout=soon", "has a connect_timeout"),
        ("keepalives_idle=often", "has a keepalives_idle"),
        ("pgbouncer=perhaps", "has a pgbouncer"),
        ("statement_cache_size=many", "has a statement_cache_size"),
    ],
)
def test_a_value_that_cannot_be_is_named_without_its_text(query: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        parse(query)
    value = query.partition("=")[2].partition("&")[0]
    assert value in ("direct", "system") or value not in str(caught.value)


def test_a_certificate_is_verified_by_name_where_that_is_asked_for(tmp_path: Path) -> None:
    found = parse("sslmode=verify-full&hostaddr=10.0.0.1")
    assert found.ignored == ("hostaddr",)
    assert "10.0.0.1" not in found.dsn
    assert parse("sslrootcert=system").arguments["ssl"].check_hostname
    assert parse("sslmode=require&sslaccept=strict").arguments["ssl"].check_hostname
