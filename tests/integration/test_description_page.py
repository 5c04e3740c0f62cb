"""/openapi.json and /docs need no token, and their answers are compressed and cached.

The page /docs loads only files that this service itself serves, from a Python package.
"""

import gzip
import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from api.openapi.description import rendered
from tests.support.chromium import CHROMIUM, running_chromium
from tests.support.described import METHODS, check_answer, description
from tests.support.service import Service, until

PATHS = (
    "/openapi.json",
    "/docs",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
    "/docs/start.js",
)


async def fetch(
    service: Service, path: str, method: str = "GET", **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Send a request without a token; return the response and its bytes as they were sent."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, URL(f"{service.base_url}{path}"), headers=headers) as answer,
    ):
        body = await answer.read()
    check_answer(method, path, answer.status, answer.headers, None)
    return answer, body


async def test_the_description_needs_no_token_and_is_that_of_the_code(running: Service) -> None:
    answer, body = await fetch(running, "/openapi.json", **{"Accept-Encoding": "identity"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert body == rendered()


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_is_compressed_and_its_copy_is_current_by_its_tag(
    running: Service, path: str
) -> None:
    plain, body = await fetch(running, path, **{"Accept-Encoding": "identity"})
    packed, compressed = await fetch(running, path, **{"Accept-Encoding": "gzip"})
    assert plain.status == packed.status == 200
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed) == body
    tag = plain.headers["ETag"]
    assert re.fullmatch(r'"[\w-]{16}"', tag)
    assert packed.headers["ETag"] == tag
    assert plain.headers["Cache-Control"] == "public, no-cache"
    assert "Accept-Encoding" in plain.headers["Vary"]

    current, nothing = await fetch(running, path, **{"If-None-Match": tag})
    assert (current.status, nothing) == (304, b"")
    other, _ = await fetch(running, path, **{"If-None-Match": '"other"'})
    assert other.status == 200
    head, nothing = await fetch(running, f"{path}/", method="HEAD")
    assert (head.status, head.headers["ETag"], nothing) == (200, tag, b"")


async def test_the_page_loads_only_files_of_this_service(running: Service) -> None:
    answer, body = await fetch(running, "/docs", **{"Accept-Encoding": "identity"})
    page = body.decode()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert set(loaded) == {"data:,", *PATHS[2:]}
    assert "://" not in page
    assert re.findall(r"<script>|<style|\son\w+=|\sstyle=", page) == []


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "swagger-ui.js", "plugin.py", "x"])
async def test_no_other_file_of_the_package_is_served(running: Service, name: str) -> None:
    answer, _ = await fetch(running, f"/docs/{name}")
    assert answer.status == 404


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_shows_every_operation_and_meets_no_fault(
    running: Service, tmp_path: Path
) -> None:
    shown_parts = [*description()["paths"].values(), *description()["webhooks"].values()]
    count = sum(method in part for part in shown_parts for method in METHODS)
    async with running_chromium(tmp_path / "profile") as page:
        await page.open(f"{running.base_url}/docs")

        async def shown() -> bool:
            found = await page.evaluate("document.querySelectorAll('.opblock').length")
            return bool(found == count)

        await until(shown, within_s=60)
        await page.evaluate("document.querySelector('.opblock-post button').click()")

        async def opened() -> bool:
            found = await page.evaluate("document.body.innerText.includes('aws_policy')")
            return bool(found)

        await until(opened, within_s=60)
        assert page.faults == []


async def test_requests_for_the_description_are_counted_as_one_route_and_not_timed(
    running: Service,
) -> None:
    for path in PATHS:
        await fetch(running, path)
    found = running.metrics()
    assert 'attachments_requests_total{route="/docs",status="200"}' in found
    assert not re.findall(r'route="/(?:openapi\.json|docs/.*)"', found)
    assert not re.findall(r'request_seconds_count\{.*route="/docs"', found)
