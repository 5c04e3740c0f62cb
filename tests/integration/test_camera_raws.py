"""Camera raws with type or image size beyond the first 64 KiB, read from a real store in ranges."""

import asyncio

from tests.data.raws import RAWS, SIZE
from tests.support.service import Service

FAR = ("raf", "arw-with-a-far-directory", "nef-with-a-far-directory")


async def test_a_camera_raw_has_the_size_of_its_picture(working: Service) -> None:
    client = working.client
    ids = await asyncio.gather(*(client.upload(RAWS[name][0](), f"{name}.bin") for name in FAR))
    for name, attachment_id in zip(FAR, ids, strict=True):
        resource = await client.settled(attachment_id)
        attributes, meta = resource["attributes"], resource["meta"]
        assert (meta["state"], attributes["resized"]) == ("ready", False), name
        assert attributes["content_type"] == RAWS[name][1]
        assert (meta["width"], meta["height"]) == SIZE
