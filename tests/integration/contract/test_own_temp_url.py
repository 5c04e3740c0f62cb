"""Tests of the contract: a `temp_url` that names the attachment's own object."""

import re
from urllib.parse import quote

import pytest

from tests.data.images import gradient_photo
from tests.support.resources import patch, resource, time, written
from tests.support.service import Service


async def uploaded_unnoticed(service: Service) -> tuple[str, str]:
    """Upload a photo whose event is lost.

    Return the attachment's id, and the Location header that S3 would send. SeaweedFS 4.48 sends an
    empty Location header.
    """
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo())
    key = (await service.row(attachment_id)).key
    return attachment_id, f"{service.settings.upload_url}/{quote(key, safe='')}"


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{location}", id="path-style with %2F"),
        pytest.param("{upload_url}/{key}", id="path-style"),
        pytest.param("https://s3.amazonaws.com/attachments-test/{key}", id="path-style at AWS"),
        pytest.param(
            "https://s3.us-east-1.amazonaws.com/attachments-test/{encoded}",
            id="path-style at AWS with region and %2F",
        ),
        pytest.param("https://attachments-test.s3.amazonaws.com/{key}", id="virtual host"),
        pytest.param(
            "https://attachments-test.s3.us-east-1.amazonaws.com/{encoded}",
            id="virtual host with %2F, as S3 writes it",
        ),
    ],
)
async def test_a_temp_url_of_the_own_key_records_the_upload_at_once(
    service: Service, form: str
) -> None:
    attachment_id, location = await uploaded_unnoticed(service)
    before = await service.row(attachment_id)
    assert before.state == "pending"
    url = form.format(
        location=location,
        upload_url=service.settings.upload_url,
        key=before.key,
        encoded=quote(before.key, safe=""),
    )

    answer = await patch(service.client, attachment_id, {"temp_url": url})

    row = await service.row(attachment_id)
    assert row.uploaded_at is not None
    address = answer.data["attributes"]["url"]
    stamp = int(row.uploaded_at.timestamp())
    assert re.fullmatch(
        rf"{service.base_url}/{re.escape(row.key)}\?{stamp}&s=[A-Za-z0-9_-]{{24}}", address
    )
    expected = resource(
        attachment_id,
        service.client.organization_id,
        attributes={
            "name": "img.png",
            "url": address,
            "temp_url": url,
            "created_at": time(row.created_at),
        },
        meta={"state": "uploaded"},
    )
    assert answer.status == 200
    assert written(answer.document) == written({"data": expected, "meta": {}})
    assert row.state == "uploaded"
    assert row.due_at is not None


async def test_an_upload_known_only_by_its_temp_url_is_processed(working: Service) -> None:
    attachment_id, location = await uploaded_unnoticed(working)

    answer = await patch(working.client, attachment_id, {"temp_url": location})

    assert answer.status == 200
    shown = await working.client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["temp_url"] == location
    assert shown["attributes"]["resized"] is True
    assert shown["attributes"]["size"] == len(gradient_photo())


async def test_a_temp_url_may_be_patched_many_times(working: Service) -> None:
    attachment_id = await working.client.upload(gradient_photo())
    done = await working.client.settled(attachment_id)
    row = await working.row(attachment_id)
    url = f"{working.settings.upload_url}/{row.key}"

    for _ in range(3):
        assert (await patch(working.client, attachment_id, {"temp_url": url})).status == 200

    again = await working.client.settled(attachment_id)
    assert again["meta"]["state"] == "ready"
    assert {**again["attributes"], "temp_url": None} == {**done["attributes"], "temp_url": None}
