"""A signed address as `temp_url`: its query is not stored and not shown."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.commands import command
from tests.support.foreign_objects import patch, post_all
from tests.support.resources import PATH, body, stored
from tests.support.service import Answer, Service
from tests.support.stack import BUCKET

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

SIGNED = (
    "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDs3cr3t%2F20260417%2Fus-east-1%2Fs3"
    "%2Faws4_request&X-Amz-Date=20260417T040248Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host"
    "&X-Amz-Security-Token=s3cr3t&X-Amz-Signature=s3cr3t"
)


def text_of(answer: Answer) -> str:
    """Return the headers and the body of an answer as one text."""
    return f"{answer.headers}{answer.body.decode()}"


async def test_the_query_of_a_signed_address_is_neither_stored_nor_shown(
    service: Service, bucket: "S3Client", capfd: pytest.CaptureFixture[str]
) -> None:
    client, base = service.client, f"{service.settings.upload_url}/uploads"
    created = await client.request(
        "POST", PATH, body({"name": "a.txt", "temp_url": f"{base}/in.txt{SIGNED}"})
    )
    attachment_id = created.data["id"]
    answers = [created, await post_all(client, [f"{base}/in.txt{SIGNED}"])]
    assert [answer.status for answer in answers] == [201, 201]
    assert created.data["attributes"]["temp_url"] == f"{base}/in.txt"
    urls = [
        f"{service.settings.upload_url}/{(await service.row(attachment_id)).key}{SIGNED}",
        f"{base}/missing{SIGNED}",
        f"https://evil.example/a{SIGNED}",
        "https://user:s3cr3t@evil.example/a",
        f"{base}/missing{quote(SIGNED, safe='')}",
        f"{base}/missing#access_token=s3cr3t",
        f"{base}/in.txt?sv=2024&se=2026&sp=r&sig=s3cr3t",
    ]
    answers += [await patch(client, attachment_id, url) for url in urls]
    answers += [await client.request("GET", PATH)]

    assert [answer.status for answer in answers[2:]] == [200, 422, 422, 422, 422, 422, 200, 200]
    assert [each.headers for each in answers if "s3cr3t" in text_of(each)] == []
    stored_urls = await service.database.fetch("SELECT temp_url FROM attachments")
    assert [row[0] for row in stored_urls if "?" in row[0]] == []
    output = capfd.readouterr()
    assert "s3cr3t" not in output.out + output.err


async def test_a_query_that_a_former_release_stored_is_not_shown(service: Service) -> None:
    attachment_id = (await service.client.create("a.txt"))["data"]["id"]
    url = f"{service.settings.upload_url}/uploads/in.txt"
    await service.execute("UPDATE attachments SET temp_url = $1", f"{url}{SIGNED}")

    shown = await service.client.show(attachment_id)
    listed = await service.client.request("GET", PATH)

    assert shown["attributes"]["temp_url"] == url
    assert listed.data[0]["attributes"]["temp_url"] == url
    assert "s3cr3t" not in text_of(listed)
    for form in ([], ["--json"]):
        ended = await command(service, "show", attachment_id, *form)
        assert ended.status == 0
        assert "s3cr3t" not in ended.out
        assert url in ended.out


async def test_shown_attributes_may_be_sent_back_after_the_object_is_deleted(
    service: Service, bucket: "S3Client"
) -> None:
    url = f"{service.settings.upload_url}/uploads/short-lived"
    await bucket.put_object(Bucket=BUCKET, Key="uploads/short-lived", Body=b"x")
    created = await service.client.create("a.txt", temp_url=f"{url}{SIGNED}")
    attachment_id: str = created["data"]["id"]
    await bucket.delete_object(Bucket=BUCKET, Key="uploads/short-lived")
    before = await service.row(attachment_id)

    for again in (url, f"{url}{SIGNED}", url.replace("uploads/", "uploads%2F")):
        answer = await patch(service.client, attachment_id, again)
        assert answer.status == 200
        assert answer.data["attributes"]["temp_url"] == url
    assert await service.row(attachment_id) == before


async def test_an_address_that_only_looks_signed_may_be_sent_back_too(
    service: Service, bucket: "S3Client"
) -> None:
    key = "uploads/a&token=1.pdf"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    url = f"{service.settings.upload_url}/{key}"
    created = (await service.client.create("a.pdf", temp_url=url))["data"]
    before = await service.row(created["id"])
    assert await stored(bucket, BUCKET, before.key) == b"x"

    for again in (url, created["attributes"]["temp_url"]):
        assert (await patch(service.client, created["id"], again)).status == 200
    assert await service.row(created["id"]) == before


async def test_the_address_of_the_file_shown_as_temp_url_may_be_sent_back(
    working: Service,
) -> None:
    attachment_id = await working.client.upload(b"mine", "mine.txt")
    shown: dict[str, Any] = (await working.client.settled(attachment_id))["attributes"]
    assert shown["temp_url"] == shown["url"]
    before = await working.row(attachment_id)

    for again in (shown["temp_url"], shown["url"].partition("?")[0]):
        answer = await patch(working.client, attachment_id, again)
        assert answer.status == 200
        assert answer.data["attributes"] == shown
    assert await working.row(attachment_id) == before
