"""Files, and the thumbnails that they have in several styles."""

from typing import Any

from shared.attachments import Attachment
from tests.data import images, pdfs, previews
from tests.support.service import Service, until

STYLES = "medium:1024,thumb:320,small:64"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><path d="M0 0h9v9z"/></svg>'

FILES: dict[str, tuple[bytes, dict[str, tuple[int, int]]]] = {
    "photo.jpg": (
        images.gradient_photo(1600, 1200),
        {"thumb": (320, 240), "medium": (1024, 768), "small": (64, 48)},
    ),
    "flat.png": (
        images.encode(images.quadrants(600, 400), "PNG"),
        {"thumb": (320, 213), "medium": (600, 400), "small": (64, 43)},
    ),
    "drawing.svg": (SVG, {"thumb": (320, 213), "medium": (1024, 683), "small": (64, 43)}),
    "page.pdf": (
        pdfs.plain(box="0 0 600 400"),
        {"thumb": (320, 213), "medium": (1024, 683), "small": (64, 43)},
    ),
    "report.docx": (
        previews.docx(previews.jpeg()),
        {"thumb": (120, 80), "medium": (120, 80), "small": (64, 43)},
    ),
}
"""Files, and the size of each of their thumbnails in the styles STYLES."""


def sizes(resource: Any) -> dict[str, tuple[int, int]]:
    """Return the size of each thumbnail that a resource shows."""
    thumbs = resource["meta"]["thumbs"]
    return {style: (each["width"], each["height"]) for style, each in thumbs.items()}


async def described(service: Service, attachment_id: str, after: int = 0) -> Attachment:
    """Wait until an attachment is ready with a revision above `after`; return its row."""

    async def ready() -> Attachment | None:
        row = await service.row(attachment_id)
        return row if row.state == "ready" and row.revision > after else None

    row: Attachment = await until(ready, within_s=30)
    return row


def folder(row: Attachment) -> str:
    """Return the beginning of all keys of an attachment."""
    return row.key.partition("original/")[0]
