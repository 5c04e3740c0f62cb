"""API tokens in addresses of files, and floods of requests for one link."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from yarl import URL

from tests.data.images import gradient_photo
from tests.support.opened_files import fetch
from tests.support.resources import NOT_FOUND
from tests.support.service import Service, until
from tests.support.starting import StartService

NOWHERE = "http://127.0.0.1:9"


async def test_a_flood_of_one_link_has_no_other_refused(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.files.WAITING", 20)
    service = await start_service()
    (_, flooded), (_, other) = await with_file(service), await with_file(service)
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE attachments IN ACCESS EXCLUSIVE MODE")
        flood = [asyncio.create_task(fetch(service.client, flooded)) for _ in range(40)]
        # A request is refused only while the maximum number of requests is waiting.
        first = next(asyncio.as_completed(flood))
        assert (await first).status == 429
        waiting = asyncio.create_task(fetch(service.client, other))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    # On a busy machine, the request may wait too long. Its answer is then 503.
    assert (await waiting).status in (302, 503)
    await asyncio.gather(*flood)
    assert (await fetch(service.client, other)).status == 302


async def with_file(service: Service) -> tuple[str, str]:
    """Create an attachment with an original and a thumbnail; return the original's path and URL."""
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
        # In a signed address, the API ignores the parameter `token` like any unknown parameter.
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
