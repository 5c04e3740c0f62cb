"""The object store, in the few verbs that the service needs; its client's errors stop here."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from shared.caching import PRIVATE_FILE, PUBLIC_FILE
from shared.credentials import RenewedCredentials, open_session
from shared.errors import (
    ObjectChanged,
    ObjectEmpty,
    ObjectMissing,
    SettingsError,
    StoreRefused,
    StoreUnavailable,
)
from shared.part_settings import StoreSettings
from shared.signing import Credentials
from shared.spellings import is_plain
from shared.web_proxies import client_proxies, trusted

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


NO_UPLOAD = "NoSuchUpload"
"""How S3 says that an upload of parts was ended or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as the store describes it: `size` of the whole in bytes, `etag` without quotes.

    `age_s` is how many seconds ago the object was stored, by the store's own clock: the `Date` of
    the answer less `LastModified`, both of whole seconds. It is the store's age to compare with,
    never a time: the clocks of store and database may differ. `answered_at` is when the answer
    came, by this process's monotonic clock. Neither counts as part of what the object is, so two
    answers about one object are equal.
    """

    size: int
    etag: str
    version_id: str | None = None
    checksum_sha256: str | None = None
    age_s: float | None = field(default=None, compare=False)
    answered_at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version or a delete marker; `version_id` may be `null`, `age_s` is as in StoredObject."""

    key: str
    version_id: str
    is_marker: bool
    age_s: float | None = field(default=None, compare=False)


