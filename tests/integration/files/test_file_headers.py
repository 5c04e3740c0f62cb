"""The headers that the store sends with a file."""

from typing import Any

import pytest

from tests.data.images import gradient_photo
from tests.support.opened_files import opened, settled
from tests.support.resources import PATH
from tests.support.service import Client, Service

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
OCTETS = "application/octet-stream"
DAY = "private, max-age=86400"


@pytest.mark.parametrize(
    ("content", "name", "declared", "content_type", "disposition"),
    [
        pytest.param(
            gradient_photo(),
            "photo.jpg",
            None,
            "image/jpeg",
            'inline; filename="photo.jpg"',
            id="JPEG",
        ),
        pytest.param(PDF, "a.pdf", None, "application/pdf", 'inline; filename="a.pdf"', id="PDF"),
        pytest.param(HTML, "a.html", None, "text/html", 'attachment; filename="a.html"', id="HTML"),
        pytest.param(
            HTML,
            "photo.png",
            "image/png",
            "text/html",
            'attachment; filename="photo.png"',
            id="HTML that was declared an image",
        ),
        pytest.param(SVG, "a.svg", None, "image/svg+xml", 'attachment; filename="a.svg"', id="SVG"),
        pytest.param(
            b"just text\n",
            "a.txt",
            None,
            "text/plain; charset=utf-8",
            'attachment; filename="a.txt"',
            id="text",
        ),
        pytest.param(
            gradient_photo(),
            'Übersicht "März" 写真.jpg',
            None,
            "image/jpeg",
            "inline; filename=\"Ubersicht_Marz_.jpg\"; filename*=UTF-8''"
            "%C3%9Cbersicht%20%22M%C3%A4rz%22%20%E5%86%99%E7%9C%9F.jpg",
            id="the real name, RFC 6266",
        ),
        pytest.param(
            b"just text\n",
            "a;b.txt",
            None,
            "text/plain; charset=utf-8",
            "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%3Bb.txt",
            id="a name that would end the parameter",
        ),
    ],
)
async def test_a_file_opens_with_fixed_headers(
    client: Client,
    content: bytes,
    name: str,
    declared: str | None,
    content_type: str,
    disposition: str,
) -> None:
    typed: dict[str, Any] = {} if declared is None else {"content_type": declared}
    attributes = await settled(client, content, name, **typed)

    found, headers = await opened(client, attributes["url"])

    assert found == content
    assert attributes["content_type"] == content_type
    assert headers["Content-Type"] == content_type
    assert headers["Content-Disposition"] == disposition
    assert headers["Cache-Control"] == DAY


async def test_an_unmeasured_file_is_served_as_bytes(service: Service) -> None:
    # The upload is not processed, because this service has no worker.
    client = service.client
    attachment_id = await client.upload(HTML, "photo.png", content_type="image/png")
    key = (await service.row(attachment_id)).key
    await client.request(
        "PATCH",
        f"{PATH}/{attachment_id}",
        {
            "data": {
                "type": "attachments",
                "attributes": {"temp_url": f"{service.settings.upload_url}/{key}"},
            }
        },
    )
    attributes = (await client.show(attachment_id))["attributes"]

    found, headers = await opened(client, attributes["url"])

    assert found == HTML
    assert headers["Content-Type"] == OCTETS
    assert headers["Content-Disposition"] == 'attachment; filename="photo.png"'


async def test_a_thumbnail_opens(client: Client) -> None:
    attributes = await settled(client, gradient_photo(), "photo.jpg")

    content, headers = await opened(client, attributes["thumb"])

    assert content.startswith(b"\xff\xd8\xff")
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Cache-Control"] == DAY
