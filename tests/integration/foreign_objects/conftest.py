"""Fixtures of the tests of foreign objects: a bucket that holds another organization's original."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.foreign_objects import SECRET
from tests.support.resources import open_bucket
from tests.support.spellings import ORIGINAL
from tests.support.stack import BUCKET, Stack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """Store another organization's original in the bucket, and return a client of the store."""
    async with open_bucket(stack) as client:
        await client.put_object(Bucket=BUCKET, Key=ORIGINAL, Body=SECRET)
        await client.put_object(Bucket=BUCKET, Key="uploads/in.txt", Body=b"in")
        yield client
        await client.delete_object(Bucket=BUCKET, Key=ORIGINAL)
