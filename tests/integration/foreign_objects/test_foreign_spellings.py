"""No spelling of an address leads to an object of another organization."""

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from shared import lifecycle
from shared.keys import PREFIX
from shared.notifications import UploadEvent
from shared.spellings import may_be_copied
from tests.support.foreign_objects import SECRET, patch, post_all
from tests.support.resources import PATH, body, invalid, stored
from tests.support.service import Service
from tests.support.spellings import SPELLINGS
from tests.support.stack import BUCKET
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

POINTER = "data/attributes/temp_url"
NOT_ALLOWED = "is not an allowed location"
NOWHERE = "http://127.0.0.1:1"
"""The address of a store that does not answer. The API answers 503 if it needs this store."""


def addresses(service: Service) -> list[str]:
    """Return the address of another organization's original in all spellings.

    Each spelling is returned percent-encoded. If a URL can contain the spelling without encoding,
    it is also returned without encoding.
    """
    base = service.settings.upload_url
    encoded = [f"{base}/{quote(key, safe='/')}" for key in SPELLINGS.values()]
    raw = [
        f"{base}/{key}"
        for key in SPELLINGS.values()
        if not any(mark in key for mark in "%?#\x00\n")
    ]
    at_amazon = [
        f"https://{BUCKET}.s3.amazonaws.com/{quote(key, safe='')}" for key in SPELLINGS.values()
    ]
    return encoded + raw + at_amazon


async def reaches(client: "S3Client", key: str) -> bool:
    """Return True if the store finds an object by this key.

    The function sends a HEAD, a GET, and a copy request with this key as the source.
    """
    copied = "copied/by-the-test"
    try:
        await client.copy_object(
            Bucket=BUCKET, Key=copied, CopySource={"Bucket": BUCKET, "Key": key}
        )
    except ClientError:
        pass
    else:
        await client.delete_object(Bucket=BUCKET, Key=copied)
        return True
    for ask in (client.head_object, client.get_object):
        try:
            await ask(Bucket=BUCKET, Key=key)
        except ClientError:
            continue
        return True
    return False


async def test_each_spelling_by_which_the_store_finds_an_original_is_refused(
    bucket: "S3Client",
) -> None:
    found = {name: key for name, key in SPELLINGS.items() if await reaches(bucket, key)}

    # The test proves something only if the store itself accepts several spellings.
    assert {"as it is", "backslash before files", "backslash at the end"} <= found.keys()
    assert [name for name, key in found.items() if may_be_copied(key, ours=True)] == []


async def test_no_way_of_the_api_takes_any_spelling_of_an_original(
    service: Service, bucket: "S3Client"
) -> None:
    client, urls = service.client, addresses(service)
    attachment_id = (await client.create("a.txt"))["data"]["id"]
    answers = {}
    for url in urls:
        answers["PATCH", url] = await patch(client, attachment_id, url)
        answers["POST", url] = await client.request(
            "POST", PATH, body({"name": "a.txt", "temp_url": url})
        )

    taken = {
        way: answer.body
        for way, answer in answers.items()
        if answer.status != 422
        or [(error["detail"], error["source"]["pointer"]) for error in answer.document["errors"]]
        not in ([(NOT_ALLOWED, POINTER)], [("is invalid", POINTER)])
    }
    assert taken == {}
    assert len((await client.request("GET", PATH)).data) == 1
    row = await service.row(attachment_id)
    assert row.state == "pending"
    assert await stored(bucket, BUCKET, row.key) is None


async def test_in_bulk_each_spelling_is_refused_by_its_own_pointer(
    service: Service, bucket: "S3Client"
) -> None:
    urls = addresses(service)
    for first in range(0, len(urls), 50):
        some = urls[first : first + 50]
        answer = await post_all(service.client, [f"{service.settings.upload_url}/ok", *some])
        assert answer.status == 422
        assert [error["source"]["pointer"] for error in answer.document["errors"]] == [
            f"data/{place}/attributes/temp_url" for place in range(1, len(some) + 1)
        ]
    assert (await service.client.request("GET", PATH)).data == []


async def test_a_refusal_sends_no_request_to_the_store(
    start_service: StartService,
) -> None:
    service = await start_service(
        s3_endpoint_url=NOWHERE, temp_url_buckets="fenced-uploads/in/{organization_id}/"
    )
    client, base = service.client, f"{NOWHERE}/fenced-uploads"
    attachment_id = (await client.create("a.txt"))["data"]["id"]
    other = client.organization_id + 1
    outside = [f"{base}/in/{other}/a", f"{base}/a", f"{base}/in/a", f"{base}/in%5C{other}%5Ca"]

    for url in [*addresses(service), *outside]:
        assert (await patch(client, attachment_id, url)).status == 422, url
        answer = await client.request("POST", PATH, body({"name": "a", "temp_url": url}))
        assert answer.status == 422, url
    inside = f"{base}/in/{client.organization_id}/a"
    assert (await patch(client, attachment_id, inside)).status == 503


