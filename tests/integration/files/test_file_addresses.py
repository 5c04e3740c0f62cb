"""Addresses of files: which of them lead to the store, and which are answered with 404."""

import time
from datetime import datetime
from urllib.parse import urlsplit

import pytest
from yarl import URL

from tests.data.images import gradient_photo
from tests.support.opened_files import cache_s, fetch, settled, signed
from tests.support.resources import NOT_FOUND, PATH
from tests.support.service import Client, Service

EXE = b"MZ\x90\x00" + bytes(56) + b"\x80" + bytes(67) + b"PE\x00\x00\x4c\x01" + bytes(400)


def lives_s(location: URL) -> float:
    """Return the number of seconds until the store no longer accepts a signed address."""
    signed_at = datetime.strptime(location.query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    return signed_at.timestamp() + int(location.query["X-Amz-Expires"]) - time.time()


async def test_an_address_redirects_to_the_store_for_a_short_while(client: Client) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")

    answer = await fetch(client, attributes["url"])

    assert answer.status == 302
    assert answer.body == b""
    assert 0 <= cache_s(answer) <= 300
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    location = URL(answer.headers["Location"], encoded=True)
    assert 300 <= lives_s(location) <= 600
    assert location.path.endswith(urlsplit(attributes["url"]).path)


@pytest.mark.parametrize("of", ["url", "thumb"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("&s=", "&s=A", id="a longer signature"),
        pytest.param("&s=", "&x=", id="no signature"),
        pytest.param("?1", "?2", id="another time stamp"),
        pytest.param("?", "?e=99999999999&", id="an end in front"),
        pytest.param("&s=", "&e=99999999999&s=", id="an end that was not signed"),
        pytest.param("photo.jpg", "photo.jpg.exe", id="another file name"),
        pytest.param("/files/", "/files//", id="a slash twice"),
        pytest.param("?", "#", id="no query"),
    ],
)
async def test_an_altered_address_is_not_found(client: Client, of: str, old: str, new: str) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")
    address = attributes[of]
    assert (await fetch(client, address)).status == 302

    answer = await fetch(client, address.replace(old, new, 1))

    assert answer.status == 404
    assert answer.document == NOT_FOUND


async def test_the_signature_of_one_address_opens_no_other(client: Client) -> None:
    one = await settled(client, gradient_photo(), "photo.jpg")
    another = await settled(client, gradient_photo(), "photo.jpg")
    query = urlsplit(one["url"]).query

    for path in (urlsplit(another["url"]).path, urlsplit(one["thumb"]).path):
        assert (await fetch(client, f"{client.base_url}{path}?{query}")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/attachments/files/",
        "/attachments/files/x",
        "/attachments/files/000/000/001/large/a.png",
        "/attachments/files/000/000/001/original/..%2fa.png",
        "/attachments/files/000/000/001/original/a%00.png",
        "/attachments/files/999/999/999/original/a.png",
    ],
)
async def test_an_address_of_nothing_is_not_found(client: Client, path: str) -> None:
    answer = await fetch(client, f"{client.base_url}{path}?1776398568&s={'A' * 24}")

    assert answer.status == 404
    assert answer.document == NOT_FOUND


async def test_a_deleted_attachments_addresses_are_dead_at_once(client: Client) -> None:
    attachment_id = await client.upload(gradient_photo(), "photo.jpg")
    attributes = (await client.settled(attachment_id))["attributes"]

    await client.request("DELETE", f"{PATH}/{attachment_id}")

    for address in (attributes["url"], attributes["thumb"]):
        assert (await fetch(client, address)).status == 404


async def test_a_reserved_file_is_not_served(client: Client) -> None:
    attributes = await settled(client, EXE, "setup.txt", state="rejected")

    assert (await fetch(client, attributes["url"])).status == 404


async def test_before_the_upload_there_is_nothing_to_open(service: Service) -> None:
    attributes = (await service.client.create("a.png"))["data"]["attributes"]
    assert urlsplit(attributes["url"]).query == ""

    plain = await fetch(service.client, attributes["url"])
    genuine = await fetch(service.client, signed(service, attributes["aws_policy"]["key"]))

    assert plain.status == 404
    assert genuine.status == 404


async def test_a_missing_thumbnail_is_not_found(working: Service, client: Client) -> None:
    attachment_id = await client.upload(b"just text\n", "a.txt")
    attributes = (await client.settled(attachment_id))["attributes"]
    assert attributes["thumb"] is None
    key = (await working.row(attachment_id)).key

    assert (await fetch(client, signed(working, key))).status == 302
    thumb = signed(working, key.replace("/original/", "/thumb/"))
    assert (await fetch(client, thumb)).status == 404


async def test_another_file_name_of_the_same_id_is_not_found(
    working: Service, client: Client
) -> None:
    attachment_id = await client.upload(gradient_photo(), "a.jpg")
    await client.settled(attachment_id)
    key = (await working.row(attachment_id)).key

    assert (await fetch(client, signed(working, key))).status == 302
    for other in (key.replace("a.jpg", "b.jpg"), key.replace("original/a", "thumb/b")):
        assert (await fetch(client, signed(working, other))).status == 404
