"""What `temp_url`, events and links of files must not reach: another organization's objects."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from shared import lifecycle
from shared.keys import PREFIX
from shared.notifications import UploadEvent
from shared.spellings import may_be_copied
from tests.support.commands import command
from tests.support.resources import PATH, body, invalid, open_bucket, stored
from tests.support.service import MEDIA_TYPE, Answer, Client, Service
from tests.support.spellings import ORIGINAL, SPELLINGS
from tests.support.stack import BUCKET, Stack
from tests.support.starting import StartService

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

SECRET = b"the payroll of another organization"
POINTER = "data/attributes/temp_url"
NOT_ALLOWED = "is not an allowed location"
NOWHERE = "http://127.0.0.1:1"
"""A store that does not answer: who asks it gets 503."""
SIGNED = (
    "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDs3cr3t%2F20260417%2Fus-east-1%2Fs3"
    "%2Faws4_request&X-Amz-Date=20260417T040248Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host"
    "&X-Amz-Security-Token=s3cr3t&X-Amz-Signature=s3cr3t"
)


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service, with a foreign original in it."""
    async with open_bucket(stack) as client:
        await client.put_object(Bucket=BUCKET, Key=ORIGINAL, Body=SECRET)
        await client.put_object(Bucket=BUCKET, Key="uploads/in.txt", Body=b"in")
        yield client
        await client.delete_object(Bucket=BUCKET, Key=ORIGINAL)


async def patch(client: Client, attachment_id: str, temp_url: str) -> Answer:
    """Say where an attachment's file is."""
    return await client.request("PATCH", f"{PATH}/{attachment_id}", body({"temp_url": temp_url}))


async def post_all(client: Client, urls: list[str]) -> Answer:
    """Create attachments in bulk."""
    bulk = f"{MEDIA_TYPE}; ext=bulk"
    items = [body({"name": "a.txt", "temp_url": url})["data"] for url in urls]
    return await client.request(
        "POST", PATH, {"data": items}, headers={"Content-Type": bulk, "Accept": bulk}
    )


def addresses(service: Service) -> list[str]:
    """Write an address for each spelling of the foreign original: encoded, and raw if it can be."""
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
    """Whether the store finds an object by this key: by HEAD, by GET, or as a copy's source."""
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

    # the store does know more spellings than one, or this test would prove nothing
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


async def test_a_refusal_asks_the_store_nothing_and_so_tells_nothing_of_it(
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


async def test_an_organization_takes_from_behind_its_own_fence_only(
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


# credentials in a temp_url


def says(answer: Answer) -> str:
    """Give the whole answer as text."""
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
    assert [each.headers for each in answers if "s3cr3t" in says(each)] == []
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
    assert "s3cr3t" not in says(listed)
    for form in ([], ["--json"]):
        ended = await command(service, "show", attachment_id, *form)
        assert ended.status == 0
        assert "s3cr3t" not in ended.out
        assert url in ended.out


async def test_what_was_shown_may_be_sent_back_even_when_it_is_gone(
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
