"""Draw the documentation's picture of the upload page: `python -m tests.screenshot`."""

import asyncio
import io
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.async_api import FilePayload

from tests.support.browser import opened, running_browser
from tests.support.local import ROOT
from tests.support.up import running

TARGET = ROOT / "deploy/docs/upload-page.png"
WIDTH, HEIGHT = 640, 560


def landscape(sky: str, hill: str, sun: tuple[int, int]) -> bytes:
    """Draw a small landscape and return it as a JPEG."""
    image = Image.new("RGB", (1200, 900), sky)
    draw = ImageDraw.Draw(image)
    x, y = sun
    draw.ellipse((x - 90, y - 90, x + 90, y + 90), fill="#ffe08a")
    draw.polygon([(0, 900), (0, 620), (420, 420), (800, 700), (1200, 520), (1200, 900)], fill=hill)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=90)
    return stored.getvalue()


MORNING = landscape("#8ec7f2", "#2f7d4f", (900, 200))
EVENING = landscape("#f2a27c", "#4a3f6b", (300, 420))


async def draw(url: str) -> None:
    """Upload some files on the page, and write a screenshot."""
    async with running_browser() as context:
        view = await opened(context, url)
        await view.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        files: list[FilePayload] = [
            {"name": "morning.jpg", "mimeType": "image/jpeg", "buffer": MORNING},
            {"name": "evening.jpg", "mimeType": "image/jpeg", "buffer": EVENING},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Photos of the trip\n"},
            {"name": "setup.exe", "mimeType": "application/octet-stream", "buffer": b"MZ"},
        ]
        await view.choose(*files)
        await view.ended(len(files))
        await view.page.wait_for_timeout(300)  # the browser decodes the thumbnails
        await view.page.screenshot(path=TARGET)


def main() -> None:
    """Run a local stack, and draw the picture of its page."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as up:
        asyncio.run(draw(up.document()["upload_page_url"]))


if __name__ == "__main__":
    main()
