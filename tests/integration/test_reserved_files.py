"""A reserved file is refused if a request names or declares it, and rejected if it is uploaded."""

import asyncio
from typing import Any

import pytest

from tests.data.runnable import BY_BYTES, INNOCENT
from tests.support.service import MEDIA_TYPE, Client, Service
from tests.support.starting import StartService, StartWorker

PATH = "/api/v2/attachments"
BULK = f"{MEDIA_TYPE}; ext=bulk"


def reserved(pointer: str, value: str) -> dict[str, Any]:
    """Return the expected error object for a reserved value."""
    return {
        "status": "422",
        "code": "invalid_attribute",
        "title": "Invalid Attribute",
        "detail": "is reserved",
        "meta": {"value": value},
        "source": {"pointer": pointer},
    }


def named(name: str, **more: Any) -> dict[str, Any]:
    """Return a resource object with this name."""
    return {"type": "attachments", "attributes": {"name": name}, **more}


@pytest.mark.parametrize("name", ["a.hta", "report.PDF.Url", "a.cmd. ", "holiday\u202egpj.scr"])
async def test_a_reserved_name_is_refused_at_create_and_at_patch(
    service: Service, name: str
) -> None:
    client = service.client
    answer = await client.request("POST", PATH, {"data": named(name)})
    assert (answer.status, answer.document) == (
        422,
        {"errors": [reserved("data/attributes/name", name)]},
    )

    created = await client.create("a.png")
    address = f"{PATH}/{created['data']['id']}"
    answer = await client.request("PATCH", address, {"data": named(name)})
    assert (answer.status, answer.document) == (
        422,
        {"errors": [reserved("data/attributes/name", name)]},
    )
    assert (await client.show(created["data"]["id"]))["attributes"]["name"] == "a.png"


async def test_one_reserved_name_refuses_the_whole_of_a_bulk(service: Service) -> None:
    answer = await service.client.request(
        "POST",
        PATH,
        {"data": [named("a.png"), named("b.lnk")]},
        headers={"Content-Type": BULK, "Accept": BULK},
    )
    assert answer.status == 422
    assert answer.document == {"errors": [reserved("data/1/attributes/name", "b.lnk")]}
    assert (await service.client.request("GET", PATH)).data == []


async def test_a_name_that_is_kept_since_before_is_no_fault(service: Service) -> None:
    created = await service.client.create("a.png")
    attachment_id = created["data"]["id"]
    await service.execute("UPDATE attachments SET name = 'a.hta' WHERE id = $1", int(attachment_id))
    document = {"data": named("a.hta")}
    document["data"]["attributes"]["external_id"] = "7"
    answer = await service.client.request("PATCH", f"{PATH}/{attachment_id}", document)
    assert answer.status == 200
    assert answer.data["attributes"]["external_id"] == "7"


async def outcome(client: Client, content: bytes, name: str) -> tuple[str, str | None, str]:
    """Upload a file; return its final state, the code of its reason, and its measured type."""
    resource = await client.settled(await client.upload(content, name), within_s=60)
    reason = resource["meta"]["reason"]
    return (
        resource["meta"]["state"],
        reason and reason["code"],
        resource["attributes"]["content_type"],
    )


async def test_bytes_that_a_desktop_runs_are_rejected_under_every_name(working: Service) -> None:
    client = working.client
    samples = list(BY_BYTES.values())
    found = await asyncio.gather(*(outcome(client, content, "a.txt") for content, _ in samples))
    assert found == [("rejected", "reserved_type", content_type) for _, content_type in samples]


async def test_source_code_and_texts_that_speak_of_such_files_are_kept(working: Service) -> None:
    client = working.client
    found = await asyncio.gather(*(outcome(client, *sample) for sample in INNOCENT.values()))
    assert {end[:2] for end in found} == {("ready", None)}, dict(zip(INNOCENT, found, strict=True))


async def test_source_code_is_only_ever_downloaded(working: Service) -> None:
    client = working.client
    for content, name in INNOCENT.values():
        resource = await client.settled(await client.upload(content, name), within_s=60)
        async with client.session.get(resource["attributes"]["url"]) as opened:
            assert opened.status == 200
            assert opened.headers["Content-Disposition"].startswith("attachment"), name


@pytest.mark.parametrize("content", [b"plain words", b""], ids=["words", "empty"])
async def test_a_reserved_name_is_rejected_by_the_worker_too(
    service: Service, start_worker: StartWorker, content: bytes
) -> None:
    client = service.client
    created = await client.create("a.png")
    attachment_id = created["data"]["id"]
    await service.execute("UPDATE attachments SET name = 'a.hta' WHERE id = $1", int(attachment_id))
    await client.post_file(created, content)
    await start_worker(service)
    resource = await client.settled(attachment_id)
    assert resource["meta"]["state"] == "rejected"
    assert resource["meta"]["reason"]["code"] == "reserved_type"
    async with client.session.get(resource["attributes"]["url"]) as opened:
        assert opened.status == 404


async def test_the_tables_are_changed_by_a_setting(
    start_service: StartService, start_worker: StartWorker
) -> None:
    words = "+.iso, -.url,-application/x-mswinurl,+text/csv"
    service = await start_service(reserved=words)
    await start_worker(service)
    client = service.client
    answer = await client.request("POST", PATH, {"data": named("a.iso")})
    assert answer.document["errors"] == [reserved("data/attributes/name", "a.iso")]
    url = BY_BYTES["url"][0]
    assert await outcome(client, url, "a.url") == ("ready", None, "application/x-mswinurl")
    table = b"a,b\n" * 9
    assert (await outcome(client, table, "a.txt"))[:2] == ("rejected", "reserved_type")
