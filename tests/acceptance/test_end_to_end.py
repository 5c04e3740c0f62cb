"""The main path, from a client's first request to a thumbnail that can be decoded."""

import io

from PIL import Image

from tests.data.images import gradient_photo
from tests.support.service import Service


async def test_a_photo_is_measured_and_its_thumbnail_opens(working: Service) -> None:
    client = working.client
    attachment_id = await client.upload(gradient_photo(), "holiday.jpg", attachable_type="comment")

    resource = await client.settled(attachment_id)

    attributes = resource["attributes"]
    assert resource["meta"]["state"] == "ready"
    assert (resource["meta"]["width"], resource["meta"]["height"]) == (800, 600)
    assert attributes["resized"] is True
    assert attributes["content_type"] == "image/jpeg"
    assert attributes["size"] == len(gradient_photo())
    async with client.session.get(attributes["url"]) as answer:
        assert await answer.read() == gradient_photo()
    async with client.session.get(attributes["thumb"]) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert Image.open(io.BytesIO(await answer.read())).size == (320, 240)
