"""The contract, changes: `temp_url` and what follows it, other attributes, deletion and purge."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from shared.attachments import ATTACHABLE_TYPES, LATE_UPLOAD_S
from tests.data.images import gradient_photo
from tests.support.resources import (
    NOT_FOUND,
    PATH,
    body,
    invalid,
    open_bucket,
    resource,
    stored,
    time,
    written,
)
from tests.support.service import MEDIA_TYPE, Answer, Client, Service, until
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService, StartWorker

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n%%EOF\n"
SAMPLE_KEY = "uploads/1418301662608/dummyfile.pdf"
SHARED_BUCKET = "shared-uploads"


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service."""
    async with open_bucket(stack) as client:
        yield client


async def patch(client: Client, attachment_id: str, attributes: dict[str, Any]) -> Answer:
    """Change an attachment."""
    return await client.request("PATCH", f"{PATH}/{attachment_id}", body(attributes))


def refused(detail: str, url: str, pointer: str = "data/attributes/temp_url") -> dict[str, Any]:
    """Write the document that refuses a temp_url."""
    return {"errors": [invalid(pointer, detail, {"value": url})]}


async def uploaded_unnoticed(service: Service) -> tuple[str, str]:
    """Upload a photo of which no event tells; returns the id and the Location that S3 writes.

    SeaweedFS 4.48 leaves `<Location>` empty.
    """
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo())
    key = (await service.row(attachment_id)).key
    return attachment_id, f"{service.settings.upload_url}/{quote(key, safe='')}"


# temp_url, case 1: the attachment's own key


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


async def test_an_upload_that_only_its_temp_url_tells_of_is_processed(working: Service) -> None:
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


# temp_url, case 2: another object


async def test_the_contracts_sample_is_copied_and_processed(
    working: Service, bucket: "S3Client"
) -> None:
    await bucket.put_object(Bucket=BUCKET, Key=SAMPLE_KEY, Body=PDF)
    client = working.client
    attachment_id = (await client.create("dummyfile.pdf"))["data"]["id"]
    url = f"https://s3.amazonaws.com/{BUCKET}/{SAMPLE_KEY}"

    answer = await patch(client, attachment_id, {"temp_url": url})

    assert answer.status == 200
    assert answer.data["attributes"]["temp_url"] == url
    assert answer.document["meta"] == {}
    shown = await client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["content_type"] == "application/pdf"
    assert shown["attributes"]["size"] == len(PDF)
    assert shown["attributes"]["temp_url"] == url
    key = (await working.row(attachment_id)).key
    assert await stored(bucket, BUCKET, key) == PDF
    assert await stored(bucket, BUCKET, SAMPLE_KEY) == PDF


async def test_a_photo_elsewhere_in_the_bucket_gets_its_thumbnail(
    working: Service, bucket: "S3Client"
) -> None:
    await bucket.put_object(Bucket=BUCKET, Key="uploads/a photo.jpg", Body=gradient_photo())
    client = working.client
    attachment_id = (await client.create("photo.jpg"))["data"]["id"]
    url = f"{working.settings.upload_url}/uploads%2Fa%20photo.jpg"

    await patch(client, attachment_id, {"temp_url": url})

    shown = await client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["resized"] is True
    async with client.session.get(shown["attributes"]["thumb"]) as thumbnail:
        assert thumbnail.status == 200


async def test_a_temp_url_at_creation_takes_the_object_over(
    working: Service, bucket: "S3Client"
) -> None:
    await bucket.put_object(Bucket=BUCKET, Key="uploads/early.pdf", Body=PDF)
    url = f"{working.settings.upload_url}/uploads/early.pdf"

    created = await working.client.create("early.pdf", temp_url=url)

    assert created["data"]["attributes"]["temp_url"] == url
    assert created["data"]["attributes"]["aws_policy"]["key"].endswith("/original/early.pdf")
    shown = await working.client.settled(created["data"]["id"])
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["size"] == len(PDF)
    assert shown["attributes"]["temp_url"] == url


