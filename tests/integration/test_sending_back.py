"""A client sends a resource back as the API showed it. Unchanged values have no effect."""

import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio

from shared.attachments import Attachment
from shared.states import STATES
from tests.data.images import gradient_photo
from tests.support.resources import PATH, open_bucket
from tests.support.service import Answer, Client, Service
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

NOWHERE = "http://127.0.0.1:9"
FOREIGN = "attachments.elsewhere.example:8000"


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """Open an S3 client that uses the store directly, not through the service."""
    async with open_bucket(stack) as client:
        yield client


async def send(
    client: Client, resource: Any, *, headers: dict[str, str] | None = None, **changed: Any
) -> Answer:
    """Send a resource back in a PATCH as it was shown, with some attributes changed."""
    document = copy.deepcopy({"data": resource, "meta": {}, "included": [], "jsonapi": {}})
    document["data"]["attributes"].update(changed)
    return await client.request("PATCH", f"{PATH}/{resource['id']}", document, headers=headers)


async def patch(client: Client, attachment_id: str, **attributes: Any) -> Answer:
    """Send a PATCH with only these attributes."""
    data = {"type": "attachments", "id": attachment_id, "attributes": attributes}
    return await client.request("PATCH", f"{PATH}/{attachment_id}", {"data": data})


async def show(client: Client, attachment_id: str, **headers: str) -> Any:
    """Return the document of an attachment with all relationships that can be included."""
    answer = await client.request(
        "GET", f"{PATH}/{attachment_id}?include=task,creator", headers=headers
    )
    assert answer.status == 200
    return answer.data


async def without_temp_url(service: Service, bucket: "S3Client") -> str:
    """Create an attachment that shows its own address as `temp_url`."""
    attachment_id, _ = await recorded(service)
    await service.execute("UPDATE attachments SET temp_url = NULL")
    return attachment_id


async def with_location(service: Service, bucket: "S3Client") -> str:
    """Create an attachment that shows the `<Location>` of its upload as `temp_url`."""
    return (await recorded(service))[0]


async def with_source_gone(service: Service, bucket: "S3Client") -> str:
    """Create a copy whose source object has been deleted, so that `temp_url` names no object."""
    service.stack.relay.target = None
    await bucket.put_object(Bucket=BUCKET, Key="uploads/gone.jpg", Body=gradient_photo())
    url = f"{service.settings.upload_url}/uploads/gone.jpg"
    created = await service.client.create("a.jpg", temp_url=url, attachable_type="task")
    await bucket.delete_object(Bucket=BUCKET, Key="uploads/gone.jpg")
    return str(created["data"]["id"])


async def with_forbidden_source(service: Service, bucket: "S3Client") -> str:
    """Create a copy whose source address the settings no longer allow."""
    attachment_id, _ = await recorded(service)
    await service.execute("UPDATE attachments SET temp_url = 'https://former.example/b/a.jpg'")
    return attachment_id


async def recorded(service: Service, name: str = "a.jpg") -> tuple[str, str]:
    """Upload a photo, and report it by its Location; return the id and the Location."""
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo(), name, attachable_type="task")
    key = (await service.row(attachment_id)).key
    location = f"{service.settings.upload_url}/{quote(key, safe='')}"
    answer = await patch(service.client, attachment_id, temp_url=location)
    assert answer.status == 200
    assert answer.data["attributes"]["temp_url"] == location
    assert answer.data["meta"]["state"] == "uploaded"
    assert (await service.row(attachment_id)).etag is not None
    return attachment_id, location


