"""The clients and web pages that get upload tickets from the page of `attachments up`."""

import json
from typing import Any

import aiohttp
import pytest
from playwright.async_api import BrowserContext

from tests.support.browser import STRANGER
from tests.support.chromium import CHROMIUM
from tests.support.local import LocalStack
from tests.support.page_site import running_site


@pytest.mark.parametrize(
    ("changes", "body", "status"),
    [
        ({}, {"name": "a.txt", "id": None}, 200),
        ({"Origin": "http://127.0.0.1:1"}, {"name": "a.txt", "id": None}, 403),
        ({"Origin": "null"}, {"name": "a.txt", "id": None}, 403),
        ({"Origin": ""}, {"name": "a.txt", "id": None}, 403),
        ({"X-Page-Guard": "guessed"}, {"name": "a.txt", "id": None}, 403),
        ({"X-Page-Guard": ""}, {"name": "a.txt", "id": None}, 403),
        ({"X-Page-Guard": "é"}, {"name": "a.txt", "id": None}, 403),
        ({"Host": "app.example"}, {"name": "a.txt", "id": None}, 421),
        ({"Host": "localhost"}, {"name": "a.txt", "id": None}, 421),
        ({}, {"name": 5, "id": None}, 400),
        ({}, {"name": "a.txt"}, 400),
        ({}, [], 400),
        ({}, {"name": "a.txt", "id": "../../x"}, 400),
        ({}, {"name": "a.txt", "id": "999999"}, 404),
        ({}, {"name": "", "id": None}, 422),
        ({}, {"name": "a" * 100_000, "id": None}, 413),
    ],
)
async def test_tickets_are_given_to_the_page_alone(
    local: LocalStack, changes: dict[str, str], body: Any, status: int
) -> None:
    url = local.ready["upload_page_url"]
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as page:
            assert page.status == 200
            guard = (await page.text()).partition('page-guard" content="')[2].partition('"')[0]
        origin = url[: url.index("/", len("http://"))]
        headers = {"Origin": origin, "X-Page-Guard": guard, **changes}

        async with session.post(f"{url}ticket", data=json.dumps(body), headers=headers) as answer:
            assert answer.status == status
            if status == 200:
                ticket = await answer.json()
                assert set(ticket) == {"id", "aws_policy", "upload_url", "status_url", "expires_at"}
            assert local.ready["token"] not in await answer.text()


PAGE = """<!doctype html><title>page</title><script type="module">
import {upload} from "API/client/attachments.js";
window.run = async () => {
  const ticket = await (await fetch("/ticket?name=a.txt", {method: "POST"})).json();
  try { return (await upload(new File(["hello"], "a.txt"), {ticket, retries: 1})).state; }
  catch (error) { return error.code; }
};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install chromium")
@pytest.mark.parametrize(
    ("host", "outcome"), [("localhost", "ready"), ("127.0.0.1", "ready"), (STRANGER, "network")]
)
async def test_a_page_of_another_origin_needs_to_be_allowed(
    context: BrowserContext, local: LocalStack, host: str, outcome: str
) -> None:
    """`up` allows loopback origins. A page of another host can upload, but cannot read
    the status.
    """
    async with running_site(local, PAGE.replace("API", local.ready["api_url"])) as port:
        page = await context.new_page()
        await page.goto(f"http://{host}:{port}/")
        await page.wait_for_function("window.run")

        assert await page.evaluate("window.run()") == outcome
        await page.close()


async def test_the_page_needs_the_secret_of_its_address(local: LocalStack) -> None:
    """Other users of the machine can connect to the page's port, but do not know the secret."""
    url = local.ready["upload_page_url"]
    origin = url[: url.index("/", len("http://"))]
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/page.js", "/guessed/", "/ticket", "/client/attachments.js"):
            async with session.get(f"{origin}{path}") as answer:
                assert answer.status == 404
                assert await answer.text() == "404: Not Found"