async def test_objects_of_allowed_buckets_are_taken_over_and_of_others_not(
    start_service: StartService, start_worker: StartWorker, bucket: "S3Client"
) -> None:
    service = await start_service(temp_url_buckets=SHARED_BUCKET)
    await start_worker(service)
    client = service.client
    for name in (SHARED_BUCKET, "private-uploads"):
        await bucket.create_bucket(Bucket=name)
        await bucket.put_object(Bucket=name, Key="in/box.pdf", Body=PDF)
    attachment_id = (await client.create("box.pdf"))["data"]["id"]
    store = service.stack.seaweedfs.url

    other = f"{store}/private-uploads/in/box.pdf"
    answer = await patch(client, attachment_id, {"temp_url": other})
    assert answer.status == 422
    assert answer.document == refused("is not an allowed location", other)
    assert (await client.show(attachment_id))["meta"]["state"] == "pending"

    answer = await patch(client, attachment_id, {"temp_url": f"{store}/{SHARED_BUCKET}/in/box.pdf"})
    assert answer.status == 200
    shown = await client.settled(attachment_id)
    assert shown["meta"]["state"] == "ready"
    assert shown["attributes"]["size"] == len(PDF)
    key = (await service.row(attachment_id)).key
    assert await stored(bucket, BUCKET, key) == PDF


# SeaweedFS serves a//b as a/b, so that the fourth and the fifth would be the first there.
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{upload_url}/{key}", id="as it is"),
        pytest.param("{upload_url}/{encoded}", id="with %2F"),
        pytest.param("https://attachments-test.s3.amazonaws.com/{key}", id="virtual host"),
        pytest.param("{upload_url}//{key}", id="a slash in front"),
        pytest.param("{upload_url}/{doubled}", id="a slash twice"),
        pytest.param("{upload_url}/a/../{key}", id="through a folder and back"),
        pytest.param("{upload_url}/a/%2e%2e/{key}", id="through a folder and back, encoded"),
        pytest.param("{upload_url}/./{key}", id="a dot in front"),
        pytest.param("{upload_url}/{key}/", id="a slash behind"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_another_attachments_original_is_refused(
    working: Service, bucket: "S3Client", method: str, form: str
) -> None:
    theirs = await working.client.upload(b"a secret", "secret.txt")
    key = (await working.row(theirs)).key
    url = form.format(
        upload_url=working.settings.upload_url,
        key=key,
        encoded=quote(key, safe=""),
        doubled=key.replace("/", "//", 1),
    )
    other = await working.organization()

    if method == "POST":
        answer = await other.request("POST", PATH, body({"name": "a.txt", "temp_url": url}))
    else:
        mine = (await other.create("a.txt"))["data"]
        answer = await patch(other, mine["id"], {"temp_url": url})
        own_key = mine["attributes"]["aws_policy"]["key"]
        assert await stored(bucket, BUCKET, own_key) is None
        assert (await other.show(mine["id"]))["meta"]["state"] == "pending"

    assert answer.status == 422
    assert answer.document == refused("is not an allowed location", url)


async def test_an_object_that_is_not_there_is_refused(service: Service) -> None:
    attachment_id = (await service.client.create())["data"]["id"]
    url = f"{service.settings.upload_url}/uploads/no-such-object"

    answer = await patch(service.client, attachment_id, {"temp_url": url})

    assert answer.status == 422
    assert answer.document == refused("is not an existing object", url)
    assert (await service.client.show(attachment_id))["attributes"]["temp_url"] is None


async def test_an_object_over_the_limit_is_refused(
    start_service: StartService, bucket: "S3Client"
) -> None:
    service = await start_service(max_size="10")
    await bucket.put_object(Bucket=BUCKET, Key="uploads/eleven", Body=b"x" * 11)
    attachment_id = (await service.client.create())["data"]["id"]
    url = f"{service.settings.upload_url}/uploads/eleven"

    answer = await patch(service.client, attachment_id, {"temp_url": url})

    assert answer.status == 422
    assert answer.document == refused("is too large (maximum is 10 bytes)", url)


# temp_url, case 3: anything else


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://evil.example/attachments-test/a", id="row47-other-host"),
        pytest.param(
            "https://s3.amazonaws.com/bucket/uploads/1418301662608/dummyfile.pdf",
            id="row47-other-bucket",
        ),
        pytest.param("http://169.254.169.254/latest/meta-data/", id="row47-metadata-of-a-cloud"),
        pytest.param("http://[::ffff:10.0.0.1]/attachments-test/a", id="row47-mapped-address"),
        pytest.param("file:///etc/passwd", id="row47-file"),
        pytest.param("s3://attachments-test/a", id="row47-s3-scheme"),
        pytest.param(
            "https://attachments-test.s3.amazonaws.com@evil.example/a", id="row47-user-in-front"
        ),
        pytest.param(
            "https://attachments-test.s3.amazonaws.com.evil.example/a", id="row47-longer-host"
        ),
        pytest.param("no address", id="row47-no-address"),
    ],
)
async def test_any_other_temp_url_is_refused(running: Service, url: str) -> None:
    client = await running.organization()
    attachment_id = (await client.create())["data"]["id"]

    answer = await patch(client, attachment_id, {"temp_url": url})

    assert answer.status == 422
    assert written(answer.document) == written(refused("is not an allowed location", url))
    assert (await client.show(attachment_id))["attributes"]["temp_url"] is None


