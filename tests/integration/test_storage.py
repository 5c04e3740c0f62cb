"""Tests of the rules that a store must follow, with a real store."""

import asyncio
import hashlib
import io
import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from unittest import mock
from urllib.parse import unquote_plus
from uuid import uuid4

import pytest
import pytest_asyncio

from shared.errors import ObjectChanged, ObjectEmpty, ObjectMissing, StoreRefused, StoreUnavailable
from shared.storage import Storage
from shared.store_client import open_storage
from shared.stored_objects import StoredObject
from tests.support.objects import content, exists, opened_storage
from tests.support.service import make_settings
from tests.support.stack import BUCKET, Stack

BODY = bytes(range(256)) * 40


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the tests."""
    async with opened_storage(stack) as opened:
        yield opened


@pytest_asyncio.fixture
async def key(storage: Storage) -> AsyncIterator[str]:
    """Return a key without an object, and delete the object after the test."""
    name = f"conformance/{uuid4()}"
    yield name
    await storage.delete(name)


async def pinned(storage: Storage, key: str, start: int, end: int, pin: StoredObject) -> bytes:
    """Read a range of exactly this version of an object."""
    async with storage.read(key, start=start, end=end, pin=pin) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


async def test_a_written_object_is_described(storage: Storage, key: str) -> None:
    await storage.write(key, BODY, content_type="image/png")
    found = await storage.head(key)
    assert found.size == len(BODY)
    assert found.etag == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert found.version_id is None
    assert found.checksum_sha256 is None
    assert await storage.head(key, bucket=BUCKET) == found


async def test_an_age_is_measured_by_the_stores_own_clock(storage: Storage, key: str) -> None:
    await storage.write(key, BODY, content_type="image/png")
    await asyncio.sleep(2.1)
    found = await storage.head(key)
    assert found.age_s is not None
    assert 1 <= found.age_s <= 60
    async with storage.read(key, end=1) as (read, _):
        assert read.age_s is not None
        assert found.age_s <= read.age_s <= 60


async def test_writing_again_replaces_the_whole(storage: Storage, key: str) -> None:
    await storage.write(key, BODY, content_type="image/png")
    await storage.write(key, b"short", content_type="text/plain")
    assert await content(storage, key) == b"short"
    assert (await storage.head(key)).size == 5


async def test_a_missing_object_is_missing_for_every_method(storage: Storage, key: str) -> None:
    with pytest.raises(ObjectMissing):
        await storage.head(key)
    with pytest.raises(ObjectMissing):
        async with storage.read(key, end=10):
            pass
    with pytest.raises(ObjectMissing):
        await storage.copy(
            f"{key}-copy",
            source_bucket=BUCKET,
            source_key=key,
            pin=StoredObject(size=1, etag="0" * 32),
        )
    assert not await exists(storage, f"{key}-copy")


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, len(BODY)), (0, 2**40), (100, 200), (len(BODY) - 1, len(BODY)), (5, 2**33)],
)
async def test_a_range_is_read_from_start_up_to_end(
    storage: Storage, key: str, start: int, end: int
) -> None:
    await storage.write(key, BODY, content_type="image/png")
    async with storage.read(key, start=start, end=end) as (found, chunks):
        assert b"".join([chunk async for chunk in chunks]) == BODY[start:end]
    # The size is that of the whole object, even if only a range is read.
    assert found.size == len(BODY)
    assert found.etag == (await storage.head(key)).etag


async def test_a_read_may_be_left_at_any_time(storage: Storage, key: str) -> None:
    large = os.urandom(3_000_000)
    await storage._client.put_object(Bucket=BUCKET, Key=key, Body=io.BytesIO(large))
    for _ in range(40):  # there are fewer than 40 connections
        async with storage.read(key, end=len(large)) as (_, chunks):
            async for chunk in chunks:
                assert large.startswith(chunk)
                break
    assert await content(storage, key) == large


async def test_of_an_empty_object_no_range_can_be_read(storage: Storage, key: str) -> None:
    await storage.write(key, b"", content_type="text/plain")
    assert (await storage.head(key)).size == 0
    with pytest.raises(ObjectEmpty):
        async with storage.read(key, end=10):
            pass


async def test_a_pinned_read_is_of_that_object_or_none(storage: Storage, key: str) -> None:
    await storage.write(key, BODY, content_type="image/png")
    pin = await storage.head(key)
    assert await pinned(storage, key, 10, 20, pin) == BODY[10:20]
    await storage.write(key, BODY[::-1], content_type="image/png")
    with pytest.raises(ObjectChanged):
        await pinned(storage, key, 10, 20, pin)


async def test_a_copy_is_of_that_object_or_none(storage: Storage, key: str) -> None:
    source = f"{key}-source"
    await storage.write(source, BODY, content_type="image/png")
    pin = await storage.head(source)
    etag = await storage.copy(key, source_bucket=BUCKET, source_key=source, pin=pin)
    assert await content(storage, key) == BODY
    assert (await storage.head(key)).etag == etag
    await storage.write(source, b"other", content_type="image/png")
    with pytest.raises(ObjectChanged):
        await storage.copy(key, source_bucket=BUCKET, source_key=source, pin=pin)
    assert await content(storage, key) == BODY
    await storage.delete(source)


async def test_deleting_may_be_repeated(storage: Storage, key: str) -> None:
    await storage.write(key, BODY, content_type="image/png")
    for _ in range(3):
        await storage.delete(key)
        assert not await exists(storage, key)


async def test_a_checksum_is_returned_if_the_store_keeps_one(storage: Storage, key: str) -> None:
    checksum = b64encode(hashlib.sha256(BODY).digest()).decode()
    await storage._client.put_object(
        Bucket=BUCKET, Key=key, Body=BODY, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum
    )
    assert (await storage.head(key)).checksum_sha256 in (checksum, None)


@pytest.mark.parametrize(
    "name", ["a b", "ä", "a+b", "a%2Fb", "a?b", "a#b", "~", "'", "(1)"], ids=ascii
)
async def test_a_key_is_taken_as_it_is(storage: Storage, key: str, name: str) -> None:
    await storage.write(f"{key}{name}", b"x", content_type="text/plain")
    assert await content(storage, f"{key}{name}") == b"x"
    await storage.delete(f"{key}{name}")


@pytest.mark.parametrize(
    "name",
    ["a b", "a+b", "a%2Bb", "a%2Fb", "a%252Fb", "a?b", "a?versionId=1", "a#b", "ä", "a&b", "a;b"],
    ids=ascii,
)
async def test_a_copy_is_of_the_very_key(storage: Storage, key: str, name: str) -> None:
    source = f"{key}-{name}"
    other = unquote_plus(source).partition("?")[0].partition("#")[0]
    await storage.write(other, b"other", content_type="text/plain")
    await storage.write(source, b"x", content_type="text/plain")
    pin = await storage.head(source)
    await storage.copy(key, source_bucket=BUCKET, source_key=source, pin=pin)
    assert await content(storage, key) == b"x"
    for each in (source, other):
        await storage.delete(each)


@pytest.mark.parametrize("name", ["\\a", "/", "//a", "/../a", "/./a", "a\n", "a\x85"], ids=ascii)
async def test_a_key_that_is_read_in_two_ways_is_not_copied(
    storage: Storage, key: str, name: str
) -> None:
    pin = StoredObject(size=1, etag="0" * 32)
    with pytest.raises(StoreRefused, match="not plain"):
        await storage.copy(key, source_bucket=BUCKET, source_key=f"{key}{name}", pin=pin)


async def test_its_etag_has_no_quotes(storage: Storage, key: str) -> None:
    await storage.write(key, BODY, content_type="image/png")
    assert re.fullmatch(r"[0-9a-f]{32}", (await storage.head(key)).etag)


async def raises(stack: Stack, error: type[Exception], key: str, **changes: str) -> None:
    """Assert that each operation raises `error` if the settings are changed by `changes`."""
    environment = {**stack.environment("postgresql://nowhere/none"), **changes}
    with mock.patch.dict(os.environ, environment):
        opened = open_storage(make_settings(environment))
        storage = await opened.__aenter__()
    try:
        pin = StoredObject(size=1, etag="0" * 32)
        with pytest.raises(error):
            await storage.head(key)
        with pytest.raises(error):
            async with storage.read(key, end=10):
                pass
        with pytest.raises(error):
            await storage.write(key, b"x", content_type="text/plain")
        with pytest.raises(error):
            await storage.copy(key, source_bucket=storage.bucket, source_key=key, pin=pin)
        with pytest.raises(error):
            await storage.delete(key)
    finally:
        await opened.__aexit__(None, None, None)


async def test_a_store_that_answers_403_has_refused(stack: Stack, key: str) -> None:
    await raises(stack, StoreRefused, key, AWS_SECRET_ACCESS_KEY="wrong")
    await raises(stack, StoreRefused, key, AWS_ACCESS_KEY_ID="nobody")


async def test_a_store_that_does_not_answer_is_unavailable(stack: Stack, key: str) -> None:
    await raises(stack, StoreUnavailable, key, ATTACHMENTS_S3_ENDPOINT_URL="http://127.0.0.1:1")
