"""Usage: which attachments count, in which time they count, and how usage is shown."""

import asyncio
from typing import Any

import pytest

from shared import copy_claims
from tests.support.objects import opened_storage
from tests.support.quotas import NO_DRIFT, PATH, create, drift, usage
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker


async def test_uploads_of_yesterday_do_not_count(service: Service) -> None:
    await usage(service.client)
    await create(service.client)
    await service.execute("UPDATE usage SET day = day - 1")
    assert (await usage(service.client))["uploads_today"] == 0
    await create(service.client)
    assert (await usage(service.client))["uploads_today"] == 1


async def test_a_copy_in_place_of_a_file_counts(start_service: StartService) -> None:
    service = await start_service(quota_bytes="100")
    key = "incoming/quota.txt"
    async with opened_storage(service.stack) as storage:
        await storage.write(key, b"x" * 60, content_type="text/plain")
    url = f"{service.settings.upload_url}/{key}"
    first = await create(service.client, temp_url=url)
    assert first.status == 201
    assert (await usage(service.client))["bytes"] == 60
    assert (await create(service.client, temp_url=url)).status == 422
    small = await create(service.client, size=1)
    patch = {"data": {"type": "attachments", "attributes": {"temp_url": url}}}
    answer = await service.client.request("PATCH", f"{PATH}/{small.data['id']}", patch)
    assert answer.status == 422
    (error,) = answer.document["errors"]
    assert error["code"] == "quota_exceeded"
    assert error["source"] == {"pointer": "data/attributes/temp_url"}


def copying(url: str) -> dict[str, Any]:
    """Return the document of a PATCH that requests a copy of this object."""
    return {"data": {"type": "attachments", "attributes": {"temp_url": url}}}


async def test_a_copy_counts_from_the_moment_at_which_it_is_asked_for(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The API itself copies only objects of up to 10 bytes. No worker runs, so the copies wait.
    monkeypatch.setattr("api.temp_urls.copying.MAX_COPIED_AT_ONCE", 10)
    service = await start_service(quota_bytes="200")
    client, key = service.client, "incoming/counted.txt"
    async with opened_storage(service.stack) as storage:
        await storage.write(key, b"x" * 60, content_type="text/plain")
    url = f"{service.settings.upload_url}/{key}"
    assert (await create(client, temp_url=url, size=1)).status == 201
    assert (await usage(client))["bytes"] == 60
    pending = [(await create(client, size=1)).data["id"] for _ in range(5)]
    assert (await usage(client))["bytes"] == 65

    # One of the pending attachments becomes ready, with a file of 1 byte.
    await service.execute(
        "UPDATE attachments SET state = 'ready', uploaded_at = now(), etag = 'e' WHERE id = $1",
        int(pending[0]),
    )
    answers = await asyncio.gather(
        *(client.request("PATCH", f"{PATH}/{number}", copying(url)) for number in pending)
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 422, 422, 422]
    refused = next(answer for answer in answers if answer.status == 422)
    (error,) = refused.document["errors"]
    assert error["code"] == "quota_exceeded"
    assert error["source"] == {"pointer": "data/attributes/temp_url"}
    assert (await usage(client))["bytes"] == 60 + 2 * 60 + 3
    assert await drift(service, client.organization_id) == NO_DRIFT

    # After a failed copy, the attachment counts as it did before.
    asked = next(answer.data["id"] for answer in answers if answer.status == 200)
    async with service.database.acquire() as connection:
        claimed = await copy_claims.claim(connection, int(asked), None, lease_s=60)
        assert claimed is not None
        assert await copy_claims.fail(connection, claimed, reason="copy_failed")
    left = 1 if (await service.row(asked)).state == "ready" else 0
    assert (await usage(client))["bytes"] == 60 + 60 + left + 3
    assert await drift(service, client.organization_id) == NO_DRIFT


async def test_a_copy_counts_after_it_is_measured(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(quota_bytes="1000")
    client, key = service.client, "incoming/measured.txt"
    async with opened_storage(service.stack) as storage:
        await storage.write(key, b"x" * 60, content_type="text/plain")
    await start_worker(service)
    created = await create(client, temp_url=f"{service.settings.upload_url}/{key}", size=70)
    shown = await client.settled(created.data["id"])
    assert (shown["meta"]["state"], shown["attributes"]["size"]) == ("ready", 60)
    row = await service.row(created.data["id"])
    assert (row.copy_bytes, row.counted_bytes) == (None, 60)
    assert (await usage(client))["bytes"] == 60


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("?include=creator", "Unsupported Include"),
        ("?sort=id", "Unsupported Sort"),
        ("?filter[id]=1", "Unsupported Filter"),
        ("?page[size]=1", "Bad Request"),
        ("?x=1", "Bad Request"),
    ],
)
async def test_usage_refuses_unknown_parameters(working: Service, query: str, title: str) -> None:
    answer = await working.client.request("GET", f"/api/v2/usage{query}")
    assert answer.status == 400
    assert answer.document["errors"][0]["title"] == title


async def test_usage_answers_as_all_routes_do(working: Service) -> None:
    client = working.client
    answer = await client.request("GET", "/api/v2/usage?fields[usage]=bytes&fields[x]=y")
    assert list(answer.data["attributes"]) == ["bytes"]
    # If a parameter is repeated, its last value counts; values of array parameters are combined.
    query = "include=x&include=&fields[usage]=limits&fields[usage]=bytes&fields[usage][]=as_of"
    answer = await client.request("GET", f"/api/v2/usage?{query}")
    assert list(answer.data["attributes"]) == ["bytes", "as_of"]
    assert (await client.request("POST", "/api/v2/usage", {})).status == 405
    no_token = {"X-Auth-Token": ""}
    assert (await client.request("GET", "/api/v2/usage", headers=no_token)).status == 401
    other = {"X-Organization-Id": "999999"}
    assert (await client.request("GET", "/api/v2/usage", headers=other)).status == 403
    plain = {"Accept": "text/plain"}
    assert (await client.request("GET", "/api/v2/usage", headers=plain)).status == 406


async def test_rows_that_the_previous_release_writes_are_counted(service: Service) -> None:
    await usage(service.client)
    await service.execute(
        "INSERT INTO attachments (organization_id, bucket, name, file_name, size,"
        " policy_expires_at, due_at) VALUES ($1, 'b', 'a', 'a', 7, now(), now())",
        service.client.organization_id,
    )
    assert (await usage(service.client))["bytes"] == 7