async def test_an_organization_copies_only_from_inside_its_own_fence(
    start_service: StartService, bucket: "S3Client"
) -> None:
    name = "tenants-uploads"
    service = await start_service(temp_url_buckets=f"{name}/in/{{organization_id}}/,{BUCKET}/up/")
    one, other = service.client, await service.organization()
    await bucket.create_bucket(Bucket=name)
    for key in (f"in/{one.organization_id}/a", f"in/{one.organization_id}1/a", "a"):
        await bucket.put_object(Bucket=name, Key=key, Body=SECRET)
    await bucket.put_object(Bucket=BUCKET, Key="up/a", Body=SECRET)
    store = service.stack.seaweedfs.url
    own = f"{store}/{name}/in/{one.organization_id}/a"
    attachment_id = (await one.create("a.txt"))["data"]["id"]
    theirs = (await other.create("a.txt"))["data"]["id"]

    for client, row_id, url in [
        (other, theirs, own),
        (one, attachment_id, f"{store}/{name}/in/{one.organization_id}1/a"),
        (one, attachment_id, f"{store}/{name}/a"),
        (one, attachment_id, f"{store}/{name}/no-such-object"),
        (one, attachment_id, f"{store}/{BUCKET}/uploads/in.txt"),
    ]:
        answer = await patch(client, row_id, url)
        assert answer.status == 422
        assert answer.document == {"errors": [invalid(POINTER, NOT_ALLOWED, {"value": url})]}
    for url in (own, f"{store}/{BUCKET}/up/a"):
        created = await one.create("b.txt", temp_url=url)
        key = (await service.row(created["data"]["id"])).key
        assert await stored(bucket, BUCKET, key) == SECRET


@pytest.mark.parametrize(
    "form",
    [
        "{store}/attachments-test/{encoded}",
        "{store}/attachments-test/{letters}",
        "{store}/attachments-test/{key}?versionId=null",
        "https://attachments-test.s3.amazonaws.com:443/{key}",
        "HTTPS://ATTACHMENTS-TEST.S3.us-east-1.AMAZONAWS.COM./{encoded}",
    ],
)
async def test_the_own_key_may_be_named_in_any_harmless_spelling(
    service: Service, form: str
) -> None:
    service.stack.relay.target = None
    attachment_id = await service.client.upload(b"mine", "mine.txt")
    key = (await service.row(attachment_id)).key
    url = form.format(
        store=service.stack.seaweedfs.url,
        key=key,
        encoded=quote(key, safe=""),
        letters=key.replace("a", "%61"),
    )

    answer = await patch(service.client, attachment_id, url)

    assert answer.status == 200
    assert (await service.row(attachment_id)).state == "uploaded"


async def test_an_event_of_another_spelling_records_nothing(service: Service) -> None:
    created = (await service.client.create("payroll.bin"))["data"]
    key = created["attributes"]["aws_policy"]["key"]
    folder = "000/000/009"
    ours = key.removeprefix(PREFIX).partition("/original/")[0]
    spelt = [each.replace(folder, ours) for each in SPELLINGS.values()]
    events = [
        UploadEvent(bucket=BUCKET, key=each, etag=f"e{number}")
        for number, each in enumerate(spelt)
        if each != key
    ]

    async with service.database.acquire() as connection:
        recorded = await lifecycle.record_uploads(connection, events, publish_grace_s=15)

    assert recorded.changed == []
    assert (await service.row(created["id"])).state == "pending"


async def test_a_link_opens_the_file_that_it_was_signed_for_in_no_other_spelling(
    working: Service,
) -> None:
    client = await working.organization()
    attachment_id = await client.upload(b"mine", "mine.txt")
    url: str = (await client.settled(attachment_id))["attributes"]["url"]
    path = url.removeprefix(working.base_url)

    assert (await client.request("GET", path)).status == 302
    for old, new in [
        ("/original/", "%5Coriginal/"),
        ("/original/", "//original/"),
        ("/original/", "/./original/"),
        ("/original/", "/%2e/original/"),
        ("/original/", "%252Foriginal/"),
        ("/original/", "/Original/"),
        ("/original/", "%EF%BC%8Foriginal/"),
        ("mine.txt", "mine.txt%5C"),
        ("mine.txt", "mine.txt//"),
        ("mine.txt", "MINE.txt"),
        ("mine.txt", "mine.txt%20"),
        ("/files/", "%5Cfiles/"),
    ]:
        assert (await client.request("GET", path.replace(old, new, 1))).status == 404, new