class Storage:
    """One bucket of an S3-like store.

    Every verb raises StoreUnavailable for what may pass and StoreRefused for what will not;
    ObjectMissing and ObjectChanged where a verb says so. Every verb may be repeated.
    """

    def __init__(self, client: "S3Client", session: AioSession, bucket: str) -> None:
        self._client = client
        self._session = session
        self.bucket = bucket

    async def credentials(self) -> Credentials:
        """Give the credentials to sign with; temporary ones are renewed before they end.

        What is signed with them must end by their `ends_at`. Raises StoreRefused if there are no
        credentials, StoreUnavailable if the last ones have ended and cannot be renewed yet.
        """
        renewed = await self._session.get_credentials()
        assert isinstance(renewed, RenewedCredentials)  # since the session is of open_session
        try:
            with _mapped():
                found = await renewed.current()
        except StoreRefused:
            raise StoreRefused("there are no AWS credentials") from None
        if not found.access_key or not found.secret_key:
            raise StoreRefused("the AWS credentials are incomplete")
        return found

    async def head(self, key: str, *, bucket: str | None = None) -> StoredObject:
        """Ask what is stored under a key. Raises ObjectMissing."""
        with _mapped():
            answer = await self._client.head_object(
                Bucket=bucket or self.bucket, Key=key, ChecksumMode="ENABLED"
            )
        checksum = answer.get("ChecksumSHA256")
        return StoredObject(
            size=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            version_id=_version(answer.get("VersionId")),
            # of a multipart upload the store keeps a checksum of checksums, marked by "-parts"
            checksum_sha256=checksum if checksum and "-" not in checksum else None,
            age_s=_age_s(answer),
        )

    @asynccontextmanager
    async def read(
        self, key: str, *, start: int = 0, end: int, pin: StoredObject | None = None
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Read the bytes from `start` up to, not including, `end`, in chunks.

        `pin` makes sure that they are of that very object. Raises ObjectMissing, ObjectChanged,
        ObjectEmpty, and StoreUnavailable where the body is cut short.
        """
        request: dict[str, Any] = {"Range": f"bytes={start}-{end - 1}"}
        if pin is not None:
            request["IfMatch"] = f'"{pin.etag}"'
            if pin.version_id is not None:
                request["VersionId"] = pin.version_id
        with _mapped():
            answer = await self._client.get_object(Bucket=self.bucket, Key=key, **request)
        found = StoredObject(
            size=int(answer["ContentRange"].rpartition("/")[2])
            if answer.get("ContentRange")
            else answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            version_id=_version(answer.get("VersionId")),
            age_s=_age_s(answer),
        )
        async with (
            answer["Body"] as body,
            aclosing(_chunks(body, min(end, found.size) - start)) as chunks,
        ):
            yield found, chunks

    async def write(
        self, key: str, body: bytes, *, content_type: str, cache_control: str = PRIVATE_FILE
    ) -> None:
        """Store a small object of our own making."""
        with _mapped():
            await self._client.put_object(
                Bucket=self.bucket, Key=key, Body=body, ContentType=content_type,
                CacheControl=cache_control,
            )  # fmt: skip

    async def create(self, key: str, body: bytes, *, content_type: str) -> bool:
        """Store a small object unless there is one under the key; returns whether it was stored.

        A store that ignores `If-None-Match` stores it in any case. Raises StoreRefused
        "NotImplemented" where the store says that it cannot do that.
        """
        try:
            with _mapped():
                await self._client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, ContentType=content_type,
                    IfNoneMatch="*",
                )  # fmt: skip
        except ObjectChanged:
            return False
        except StoreRefused as error:
            # Another was stored meanwhile (Amazon S3 API Reference, PutObject).
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
        """Copy an object to `key` inside the store; returns the etag.

        With `content_type` the copy has that type, may be cached as in the public mode, and has
        nothing else of its source's metadata.
        Raises ObjectMissing, ObjectChanged, and StoreRefused for a source key that a store could
        take for another one. The client quotes the source once, `?` and `%` included, so that the
        store reads the very key that was judged.
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
        with _mapped():
            answer = await self._client.copy_object(
                Bucket=self.bucket, Key=key,
                CopySource={"Bucket": source_bucket, "Key": source_key},
                CopySourceIfMatch=f'"{pin.etag}"', **typed,
            )  # fmt: skip
        return answer["CopyObjectResult"].get("ETag", "").strip('"')

    async def begin_parts(self, key: str, *, content_type: str | None = None) -> str:
        """Begin an object that is made of parts; returns the id of this upload.

        With `content_type` it may be cached as in the public mode.
        """
        typed: dict[str, Any] = {}
        if content_type is not None:
            typed = {"ContentType": content_type, "CacheControl": PUBLIC_FILE}
        with _mapped():
            answer = await self._client.create_multipart_upload(
                Bucket=self.bucket, Key=key, **typed
            )
        return answer["UploadId"]

    async def copy_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        *,
        source_bucket: str,
        source_key: str,
        pin: StoredObject,
        first: int,
        last: int,
    ) -> str:
        """Copy the bytes from `first` to `last` of a source as part `number`; returns its etag.

        Raises ObjectMissing and ObjectChanged.
        """
        with _mapped():
            answer = await self._client.upload_part_copy(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number,
                CopySource={"Bucket": source_bucket, "Key": source_key},
                CopySourceRange=f"bytes={first}-{last}", CopySourceIfMatch=f'"{pin.etag}"',
            )  # fmt: skip
        return answer["CopyPartResult"].get("ETag", "")

    async def end_parts(self, key: str, upload_id: str, parts: Sequence[Any]) -> str:
        """Make the object of its parts (`PartNumber` and `ETag` each); returns its etag."""
        with _mapped():
            answer = await self._client.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )  # fmt: skip
        return answer.get("ETag", "").strip('"')

    async def drop_parts(self, key: str, upload_id: str) -> None:
        """Remove what was stored of an object of parts; it is no fault if there is none."""
        try:
            with _mapped():
                await self._client.abort_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload_id
                )
        except StoreUnavailable as error:
            if str(error) != NO_UPLOAD:
                raise

    async def unfinished_parts(self, key: str) -> list[str]:
        """List the ids of uploads of parts to a key that were not ended, at most 1000."""
        with _mapped():
            answer = await self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=key)
        return [each["UploadId"] for each in answer.get("Uploads", ()) if each["Key"] == key]

    async def delete(self, key: str, *, version_id: str | None = None) -> bool:
        """Remove an object, or one version of it; it is no fault if there is none.

        Without `version_id`, a bucket that has ever been versioned only puts a delete marker over
        the object, and the versions stay. Returns whether the answer says so.
        """
        request: dict[str, Any] = {} if version_id is None else {"VersionId": version_id}
        with _mapped():
            answer = await self._client.delete_object(Bucket=self.bucket, Key=key, **request)
        return version_id is None and bool(answer.get("DeleteMarker") or answer.get("VersionId"))

    async def keeps_versions(self) -> bool:
        """Ask whether the bucket was ever versioned. Needs s3:GetBucketVersioning."""
        with _mapped():
            answer = await self._client.get_bucket_versioning(Bucket=self.bucket)
        return answer.get("Status") in ("Enabled", "Suspended")

    async def versions(self, prefix: str, *, limit: int) -> list[StoredVersion]:
        """List versions and delete markers of all keys with a prefix, the newest of a key first.

        Ends with the page that reaches `limit`; a page has up to 1000. Needs s3:ListBucketVersions.
        """
        found: list[StoredVersion] = []
        pages = self._client.get_paginator("list_object_versions")
        with _mapped():
            async for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for kind in ("Versions", "DeleteMarkers"):
                    listed: list[Any] = page.get(kind, [])  # type: ignore[assignment]  # by name
                    found += [_stored_version(item, kind, page) for item in listed]
                if len(found) >= limit:
                    break
        return found

    async def list_keys(
        self, prefix: str, *, page_size: int = 1000, after: str = ""
    ) -> AsyncIterator[list[tuple[str, StoredObject]]]:
        """List the objects below a prefix in the order of their keys, page by page.

        Only keys above `after` are listed, which need not be one. A page has up to `page_size`
        objects (1000 at most, S3's own limit). An object that is
        stored meanwhile may or may not be listed. Without `version_id` and checksum, which a
        listing does not tell. Needs s3:ListBucket.
        """
        start = {"StartAfter": after} if after else {}
        async for answer in self._pages(prefix, MaxKeys=page_size, **start):
            date = _date(answer)
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
        """List the prefixes up to the next `/` below a prefix. Needs s3:ListBucket.

        A store may still name one whose objects have all been deleted (SeaweedFS, for minutes).
        """
        found: list[str] = []
        async for answer in self._pages(prefix, Delimiter="/"):
            found += [each["Prefix"] for each in answer.get("CommonPrefixes", ())]
        return found

    async def _pages(self, prefix: str, **more: Any) -> AsyncIterator[Any]:
        place: dict[str, Any] = {}
        while True:
            with _mapped():
                answer = await self._client.list_objects_v2(
                    Bucket=self.bucket, Prefix=prefix, **more, **place
                )
            yield answer
            if not answer.get("IsTruncated"):
                return
            place = {"ContinuationToken": answer["NextContinuationToken"]}


