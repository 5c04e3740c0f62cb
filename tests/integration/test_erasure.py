"""Permanent removal deletes all versions of an object, unless the object is older than its row."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from shared.erasure import Eraser, Listing
from shared.errors import StoreRefused
from shared.storage import Storage
from tests.support.moto_server import Moto
from tests.support.objects import exists
from tests.support.refusing import REFUSAL, Refusing
from tests.support.resources import open_bucket
from tests.support.service import until
from tests.support.stack import Stack
from tests.support.versioning import (
    Versioning,
    bucket_storage,
    make_bucket,
    markers,
    set_versioning,
    versions,
)

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

FOLDER = "attachments/files/000/000/004/original/"
KEY = f"{FOLDER}a.png"
LISTING = Listing(prefix=KEY, keys={KEY}, current=(KEY,))
YOUNG_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store, and a client that uses it directly."""

    name: str
    url: str
    client: "S3Client"
    stack: Stack


@pytest_asyncio.fixture(params=["seaweedfs", "moto"])
async def store(request: pytest.FixtureRequest, stack: Stack, moto: Moto) -> AsyncIterator[Store]:
    """Return SeaweedFS or moto. Their versioning differs in details."""
    if request.param == "seaweedfs":
        async with open_bucket(stack) as client:
            yield Store(name="seaweedfs", url=stack.seaweedfs.url, client=client, stack=stack)
    else:
        yield Store(name="moto", url=moto.url, client=moto.s3, stack=stack)


async def erase(storage: Storage, *, row_age_s: float = YOUNG_S) -> bool:
    """Remove the object KEY with all its versions, and return the result of `Eraser.erase`."""
    return await Eraser(storage).erase([LISTING], row_age_s=lambda: row_age_s)


async def put(storage: Storage, *keys: str) -> None:
    """Store an object under each key."""
    for key in keys:
        await storage.write(key, b"something", content_type="text/plain")


@pytest.mark.parametrize("versioning", [None, "Enabled", "Suspended"])
async def test_every_version_and_marker_of_the_key_goes_and_nothing_of_others(
    store: Store, versioning: Versioning
) -> None:
    bucket = await make_bucket(store.client, versioning)
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        others = [f"{KEY}x", f"{FOLDER}a.pn", f"{KEY}.b", f"{FOLDER}b.png"]
        await put(storage, KEY, *others, KEY)
        await storage.delete(KEY)
        await put(storage, KEY)
        assert await erase(storage)
        assert {key for key, _ in await versions(store.client, bucket)} == set(others)
        assert KEY not in [key for key, _ in await markers(store.client, bucket)]
        assert await erase(storage)  # succeeds although no object is left


@pytest.mark.parametrize("versioning", [None, "Enabled", "Suspended"])
@pytest.mark.parametrize("name", ["x.versions", "x.versions.versions", "v_null", "_.versions"])
async def test_a_name_that_looks_like_a_folder_of_versions_is_a_name_like_others(
    store: Store, versioning: Versioning, name: str
) -> None:
    bucket = await make_bucket(store.client, versioning)
    key = f"{FOLDER}{name}"
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        await put(storage, key, key)
        listing = Listing(prefix=key, keys={key}, current=(key,))
        assert await Eraser(storage).erase([listing], row_age_s=lambda: YOUNG_S)
        assert not await exists(storage, key)
        assert await versions(store.client, bucket) == []


async def test_objects_stored_before_versioning_was_suspended_are_removed(
    store: Store,
) -> None:
    bucket = await make_bucket(store.client, None)
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        await put(storage, KEY)
        await set_versioning(store.client, bucket, "Enabled")
        await put(storage, KEY, KEY)
        await set_versioning(store.client, bucket, "Suspended")
        await put(storage, KEY)
        # moto loses versions when an object is stored while versioning is suspended.
        assert len(await versions(store.client, bucket)) == {"seaweedfs": 3, "moto": 1}[store.name]
        assert await erase(storage)
        assert await versions(store.client, bucket) == []


async def test_a_version_that_cannot_be_removed_is_not_shown_again(
    store: Store, refusing: Refusing
) -> None:
    bucket = await make_bucket(store.client, "Enabled")
    async with bucket_storage(store.stack, bucket, refusing.url) as storage:
        await put(storage, KEY, KEY)
        await storage.delete(KEY)
        [_, (_, locked)] = await versions(store.client, bucket)
        refusing.forbidden = (f"versionId={locked}".encode(),)
        with pytest.raises(StoreRefused):
            await erase(storage)
        assert not await exists(storage, KEY)
        refusing.forbidden = ()
        assert await erase(storage)
        assert await versions(store.client, bucket) == []
        assert await markers(store.client, bucket) == []


