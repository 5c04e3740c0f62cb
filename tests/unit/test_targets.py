"""Redirects from a file's address to the store: their expiry, their cache lifetime, and their
length.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.targets import MAX_LOCATION, Target, disposition, target
from shared.keys import original_key, safe_file_name
from shared.reserved import Reserved
from shared.settings import Settings
from shared.signing import Credentials
from tests.support.rows import attachment

SETTINGS = Settings(
    database_url="postgresql://127.0.0.1/a",
    broker_url="redis://127.0.0.1",
    s3_bucket="attachments-of-a-company-with-a-long-name-in-production",
    s3_region="ap-southeast-2",
    files_secret="sixteen-letters!",
)
PLAIN = Credentials(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="secret")
NOON = datetime(2026, 4, 17, 12, 0, tzinfo=UTC)
SETTING = {"image/jpeg": 300, "video/mp4": 3600, "Audio/MP4; a=b": 3600, "application/ogg": 3600}


def made(
    name: str = "a.jpg",
    *,
    now: datetime = NOON,
    content_type: str | None = "image/jpeg",
    credentials: Credentials = PLAIN,
    method: str = "GET",
    link_ends: int | None = None,
    thumb: bool = False,
    **row: Any,
) -> Target:
    """Make the target to which the API redirects for a file with this name."""
    found = attachment(
        1_234_567_890,
        name=name,
        file_name=safe_file_name(name),
        state="ready",
        content_type=content_type,
        thumbnail_name="thumb.jpg",
        **row,
    )
    key = found.thumbnail_key if thumb else found.key
    assert key is not None
    return target(
        SETTINGS, found, key, method=method, credentials=credentials, now=now, link_ends=link_ends
    )


def ends(found: Target) -> datetime:
    """Return the time at which the store's signed address expires."""
    query = dict(parse_qsl(urlsplit(found.location).query))
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    return signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))


def name_in(found: Target) -> str:
    """Return the file name in a redirect's Content-Disposition, as a browser reads it."""
    (value,) = parse_qs(urlsplit(found.location).query)["response-content-disposition"]
    real = re.search(r"filename\*=UTF-8''([^;]*)", value)
    plain = re.search(r'filename="([^"]*)"', value)
    return unquote(real[1]) if real else (plain[1] if plain else "")


@pytest.mark.parametrize(("content_type", "ttl_s"), SETTING.items(), ids=SETTING)
@pytest.mark.parametrize("second", [0, 0.001, 1, 299, 299.999, 300, 1799, 3599, 3600])
def test_a_target_opens_for_its_time_and_is_the_same_for_as_long_as_it_is_kept(
    content_type: str, ttl_s: int, second: float
) -> None:
    now = NOON + timedelta(seconds=second)

    found = made(now=now, content_type=content_type)

    kept_until = now + timedelta(seconds=found.cache_s)
    assert 0 <= found.cache_s <= ttl_s
    assert timedelta(seconds=ttl_s) < ends(found) - now <= timedelta(seconds=2 * ttl_s)
    assert ends(found) - kept_until >= timedelta(seconds=ttl_s)
    for passed in range(0, found.cache_s, 50):
        later = now + timedelta(seconds=passed)
        assert made(now=later, content_type=content_type).location == found.location
    after = made(now=kept_until + timedelta(seconds=1), content_type=content_type)
    assert after.location != found.location


def test_a_thumbnail_of_a_film_is_a_picture() -> None:
    assert ends(made(content_type="video/mp4", thumb=True)) == NOON + timedelta(seconds=600)


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "application/zip"])
def test_other_files_are_not_played(content_type: str | None) -> None:
    assert ends(made(content_type=content_type)) == NOON + timedelta(seconds=600)


def test_a_redirect_is_kept_no_longer_than_its_link_opens() -> None:
    unix = int(NOON.timestamp())

    assert made(link_ends=unix + 100).cache_s == 99
    assert made(link_ends=unix + 1).cache_s == 0
    assert made(link_ends=unix + 100_000).cache_s == 300


