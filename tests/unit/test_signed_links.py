"""Addresses of files: their signature, their lifetime, and addresses without scheme and host."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from shared.links import Links
from tests.support.attachment_rows import CHANGED, KEY, NOW, ORIGIN, make_link_settings


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="signed"),
        pytest.param({"files_ttl": "3600"}, id="signed with an end"),
        pytest.param({"files_public": "true", "files_url": "https://f.example"}, id="public"),
    ],
)
def test_before_an_upload_an_address_has_no_query(changes: dict[str, str]) -> None:
    url = Links(make_link_settings(**changes)).url(KEY, None, NOW, ORIGIN)

    assert url == f"{changes.get('files_url', ORIGIN)}/{KEY}"


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        pytest.param({}, ORIGIN, id="as the request names it"),
        pytest.param({"api_url": "https://a.example"}, "https://a.example", id="the API's address"),
        pytest.param(
            {"api_url": "https://a.example", "files_url": "https://f.example/x"},
            "https://f.example/x",
            id="the files' address",
        ),
    ],
)
def test_files_are_served_at_their_address_else_by_the_api(
    changes: dict[str, str], base: str
) -> None:
    assert Links(make_link_settings(**changes)).url(KEY, None, NOW, ORIGIN) == f"{base}/{KEY}"


def query(url: str) -> tuple[str, str, str]:
    """Return the time stamp, the expiry and the signature in a file address.

    The expiry is "" if the address has no expiry.
    """
    stamp, *rest = urlsplit(url).query.split("&")
    given = dict(item.split("=", 1) for item in rest)
    return stamp, given.get("e", ""), given["s"]


def test_a_signed_address_is_stable_so_that_browsers_can_cache_it() -> None:
    links = Links(make_link_settings())

    url = links.url(KEY, CHANGED, NOW, ORIGIN)

    assert url == links.url(KEY, CHANGED, NOW + timedelta(days=365), ORIGIN)
    assert url.startswith(f"{ORIGIN}/{KEY}?1776398568&s=")
    assert links.admits(KEY, *query(url), NOW + timedelta(days=365))


def test_an_address_with_a_lifetime_opens_until_its_end_and_not_after() -> None:
    links = Links(make_link_settings(files_ttl="3600"))
    stamp, ends, signature = query(links.url(KEY, CHANGED, NOW, ORIGIN))
    end = datetime.fromtimestamp(int(ends), UTC)

    assert links.admits(KEY, stamp, ends, signature, NOW)
    assert links.admits(KEY, stamp, ends, signature, end - timedelta(milliseconds=1))
    assert not links.admits(KEY, stamp, ends, signature, end)


@pytest.mark.parametrize("second", [0, 1, 1800, 3599])
def test_an_address_with_a_lifetime_lives_for_one_to_two_of_them(second: int) -> None:
    now = NOW + timedelta(seconds=second)

    _, ends, _ = query(Links(make_link_settings(files_ttl="3600")).url(KEY, CHANGED, now, ORIGIN))

    assert 3600 < int(ends) - now.timestamp() <= 7200


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"key": KEY.replace("001", "002")}, id="another key"),
        pytest.param({"key": KEY.replace("original", "thumb")}, id="another style"),
        pytest.param({"stamp": "1776398569"}, id="another time stamp"),
        pytest.param({"ends": "99999999999"}, id="a later end"),
        pytest.param({"ends": ""}, id="no end"),
        pytest.param({"signature": ""}, id="no signature"),
        pytest.param({"signature": "A" * 24}, id="another signature"),
        pytest.param({"signature": "\udcff"}, id="a signature of a lone surrogate"),
    ],
)
def test_an_altered_address_is_not_admitted(change: dict[str, str]) -> None:
    links = Links(make_link_settings(files_ttl="3600"))
    stamp, ends, signature = query(links.url(KEY, CHANGED, NOW, ORIGIN))
    given = {"key": KEY, "stamp": stamp, "ends": ends, "signature": signature}

    assert links.admits(**given, now=NOW)
    assert not links.admits(**{**given, **change}, now=NOW)


def test_an_address_signed_with_another_secret_is_not_admitted() -> None:
    url = Links(make_link_settings(files_secret="another-secret-of-the-tests")).url(
        KEY, CHANGED, NOW, ORIGIN
    )

    assert not Links(make_link_settings()).admits(KEY, *query(url), NOW)


def test_while_a_secret_is_replaced_links_of_both_open_and_the_new_one_signs() -> None:
    old, new = "the-former-secret-of-the-tests", "the-latter-secret-of-the-tests"
    before = Links(make_link_settings(files_secret=old))
    during = Links(make_link_settings(files_secret=new, files_secret_previous=old))
    after = Links(make_link_settings(files_secret=new))
    given, given_now = (links.url(KEY, CHANGED, NOW, ORIGIN) for links in (before, during))

    assert given_now == after.url(KEY, CHANGED, NOW, ORIGIN) != given
    stages = (before, during, after)
    assert [each.admits(KEY, *query(given), NOW) for each in stages] == [True, True, False]
    assert [each.admits(KEY, *query(given_now), NOW) for each in stages] == [False, True, True]
    assert not during.admits(KEY, "1776398568", "", "A" * 24, NOW)


def test_a_secret_may_hold_commas() -> None:
    links = Links(make_link_settings(files_secret="the-first-secret-1,the-second-secret-2"))
    url = links.url(KEY, CHANGED, NOW, ORIGIN)

    assert links.admits(KEY, *query(url), NOW)
    for part in ("the-first-secret-1", "the-second-secret-2"):
        assert not Links(make_link_settings(files_secret=part)).admits(KEY, *query(url), NOW)


def test_without_an_origin_addresses_are_relative_to_the_host() -> None:
    assert Links(make_link_settings()).url(KEY, None, NOW, "") == f"/{KEY}"
    made = make_link_settings(files_url="https://f.example")
    assert Links(made).url(KEY, None, NOW, "") == f"https://f.example/{KEY}"
