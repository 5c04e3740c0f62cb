"""The web page of the documentation, in a real browser and with a local stack."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.data.images import gradient_photo
from tests.support.chromium import CHROMIUM, running_chromium
from tests.support.local import ROOT, LocalStack
from tests.support.page_site import running_site
from tests.support.service import until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

DOCUMENTATION = (ROOT / "deploy/docs/browsers.md").read_text()
STRANGER = "evil.example"


def documented_page() -> str:
    """Return the web page that the documentation shows."""
    section = DOCUMENTATION.partition("\n## A page without the client\n")[2]
    (page,) = re.findall(r"```html\n(.*?)```", section, re.DOTALL)
    return str(page)


def test_the_documented_page_has_at_most_thirty_lines() -> None:
    assert 20 < len(documented_page().splitlines()) <= 30


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_documented_page_uploads_and_shows_the_thumbnail(
    local: LocalStack, tmp_path: Path, host: str
) -> None:
    photo = tmp_path / "Ferien & Strand.jpg"
    photo.write_bytes(gradient_photo())
    async with (
        running_site(local, documented_page()) as port,
        running_chromium(tmp_path / "profile") as page,
    ):
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
        # `fetch` follows the redirect from the API to the store. After a redirect to another host,
        # browsers send the origin "null", so the store must allow it.
        read = "fetch(document.querySelector('img').src).then(async (a) => (await a.blob()).type)"
        assert await page.evaluate(read) == "image/jpeg"
        assert page.faults == []


async def test_a_page_of_another_origin_may_not_read_a_status(
    local: LocalStack, tmp_path: Path
) -> None:
    resolve = f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1"
    async with (
        running_site(local, documented_page()) as port,
        running_chromium(tmp_path / "p", resolve) as page,
    ):
        await page.open(f"http://{STRANGER}:{port}/")
        asked = await page.evaluate(
            "fetch('/ticket?name=a.png', {method: 'POST'}).then((answer) => answer.json())"
        )

        read = f"fetch({asked['status_url']!r}).then(() => 'read', () => 'kept from the page')"
        assert await page.evaluate(read) == "kept from the page"
        assert any("Access-Control-Allow-Origin" in fault for fault in page.faults)
