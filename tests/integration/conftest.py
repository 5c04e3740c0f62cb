"""Fixtures of tests that ask real servers from the process of the test."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.resources import open_bucket
from tests.support.stack import Stack

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest_asyncio.fixture
async def bucket(stack: Stack) -> AsyncIterator["S3Client"]:
    """The store, past the service."""
    async with open_bucket(stack) as client:
        yield client
