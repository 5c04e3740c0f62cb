"""Tickets that were changed or have expired, or that are used for a file, are answered with 404."""

import time
from datetime import datetime

import pytest

from shared.links import Links
from tests.data.images import gradient_photo
from tests.support.opened_files import fetch
from tests.support.resources import NOT_FOUND, is_error
from tests.support.service import Service
from tests.support.starting import StartService
from tests.support.tickets import look

FORGERIES = {
    "another attachment": lambda url: url.replace("/status/", "/status/1"),
    "another time": lambda url: url.replace("?1", "?2"),
    "a later end": lambda url: url.replace("&e=", "&e=9"),
    "no end": lambda url: url.replace("&e=", "&x="),
    "an end that is no number": lambda url: url.replace("&e=", "&e=x"),
    "no signature": lambda url: url.partition("&s=")[0],
    "another signature": lambda url: url.partition("&s=")[0] + "&s=" + "A" * 24,
    "no query": lambda url: url.partition("?")[0],
    "an id in another spelling": lambda url: url.replace("/status/", "/status/0"),
    "an id that is no number": lambda url: url.replace("/status/", "/status/x"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_row106_a_forged_ticket_opens_nothing(service: Service, forgery: str) -> None:
    created = await service.client.create()
    url = created["meta"]["status_url"]
    forged = FORGERIES[forgery](url)
    assert forged != url

    assert is_error(await fetch(service.client, forged), NOT_FOUND)
    assert is_error(await fetch(service.client, f"{forged}&wait=soon"), NOT_FOUND)
    assert (await look(service, created)).status == 200


async def test_row106_a_ticket_that_has_ended_opens_nothing(service: Service) -> None:
    created = await service.client.create()
    row = await service.row(created["data"]["id"])
    for ended in (row.created_at, datetime.fromtimestamp(1, row.created_at.tzinfo)):
        url = Links(service.settings).status_url(row.id, row.created_at, ended, service.base_url)
        assert url is not None
        assert is_error(await fetch(service.client, url), NOT_FOUND)


async def test_row106_a_ticket_opens_no_file_and_a_link_to_a_file_no_status(
    service: Service,
) -> None:
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = created_at WHERE id = $1", int(attachment_id)
    )
    row = await service.row(attachment_id)
    ends = datetime.fromtimestamp(time.time() + 60, row.created_at.tzinfo)
    links = Links(service.settings)
    status = links.status_url(row.id, row.created_at, ends, service.base_url)
    assert status is not None
    of_file = f"{service.base_url}/{row.key}"
    stamp, end = str(int(row.created_at.timestamp())), str(int(ends.timestamp()))
    signed = f"{stamp}&e={end}&s={links.sign(row.key, stamp, end)}"

    assert (await fetch(service.client, f"{of_file}?{signed}")).status == 302
    assert (await fetch(service.client, status)).status == 200
    crossed = f"{of_file}?{status.partition('?')[2]}", f"{status.partition('?')[0]}?{signed}"
    for url in crossed:
        assert is_error(await fetch(service.client, url), NOT_FOUND)


async def test_row106_a_ticket_of_a_lost_row_does_not_open_the_row_that_got_its_id(
    service: Service,
) -> None:
    created = await service.client.create()
    await service.execute(
        "UPDATE attachments SET created_at = created_at + interval '1 second' WHERE id = $1",
        int(created["data"]["id"]),
    )

    assert is_error(await look(service, created), NOT_FOUND)


async def test_row106_without_a_secret_there_are_no_tickets(start_service: StartService) -> None:
    service = await start_service(
        files_public="true", files_url="https://files.example", files_secret=""
    )
    created = await service.client.create()
    row = await service.row(created["data"]["id"])
    path = f"attachments/status/{row.id}"
    stamp, end = str(int(row.created_at.timestamp())), str(int(time.time()) + 600)
    forged = f"{path}?{stamp}&e={end}&s={Links(service.settings).sign(path, stamp, end)}"

    assert created["meta"]["status_url"] is None
    assert is_error(await fetch(service.client, f"{service.base_url}/{forged}"), NOT_FOUND)
