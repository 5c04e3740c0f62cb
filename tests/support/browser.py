"""A real Chromium that Playwright drives, and a user's actions on a page with an upload element."""

import os
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    FilePayload,
    Page,
    async_playwright,
)

from tests.data.images import gradient_photo
from tests.support.chromium import CHROMIUM
from tests.support.local import ROOT

SCREENSHOTS = ROOT / ".screenshots"
"""The folder for screenshots of pages. Git ignores it."""

STRANGER = "app.example"
"""A host name that the browser resolves to this machine, but does not treat as loopback."""

# Without these options, Chromium looks up hosts of its maker when it starts. A test must not use
# the internet.
OPTIONS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1",
)

BUSY = ("waiting", "uploading", "connection lost", "processing")
"""The first words of the texts that the element shows for an upload that has not ended."""

PHOTO = gradient_photo()

EXPECTED = "Failed to load resource: "
"""The first words that Chromium logs for an error answer, such as the one to a reserved name."""

ADD = """
(files) => {
  const made = files.map(({name, type, bytes}) =>
    new File([Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0))], name, {type}));
  const transfer = new DataTransfer();
  for (const each of made) transfer.items.add(each);
  return transfer;
}
"""


def chosen(name: str, data: bytes = PHOTO, media_type: str = "image/jpeg") -> FilePayload:
    """Return a file in the form that Playwright's file chooser expects."""
    return {"name": name, "mimeType": media_type, "buffer": data}


def transferred(name: str, data: bytes = PHOTO, media_type: str = "image/jpeg") -> dict[str, str]:
    """Return a file in the form that `UploadView.transfer` expects."""
    return {"name": name, "type": media_type, "bytes": b64encode(data).decode()}


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Run a headless Chromium. Its start takes seconds, so tests share it."""
    # As root, Chromium starts only without its sandbox.
    options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Open a context of a browser, with an empty profile of its own."""
    context = await browser.new_context()
    context.set_default_timeout(60_000)
    yield context
    await context.close()


@asynccontextmanager
async def running_browser() -> AsyncIterator[BrowserContext]:
    """Run a headless Chromium, and yield a context with an empty profile."""
    async with open_browser() as browser, open_context(browser) as context:
        yield context


class UploadView:
    """A page with one upload element.

    `faults` holds the messages that the browser logs as errors. `client` is the address of the
    JavaScript module of the upload element.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.client = ""
        self.element = page.locator("attachment-upload")
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _note(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.faults.append(line.text)

    async def choose(self, *files: FilePayload) -> None:
        """Click the element's button, and choose files in the file chooser."""
        async with self.page.expect_file_chooser() as chosen:
            await self.element.locator(".choose").click()
        await (await chosen.value).set_files(files)

    async def transfer(self, kind: str, files: Sequence[dict[str, str]]) -> None:
        """Drop or paste files: `kind` is the name of the event.

        Each file has the members `name`, `type` and `bytes` (in Base64).
        """
        transfer = await self.page.evaluate_handle(ADD, list(files))
        if kind == "paste":
            await self.page.evaluate(
                "(data) => document.body.dispatchEvent(new ClipboardEvent('paste',"
                " {clipboardData: data, bubbles: true, cancelable: true}))",
                transfer,
            )
            return
        zone = self.element.locator(".zone")
        await zone.dispatch_event("dragenter", {"dataTransfer": transfer})
        await zone.dispatch_event("drop", {"dataTransfer": transfer})

    async def states(self) -> list[str]:
        """Return the text that the element shows for each upload."""
        return await self.element.locator(".state").all_inner_texts()

    async def ended(self, count: int) -> list[str]:
        """Wait until `count` uploads have ended, and return their texts."""
        await self.page.wait_for_function(
            "([count, busy]) => { const all = [...document.querySelector('attachment-upload')"
            ".shadowRoot.querySelectorAll('.state')].map((each) => each.textContent);"
            " return all.length >= count && all.every((text) => text &&"
            " !busy.some((word) => text.startsWith(word))); }",
            arg=[count, list(BUSY)],
        )
        return await self.states()

    async def picture(self, name: str) -> None:
        """Write a screenshot of the page into SCREENSHOTS."""
        SCREENSHOTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


class Network:
    """The network of one page; the browser can slow down this network and cut it."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session

    @classmethod
    async def of(cls, context: BrowserContext, view: UploadView) -> Self:
        """Return the network of a page."""
        return cls(await context.new_cdp_session(view.page))

    async def limit(self, *, bytes_per_s: int, offline: bool = False) -> None:
        """Limit the page's upload speed; -1 means no limit.

        `offline` also aborts the requests that are in progress.
        """
        conditions = {
            "offline": offline,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": bytes_per_s,
        }
        await self._session.send("Network.emulateNetworkConditions", conditions)


async def opened(context: BrowserContext, url: str) -> UploadView:
    """Open an address in a new page, and wait until the upload element is shown."""
    view = UploadView(await context.new_page())
    await view.page.goto(url)
    await view.element.locator(".choose").wait_for()
    script = await view.page.evaluate(
        "performance.getEntriesByType('resource').map((each) => each.name)"
    )
    (view.client,) = (each for each in script if each.endswith("/client/attachments.js"))
    return view