def _stored_version(item: Any, kind: str, page: Any) -> StoredVersion:
    return StoredVersion(
        key=item["Key"],
        version_id=item.get("VersionId") or "null",
        is_marker=kind == "DeleteMarkers",
        age_s=_age_s({**item, "ResponseMetadata": page["ResponseMetadata"]}),
    )


def _version(version_id: str | None) -> str | None:
    return None if version_id in (None, "", "null") else version_id


def _age_s(answer: Any) -> float | None:
    """Subtract LastModified from the Date of the same answer; None without LastModified.

    Where the answer has no Date that can be read, this machine's clock takes its place: the age
    is then wrong by as much as the clocks of store and machine differ, which `attachments doctor`
    measures. Sources: RFC 9110, sections 6.6.1 (Date) and 8.8.2 (Last-Modified).
    """
    modified = answer.get("LastModified")
    if not isinstance(modified, datetime):
        return None
    return (_date(answer) - modified).total_seconds()


def _date(answer: Any) -> datetime:
    try:
        answered = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC)
    return answered if answered.tzinfo else answered.replace(tzinfo=UTC)


async def _chunks(body: Any, expected: int) -> AsyncGenerator[bytes, None]:
    # Straight from the connection: botocore's own reader gathers and copies each chunk again.
    received = 0
    with _mapped():
        async for chunk in body.raw_stream.content.iter_any():
            received += len(chunk)
            yield chunk
    if received != expected:
        raise StoreUnavailable(f"the body ended after {received} of {expected} bytes")


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn what the client raises into the tree of `shared.errors`."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            raise StoreRefused(code) from error
        if code == NO_UPLOAD:  # removed by another worker, which has the copy now
            raise StoreUnavailable(code) from error
        if status == 404 or code in ("NoSuchKey", "NoSuchVersion"):
            raise ObjectMissing(code) from error
        if status == 416:
            raise ObjectEmpty(code) from error
        if status == 412:
            raise ObjectChanged(code) from error
        if status == 501:  # the store does not have this call, and will not have it next time
            raise StoreRefused("NotImplemented") from error
        if status >= 500 or status in (0, 408, 429) or code in ("SlowDown", "RequestTimeout"):
            raise StoreUnavailable(code) from error
        raise StoreRefused(code or str(status)) from error
    except (NoCredentialsError, ParamValidationError) as error:
        raise StoreRefused(type(error).__name__) from error
    except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StoreUnavailable(type(error).__name__) from error


@asynccontextmanager
async def open_storage(
    settings: StoreSettings, *, connections: int = 16, read_timeout_s: float = 20
) -> AsyncIterator[Storage]:
    """Open the client; no request is made yet. Credentials come by botocore's own chain.

    `read_timeout_s` is how long the store may be silent: a store that copies may be for minutes.

    Raises SettingsError where that chain is set up wrong.
    """
    store = settings.store
    trusted()  # botocore would read these files at the first request
    session = open_session(store.client_region)
    config = AioConfig(
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=read_timeout_s,
        max_pool_connections=connections,
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3=store.s3,
        proxies=client_proxies(store.url),
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                session.create_client(
                    "s3",
                    region_name=store.client_region,
                    endpoint_url=store.endpoint_url,
                    config=config,
                )
            )
        except (ProfileNotFound, PartialCredentialsError) as error:  # these tell names alone
            raise SettingsError(f"AWS credentials: {type(error).__name__}: {error}") from None
        except (BotoCoreError, ClientError, OSError, KeyError) as error:
            # also of a program or a file that the chain names; their words may hold secrets
            raise SettingsError(f"AWS credentials: {type(error).__name__}") from None
        except ValueError:
            raise SettingsError(
                "ATTACHMENTS_S3_ENDPOINT_URL: is no address that S3's client takes"
            ) from None
        yield Storage(client, session, settings.s3_bucket)


def object_url(settings: StoreSettings, key: str) -> str:
    """Give the address at which the store serves a key to clients."""
    return f"{settings.upload_url}/{key}"