@pytest.mark.parametrize(
    "having", [without_temp_url, with_location, with_source_gone, with_forbidden_source]
)
async def test_shown_attributes_can_be_sent_back_in_every_state(
    service: Service, bucket: "S3Client", having: Any
) -> None:
    attachment_id = await having(service, bucket)
    # The API no longer accepts this name, but an older row may have it.
    await service.execute("UPDATE attachments SET name = 'a.exe', message_id = ''")
    for state in STATES:
        await service.execute(
            "UPDATE attachments SET state = $1::text, resized = $1::text = 'ready',"
            " thumbnail_name = 'a.jpg',"
            " reason = CASE $1::text WHEN 'rejected' THEN 'too_large'"
            " WHEN 'failed' THEN 'missing' END",
            state,
        )
        shown = await show(service.client, attachment_id)
        before = await service.row(attachment_id)

        answer = await send(service.client, shown)

        assert answer.status == 200, (state, answer.body)
        assert answer.data["attributes"] == shown["attributes"]
        assert await service.row(attachment_id) == before
        for changed in ({"name": f"{state}.jpg"}, {"attachable_id": 9}, {"message_id": state}):
            answer = await send(service.client, shown, **changed)
            assert answer.status == 200, (state, answer.body)
            assert await service.row(attachment_id) == replace(before, **changed)
            await service.execute(
                "UPDATE attachments SET name = 'a.exe', message_id = '', attachable_id = NULL"
            )


async def test_only_changed_attributes_are_checked(service: Service) -> None:
    attachment_id, _ = await recorded(service)
    await service.execute("UPDATE attachments SET name = 'a.exe'")
    shown = await show(service.client, attachment_id)

    answer = await send(
        service.client, shown, name="b.exe", attachable_type="x", temp_url="https://evil.example/a"
    )

    assert answer.status == 422
    pointers = [error["source"]["pointer"] for error in answer.document["errors"]]
    assert pointers == [
        f"data/attributes/{name}" for name in ("name", "attachable_type", "temp_url")
    ]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="the host that was asked"),
        pytest.param({"api_url": "https://api.example/base"}, id="a public address"),
        pytest.param({"files_url": "https://files.example"}, id="a files address"),
        pytest.param({"files_ttl": "60"}, id="addresses that end"),
        pytest.param(
            {"files_public": "true", "files_url": "https://cdn.example/x"}, id="the public mode"
        ),
    ],
)
async def test_the_address_of_the_file_is_known_however_it_was_asked_for(
    start_service: StartService, settings: dict[str, str]
) -> None:
    service = await start_service(**settings)
    client = service.client
    attachment_id, _ = await recorded(service)
    await service.execute("UPDATE attachments SET temp_url = NULL, state = 'ready'")
    port = urlsplit(service.base_url).port
    hosts = [f"127.0.0.1:{port}", f"localhost:{port}", FOREIGN]
    before = await service.row(attachment_id)
    for asked in hosts:
        shown = await show(client, attachment_id, Host=asked)
        temp_url = shown["attributes"]["temp_url"]
        for saved in hosts:
            answer = await send(client, shown, headers={"Host": saved})
            assert answer.status == 200, (asked, saved, answer.body)
            # HTTP libraries may change the spelling of an address in these ways.
            for spelling in (
                temp_url.partition("?")[0],
                f"{temp_url}&utm=1#here",
                temp_url.replace("http://", "HTTP://").replace("localhost", "LOCALHOST"),
                temp_url.replace("a.jpg", "%61.jpg"),
                f"http://{saved}{temp_url}" if temp_url.startswith("/") else temp_url,
            ):
                answer = await send(client, shown, headers={"Host": saved}, temp_url=spelling)
                assert answer.status == 200, (asked, saved, spelling, answer.body)
            assert await service.row(attachment_id) == before


async def test_the_address_of_a_file_elsewhere_is_no_address_of_ours(service: Service) -> None:
    attachment_id, _ = await recorded(service)
    await service.execute("UPDATE attachments SET temp_url = NULL, state = 'ready'")
    path = urlsplit((await show(service.client, attachment_id))["attributes"]["url"]).path
    before = await service.row(attachment_id)
    for url in (
        f"https://evil.example{path}",
        f"ftp://127.0.0.1{path}",
        f"//evil.example{path}",
        path.replace("a.jpg", "b.jpg"),
        f"{service.base_url}/x{path}",
    ):
        answer = await patch(service.client, attachment_id, temp_url=url)
        assert answer.status == 422, url
    assert await service.row(attachment_id) == before


