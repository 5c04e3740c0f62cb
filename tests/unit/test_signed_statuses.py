"""Addresses of an attachment's status: they expire, and their signature is valid for no file."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.links import Links
from tests.support.attachment_rows import CHANGED, KEY, NOW, ORIGIN, make_link_settings

ENDS = NOW + timedelta(hours=2)


def make_query(links: Links, attachment_id: int = 1) -> tuple[str, str, str]:
    """Return the time stamp, the expiry and the signature of a new status address."""
    url = links.status_url(attachment_id, CHANGED, ENDS, ORIGIN)
    assert url is not None
    assert url.startswith(f"{ORIGIN}/attachments/status/{attachment_id}?")
    stamp, ends, signature = urlsplit(url).query.split("&")
    return stamp, ends.removeprefix("e="), signature.removeprefix("s=")


def test_an_address_opens_until_its_end_and_not_after() -> None:
    links = Links(make_link_settings())
    query = make_query(links)

    assert query[:2] == (str(int(CHANGED.timestamp())), str(int(ENDS.timestamp())))
    assert links.admits_status(1, *query, NOW)
    assert links.admits_status(1, *query, ENDS - timedelta(milliseconds=1))
    assert not links.admits_status(1, *query, ENDS)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"attachment_id": 2}, id="another attachment"),
        pytest.param({"stamp": "1776398569"}, id="another time of creation"),
        pytest.param({"ends": "99999999999"}, id="a later end"),
        pytest.param({"ends": ""}, id="no end"),
        pytest.param({"signature": ""}, id="no signature"),
        pytest.param({"signature": "A" * 24}, id="another signature"),
    ],
)
def test_an_altered_address_does_not_open(change: dict[str, Any]) -> None:
    links = Links(make_link_settings())
    stamp, ends, signature = make_query(links)
    given: dict[str, Any] = {
        "attachment_id": 1,
        "stamp": stamp,
        "ends": ends,
        "signature": signature,
    }

    assert links.admits_status(**given, now=NOW)
    assert not links.admits_status(**{**given, **change}, now=NOW)


def test_an_address_without_an_end_does_not_open_even_if_it_is_signed() -> None:
    links = Links(make_link_settings())
    signature = links.sign("attachments/status/1", "1776398568", "")

    assert not links.admits_status(1, "1776398568", "", signature, NOW)


def test_a_signature_of_a_status_opens_no_file_and_that_of_a_file_no_status() -> None:
    links = Links(make_link_settings(files_ttl="3600"))
    of_status = make_query(links)
    stamp, ends, signature = urlsplit(links.url(KEY, CHANGED, NOW, ORIGIN)).query.split("&")
    of_file = stamp, ends.removeprefix("e="), signature.removeprefix("s=")

    assert links.admits(KEY, *of_file, NOW)
    assert not links.admits(KEY, *of_status, NOW)
    assert not links.admits_status(1, *of_file, NOW)


def test_while_a_secret_is_replaced_addresses_of_both_open() -> None:
    old, new = "the-former-secret-of-the-tests", "the-latter-secret-of-the-tests"
    before = Links(make_link_settings(files_secret=old))
    during = Links(make_link_settings(files_secret=new, files_secret_previous=old))
    after = Links(make_link_settings(files_secret=new))
    given, given_now = make_query(before), make_query(during)

    stages = (before, during, after)
    assert [each.admits_status(1, *given, NOW) for each in stages] == [True, True, False]
    assert [each.admits_status(1, *given_now, NOW) for each in stages] == [False, True, True]


def test_without_a_secret_there_is_no_address_and_none_opens() -> None:
    public = {"files_public": "true", "files_url": "https://f.example"}
    links = Links(make_link_settings(**public, files_secret=""))
    ends = str(int(ENDS.timestamp()))

    assert links.status_url(1, CHANGED, ENDS, ORIGIN) is None
    forged = links.sign("attachments/status/1", "1776398568", ends)
    assert not links.admits_status(1, "1776398568", ends, forged, NOW)

    links = Links(make_link_settings(**public))
    assert links.admits_status(1, *make_query(links), NOW)
