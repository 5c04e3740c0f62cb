"""Functions for attachments whose file the service copies from the object that `temp_url` names."""

from typing import TYPE_CHECKING, Any

from tests.support.service import MEDIA_TYPE, Answer, Client, Service
from tests.support.stack import BUCKET

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PATH = "/api/v2/attachments"


async def source(bucket: "S3Client", service: Service, name: str, content: bytes) -> str:
    """Store an object as the source of a copy, and return the object's address."""
    key = f"uploads/{name}"
    await bucket.put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"{service.settings.upload_url}/{key}"


async def copied(service: Service, url: str, name: str = "photo.jpg") -> Any:
    """Create an attachment whose `temp_url` is the given address, and return its resource."""
    return (await service.client.create(name, temp_url=url))["data"]


BULK = f"{MEDIA_TYPE}; ext=bulk"


async def create_many(client: Client, url: str, count: int) -> Answer:
    """Create several attachments by one request; each is a copy of the object at `url`."""
    item = {"type": "attachments", "attributes": {"name": "photo.jpg", "temp_url": url}}
    return await client.request(
        "POST", PATH, {"data": [item] * count}, headers={"Content-Type": BULK, "Accept": BULK}
    )


def is_copy(_link: object, data: bytes) -> bool:
    """Return True if the bytes of an HTTP request ask the store to copy an object."""
    return b"x-amz-copy-source" in data.lower()
