"""HTTP as libraries and proxies send it: slashes at the end, several credentials, caches."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web import UrlDispatcher
from multidict import CIMultiDict

from tests.data.images import gradient_photo
from tests.support.raw_http import DOCUMENT, exchange
from tests.support.resources import PATH, body
from tests.support.service import Answer, Client, Service
from tests.support.stack import EVENTS_TOKEN

VARY = "Accept, Accept-Encoding, Authorization, X-Auth-Token, X-Organization-Id"


@pytest.mark.parametrize(
    "path", [PATH, f"{PATH}/1", "/api/v2/usage", "/health/live", "/health/ready", "/nothing"]
)
async def test_a_slash_at_the_end_changes_no_answer(running: Service, path: str) -> None:
    client = await running.organization()
    await client.create("a.png")
    for query in ("", "?page%5Bsize%5D=1", "?fields%5Bx%5D=1"):
        usual = await client.request("GET", f"{path}{query}")
        slashed = await client.request("GET", f"{path}/{query}")
        assert slashed.status == usual.status
        if path != "/api/v2/usage":  # usage contains the current time
            assert slashed.body == usual.body


async def test_no_route_is_looked_for_once_for_each_of_many_slashes(
    running: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for: list[str] = []
    resolve = UrlDispatcher.resolve

    async def counted(dispatcher: UrlDispatcher, request: web.Request) -> Any:
        looked_for.append(request.path)
        return await resolve(dispatcher, request)

    monkeypatch.setattr(UrlDispatcher, "resolve", counted)
    for path in ("/" * 8000, "/attachments/files/" + "000/" * 1900, "/a" + "/.." * 2500):
        answer = await running.client.request("GET", path)
        assert answer.status == 404
        assert answer.document["errors"][0]["title"] == "Record Not Found"
    assert looked_for == []
    query = f"?fields%5Battachments%5D={'/' * 1000}"
    assert (await running.client.request("GET", f"{PATH}{query}")).status == 200
    assert looked_for == [PATH]


async def test_a_slash_at_the_end_changes_no_request(running: Service) -> None:
    client = await running.organization()
    created = await client.request("POST", f"{PATH}/", DOCUMENT)
    assert created.status == 201
    attachment_id = created.data["id"]
    assert created.headers["Location"] == f"{running.base_url}{PATH}/{attachment_id}"
    changed = await client.request("PATCH", f"{PATH}/{attachment_id}/", body({"name": "b.png"}))
    assert changed.data["attributes"]["name"] == "b.png"
    shown = await client.request("GET", f"{PATH}/{attachment_id}/")
    assert shown.document == changed.document
    assert (await client.request("PUT", f"{PATH}/{attachment_id}/")).status == 405
    assert (await client.request("DELETE", f"{PATH}/{attachment_id}/")).status == 204
    for path in ("/events/s3/", f"/events/s3/{EVENTS_TOKEN}/"):
        headers = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
        answer = await client.request("POST", path, {"Records": []}, headers=headers)
        assert answer.status == 200, answer.body
    assert (await client.request("POST", "/events/s3/x/", {}, headers={})).status == 401
    assert re.search(r'route="[^"]*/"', running.metrics()) is None


async def test_a_file_opens_with_a_slash_at_the_end(service: Service) -> None:
    attachment_id = await service.client.upload(gradient_photo(), "a.jpg")
    await service.execute("UPDATE attachments SET uploaded_at = now()")
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    path, _, query = url.removeprefix(service.base_url).partition("?")
    for slashes, status in (("", 302), ("/", 302), ("//", 404)):
        answer = await service.client.request("GET", f"{path}{slashes}?{query}")
        assert answer.status == status


async def status_with(client: Client, credentials: Sequence[tuple[str, str]]) -> int:
    """Request a list with these header fields, and return the status.

    `{token}` means the client's token.
    """
    headers: CIMultiDict[str] = CIMultiDict()
    headers["X-Organization-Id"] = str(client.organization_id)
    for name, value in credentials:
        headers.add(name, value.replace("{token}", client.token))
    async with client.session.get(f"{client.base_url}{PATH}", headers=headers) as answer:
        return answer.status


TOKEN = ("X-Auth-Token", "{token}")
BASIC = ("Authorization", "Basic dXNlcjpwYXNz")
BEARER = ("Authorization", "Bearer {token}")
OTHER = ("Authorization", "Bearer another")


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        ([TOKEN], 200),
        ([BEARER], 200),
        ([TOKEN, BEARER], 200),
        ([TOKEN, BASIC], 200),
        ([BASIC, TOKEN], 200),
        ([BASIC, BEARER], 200),
        ([TOKEN, BASIC, BEARER], 200),
        ([TOKEN, BASIC, BASIC], 200),
        ([TOKEN, ("Authorization", "Digest username=a")], 200),
        ([TOKEN, ("Authorization", "Negotiate {token}")], 200),
        ([TOKEN, ("Authorization", "bearer {token}")], 200),
        ([TOKEN, ("Authorization", "")], 200),
        ([TOKEN, OTHER], 401),
        ([TOKEN, ("Authorization", "BEARER another")], 401),
        ([TOKEN, ("Authorization", "Bearer")], 401),
        ([BEARER, BEARER], 401),
        ([TOKEN, BEARER, BEARER], 401),
        ([BEARER, OTHER], 401),
        ([TOKEN, TOKEN], 401),
        ([TOKEN, TOKEN, BEARER], 401),
        ([BASIC], 401),
        ([BASIC, OTHER], 401),
        ([("Authorization", "Basic {token}")], 401),
        ([], 401),
    ],
)
async def test_one_token_counts_and_other_schemes_do_no_harm(
    running: Service, credentials: list[tuple[str, str]], status: int
) -> None:
    assert await status_with(running.client, credentials) == status


async def test_other_credentials_beside_an_events_token_do_no_harm(running: Service) -> None:
    client = running.client
    token = ("Authorization", f"Bearer {EVENTS_TOKEN}")
    cases = [
        ([BASIC, token], 200),
        ([token, BASIC], 200),
        ([BASIC, ("X-Api-Key", EVENTS_TOKEN)], 200),
        ([BASIC, BASIC], 401),
        ([BASIC, OTHER], 401),
    ]
    for credentials, status in cases:
        headers = CIMultiDict([("Content-Type", "application/json"), *credentials])
        address = f"{client.base_url}/events/s3"
        async with client.session.post(address, data=b'{"Records":[]}', headers=headers) as answer:
            assert answer.status == status, credentials


async def test_no_cache_may_give_an_answer_to_another_client(service: Service) -> None:
    client = service.client
    created = await client.request("POST", PATH, DOCUMENT)
    one = f"{PATH}/{created.data['id']}"
    answers: list[Answer] = [
        created,
        await client.request("GET", PATH),
        await client.request("HEAD", PATH),
        await client.request("GET", f"{PATH}?page%5Bafter%5D="),
        await client.request("GET", one),
        await client.request("GET", "/api/v2/usage"),
        await client.request("PATCH", one, body({"name": "b.png"})),
        await client.request("PATCH", one, body({"name": ""})),
        await client.request("DELETE", one),
        await client.request("GET", one),
        await client.request("GET", PATH, headers={"X-Auth-Token": "unknown"}),
        await client.request("GET", PATH, headers={"X-Organization-Id": "1"}),
        await client.request("GET", PATH, headers={"Accept": "text/html"}),
        await client.request("POST", PATH, DOCUMENT, headers={"Content-Type": "text/html"}),
        await client.request("PUT", PATH),
        await client.request("GET", "/nothing"),
        await client.request("GET", PATH, headers={"Host": "<no host>"}),
        await client.request("POST", "/events/s3", {}, headers={}),
        await client.request("GET", "/health/ready"),
        await client.request("GET", "/attachments/files/x"),
    ]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["Vary"] == VARY
        assert answer.headers["Server"] == "attachments"


async def test_a_files_address_keeps_its_own_rule_for_caches(service: Service) -> None:
    attachment_id = await service.client.upload(gradient_photo(), "a.jpg")
    await service.execute("UPDATE attachments SET uploaded_at = now()")
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    answer = await service.client.request("GET", url.removeprefix(service.base_url))
    assert answer.status == 302
    assert re.fullmatch(r"private, max-age=[0-9]{1,3}", answer.headers["Cache-Control"])
    assert "Vary" not in answer.headers
    assert answer.headers["Server"] == "attachments"


async def test_a_request_that_cannot_be_parsed_learns_nothing_of_the_inside(
    running: Service,
) -> None:
    for sent, status in ((b"no request\r\n\r\n", b" 400 "), (b"PRI * HTTP/2.0\r\n\r\n", b" 505 ")):
        answer = await exchange(running, sent)
        assert status in answer.partition(b"\r\n")[0]
        assert b"Server: attachments\r\n" in answer
        assert b"Cache-Control: private, no-cache\r\n" in answer
        assert f"Vary: {VARY}\r\n".encode() in answer
        assert re.search(rb"\r\nX-Request-Id: [0-9a-f]{32}\r\n", answer)
        assert b"aiohttp" not in answer
        assert b"ython" not in answer
