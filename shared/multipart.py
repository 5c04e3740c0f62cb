"""Objects that are made of parts (S3's multipart uploads): the verbs of `Storage.multipart`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.caching import PUBLIC_FILE
from shared.errors import StoreUnavailable
from shared.store_faults import NO_UPLOAD, mapped
from shared.stored_objects import StoredObject

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


class Multipart:
    """Uploads of parts to one bucket. Verbs raise, and may be repeated, as those of `Storage`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def begin(self, key: str, *, content_type: str | None = None) -> str:
        """Begin an object that is made of parts; returns the id of this upload.

        With `content_type` it may be cached as in the public mode.
        """
        typed: dict[str, Any] = {}
        if content_type is not None:
            typed = {"ContentType": content_type, "CacheControl": PUBLIC_FILE}
        with mapped():
            answer = await self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, **typed
            )
        return answer["UploadId"]

    async def copy(
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
        with mapped():
            answer = await self._client.upload_part_copy(
                Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number,
                CopySource={"Bucket": source_bucket, "Key": source_key},
                CopySourceRange=f"bytes={first}-{last}", CopySourceIfMatch=f'"{pin.etag}"',
            )  # fmt: skip
        return answer["CopyPartResult"].get("ETag", "")

    async def end(self, key: str, upload_id: str, parts: Sequence[Any]) -> str:
        """Make the object of its parts (`PartNumber` and `ETag` each); returns its etag."""
        with mapped():
            answer = await self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )  # fmt: skip
        return answer.get("ETag", "").strip('"')

    async def drop(self, key: str, upload_id: str) -> None:
        """Remove what was stored of an object of parts; it is no fault if there is none."""
        try:
            with mapped():
                await self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
        except StoreUnavailable as error:
            if str(error) != NO_UPLOAD:
                raise

    async def unfinished(self, key: str) -> list[str]:
        """List the ids of uploads of parts to a key that were not ended, at most 1000."""
        with mapped():
            answer = await self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        return [each["UploadId"] for each in answer.get("Uploads", ()) if each["Key"] == key]
