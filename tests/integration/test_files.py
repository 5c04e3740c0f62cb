"""Originals and thumbnails as browsers open them: signed addresses, redirects, fixed headers."""

import asyncio
import re
import time
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
import pytest_asyncio
from yarl import URL

from shared.links import Links
from tests.data.images import gradient_photo
from tests.support.resources import NOT_FOUND, PATH
from tests.support.service import Answer, Client, Service, until
from tests.support.starting import StartService, StartWorker

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
EXE = b"MZ\x90\x00" + bytes(56) + b"\x80" + bytes(67) + b"PE\x00\x00\x4c\x01" + bytes(400)
NOWHERE = "http://127.0.0.1:9"
OCTETS = "application/octet-stream"
DAY = "private, max-age=86400"


@pytest_asyncio.fixture
async def client(working: Service) -> Client:
    """A caller of an organization that has nothing yet, whose uploads are processed."""
    return await working.organization()


async def fetch(client: Client, address: str) -> Answer:
    """Ask for a file as anyone who has its address can: without credentials."""
    parts = urlsplit(address)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return await client.request(
        "GET", target, headers={"X-Auth-Token": "", "X-Organization-Id": ""}
    )


def cache_s(answer: Answer) -> int:
    """Give for how many seconds a redirect may be kept."""
    found = re.fullmatch(r"private, max-age=([0-9]+)", answer.headers["Cache-Control"])
    assert found is not None
    return int(found[1])


