"""Functions that use objects in the store directly, and a proxy in front of the store."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from unittest import mock

from shared.errors import ObjectMissing
from shared.storage import Storage
from shared.store_client import open_storage
from tests.support.proxy import Proxy, running_proxy
from tests.support.service import make_settings
from tests.support.stack import BUCKET, Stack


@asynccontextmanager
async def opened_storage(stack: Stack, bucket: str = BUCKET) -> AsyncIterator[Storage]:
    """Open a bucket of the store. The default is the bucket that all tests share."""
    environment = stack.environment("postgresql://nowhere/none")
    environment["ATTACHMENTS_S3_BUCKET"] = bucket
    async with AsyncExitStack() as exits:
        with mock.patch.dict(os.environ, environment):
            storage = await exits.enter_async_context(open_storage(make_settings(environment)))
            await storage.credentials()
        yield storage


async def exists(storage: Storage, key: str) -> bool:
    """Return True if an object exists under a key."""
    try:
        await storage.head(key)
    except ObjectMissing:
        return False
    return True


async def content(storage: Storage, key: str) -> bytes:
    """Return the whole content of an object."""
    async with storage.read(key, end=2**40) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


@asynccontextmanager
async def store_proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the store."""
    async with running_proxy(stack.seaweedfs.url) as proxy:
        yield proxy
