"""Signed addresses of files as players, download managers and browser caches use them."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from yarl import URL

from tests.data import containers
from tests.support.service import Client, Service, until
from tests.support.starting import StartService, StartWorker

TEXT = b"0123456789" * 100
FILM = containers.file_type(b"isom") + containers.movie(b"vide", b"soun")
HEADER_BUFFER = 4096
"""The default of nginx's proxy_buffer_size in bytes: one page of memory."""


async def head_of(client: Client, address: str, method: str = "GET") -> bytes:
    """Request a file, and return the head of the answer as bytes."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        async with asyncio.timeout(10):
            writer.write(
                f"{method} {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
            )
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


async def follow(
    client: Client, address: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Request an address and follow its redirect, with the same method and headers."""
    async with client.session.request(
        method, URL(address, encoded=True), headers=headers or {}
    ) as answer:
        assert len(answer.history) == 1
        return answer.status, answer.headers, await answer.read()


async def settled(client: Client, content: bytes, name: str) -> Any:
    """Upload a file, wait until it is ready, and return its attributes."""
    resource = await client.settled(await client.upload(content, name))
    assert resource["meta"]["state"] == "ready"
    return resource["attributes"]


def location(head: bytes) -> URL:
    """Return the address in the Location field of a redirect."""
    assert head.startswith(b"HTTP/1.1 302 ")
    found = re.search(rb"\r\nLocation: ([^\r]+)\r\n", head)
    assert found is not None
    return URL(found[1].decode(), encoded=True)


async def test_head_has_the_headers_of_get(working: Service) -> None:
    attributes = await settled(working.client, TEXT, "a.txt")

    status, headers, body = await follow(working.client, attributes["url"], "HEAD")

    assert (status, body) == (200, b"")
    get = (await follow(working.client, attributes["url"]))[1]
    for name in ("Content-Length", "Content-Type", "Content-Disposition", "ETag"):
        assert headers[name] == get[name]


async def test_ranges_and_conditions_are_the_stores(working: Service) -> None:
    url = (await settled(working.client, TEXT, "a.txt"))["url"]

    status, headers, body = await follow(working.client, url, headers={"Range": "bytes=5-9"})
    assert (status, body) == (206, TEXT[5:10])
    assert headers["Content-Range"] == f"bytes 5-9/{len(TEXT)}"
    unchanged = {"If-None-Match": headers["ETag"]}
    for method in ("GET", "HEAD"):
        assert (await follow(working.client, url, method, unchanged))[0] == 304
    resumed = {"Range": "bytes=990-", "If-Range": headers["ETag"]}
    assert (await follow(working.client, url, headers=resumed))[2] == TEXT[990:]


async def test_a_film_opens_for_an_hour_by_default(working: Service) -> None:
    film = await settled(working.client, FILM, "a.mp4")
    assert film["content_type"] == "video/mp4"
    text = await settled(working.client, TEXT, "a.txt")

    for attributes, seconds in ((film, 3600), (text, 300)):
        found = location(await head_of(working.client, attributes["url"]))
        assert int(found.query["X-Amz-Expires"]) == 2 * seconds


async def test_the_settings_decide_how_long(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(redirect_ttl="60", redirect_ttl_media="86400")
    await start_worker(service)
    for content, name, seconds in ((FILM, "a.mp4", 86400), (TEXT, "a.txt", 60)):
        attributes = await settled(service.client, content, name)
        head = await head_of(service.client, attributes["url"])
        assert int(location(head).query["X-Amz-Expires"]) == 2 * seconds
        kept = re.search(rb"max-age=([0-9]+)\r\n", head)
        assert kept is not None
        assert 0 <= int(kept[1]) <= seconds


NAMES = {
    "emoji": "𝒜👩‍👩‍👧‍👦" * 31 + ".txt",
    "ideographs": "写" * 251 + ".txt",
    "quotes and percents": '"%' * 125 + ".txt",
    "no extension": "🙂" * 255,
    "ASCII": "a" * 251 + ".txt",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_every_head_fits_in_a_balancers_buffer(working: Service, name: str) -> None:
    attributes = await settled(working.client, TEXT, name)
    assert attributes["name"] == name

    for method in ("GET", "HEAD"):
        head = await head_of(working.client, attributes["url"], method)
        assert len(head) <= HEADER_BUFFER
    status, headers, body = await follow(working.client, attributes["url"])
    assert (status, body) == (200, TEXT)
    encoded = headers["Content-Disposition"].partition("filename*=UTF-8''")[2]
    extension = ".txt" if name.endswith(".txt") else ""
    # The name that the store sends may be shortened, but must have the whole extension.
    stem = encoded.removesuffix(extension or "_")
    assert encoded.endswith(extension)
    assert stem
    assert quote(name.removesuffix(extension), safe="").startswith(stem)


async def test_uploads_in_one_second_have_addresses_of_their_own(working: Service) -> None:
    client = working.client
    created = await client.create("a.txt")
    attachment_id = created["data"]["id"]
    seen = {(await client.show(attachment_id))["attributes"]["url"]}
    for number in range(4):
        assert (await client.post_file(created, TEXT + bytes([48 + number])))[0] == 201

        async def has_new_address() -> str | None:
            url = (await client.show(attachment_id))["attributes"]["url"]
            return None if url in seen else str(url)

        seen.add(await until(has_new_address, within_s=30))

    stamps = sorted(int(urlsplit(url).query.partition("&")[0] or 0) for url in seen)
    assert len(set(stamps)) == 5


async def test_an_address_of_no_file_has_no_target_for_any_method(working: Service) -> None:
    async with aiohttp.ClientSession() as session:
        for method in ("GET", "HEAD"):
            address = f"{working.base_url}/attachments/files/999/999/999/original/a?1&s=x"
            async with session.request(method, address) as answer:
                assert answer.status == 404