def lives_s(location: URL) -> float:
    """Give for how many more seconds the store's address opens."""
    signed_at = datetime.strptime(location.query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    return signed_at.timestamp() + int(location.query["X-Amz-Expires"]) - time.time()


async def opened(client: Client, address: str) -> tuple[bytes, Any]:
    """Follow an address to the store; returns the content and the store's headers."""
    answer = await fetch(client, address)
    assert answer.status == 302
    location = URL(answer.headers["Location"], encoded=True)
    async with client.session.get(location) as file:
        assert file.status == 200, await file.text()
        return await file.read(), file.headers


async def settled(
    client: Client, content: bytes, name: str, state: str = "ready", **attributes: Any
) -> Any:
    """Upload a file, wait until it has been looked at, and return its attributes."""
    resource = await client.settled(await client.upload(content, name, **attributes))
    assert resource["meta"]["state"] == state
    return resource["attributes"]


async def test_an_address_redirects_to_the_store_for_a_short_while(client: Client) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")

    answer = await fetch(client, attributes["url"])

    assert answer.status == 302
    assert answer.body == b""
    assert 0 <= cache_s(answer) <= 300
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    location = URL(answer.headers["Location"], encoded=True)
    assert 300 <= lives_s(location) <= 600
    assert location.path.endswith(urlsplit(attributes["url"]).path)


@pytest.mark.parametrize(
    ("content", "name", "declared", "content_type", "disposition"),
    [
        pytest.param(
            gradient_photo(),
            "photo.jpg",
            None,
            "image/jpeg",
            'inline; filename="photo.jpg"',
            id="JPEG",
        ),
        pytest.param(PDF, "a.pdf", None, "application/pdf", 'inline; filename="a.pdf"', id="PDF"),
        pytest.param(HTML, "a.html", None, "text/html", 'attachment; filename="a.html"', id="HTML"),
        pytest.param(
            HTML,
            "photo.png",
            "image/png",
            "text/html",
            'attachment; filename="photo.png"',
            id="HTML that was declared an image",
        ),
        pytest.param(SVG, "a.svg", None, "image/svg+xml", 'attachment; filename="a.svg"', id="SVG"),
        pytest.param(
            b"just text\n",
            "a.txt",
            None,
            "text/plain; charset=utf-8",
            'attachment; filename="a.txt"',
            id="text",
        ),
        pytest.param(
            gradient_photo(),
            'Übersicht "März" 写真.jpg',
            None,
            "image/jpeg",
            "inline; filename=\"Ubersicht_Marz_.jpg\"; filename*=UTF-8''"
            "%C3%9Cbersicht%20%22M%C3%A4rz%22%20%E5%86%99%E7%9C%9F.jpg",
            id="the real name, RFC 6266",
        ),
        pytest.param(
            b"just text\n",
            "a;b.txt",
            None,
            "text/plain; charset=utf-8",
            "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%3Bb.txt",
            id="a name that would end the parameter",
        ),
    ],
)
async def test_a_file_opens_with_fixed_headers(
    client: Client,
    content: bytes,
    name: str,
    declared: str | None,
    content_type: str,
    disposition: str,
) -> None:
    typed = {} if declared is None else {"content_type": declared}
    attributes = await settled(client, content, name, **typed)

    found, headers = await opened(client, attributes["url"])

    assert found == content
    assert attributes["content_type"] == content_type
    assert headers["Content-Type"] == content_type
    assert headers["Content-Disposition"] == disposition
    assert headers["Cache-Control"] == DAY


async def test_what_has_not_been_measured_is_nothing_but_bytes(service: Service) -> None:
    # no worker runs
    client = service.client
    attachment_id = await client.upload(HTML, "photo.png", content_type="image/png")
    key = (await service.row(attachment_id)).key
    await client.request(
        "PATCH",
        f"{PATH}/{attachment_id}",
        {
            "data": {
                "type": "attachments",
                "attributes": {"temp_url": f"{service.settings.upload_url}/{key}"},
            }
        },
    )
    attributes = (await client.show(attachment_id))["attributes"]

    found, headers = await opened(client, attributes["url"])

    assert found == HTML
    assert headers["Content-Type"] == OCTETS
    assert headers["Content-Disposition"] == 'attachment; filename="photo.png"'


async def test_a_thumbnail_opens(client: Client) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")

    content, headers = await opened(client, attributes["thumb"])

    assert content.startswith(b"\xff\xd8\xff")
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Cache-Control"] == DAY


@pytest.mark.parametrize("of", ["url", "thumb"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("&s=", "&s=A", id="a longer signature"),
        pytest.param("&s=", "&x=", id="no signature"),
        pytest.param("?1", "?2", id="another time stamp"),
        pytest.param("?", "?e=99999999999&", id="an end in front"),
        pytest.param("&s=", "&e=99999999999&s=", id="an end that was not signed"),
        pytest.param("photo.jpg", "photo.jpg.exe", id="another file name"),
        pytest.param("/files/", "/files//", id="a slash twice"),
        pytest.param("?", "#", id="no query"),
    ],
)
async def test_an_altered_address_is_not_found(client: Client, of: str, old: str, new: str) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")
    address = attributes[of]
    assert (await fetch(client, address)).status == 302

    answer = await fetch(client, address.replace(old, new, 1))

    assert answer.status == 404
    assert answer.document == NOT_FOUND


async def test_the_signature_of_one_address_opens_no_other(client: Client) -> None:
    one = await settled(client, gradient_photo(), "photo.jpg")
    another = await settled(client, gradient_photo(), "photo.jpg")
    query = urlsplit(one["url"]).query

    for path in (urlsplit(another["url"]).path, urlsplit(one["thumb"]).path):
        assert (await fetch(client, f"{client.base_url}{path}?{query}")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/attachments/files/",
        "/attachments/files/x",
        "/attachments/files/000/000/001/large/a.png",
        "/attachments/files/000/000/001/original/..%2fa.png",
        "/attachments/files/000/000/001/original/a%00.png",
        "/attachments/files/999/999/999/original/a.png",
    ],
)
async def test_an_address_of_nothing_is_not_found(client: Client, path: str) -> None:
    answer = await fetch(client, f"{client.base_url}{path}?1776398568&s={'A' * 24}")

    assert answer.status == 404
    assert answer.document == NOT_FOUND


async def test_a_deleted_attachments_addresses_are_dead_at_once(client: Client) -> None:
    attachment_id = await client.upload(gradient_photo(), "photo.jpg")
    attributes = (await client.settled(attachment_id))["attributes"]

    await client.request("DELETE", f"{PATH}/{attachment_id}")

    for address in (attributes["url"], attributes["thumb"]):
        assert (await fetch(client, address)).status == 404


async def test_a_reserved_file_is_not_served(client: Client) -> None:
    attributes = await settled(client, EXE, "setup.txt", state="rejected")

    assert (await fetch(client, attributes["url"])).status == 404


def signed(service: Service, key: str, stamp: str = "1776398568") -> str:
    """Sign an address that the service has not given out."""
    return f"{service.base_url}/{key}?{stamp}&s={Links(service.settings).sign(key, stamp, '')}"