async def test_of_many_each_temp_url_that_is_refused_is_told(
    running: Service, bucket: "S3Client"
) -> None:
    client = await running.organization()
    await bucket.put_object(Bucket=BUCKET, Key="uploads/one.pdf", Body=PDF)
    base = f"{running.settings.upload_url}/uploads"
    urls = [f"{base}/one.pdf", f"{base}/missing-1", f"{base}/missing-2"]
    bulk = f"{MEDIA_TYPE}; ext=bulk"

    answer = await client.request(
        "POST",
        PATH,
        {"data": [body({"name": "a", "temp_url": url})["data"] for url in urls]},
        headers={"Content-Type": bulk, "Accept": bulk},
    )

    assert answer.status == 422
    assert answer.document == {
        "errors": [
            invalid(
                f"data/{place}/attributes/temp_url",
                "is not an existing object",
                {"value": urls[place]},
            )
            for place in (1, 2)
        ]
    }
    assert (await client.request("GET", PATH)).data == []


# other attributes


@pytest.mark.parametrize(
    ("attributes", "include"),
    [
        pytest.param({"name": "another name.jpg"}, "task", id="name"),
        pytest.param({"attachable_type": "task", "attachable_id": 9}, "task", id="attachable"),
        pytest.param({"attachable_type": "booking"}, "task", id="attachable without relationship"),
        pytest.param({"attachable_id": None}, "comment", id="no attachable_id any more"),
        pytest.param({"attachable_type": None}, "comment", id="no attachable_type any more"),
        pytest.param({"attachment_type": "inline"}, "task", id="attachment_type"),
        pytest.param({"message_id": "m", "external_id": "e"}, "task", id="message and external id"),
        pytest.param({}, "task", id="nothing"),
    ],
)
async def test_an_attribute_changes_and_all_others_stay(
    running: Service, attributes: dict[str, Any], include: str
) -> None:
    client = await running.organization()
    created = await client.create("img.png", attachable_type="comment", attachable_id=5)
    attachment_id = created["data"]["id"]
    before = await client.show(attachment_id)
    query = f"?include={include}"

    answer = await client.request(
        "PATCH", f"{PATH}/{attachment_id}{query}", body(attributes, attachment_id)
    )

    attachable = {"attachable_type": "comment", "attachable_id": 5, **attributes}
    related = None
    if attachable["attachable_type"] == include and attachable["attachable_id"] is not None:
        related = {"type": f"{include}s", "id": str(attachable["attachable_id"])}
    shown = {name: value for name, value in attributes.items() if name != "attachable_id"}
    expected = {
        **before,
        "attributes": {**before["attributes"], **shown},
        "relationships": {**before["relationships"], include: {"data": related}},
    }
    assert answer.status == 200
    assert written(answer.document) == written({"data": expected, "meta": {}, "included": []})
    again = await client.request("GET", f"{PATH}/{attachment_id}{query}")
    assert again.document == answer.document


async def test_a_new_name_leaves_key_and_file_as_they_are(working: Service) -> None:
    client = working.client
    attachment_id = await client.upload(gradient_photo(), "before.jpg")
    before = (await client.settled(attachment_id))["attributes"]

    answer = await patch(client, attachment_id, {"name": "after.jpg"})

    assert answer.data["attributes"] == {**before, "name": "after.jpg"}
    async with client.session.get(answer.data["attributes"]["url"]) as file:
        assert file.headers["Content-Disposition"] == 'inline; filename="after.jpg"'
        assert await file.read() == gradient_photo()


async def test_what_cannot_be_changed_is_ignored(running: Service) -> None:
    client = await running.organization()
    attachment_id = (await client.create("img.png", content_type="image/png", size=3))["data"]["id"]
    before = await client.show(attachment_id)

    answer = await patch(
        client,
        attachment_id,
        {
            "size": 10**12,
            "content_type": "application/x-msdownload",
            "resized": True,
            "url": "https://evil.example",
            "thumb": "https://evil.example",
            "created_at": "2000-01-01T00:00:00Z",
            "deleted_at": "2000-01-01T00:00:00Z",
            "no_such_attribute": 1,
        },
    )

    assert answer.status == 200
    assert answer.document == {"data": before, "meta": {}}


