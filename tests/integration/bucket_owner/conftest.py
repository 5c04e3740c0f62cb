"""Fixtures of the tests of a bucket's owner: two deployments that use one bucket."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.support.databases import clone_database
from tests.support.lost_rows import own_bucket
from tests.support.objects import opened_storage
from tests.support.service import running_service
from tests.support.stack import Stack
from tests.support.two_deployments import QUICK, Two


@pytest_asyncio.fixture
async def two(stack: Stack) -> AsyncIterator[Two]:
    """Start two deployments on one empty bucket. No API has read the bucket's marker yet."""
    async with AsyncExitStack() as exits:
        bucket = await exits.enter_async_context(own_bucket(stack))
        services = []
        for _ in range(2):
            url = await clone_database(stack)
            service = await exits.enter_async_context(
                running_service(stack, url, s3_bucket=bucket, **QUICK)
            )
            # The test databases are clones of one template, so they contain the same deployment id.
            # This id is removed here, and each deployment then makes its own id.
            await service.execute("DELETE FROM deployment")
            await service.execute("ALTER SEQUENCE attachments_id_seq RESTART WITH 1")
            services.append(service)
        storage = await exits.enter_async_context(opened_storage(stack, bucket))
        yield Two(first=services[0], second=services[1], storage=storage)
