"""The page of `attachments up`, its upload element and its JavaScript module, in a real browser."""

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Request

from tests.support.browser import (
    EXPECTED,
    UploadView,
    chosen,
    opened,
    transferred,
)
from tests.support.chromium import CHROMIUM
from tests.support.local import LocalStack

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install chromium")

LARGEST = 314_572_800

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.fixture
async def view(context: BrowserContext, local: LocalStack) -> AsyncIterator[UploadView]:
    view = await opened(context, local.ready["upload_page_url"])
    yield view
    await view.page.close()
    assert [each for each in view.faults if not each.startswith(EXPECTED)] == []


async def test_a_click_uploads_a_photo_and_shows_its_thumbnail(view: UploadView) -> None:
    await view.choose(chosen("beach.jpg"))

    assert await view.ended(1) == ["done"]
    thumbnail = view.element.locator("img.thumb")
    await thumbnail.wait_for(state="visible")
    assert (
        await thumbnail.evaluate(
            "async (image) => { await image.decode(); return image.naturalWidth; }"
        )
        == 320
    )
    await view.picture("one photo")
    assert view.faults == []


@pytest.mark.parametrize("kind", ["drop", "paste"])
async def test_files_are_dropped_and_pasted(view: UploadView, kind: str) -> None:
    await view.transfer(kind, [transferred("one.jpg"), transferred("two.jpg")])

    assert await view.ended(2) == ["done", "done"]
    assert view.faults == []


async def test_the_keyboard_alone_chooses_files(view: UploadView) -> None:
    async with view.page.expect_file_chooser() as chooser:
        await view.page.keyboard.press("Tab")
        await view.page.keyboard.press("Enter")
    await (await chooser.value).set_files([chosen("by keyboard.jpg")])

    assert await view.ended(1) == ["done"]


async def test_a_file_above_the_limit_is_refused_in_words_and_not_sent(view: UploadView) -> None:
    sent: list[str] = []
    view.page.on("request", lambda request: sent.append(request.method + " " + request.url))

    await view.page.evaluate(
        "(size) => { const block = new Uint8Array(1048576); const parts = [];"
        " for (let left = size; left > 0; left -= block.length)"
        " parts.push(block.subarray(0, Math.min(left, block.length)));"
        " document.querySelector('attachment-upload').add([new File(parts, 'film.mov')]); }",
        LARGEST + 1,
    )

    (state,) = await view.ended(1)
    assert state == "too large: at most 314.6 MB are allowed"
    assert [each.rpartition("/")[2] for each in sent if each.startswith("POST")] == ["ticket"]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("<img src=x onerror=alert(1)>.jpg", "done"),
        ("\u202egpj.exe\u202c.jpg", "done"),
        ("ж" * 5000 + ".jpg", "the upload cannot begin: name is too long"),
    ],
    ids=["html", "right to left", "10 kB"],
)
async def test_a_name_is_shown_as_text(view: UploadView, name: str, state: str) -> None:
    await view.page.set_viewport_size({"width": 320, "height": 640})

    await view.transfer("drop", [transferred(name)])

    (shown,) = await view.ended(1)
    assert shown.startswith(state)
    assert await view.element.locator(".name img").count() == 0
    assert await view.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert (await view.element.locator(".name").inner_text()).removesuffix("…") in name


async def test_fifty_files_are_sent_six_at_a_time_and_all_end(
    view: UploadView, local: LocalStack
) -> None:
    running: set[Request] = set()
    most = 0

    def begins(request: Request) -> None:
        nonlocal most
        if request.method == "POST" and request.url.startswith(local.ready["upload_url"]):
            running.add(request)
            most = max(most, len(running))

    view.page.on("request", begins)
    view.page.on("requestfinished", lambda request: running.discard(request))
    view.page.on("requestfailed", lambda request: running.discard(request))

    await view.transfer("drop", [transferred(f"{number}.jpg") for number in range(50)])

    assert await view.ended(50) == ["done"] * 50
    assert most == 6
    await view.picture("fifty photos")
    assert view.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_has_no_fault_of_accessibility(view: UploadView, scheme: Any) -> None:
    await view.page.set_viewport_size({"width": 320, "height": 640})
    await view.page.emulate_media(color_scheme=scheme)
    await view.choose(chosen("beach.jpg"), chosen("run.exe", b"MZ", "application/octet-stream"))
    await view.ended(2)

    await view.page.evaluate(AXE)
    found = await view.page.evaluate("axe.run()")

    assert [(each["id"], each["nodes"]) for each in found["violations"]] == []
    assert await view.element.get_by_role("status").inner_text() != ""
    await view.picture(f"narrow and {scheme}")


async def test_texts_are_replaced_for_another_language(view: UploadView) -> None:
    await view.page.evaluate(
        "document.querySelector('attachment-upload').texts ="
        " {choose: 'Dateien wählen', ready: 'fertig'}"
    )

    await view.choose(chosen("strand.jpg"))

    assert await view.element.get_by_role("button", name="Dateien wählen").count() == 1
    assert await view.ended(1) == ["fertig"]