async def test_before_the_upload_there_is_nothing_to_open(service: Service) -> None:
    attributes = (await service.client.create("a.png"))["data"]["attributes"]
    assert urlsplit(attributes["url"]).query == ""

    plain = await fetch(service.client, attributes["url"])
    genuine = await fetch(service.client, signed(service, attributes["aws_policy"]["key"]))

    assert plain.status == 404
    assert genuine.status == 404


async def test_the_thumbnail_of_what_has_none_is_not_found(
    working: Service, client: Client
) -> None:
    attachment_id = await client.upload(b"just text\n", "a.txt")
    attributes = (await client.settled(attachment_id))["attributes"]
    assert attributes["thumb"] is None
    key = (await working.row(attachment_id)).key

    assert (await fetch(client, signed(working, key))).status == 302
    thumb = signed(working, key.replace("/original/", "/thumb/"))
    assert (await fetch(client, thumb)).status == 404


async def test_another_file_name_of_the_same_id_is_not_found(
    working: Service, client: Client
) -> None:
    attachment_id = await client.upload(gradient_photo(), "a.jpg")
    await client.settled(attachment_id)
    key = (await working.row(attachment_id)).key

    assert (await fetch(client, signed(working, key))).status == 302
    for other in (key.replace("a.jpg", "b.jpg"), key.replace("original/a", "thumb/b")):
        assert (await fetch(client, signed(working, other))).status == 404


