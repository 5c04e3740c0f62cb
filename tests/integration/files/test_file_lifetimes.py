"""Addresses of files over time: their expiry, caches, former secrets, and changed files."""

import time
from urllib.parse import quote, urlsplit

from shared.links import Links
from tests.data.images import gradient_photo
from tests.support.opened_files import cache_s, fetch, opened, settled, signed
from tests.support.service import Client, Service
from tests.support.starting import StartService, StartWorker


async def test_an_address_with_a_lifetime_opens_and_one_past_its_end_does_not(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(files_ttl="3600")
    await start_worker(service)
    client = service.client
    attributes = await settled(client, gradient_photo(), "photo.jpg")
    assert "&e=" in attributes["url"]
    content, _ = await opened(client, attributes["url"])
    assert content == gradient_photo()

    key = urlsplit(attributes["url"]).path.removeprefix("/")
    stamp = urlsplit(attributes["url"]).query.partition("&")[0]
    past = "1776398568"
    signature = Links(service.settings).sign(key, stamp, past)
    ended = await fetch(client, f"{service.base_url}/{key}?{stamp}&e={past}&s={signature}")

    assert ended.status == 404


async def test_ends_in_odd_spellings_are_not_found(start_service: StartService) -> None:
    service = await start_service(files_ttl="60")
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    head, _, tail = url.partition("&e=")
    end, _, signature = tail.partition("&s=")
    key, stamp = (await service.row(attachment_id)).key, head.partition("?")[2]
    genuine = await fetch(service.client, url)
    assert genuine.status == 302
    assert 0 <= cache_s(genuine) < 120

    for odd in (
        f"0{end}",
        f"+{end}",
        f"{end}.0",
        f"{end}_0",
        "٣",
        "²",
        "９" * 10,
        "9" * 5000,
        "-1",
    ):
        for signed_by in (signature, Links(service.settings).sign(key, stamp, odd)):
            target = f"{service.base_url}/{key}?{stamp}&e={quote(odd)}&s={signed_by}"
            assert (await fetch(service.client, target)).status == 404, odd


async def test_a_redirect_is_kept_no_longer_than_its_link_opens(
    start_service: StartService,
) -> None:
    service = await start_service(files_ttl="3600")
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    key = (await service.row(attachment_id)).key
    ends = str(int(time.time()) + 30)
    signature = Links(service.settings).sign(key, "1", ends)

    answer = await fetch(service.client, f"{service.base_url}/{key}?1&e={ends}&s={signature}")

    assert answer.status == 302
    assert cache_s(answer) < 30


async def test_a_link_of_the_former_secret_opens(start_service: StartService) -> None:
    former = await start_service(files_secret="the-former-secret-of-links")
    attachment_id = await former.client.upload(gradient_photo(), "photo.jpg")
    await former.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    url = urlsplit((await former.client.show(attachment_id))["attributes"]["url"])
    for previous, status in (("the-former-secret-of-links", 302), ("", 404)):
        service = await start_service(
            files_secret="the-latter-secret-of-links", files_secret_previous=previous
        )
        answer = await fetch(service.client, f"{service.base_url}{url.path}?{url.query}")
        assert answer.status == status


async def test_public_addresses_carry_the_time_stamp_alone_and_the_api_serves_none(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(files_public="true", files_url="https://files-test.example")
    await start_worker(service)
    attachment_id = await service.client.upload(gradient_photo(), "img.jpg")
    attributes = (await service.client.settled(attachment_id))["attributes"]

    row = await service.row(attachment_id)
    assert row.uploaded_at is not None
    stamp = int(row.uploaded_at.timestamp())
    folder = f"https://files-test.example/{row.key.removesuffix('/original/img.jpg')}"
    assert attributes["url"] == f"{folder}/original/img.jpg?{stamp}"
    assert attributes["thumb"] == f"{folder}/thumb/img.jpg?{stamp}"
    assert attributes["temp_url"] == attributes["url"]
    for address in (f"{service.base_url}/{row.key}?{stamp}", signed(service, row.key)):
        assert (await fetch(service.client, address)).status == 404


async def test_an_address_stays_the_same_until_the_file_changes(
    working: Service, client: Client
) -> None:
    created = await client.create("photo.jpg")
    attachment_id = created["data"]["id"]
    await client.post_file(created, gradient_photo())
    first = (await client.settled(attachment_id))["attributes"]
    assert (await client.show(attachment_id))["attributes"] == first

    await working.execute(
        "UPDATE attachments SET uploaded_at = uploaded_at + interval '1 second' WHERE id = $1",
        int(attachment_id),
    )

    second = (await client.show(attachment_id))["attributes"]
    assert second["url"] != first["url"]
    assert second["thumb"] != first["thumb"]
    assert (await fetch(client, second["url"])).status == 302


async def test_no_credentials_are_needed_and_none_are_looked_at(client: Client) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")
    target = attributes["url"].removeprefix(client.base_url)

    answer = await client.request("GET", target, headers={"X-Auth-Token": "unknown"})

    assert answer.status == 302
