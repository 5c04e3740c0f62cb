"""Tests of the contract: an attachment and a list have every member of the contract's samples."""

from typing import Any

import pytest

from shared.organizations import create_organization
from shared.tokens import create_token
from tests.support.resources import PATH, resource, time, written
from tests.support.service import Client, Service
from tests.support.starting import StartService


async def organization_14(service: Service) -> Client:
    """Create organization 14, which the contract's sample uses, and return its client."""
    async with service.database.acquire() as connection:
        await create_organization(connection, "the sample's", 14)
        token = await create_token(connection, 14, "test")
    return Client(
        session=service.client.session,
        base_url=service.base_url,
        organization_id=14,
        token=token,
    )


INSERT_SAMPLE = """
    INSERT INTO attachments (
        id, organization_id, bucket, name, file_name, attachable_type, attachable_id,
        content_type, size, state, resized, thumbnail_name,
        created_at, policy_expires_at, uploaded_at
    ) VALUES (
        $1, 14, 'attachments-test', 'img.png', 'img.png', 'comment', 3,
        'image/png', 3479, 'ready', $2, 'img.png',
        '2026-04-17T06:02:48.589+02:00', '2026-04-17T07:02:48+02:00', to_timestamp(1776398568.9)
    )
"""


def sample(attachment_id: int, *, resized: bool) -> dict[str, Any]:
    """Return the contract's sample of an attachment, with a correction.

    The contract's sample shows a thumbnail although `resized` is false. This contradicts the
    sentence beside it ("`thumb`: null until there is one") and invariant 3 of architecture.md. So
    the sample here has a thumbnail only if `resized` is true.
    """
    base = f"https://files-test.example/attachments/files/000/000/{attachment_id:03}"
    return resource(
        str(attachment_id),
        14,
        attributes={
            "name": "img.png",
            "content_type": "image/png",
            "size": 3479,
            "url": f"{base}/original/img.png?1776398568",
            "thumb": f"{base}/thumb/img.png?1776398568" if resized else None,
            "temp_url": f"{base}/original/img.png?1776398568",
            "resized": resized,
            "created_at": "2026-04-17T06:02:48.589+02:00",
            "attachable_type": "comment",
        },
        meta={
            "state": "ready",
            # The row is from a release that did not store the size of thumbnails.
            "thumbs": {
                "thumb": {
                    "url": f"{base}/thumb/img.png?1776398568",
                    "width": None,
                    "height": None,
                }
            }
            if resized
            else {},
        },
    )


SAMPLES_SETTINGS = {
    "files_public": "true",
    "files_url": "https://files-test.example",
    "time_zone": "Europe/Berlin",
    "api_url": "http://host",
}


@pytest.mark.parametrize("resized", [False, True])
async def test_show_answers_the_contracts_sample(
    start_service: StartService, resized: bool
) -> None:
    service = await start_service(**SAMPLES_SETTINGS)
    client = await organization_14(service)
    await service.execute(INSERT_SAMPLE, 2, resized)

    answer = await client.request("GET", f"{PATH}/2")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written({"data": sample(2, resized=resized), "meta": {}})


async def test_list_answers_the_contracts_sample(start_service: StartService) -> None:
    service = await start_service(**SAMPLES_SETTINGS)
    client = await organization_14(service)
    await service.execute(INSERT_SAMPLE, 1, True)

    answer = await client.request("GET", f"{PATH}?filter[comment_id]=3")

    page = (
        "http://host/api/v2/attachments"
        "?filter%5Bcomment_id%5D=3&page%5Bnumber%5D=1&page%5Bsize%5D=30"
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert written(answer.document) == written(
        {
            "data": [sample(1, resized=True)],
            "links": {"first": page, "last": page},
            "meta": {
                "current_page": 1,
                "total_pages": 1,
                "total_count": 1,
                "page_size": 30,
                "max_page_size": 200,
            },
        }
    )


async def test_show_answers_a_new_attachment_member_for_member(
    running: Service, client: Client
) -> None:
    created = await client.create("img.png", attachable_type="comment", attachable_id=5)
    attachment_id = created["data"]["id"]
    row = await running.row(attachment_id)

    answer = await client.request("GET", f"{PATH}/{attachment_id}")

    assert answer.status == 200
    expected = resource(
        attachment_id,
        client.organization_id,
        attributes={
            "name": "img.png",
            "url": f"{client.base_url}/{row.key}",
            "created_at": time(row.created_at),
            "attachable_type": "comment",
        },
    )
    assert written(answer.document) == written({"data": expected, "meta": {}})
