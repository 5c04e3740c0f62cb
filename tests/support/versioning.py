"""Functions that make buckets with versioning, and that list the versions in a bucket."""

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Literal
from unittest import mock

from shared.bucket_owner import MARKER
from shared.storage import Storage
from shared.store_client import open_storage
from tests.support.service import make_settings
from tests.support.stack import Stack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Versioning = Literal["Enabled", "Suspended"] | None

_numbers = itertools.count(1)


async def make_bucket(client: "S3Client", versioning: Versioning) -> str:
    """Make a bucket and return its name. Versioning must be enabled before it can be suspended."""
    bucket = f"versions-{os.getpid()}-{next(_numbers)}"
    await client.create_bucket(Bucket=bucket)
    if versioning is not None:
        await set_versioning(client, bucket, "Enabled")
    if versioning == "Suspended":
        await set_versioning(client, bucket, versioning)
    return bucket


async def set_versioning(
    client: "S3Client", bucket: str, status: Literal["Enabled", "Suspended"]
) -> None:
    """Enable or suspend the versioning of a bucket."""
    await client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


async def versions(client: "S3Client", bucket: str, prefix: str = "") -> list[tuple[str, str]]:
    """Return the key and the version id of every version that holds bytes; delete markers are left
    out.

    The object MARKER is also left out, because the service never deletes it.
    """
    answer = await client.list_object_versions(Bucket=bucket, Prefix=prefix)
    return [
        (item["Key"], item["VersionId"])
        for item in answer.get("Versions", [])
        if item["Key"] != MARKER
    ]


async def markers(client: "S3Client", bucket: str, prefix: str = "") -> list[tuple[str, str]]:
    """Return the key and the version id of each delete marker."""
    answer = await client.list_object_versions(Bucket=bucket, Prefix=prefix)
    return [(item["Key"], item["VersionId"]) for item in answer.get("DeleteMarkers", [])]


@asynccontextmanager
async def bucket_storage(stack: Stack, bucket: str, url: str) -> AsyncIterator[Storage]:
    """Open a bucket as the service does; `url` is the address of the store."""
    environment = {
        **stack.environment("postgresql://nowhere/none"),
        "ATTACHMENTS_S3_BUCKET": bucket,
        "ATTACHMENTS_S3_ENDPOINT_URL": url,
    }
    async with AsyncExitStack() as exits:
        with mock.patch.dict(os.environ, environment):
            storage = await exits.enter_async_context(open_storage(make_settings(environment)))
            await storage.credentials()
        yield storage
