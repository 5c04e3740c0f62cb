"""A headless Chromium that a test drives through the DevTools protocol."""

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.service import until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

START_S = 60
ANSWER_S = 30


class Page:
    """The one page of a browser. `faults` holds the errors of scripts, the console and the network.

    The source of the commands is https://chromedevtools.github.io/devtools-protocol.
    """

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.faults: list[str] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def command(self, method: str, **parameters: Any) -> Any:
        """Send a DevTools command and return its result."""
        number = next(self._numbers)
        answered = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._connection.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(ANSWER_S):
            answer = await answered
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page; if it is a promise, wait for its
        result.
        """
        found = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def open(self, url: str) -> None:
        """Open an address, and wait until its document is complete."""
        await self.command("Page.navigate", url=url)

        async def complete() -> bool:
            found = await self.evaluate("[location.href, document.readyState]")
            return bool(found == [url, "complete"])

        await until(complete, within_s=ANSWER_S)

    async def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in the form field that a CSS selector names, as a user does."""
        root = await self.command("DOM.getDocument")
        found = await self.command(
            "DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector
        )
        await self.command("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path)])

    async def read(self) -> None:
        """Receive answers and events from the browser until the connection ends."""
        async for message in self._connection:
            document = json.loads(message.data)
            if "id" in document:
                self._answers.pop(document["id"]).set_result(document)
            elif document["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.faults.append(json.dumps(document["params"]))


@asynccontextmanager
async def running_chromium(folder: Path, *options: str) -> AsyncIterator[Page]:
    """Run a headless Chromium and yield its page.

    The empty profile is in `folder`; `options` are further options of Chromium.
    """
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-proxy-server",
        # Chromium's sandbox does not start as root, and most containers run as root.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *options,
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def address() -> Any:
                assert process.returncode is None, "the browser has ended"
                try:
                    port = (folder / "DevToolsActivePort").read_text().split()[0]
                    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                        pages = [each for each in await answer.json() if each["type"] == "page"]
                except (OSError, IndexError):
                    return None
                return pages[0]["webSocketDebuggerUrl"] if pages else None

            url = await until(address, within_s=START_S)
            async with session.ws_connect(url, max_msg_size=0) as connection:
                page = Page(connection)
                reader = asyncio.create_task(page.read())
                for domain in ("Page", "DOM", "Runtime", "Log"):
                    await page.command(f"{domain}.enable")
                yield page
                reader.cancel()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)
        await process.wait()
