"""The main job, from a client's first request to a thumbnail that opens."""

import io

from PIL import Image

from tests.support.service import Service


def photo(width: int = 800, height: int = 600) -> bytes:
    """Draw a JPEG."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


async def test_a_photo_is_measured_and_its_thumbnail_opens(working: Service) -> None:
    client = working.client
    attachment_id = await client.upload(photo(), "holiday.jpg", attachable_type="comment")

    resource = await client.settled(attachment_id)

    attributes = resource["attributes"]
    assert resource["meta"]["state"] == "ready"
    assert (resource["meta"]["width"], resource["meta"]["height"]) == (800, 600)
    assert attributes["resized"] is True
    assert attributes["content_type"] == "image/jpeg"
    assert attributes["size"] == len(photo())
    async with client.session.get(attributes["url"]) as answer:
        assert await answer.read() == photo()
    async with client.session.get(attributes["thumb"]) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert Image.open(io.BytesIO(await answer.read())).size == (320, 240)
