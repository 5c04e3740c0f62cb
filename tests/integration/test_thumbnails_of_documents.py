"""A running worker makes thumbnails of documents from the previews inside them."""

import asyncio
import hashlib
import io
from typing import Any

import pytest
from PIL import Image

from tests.data import images, previews
from tests.support.batches import follow
from tests.support.service import Service, until

FOUR_COLOURS = images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE)

DOCUMENTS = {
    "a.docx": (previews.docx(previews.jpeg()), previews.DOCX, "JPEG"),
    "far.docx": (
        previews.docx(
            images.encode(images.quadrants(800, 600), "BMP"),
            "docProps/thumbnail.bmp",
            filling=9 * previews.FAR,
        ),
        previews.DOCX,
        "JPEG",
    ),
    "a.odt": (
        previews.opendocument(images.encode(images.quadrants(), "PNG"), filling=previews.FAR),
        previews.ODT,
        "PNG",
    ),
    "a.doc": (
        previews.doc(previews.summary(previews.dib()), before=300, gap=9),
        previews.DOC,
        "PNG",
    ),
}
"""Documents with a preview of four colours, their types, and the formats of their thumbnails."""


async def thumbnail_of(service: Service, resource: Any) -> Image.Image:
    """Return the thumbnail of an attachment as an image."""
    served = await follow(service.client, resource["attributes"]["thumb"])
    assert served.status == 200
    image = Image.open(io.BytesIO(served.body))
    image.load()
    return image


def has_four_colours(image: Image.Image) -> bool:
    """Return True if an image shows the four colours, within the error of JPEG."""
    pairs = zip(images.corners(image), FOUR_COLOURS, strict=True)
    return all(
        abs(one - other) <= 6
        for found, wanted in pairs
        for one, other in zip(found, wanted, strict=True)
    )


async def test_documents_have_thumbnails_and_no_size_in_pixels(working: Service) -> None:
    client = working.client
    ids = await asyncio.gather(
        *(client.upload(body, name) for name, (body, _, _) in DOCUMENTS.items())
    )
    for attachment_id, (name, made) in zip(ids, DOCUMENTS.items(), strict=True):
        body, content_type, kind = made
        resource = await client.settled(attachment_id)
        attributes, meta = resource["attributes"], resource["meta"]
        assert (meta["state"], meta.get("reason"), attributes["resized"]) == ("ready", None, True)
        assert (attributes["content_type"], attributes["size"]) == (content_type, len(body))
        assert not {"width", "height", "pages"} & {key for key in meta if meta[key] is not None}
        assert meta["thumbhash"]
        assert meta.get("checksum_sha256") in (None, hashlib.sha256(body).hexdigest())
        image = await thumbnail_of(working, resource)
        assert image.format == kind, name
        assert has_four_colours(image), name
        original = await follow(client, attributes["url"])
        assert (original.body, original.disposition) == (body, "attachment")


@pytest.mark.parametrize("body", [previews.docx(), previews.docx(b"no picture")])
async def test_a_document_without_a_sound_preview_is_ready_and_loses_an_earlier_thumbnail(
    working: Service, body: bytes
) -> None:
    client = working.client
    created = await client.create("a.docx")
    attachment_id = created["data"]["id"]
    assert (await client.post_file(created, DOCUMENTS["a.docx"][0]))[0] == 201
    assert (await client.settled(attachment_id))["attributes"]["resized"]
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert (await client.post_file(created, body))[0] == 201

    async def described() -> bool:
        row = await working.row(attachment_id)
        return row.state == "ready" and row.etag == etag

    await until(described, within_s=20)
    row = await working.row(attachment_id)
    assert (row.reason, row.resized, row.thumbnail_name) == (None, False, None)