def test_a_redirect_is_kept_while_its_credentials_let_the_target_live() -> None:
    def cache_s(seconds: int, content_type: str = "image/jpeg") -> int:
        ends_at = NOON + timedelta(seconds=seconds)
        credentials = Credentials(access_key="A", secret_key="s", token="t", ends_at=ends_at)
        return made(credentials=credentials, content_type=content_type).cache_s

    assert cache_s(601) == 300
    assert cache_s(400) == 100
    assert cache_s(300) == cache_s(10) == cache_s(-10) == 0
    assert cache_s(3700, "video/mp4") == 100


def test_each_method_has_a_signature_of_its_own() -> None:
    get, head = made(), made(method="HEAD")

    assert get.location.partition("&X-Amz-Signature=")[0] in head.location
    assert get.location != head.location


TOKEN = Credentials(access_key="ASIAIOSFODNN7EXAMPLE", secret_key="secret", token="A/+=" * 200)
LONG = {
    "four-byte letters": "𝒜" * 251 + ".jpg",
    "emoji": "👩‍👩‍👧‍👦" * 36,
    "three-byte letters": "写" * 255,
    "two-byte letters": "ü" * 251 + ".pdf",
    "percents": "%" * 255,
    "quotes": '"' * 255,
    "spaces": " a" * 127,
    "a dot in front": "." + "𝒜" * 254,
    "a long extension": "a." + "𝒜" * 253,
    "dots": "𝒜." * 127,
    "ASCII": "a" * 251 + ".jpg",
}


@pytest.mark.parametrize("credentials", [PLAIN, TOKEN], ids=["plain", "temporary"])
@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
def test_a_location_has_room_in_a_balancers_buffer(name: str, credentials: Credentials) -> None:
    found = made(name, credentials=credentials)

    assert len(found.location) <= MAX_LOCATION
    _, dot, extension = name.rpartition(".")
    shown = name_in(found)
    if dot and len(extension) <= 4:
        assert shown.endswith(dot + extension)
    if shown != safe_file_name(name):
        kept = shown.removesuffix(dot + extension if len(extension) <= 20 else "_")
        assert name.startswith(kept)
        assert kept


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255))
def test_no_name_makes_a_location_too_long(name: str) -> None:
    for credentials in (PLAIN, TOKEN):
        assert len(made(name, credentials=credentials).location) <= MAX_LOCATION


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_a_usual_name_is_whole(name: str) -> None:
    assert name_in(made(name)) == name


def test_with_a_huge_token_the_browser_takes_the_name_in_the_key() -> None:
    token = Credentials(access_key="A", secret_key="s", token="A/+=" * 360)

    found = made("写" * 255, credentials=token)

    (value,) = parse_qs(urlsplit(found.location).query)["response-content-disposition"]
    assert value == "inline"
    assert urlsplit(found.location).path.endswith(original_key(1_234_567_890, "写" * 255))


@pytest.mark.parametrize("name", ["写" * 20 + ".exe" + "b" * 30, "a.exe." + "写" * 30])
def test_a_cut_name_has_no_extension_that_the_name_has_not(name: str) -> None:
    for room in range(60, len(quote(quote(name)))):
        encoded = disposition("attachment", name, room=room).partition("UTF-8''")[2]
        assert not Reserved().has_name(unquote(encoded)), room


def test_a_cut_name_ends_at_a_letter() -> None:
    for room in range(60, 140):
        value = disposition("inline", "写ü👩‍👧👩‍👧.jpg", room=room)
        encoded = value.partition("UTF-8''")[2]
        assert len(quote(encoded, safe="")) <= room
        if encoded:
            assert unquote(encoded, errors="strict").endswith(".jpg")
            assert not unquote(encoded).removesuffix(".jpg").endswith("\u200d")