async def test_an_older_version_stays_hidden_by_its_marker(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await make_bucket(store.client, "Enabled")
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        await put(storage, KEY)
        old = await versions(store.client, bucket)
        await until(lambda: is_older(storage, 9.0), within_s=30)
        await put(storage, KEY)
        await storage.delete(KEY)
        monkeypatch.setattr("shared.ages.MARGIN_S", 0.0)
        assert await erase(storage, row_age_s=8.0)
        assert await versions(store.client, bucket) == old
        assert not await exists(storage, KEY)


async def is_older(storage: Storage, age_s: float) -> bool:
    """Return True if the object is older than `age_s` seconds."""
    found = (await storage.head(KEY)).age_s
    assert found is not None
    return found > age_s


async def test_a_deleted_object_whose_versions_are_hidden_by_a_marker_goes(store: Store) -> None:
    bucket = await make_bucket(store.client, "Enabled")
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        await put(storage, KEY, KEY)
        await storage.delete(KEY)
        assert await erase(storage)
        assert await versions(store.client, bucket) == []
        assert await markers(store.client, bucket) == []


@pytest.mark.parametrize("versioning", [None, "Enabled", "Suspended"])
async def test_an_object_older_than_its_row_stays(
    store: Store, versioning: Versioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await make_bucket(store.client, versioning)
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        await put(storage, KEY)
        # With this margin, the object counts as older than a row of 5 s.
        monkeypatch.setattr("shared.ages.MARGIN_S", -10.0)
        assert await erase(storage, row_age_s=5.0)
        assert len(await versions(store.client, bucket)) == 1
        assert await markers(store.client, bucket) == []
        monkeypatch.undo()
        assert await erase(storage)
        assert await versions(store.client, bucket) == []


@pytest_asyncio.fixture
async def refusing(store: Store) -> AsyncIterator[Refusing]:
    """Start a proxy in front of the store that can refuse requests."""
    proxy = Refusing(store.url)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.mark.parametrize(
    ("forbidden", "needed"),
    [
        pytest.param((b"?versions",), "s3:ListBucketVersions", id="list"),
        pytest.param((b"versionId=",), "s3:DeleteObjectVersion", id="delete"),
        pytest.param((b"?versions", b"?versioning"), "s3:ListBucketVersions", id="list-and-state"),
        pytest.param((b"versionId=", b"?versioning"), "s3:DeleteObjectVersion", id="all-but-list"),
    ],
)
async def test_without_the_right_to_remove_versions_it_is_refused_by_name(
    store: Store, refusing: Refusing, forbidden: tuple[bytes, ...], needed: str
) -> None:
    if store.name == "moto" and b"?versioning" in forbidden:
        pytest.skip("moto does not say in the answer to DELETE that it stored a marker")
    bucket = await make_bucket(store.client, "Enabled")
    refusing.forbidden = forbidden
    async with bucket_storage(store.stack, bucket, refusing.url) as storage:
        await put(storage, KEY)
        for _ in range(2):
            with pytest.raises(StoreRefused, match=needed):
                await erase(storage)
        refusing.forbidden = ()
        assert await erase(storage)
        assert await versions(store.client, bucket) == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(REFUSAL, id="no-right"),
        pytest.param(
            b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n", id="no-such-call"
        ),
        pytest.param(
            b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 54\r\n\r\n"
            b"<Error><Code>MethodNotAllowed</Code><Message/></Error>",
            id="not-allowed",
        ),
    ],
)
async def test_a_bucket_without_versions_needs_no_right_to_ask_and_few_calls(
    store: Store, refusing: Refusing, answer: bytes
) -> None:
    bucket = await make_bucket(store.client, None)
    refusing.forbidden, refusing.refusal = (b"?version",), answer
    async with bucket_storage(store.stack, bucket, refusing.url) as storage:
        eraser = Eraser(storage)
        for _ in range(5):
            await put(storage, KEY)
            refusing.asked.clear()
            assert await eraser.erase([LISTING], row_age_s=lambda: YOUNG_S)
            asked = [line.split()[0] for line in refusing.asked if b"?version" not in line]
            assert asked == [b"HEAD", b"DELETE"]
        # No request names a version, because the eraser remembers that the bucket has no versions.
        assert not any(b"?version" in line for line in refusing.asked)
    assert await versions(store.client, bucket) == []


async def test_a_long_list_is_walked_and_its_end_is_reported(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.erasure.MAX_VERSIONS", 4)
    bucket = await make_bucket(store.client, "Enabled")
    async with bucket_storage(store.stack, bucket, store.url) as storage:
        await put(storage, *[KEY] * 6)
        real = storage._client.get_paginator

        def two_a_page(name: Any) -> Any:
            pages = real(name)
            paginate = pages.paginate
            pages.paginate = lambda **request: paginate(**request, MaxKeys=2)
            return pages

        monkeypatch.setattr(storage._client, "get_paginator", two_a_page)
        eraser = Eraser(storage)
        assert not await eraser.erase([LISTING], row_age_s=lambda: YOUNG_S, give_up_at=0.0)
        assert len(await versions(store.client, bucket)) == 6
        ends = [await eraser.erase([LISTING], row_age_s=lambda: YOUNG_S) for _ in range(2)]
        assert ends == [False, True]
        assert await versions(store.client, bucket) == []