async def test_an_address_with_a_lifetime_opens_and_one_past_its_end_does_not(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(files_ttl="3600")
    await start_worker(service)
    client = service.client
    attributes = await settled(client, gradient_photo(), "photo.jpg")
    assert "&e=" in attributes["url"]
    content, _ = await opened(client, attributes["url"])
    assert content == gradient_photo()

    key = urlsplit(attributes["url"]).path.removeprefix("/")
    stamp = urlsplit(attributes["url"]).query.partition("&")[0]
    past = "1776398568"
    signature = Links(service.settings).sign(key, stamp, past)
    ended = await fetch(client, f"{service.base_url}/{key}?{stamp}&e={past}&s={signature}")

    assert ended.status == 404


async def test_ends_in_odd_spellings_are_not_found(start_service: StartService) -> None:
    service = await start_service(files_ttl="60")
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    head, _, tail = url.partition("&e=")
    end, _, signature = tail.partition("&s=")
    key, stamp = (await service.row(attachment_id)).key, head.partition("?")[2]
    genuine = await fetch(service.client, url)
    assert genuine.status == 302
    assert 0 <= cache_s(genuine) < 120

    for odd in (
        f"0{end}",
        f"+{end}",
        f"{end}.0",
        f"{end}_0",
        "٣",
        "²",
        "９" * 10,
        "9" * 5000,
        "-1",
    ):
        for signed_by in (signature, Links(service.settings).sign(key, stamp, odd)):
            target = f"{service.base_url}/{key}?{stamp}&e={quote(odd)}&s={signed_by}"
            assert (await fetch(service.client, target)).status == 404, odd


async def test_a_redirect_is_kept_no_longer_than_its_link_opens(
    start_service: StartService,
) -> None:
    service = await start_service(files_ttl="3600")
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    key = (await service.row(attachment_id)).key
    ends = str(int(time.time()) + 30)
    signature = Links(service.settings).sign(key, "1", ends)

    answer = await fetch(service.client, f"{service.base_url}/{key}?1&e={ends}&s={signature}")

    assert answer.status == 302
    assert cache_s(answer) < 30


async def test_a_link_of_the_former_secret_opens(start_service: StartService) -> None:
    former = await start_service(files_secret="the-former-secret-of-links")
    attachment_id = await former.client.upload(gradient_photo(), "photo.jpg")
    await former.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    url = urlsplit((await former.client.show(attachment_id))["attributes"]["url"])
    for previous, status in (("the-former-secret-of-links", 302), ("", 404)):
        service = await start_service(
            files_secret="the-latter-secret-of-links", files_secret_previous=previous
        )
        answer = await fetch(service.client, f"{service.base_url}{url.path}?{url.query}")
        assert answer.status == status


async def test_public_addresses_carry_the_time_stamp_alone_and_the_api_serves_none(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(files_public="true", files_url="https://files-test.example")
    await start_worker(service)
    attachment_id = await service.client.upload(gradient_photo(), "img.jpg")
    attributes = (await service.client.settled(attachment_id))["attributes"]

    row = await service.row(attachment_id)
    assert row.uploaded_at is not None
    stamp = int(row.uploaded_at.timestamp())
    folder = f"https://files-test.example/{row.key.removesuffix('/original/img.jpg')}"
    assert attributes["url"] == f"{folder}/original/img.jpg?{stamp}"
    assert attributes["thumb"] == f"{folder}/thumb/img.jpg?{stamp}"
    assert attributes["temp_url"] == attributes["url"]
    for address in (f"{service.base_url}/{row.key}?{stamp}", signed(service, row.key)):
        assert (await fetch(service.client, address)).status == 404


async def test_an_address_stays_the_same_until_the_file_changes(
    working: Service, client: Client
) -> None:
    created = await client.create("photo.jpg")
    attachment_id = created["data"]["id"]
    await client.post_file(created, gradient_photo())
    first = (await client.settled(attachment_id))["attributes"]
    assert (await client.show(attachment_id))["attributes"] == first

    await working.execute(
        "UPDATE attachments SET uploaded_at = uploaded_at + interval '1 second' WHERE id = $1",
        int(attachment_id),
    )

    second = (await client.show(attachment_id))["attributes"]
    assert second["url"] != first["url"]
    assert second["thumb"] != first["thumb"]
    assert (await fetch(client, second["url"])).status == 302


async def test_no_credentials_are_needed_and_none_are_looked_at(client: Client) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")
    target = attributes["url"].removeprefix(client.base_url)

    answer = await client.request("GET", target, headers={"X-Auth-Token": "unknown"})

    assert answer.status == 302


async def test_a_location_is_quoted_so_that_no_name_can_break_out(client: Client) -> None:
    name = "a&response-content-type=text%2Fhtml#.jpg"
    attributes = await settled(client, gradient_photo(), name)

    content, headers = await opened(client, attributes["url"])

    assert content == gradient_photo()
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Disposition"].endswith(f"filename*=UTF-8''{quote(name, safe='')}")


# -- addresses as URL libraries and people write them


def rewritten(address: str) -> dict[str, str]:
    """Write an address as libraries do; all spellings open the same file."""
    path, _, query = address.partition("?")
    stamp, *rest = query.split("&")
    pairs = [(stamp, ""), *((name, value) for name, _, value in (x.partition("=") for x in rest))]
    return {
        "as it is": address,
        "Python, Go and JavaScript": f"{path}?{urlencode(pairs)}",
        "sorted": f"{path}?{urlencode(sorted(pairs, reverse=True))}",
        "signature first": f"{path}?{'&'.join([*rest, stamp])}",
        "yarl": str(URL(address).update_query(utm_source="a")),
        "others in front": f"{path}?_=1&utm=a%26s%3Db&x&{query}",
        "others between": f"{path}?{stamp}&x=1&{'&'.join(rest)}",
        "a time of the cache's": f"{address}&1800000000",
        "a time of the cache's in front": f"{path}?1800000000=&{query}",
        "encoded": address.replace("&s=", "&%73="),
        "empty parts": f"{path}?&{query}&&",
        "a fragment": f"{address}#page=2",
    }


@pytest.mark.parametrize("ttl", ["", "3600"], ids=["without end", "with an end"])
async def test_an_address_opens_however_libraries_write_it(
    start_service: StartService, ttl: str
) -> None:
    service = await start_service(files_ttl=ttl)
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now(), resized = true, thumbnail_name = file_name"
    )
    attributes = (await service.client.show(attachment_id))["attributes"]
    for address in (attributes["url"], attributes["thumb"]):
        for how, spelling in rewritten(address).items():
            assert (await fetch(service.client, spelling)).status == 302, how
        path, _, query = address.partition("?")
        signature = query.partition("&s=")[2]
        stamps = "&".join(str(each) for each in range(1, 5))
        for refused in (
            f"{path}?s={signature}",
            f"{path}?x={query}",
            f"{path}?{query.replace('&s=', '=1&s=')}",
            f"{path}?{query}&s=x",
            f"{path}?{stamps}&{query}",
        ):
            assert (await fetch(service.client, refused)).status == 404, refused


async def test_a_flood_of_one_link_has_no_other_refused(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.files.WAITING", 20)
    service = await start_service()
    (_, flooded), (_, other) = await with_file(service), await with_file(service)
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE attachments IN ACCESS EXCLUSIVE MODE")
        flood = [asyncio.create_task(fetch(service.client, flooded)) for _ in range(40)]
        # from the first refusal on, as many wait as may
        first = next(asyncio.as_completed(flood))
        assert (await first).status == 429
        waiting = asyncio.create_task(fetch(service.client, other))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    # nobody but the machine is to blame if it could not be served in time
    assert (await waiting).status in (302, 503)
    await asyncio.gather(*flood)
    assert (await fetch(service.client, other)).status == 302


# -- an API token in the address


async def with_file(service: Service) -> tuple[str, str]:
    """Have an attachment with an original and a thumbnail; returns the original's path and url."""
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now(), resized = true, thumbnail_name = file_name"
        " WHERE id = $1",
        int(attachment_id),
    )
    url: str = (await service.client.show(attachment_id))["attributes"]["url"]
    return urlsplit(url).path, url


async def test_a_token_of_the_organization_opens_the_file(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    path, _ = await with_file(service)
    token = service.client.token
    thumb = path.replace("/original/", "/thumb/")
    for target in (
        f"{path}?token={token}",
        f"{path}?1776398568&token={token}",
        f"{path}?1776398568=&s=x&e=1&token={token}",
        f"{path}?token=x&token={token}&e=x",
        f"{path}?%74oken={token}",
        f"{thumb}?token={token}",
    ):
        answer = await fetch(service.client, f"{service.base_url}{target}")
        assert answer.status == 302, target
        assert answer.headers["Cache-Control"] == "no-store", target
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert token not in answer.headers["Location"]
    location = URL(answer.headers["Location"], encoded=True)
    assert "X-Amz-Signature" in location.query
    assert token not in "".join(capfd.readouterr())
    assert token not in service.metrics()


async def test_no_other_token_opens_a_file(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    path, genuine = await with_file(service)
    other = await service.organization()
    for token in ("", "unknown", other.token, f"{service.client.token}x", "t%C3%B8ken", "%00"):
        answer = await fetch(service.client, f"{service.base_url}{path}?token={token}")
        assert answer.status == 404, token
        assert answer.document == NOT_FOUND
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        # beside a signature it is one more unknown parameter
        signed_too = await fetch(service.client, f"{genuine}&token={token}")
        assert signed_too.status == 302
        assert signed_too.headers["Cache-Control"] == "no-store"
    assert other.token not in "".join(capfd.readouterr())
    await service.execute("UPDATE tokens SET revoked_at = now()")

    async def refused() -> bool:
        target = f"{service.base_url}{path}?token={service.client.token}"
        return (await fetch(service.client, target)).status == 404

    await until(refused)


async def test_no_answer_to_an_address_with_a_token_may_be_kept(
    start_service: StartService, service: Service
) -> None:
    path, _ = await with_file(service)
    alone = await start_service(s3_endpoint_url=NOWHERE, s3_public_url=service.settings.upload_url)
    for method, target, status in (
        ("GET", path, 503),
        ("POST", path, 405),
        ("GET", "/nothing", 404),
        ("GET", "/api/v2/attachments", 400),
    ):
        address = f"{target}?token={service.client.token}"
        client = replace(service.client, base_url=alone.base_url)
        answer = await client.request(method, address)
        assert answer.status == status, answer.body
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "X-Auth-Token" in answer.headers["Vary"]


async def test_a_token_opens_no_more_than_a_signature_does(service: Service) -> None:
    path, _ = await with_file(service)
    target = f"{service.base_url}{path}?token={service.client.token}"
    assert (await fetch(service.client, target)).status == 302
    for change in (
        "content_type = 'application/x-msdownload'",
        "deleted_at = now(), content_type = NULL",
    ):
        await service.execute(f"UPDATE attachments SET {change}")
        assert (await fetch(service.client, target)).status == 404


async def test_a_setting_refuses_tokens_in_addresses(start_service: StartService) -> None:
    service = await start_service(files_query_token="false")
    path, _ = await with_file(service)
    target = f"{service.base_url}{path}?token={service.client.token}"
    assert (await fetch(service.client, target)).status == 404
