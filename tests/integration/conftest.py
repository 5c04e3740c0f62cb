"""Fixtures of tests that run the API in their own process, with real servers."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.resources import open_bucket
from tests.support.stack import Stack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """Open an S3 client that uses the store directly, not through the service."""
    async with open_bucket(stack) as client:
        yield client
