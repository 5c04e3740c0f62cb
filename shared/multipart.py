"""Objects made of parts (S3's multipart uploads): the methods of `Storage.multipart`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.caching import PUBLIC_FILE
from shared.errors import StoreUnavailable
from shared.store_faults import NO_UPLOAD, mapped
from shared.stored_objects import StoredObject

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


class Multipart:
    """Multipart uploads to one bucket.

    Methods raise the same errors as those of `Storage`, and may be repeated as well.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def begin(self, key: str, *, content_type: str | None = None) -> str:
        """Begin a multipart upload and return its id.

        With `content_type` the object has that type and the Cache-Control of the public mode.
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
        """Copy the bytes `first` to `last` (inclusive) of a source as part `number`.

        Returns the part's etag. Raises ObjectMissing and ObjectChanged.
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
        """Build the object from its parts (`PartNumber` and `ETag` each) and return its etag."""
        with mapped("multipart"):
            answer = await self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
        return answer.get("ETag", "").strip('"')

    async def drop(self, key: str, upload_id: str) -> None:
        """Remove the parts of an unfinished upload; a missing upload is not an error."""
        try:
            with mapped("multipart"):
                await self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload_id
                )
        except StoreUnavailable as error:
            if str(error) != NO_UPLOAD:
                raise

    async def unfinished(self, key: str) -> list[str]:
        """List the ids of unfinished multipart uploads to a key, at most 1000."""
        with mapped("multipart"):
            answer = await self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        return [each["UploadId"] for each in answer.get("Uploads", ()) if each["Key"] == key]