# -- Tests with the attachment's own key in `temp_url`


def spellings(service: Service, row: Attachment) -> list[str]:
    """Return several spellings of the address of an attachment's own object."""
    encoded = quote(row.key, safe="")
    return [
        f"{service.settings.upload_url}/{row.key}",
        f"{service.settings.upload_url}/{encoded}",
        f"{service.settings.upload_url}/{encoded}?X-Amz-Signature=1",
        f"https://{BUCKET}.s3.amazonaws.com/{encoded}",
        f"https://s3.eu-west-1.amazonaws.com/{BUCKET}/{row.key}",
        f"{service.base_url}/{row.key}",
        f"{service.base_url}/{row.key}?1776398568&s=x",
        f"/{row.key}",
    ]


async def test_the_own_key_changes_nothing_if_the_etag_is_the_recorded_one(
    service: Service,
) -> None:
    attachment_id, _ = await recorded(service)
    for state in STATES:
        await service.execute("UPDATE attachments SET state = $1", state)
        before = await service.row(attachment_id)
        for url in spellings(service, before):
            answer = await patch(service.client, attachment_id, temp_url=url)
            assert answer.status == 200, answer.body
            after = await service.row(attachment_id)
            assert replace(after, temp_url=None) == replace(before, temp_url=None), (state, url)


async def test_the_own_key_in_any_spelling_reports_a_newer_file(
    service: Service, bucket: "S3Client"
) -> None:
    attachment_id, location = await recorded(service)
    first = await service.row(attachment_id)
    for number, url in enumerate(spellings(service, first)):
        await service.execute("UPDATE attachments SET state = 'ready', temp_url = $1", location)
        await bucket.put_object(Bucket=BUCKET, Key=first.key, Body=b"newer %d" % number)

        answer = await patch(service.client, attachment_id, temp_url=url)

        assert answer.status == 200, answer.body
        row = await service.row(attachment_id)
        assert (row.state, row.revision) == ("uploaded", first.revision + number + 1), url
        if url.startswith((service.base_url, "/")):  # signed addresses are not stored
            assert row.temp_url == location


async def test_a_new_upload_may_be_reported_by_the_address_of_the_file(service: Service) -> None:
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo(), "a.jpg")
    url = (await show(service.client, attachment_id))["attributes"]["url"]

    answer = await patch(service.client, attachment_id, temp_url=url)

    assert answer.data["meta"]["state"] == "uploaded"
    assert answer.data["attributes"]["temp_url"] == answer.data["attributes"]["url"]


async def test_without_the_store_shown_attributes_can_be_sent_back(
    start_service: StartService, service: Service
) -> None:
    attachment_id, _ = await recorded(service)
    await service.execute("UPDATE attachments SET state = 'failed', reason = 'changing'")
    alone = await start_service(s3_endpoint_url=NOWHERE, s3_public_url=service.settings.upload_url)
    client = replace(service.client, base_url=alone.base_url)
    shown = await show(client, attachment_id)
    before = await service.row(attachment_id)

    answer = await send(client, shown, name="new.jpg")

    assert answer.status == 200, answer.body
    assert await service.row(attachment_id) == replace(before, name="new.jpg")


@pytest.mark.parametrize("blank", [None, "", " \n"], ids=["null", "empty", "white space"])
@pytest.mark.parametrize("having", [without_temp_url, with_location])
async def test_a_blank_temp_url_changes_nothing(
    service: Service, bucket: "S3Client", blank: str | None, having: Any
) -> None:
    attachment_id = await having(service, bucket)
    before = await service.row(attachment_id)

    answer = await patch(service.client, attachment_id, temp_url=blank)

    assert answer.status == 200
    assert await service.row(attachment_id) == before
    created = await service.client.create("b.jpg", temp_url=blank)
    assert created["data"]["attributes"]["temp_url"] is None
