"""Tests of the page of the documentation in a real browser, against a local stack."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.data.images import gradient_photo
from tests.support.chromium import CHROMIUM, running_chromium
from tests.support.local import ROOT, LocalStack
from tests.support.service import until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

DOCUMENTATION = (ROOT / "deploy/docs/browsers.md").read_text()
STRANGER = "evil.example"


def documented_page() -> str:
    """Return the page that the documentation shows."""
    (page,) = re.findall(r"```html\n(.*?)```", DOCUMENTATION, re.DOTALL)
    return str(page)


@asynccontextmanager
async def running_site(local: LocalStack) -> AsyncIterator[str]:
    """Serve the page, and tickets for it, on an origin of its own."""
    headers = {
        "X-Auth-Token": local.ready["token"],
        "X-Organization-Id": str(local.ready["organization_id"]),
        "Content-Type": "application/vnd.api+json",
    }

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=documented_page(), content_type="text/html")

    async def ticket(request: web.Request) -> web.Response:
        attributes = {"name": request.query["name"]}
        body = {"data": {"type": "attachments", "attributes": attributes}}
        url = f"{local.ready['api_url']}/api/v2/attachments"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json=body, headers=headers) as answer,
        ):
            assert answer.status == 201
            created = await answer.json(content_type=None)
        policy = created["data"]["attributes"]["aws_policy"]
        return web.json_response({"aws_policy": policy, **created["meta"]})

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/favicon.ico", page)
    app.router.add_post("/ticket", ticket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_documented_page_uploads_and_shows_the_thumbnail(
    local: LocalStack, tmp_path: Path, host: str
) -> None:
    photo = tmp_path / "Ferien & Strand.jpg"
    photo.write_bytes(gradient_photo())
    async with running_site(local) as port, running_chromium(tmp_path / "profile") as page:
        await page.open(f"http://{host}:{port}/")

        await page.choose_file("input", photo)

        async def shown() -> Any:
            return await page.evaluate("document.querySelector('img').naturalWidth")

        await until(shown, within_s=60)
        assert await page.evaluate("document.querySelector('output').textContent") == "ready"
        size = await page.evaluate(
            "(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])"
            "(document.querySelector('img'))"
        )
        assert size == [320, 240]
        # `fetch` follows the redirect to the store, which gets the origin "null".
        read = "fetch(document.querySelector('img').src).then(async (a) => (await a.blob()).type)"
        assert await page.evaluate(read) == "image/jpeg"
        assert page.faults == []


async def test_a_page_of_another_origin_may_not_read_a_status(
    local: LocalStack, tmp_path: Path
) -> None:
    resolve = f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1"
    async with running_site(local) as port, running_chromium(tmp_path / "p", resolve) as page:
        await page.open(f"http://{STRANGER}:{port}/")
        asked = await page.evaluate(
            "fetch('/ticket?name=a.png', {method: 'POST'}).then((answer) => answer.json())"
        )

        read = f"fetch({asked['status_url']!r}).then(() => 'read', () => 'kept from the page')"
        assert await page.evaluate(read) == "kept from the page"
        assert any("Access-Control-Allow-Origin" in fault for fault in page.faults)
