"""Multipart uploads of S3, by which large objects are made of parts: `Storage.multipart`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.caching import PUBLIC_FILE
from shared.errors import StoreUnavailable
from shared.store_faults import NO_UPLOAD, mapped
from shared.stored_objects import StoredObject

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


class Multipart:
    """The multipart uploads of one bucket.

    The methods raise the same errors as those of `Storage`, and may be repeated.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def begin(self, key: str, *, content_type: str | None = None) -> str:
        """Begin a multipart upload and return its id.

        If `content_type` is given, the object gets that type, and PUBLIC_FILE as its Cache-Control.
        """
        typed: dict[str, Any] = {}
        if content_type is not None:
            typed = {"ContentType": content_type, "CacheControl": PUBLIC_FILE}
        with mapped("multipart"):
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
        """Copy the bytes `first` to `last` (inclusive) of a source object as part `number`.

        Returns the part's etag. Raises ObjectMissing if the source is gone, and ObjectChanged if
        its etag is not that of `pin`.
        """
        with mapped("multipart"):
            answer = await self._client.upload_part_copy(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": source_bucket, "Key": source_key},
                CopySourceRange=f"bytes={first}-{last}",
                CopySourceIfMatch=f'"{pin.etag}"',
            )
        return answer["CopyPartResult"].get("ETag", "")

    async def end(self, key: str, upload_id: str, parts: Sequence[Any]) -> str:
        """Join the parts, each with `PartNumber` and `ETag`. Return the object's etag."""
        with mapped("multipart"):
            answer = await self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
        return answer.get("ETag", "").strip('"')

    async def drop(self, key: str, upload_id: str) -> None:
        """Remove an unfinished upload and its parts. A missing upload is not an error."""
        try:
            with mapped("multipart"):
                await self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
        except StoreUnavailable as error:
            if str(error) != NO_UPLOAD:
                raise

    async def unfinished(self, key: str) -> list[str]:
        """List the ids of up to 1000 unfinished multipart uploads to a key."""
        with mapped("multipart"):
            answer = await self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        return [each["UploadId"] for each in answer.get("Uploads", ()) if each["Key"] == key]