@pytest.mark.parametrize(
    ("attributes", "errors"),
    [
        pytest.param(
            {"attachable_type": ""},
            [
                invalid(
                    "data/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": ""},
                )
            ],
            id="the contract's",
        ),
        pytest.param(
            {"temp_url": "https://evil.example/a", "attachable_type": "x", "name": ""},
            [
                invalid("data/attributes/name", "can't be blank", {}),
                invalid(
                    "data/attributes/attachable_type",
                    "is not included in the list",
                    {"allow_nil": True, "value": "x", "allowed": list(ATTACHABLE_TYPES)},
                ),
                invalid(
                    "data/attributes/temp_url",
                    "is not an allowed location",
                    {"value": "https://evil.example/a"},
                ),
            ],
            id="all at once",
        ),
    ],
)
async def test_a_faulty_change_is_refused_and_changes_nothing(
    running: Service, attributes: dict[str, Any], errors: list[Any]
) -> None:
    client = await running.organization()
    attachment_id = (await client.create())["data"]["id"]
    before = await client.show(attachment_id)

    answer = await patch(client, attachment_id, {"message_id": "good", **attributes})

    assert answer.status == 422
    assert written(answer.document) == written({"errors": errors})
    assert await client.show(attachment_id) == before


# deletion


async def test_a_deleted_attachment_is_gone_at_once_from_everywhere(working: Service) -> None:
    client = await working.organization()
    attachment_id = await client.upload(
        gradient_photo(), "a.jpg", attachable_type="task", attachable_id=7
    )
    shown = await client.settled(attachment_id)
    path = f"{PATH}/{attachment_id}"

    answer = await client.request("DELETE", path)

    assert answer.status == 204
    assert answer.body == b""
    assert "Content-Type" not in answer.headers
    for method, document in (("GET", None), ("PATCH", body({"name": "x"})), ("DELETE", None)):
        again = await client.request(method, path, document)
        assert again.status == 404
        assert written(again.document) == written(NOT_FOUND)
    for query in ("", "?filter[task_id]=7", "?page[after]="):
        assert (await client.request("GET", f"{PATH}{query}")).data == []
    for address in (shown["attributes"]["url"], shown["attributes"]["thumb"]):
        async with client.session.get(address, allow_redirects=False) as file:
            assert file.status == 404


async def test_the_row_is_kept_and_the_purge_waits_for_the_retention(
    start_service: StartService,
) -> None:
    service = await start_service(retention="86400")
    attachment_id = (await service.client.create())["data"]["id"]

    await service.client.request("DELETE", f"{PATH}/{attachment_id}")

    row = await service.row(attachment_id)
    assert row.deleted_at is not None
    assert row.due_at == row.deleted_at + timedelta(days=1)


async def test_without_retention_the_purge_still_waits_for_late_uploads(
    start_service: StartService,
) -> None:
    service = await start_service(retention="0")
    attachment_id = (await service.client.create())["data"]["id"]

    await service.client.request("DELETE", f"{PATH}/{attachment_id}")

    row = await service.row(attachment_id)
    assert row.due_at == row.policy_expires_at + timedelta(seconds=LATE_UPLOAD_S)


async def test_a_deleted_attachments_objects_are_purged_by_a_worker(
    start_service: StartService, start_worker: StartWorker, bucket: "S3Client"
) -> None:
    service = await start_service(retention="0")
    await start_worker(service, sweep_interval="0.1")
    client = service.client
    attachment_id = await client.upload(gradient_photo(), "a.jpg")
    kept_id = await client.upload(gradient_photo(), "kept.jpg")
    await client.settled(attachment_id)
    await client.settled(kept_id)
    row, kept = await service.row(attachment_id), await service.row(kept_id)
    assert row.thumbnail_key is not None
    assert await stored(bucket, BUCKET, row.thumbnail_key) is not None
    await client.request("DELETE", f"{PATH}/{attachment_id}")

    # the policy's end, an hour from now, is brought about
    await service.execute(
        "UPDATE attachments SET policy_expires_at = now() - interval '2 minutes', due_at = now()"
        " WHERE id = $1",
        row.id,
    )

    async def purged() -> bool:
        return (await service.row(attachment_id)).due_at is None

    await until(purged)
    assert await stored(bucket, BUCKET, row.key) is None
    assert await stored(bucket, BUCKET, row.thumbnail_key) is None
    assert (await service.row(attachment_id)).deleted_at is not None
    assert await stored(bucket, BUCKET, kept.key) == gradient_photo()
