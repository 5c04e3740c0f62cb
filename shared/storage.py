"""The operations of the object store that the service needs. They raise only StoreErrors."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiobotocore.session import AioSession

from shared.caching import PRIVATE_FILE, PUBLIC_FILE
from shared.credentials import RenewedCredentials
from shared.errors import ObjectChanged, StoreRefused, StoreUnavailable
from shared.metrics import READ_BYTES
from shared.multipart import Multipart
from shared.part_settings import StoreSettings
from shared.signing import Credentials
from shared.spellings import is_plain
from shared.store_faults import mapped
from shared.stored_objects import (
    StoredObject,
    StoredVersion,
    age_of,
    date_of,
    listed_version,
    version_of,
)

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


class Storage:
    """One bucket of a store that speaks S3's protocol.

    Every method raises StoreUnavailable for a temporary fault, and StoreRefused for a permanent
    one. Methods that raise ObjectMissing or ObjectChanged say so. Every method may be repeated.
    """

    def __init__(self, client: "S3Client", session: AioSession, bucket: str) -> None:
        self._client = client
        self._session = session
        self.bucket = bucket
        self.multipart = Multipart(client, bucket)

    async def credentials(self) -> Credentials:
        """Return the AWS credentials to sign with. Temporary ones are renewed before they expire.

        A signature that is made with them must not be valid for longer than their `ends_at`. Raises
        StoreRefused if there are no credentials, and StoreUnavailable if they have expired and
        cannot be renewed yet.
        """
        renewed = await self._session.get_credentials()
        assert isinstance(renewed, RenewedCredentials)  # `open_session` made the session
        found = renewed.fresh()
        if found is None:
            try:
                with mapped("credentials"):
                    found = await renewed.current()
            except StoreRefused:
                raise StoreRefused("there are no AWS credentials") from None
        if not found.access_key or not found.secret_key:
            raise StoreRefused("the AWS credentials are incomplete")
        return found

    async def head(self, key: str, *, bucket: str | None = None) -> StoredObject:
        """Return the size, etag, version and checksum of an object. Raises ObjectMissing."""
        with mapped("head"):
            answer = await self._client.head_object(
                Bucket=bucket or self.bucket, Key=key, ChecksumMode="ENABLED"
            )
        checksum = answer.get("ChecksumSHA256")
        return StoredObject(
            size=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            version_id=version_of(answer.get("VersionId")),
            # A multipart upload has a checksum of checksums, which contains "-" and a number.
            checksum_sha256=checksum if checksum and "-" not in checksum else None,
            age_s=age_of(answer),
        )

    @asynccontextmanager
    async def read(
        self, key: str, *, start: int = 0, end: int, pin: StoredObject | None = None
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Read the bytes from `start` up to but not including `end`, in chunks.

        Yields the object and an iterator of its chunks. With `pin`, only an object with the etag
        and version of `pin` is read. Raises ObjectMissing, ObjectChanged, ObjectEmpty, and
        StoreUnavailable if the body ends too early.
        """
        request: dict[str, Any] = {"Range": f"bytes={start}-{end - 1}"}
        if pin is not None:
            request["IfMatch"] = f'"{pin.etag}"'
            if pin.version_id is not None:
                request["VersionId"] = pin.version_id
        with mapped("get"):
            answer = await self._client.get_object(Bucket=self.bucket, Key=key, **request)
        found = StoredObject(
            size=int(answer["ContentRange"].rpartition("/")[2])
            if answer.get("ContentRange")
            else answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            version_id=version_of(answer.get("VersionId")),
            age_s=age_of(answer),
        )
        async with (
            answer["Body"] as body,
            aclosing(_chunks(body, min(end, found.size) - start)) as chunks,
        ):
            yield found, chunks

    async def write(
        self, key: str, body: bytes, *, content_type: str, cache_control: str = PRIVATE_FILE
    ) -> None:
        """Store a small object that the service made, such as a thumbnail."""
        with mapped("put"):
            await self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                CacheControl=cache_control,
            )

    async def create(self, key: str, body: bytes, *, content_type: str) -> bool:
        """Store a small object if there is none at its key. Returns whether it was stored.

        A store that ignores the header `If-None-Match` replaces an existing object. Raises
        StoreRefused "NotImplemented" if the store refuses that header.
        """
        try:
            with mapped("put"):
                await self._client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    IfNoneMatch="*",
                )
        except ObjectChanged:
            return False
        except StoreRefused as error:
            # Another request stored an object at the same time (S3 API Reference, PutObject).
            if str(error) == "ConditionalRequestConflict":
                return False
            raise
        return True

    async def copy(
        self,
        key: str,
        *,
        source_bucket: str,
        source_key: str,
        pin: StoredObject,
        content_type: str | None = None,
    ) -> str:
        """Copy an object to `key` inside the store, and return the copy's etag.

        With `content_type`, the copy gets that type, the Cache-Control of the public mode, and no
        metadata of its source.
        Raises ObjectMissing and ObjectChanged, and StoreRefused if a store could read the source
        key as another key. botocore percent-encodes the source key once, also `?` and `%`, so the
        store reads exactly the key that was checked.
        """
        if not is_plain(source_key):
            raise StoreRefused("the source key is not plain")
        typed: dict[str, Any] = {}
        if content_type is not None:
            typed = {
                "MetadataDirective": "REPLACE",
                "ContentType": content_type,
                "CacheControl": PUBLIC_FILE,
            }
        with mapped("copy"):
            answer = await self._client.copy_object(
                Bucket=self.bucket,
                Key=key,
                CopySource={"Bucket": source_bucket, "Key": source_key},
                CopySourceIfMatch=f'"{pin.etag}"',
                **typed,
            )
        return answer["CopyObjectResult"].get("ETag", "").strip('"')

    async def delete(self, key: str, *, version_id: str | None = None) -> bool:
        """Remove an object, or one version of it. A missing object is not an error.

        In a bucket that was ever versioned, a call without `version_id` only adds a delete marker,
        and the versions stay. Returns whether the store reported a new delete marker.
        """
        request: dict[str, Any] = {} if version_id is None else {"VersionId": version_id}
        with mapped("delete"):
            answer = await self._client.delete_object(Bucket=self.bucket, Key=key, **request)
        return version_id is None and bool(answer.get("DeleteMarker") or answer.get("VersionId"))

    async def keeps_versions(self) -> bool:
        """Return whether the bucket was ever versioned. Needs s3:GetBucketVersioning."""
        with mapped("versions"):
            answer = await self._client.get_bucket_versioning(Bucket=self.bucket)
        return answer.get("Status") in ("Enabled", "Suspended")

    async def versions(self, prefix: str, *, limit: int) -> list[StoredVersion]:
        """List the versions and delete markers of all keys with a prefix, a key's newest first.

        Stops after the page that reaches `limit`. A page has up to 1000 entries. Needs
        s3:ListBucketVersions.
        """
        found: list[StoredVersion] = []
        pages = self._client.get_paginator("list_object_versions")
        with mapped("versions"):
            async for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for kind in ("Versions", "DeleteMarkers"):
                    listed: list[Any] = page.get(kind, [])  # type: ignore[assignment]  # by name
                    found += [listed_version(item, kind, page) for item in listed]
                if len(found) >= limit:
                    break
        return found

    async def list_keys(
        self, prefix: str, *, page_size: int = 1000, after: str = ""
    ) -> AsyncIterator[list[tuple[str, StoredObject]]]:
        """List the objects with a prefix in the order of their keys, page by page.

        Only keys greater than `after` are listed; `after` itself need not exist. A page has up to
        `page_size` objects; S3 allows 1000. An object that is stored during the listing may be
        missing. In the results, `version_id` and checksum are None, because a listing does not
        contain them. Needs s3:ListBucket.
        """
        start = {"StartAfter": after} if after else {}
        async for answer in self._pages(prefix, MaxKeys=page_size, **start):
            date = date_of(answer)
            yield [
                (
                    each["Key"],
                    StoredObject(
                        size=each["Size"],
                        etag=each["ETag"].strip('"'),
                        age_s=(date - each["LastModified"]).total_seconds(),
                    ),
                )
                for each in answer.get("Contents", ())
            ]

    async def list_prefixes(self, prefix: str) -> list[str]:
        """List the prefixes that begin with `prefix` and end at the next `/`. Needs s3:ListBucket.

        A store may still list a prefix whose objects are all deleted; SeaweedFS does so for
        minutes.
        """
        found: list[str] = []
        async for answer in self._pages(prefix, Delimiter="/"):
            found += [each["Prefix"] for each in answer.get("CommonPrefixes", ())]
        return found

    async def _pages(self, prefix: str, **more: Any) -> AsyncIterator[Any]:
        position: dict[str, Any] = {}
        while True:
            with mapped("list"):
                answer = await self._client.list_objects_v2(
                    Bucket=self.bucket, Prefix=prefix, **more, **position
                )
            yield answer
            if not answer.get("IsTruncated"):
                return
            position = {"ContinuationToken": answer["NextContinuationToken"]}


async def _chunks(body: Any, expected: int) -> AsyncGenerator[bytes, None]:
    # Read directly from aiohttp's stream, because botocore's reader copies each chunk again.
    received = 0
    try:
        with mapped("get", timed=False):  # not timed, because the reader of the chunks may be slow
            async for chunk in body.raw_stream.content.iter_any():
                received += len(chunk)
                yield chunk
    finally:
        READ_BYTES.inc(received)
    if received != expected:
        raise StoreUnavailable(f"the body ended after {received} of {expected} bytes")


def object_url(settings: StoreSettings, key: str) -> str:
    """Return the address at which clients reach an object of the store."""
    return f"{settings.upload_url}/{key}"
