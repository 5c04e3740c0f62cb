"""The web page of the documentation, in a real browser and with a local stack."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page

from tests.data.images import gradient_photo
from tests.support.browser import STRANGER, chosen
from tests.support.chromium import CHROMIUM
from tests.support.local import ROOT, LocalStack
from tests.support.page_site import running_site

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

DOCUMENTATION = (ROOT / "deploy/docs/browsers.md").read_text()


def documented_page() -> str:
    """Return the web page that the documentation shows."""
    section = DOCUMENTATION.partition("\n## A page without the client\n")[2]
    (page,) = re.findall(r"```html\n(.*?)```", section, re.DOTALL)
    return str(page)


def test_the_documented_page_has_at_most_thirty_lines() -> None:
    assert 20 < len(documented_page().splitlines()) <= 30


@pytest_asyncio.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """Open an empty page."""
    page = await context.new_page()
    yield page
    await page.close()


@pytest.fixture
def faults(page: Page) -> list[str]:
    """Return the list to which the errors of the page's scripts, console and network are added.

    Warnings are added too.
    """
    found: list[str] = []
    kinds = ("error", "warning")
    page.on("console", lambda line: found.append(line.text) if line.type in kinds else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_documented_page_uploads_and_shows_the_thumbnail(
    local: LocalStack, page: Page, faults: list[str], host: str
) -> None:
    photo = chosen("Ferien & Strand.jpg", gradient_photo())
    async with running_site(local, documented_page()) as port:
        await page.goto(f"http://{host}:{port}/")

        await page.set_input_files("input", photo)

        await page.wait_for_function("document.querySelector('img').naturalWidth")
        assert await page.evaluate("document.querySelector('output').textContent") == "ready"
        size = await page.evaluate(
            "(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])"
            "(document.querySelector('img'))"
        )
        assert size == [320, 240]
        # `fetch` follows the redirect from the API to the store. After a redirect to another host,
        # browsers send the origin "null", so the store must allow it.
        read = "fetch(document.querySelector('img').src).then(async (a) => (await a.blob()).type)"
        assert await page.evaluate(read) == "image/jpeg"
        assert faults == []


async def test_a_page_of_another_origin_may_not_read_a_status(
    local: LocalStack, page: Page, faults: list[str]
) -> None:
    async with running_site(local, documented_page()) as port:
        await page.goto(f"http://{STRANGER}:{port}/")
        asked = await page.evaluate(
            "fetch('/ticket?name=a.png', {method: 'POST'}).then((answer) => answer.json())"
        )

        read = f"fetch({asked['status_url']!r}).then(() => 'read', () => 'kept from the page')"
        assert await page.evaluate(read) == "kept from the page"
        assert any("Access-Control-Allow-Origin" in fault for fault in faults)
