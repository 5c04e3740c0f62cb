"""Map the errors of the store's client to the tree of `shared.errors`."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from shared.errors import ObjectChanged, ObjectEmpty, ObjectMissing, StoreRefused, StoreUnavailable

NO_UPLOAD = "NoSuchUpload"
"""S3's error code for a multipart upload that was completed or removed."""


@contextmanager
def mapped() -> Iterator[None]:
    """Raise errors of `shared.errors` in place of those that the client raises in the block."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            raise StoreRefused(code) from error
        if code == NO_UPLOAD:  # removed by another worker, which holds the copy now
            raise StoreUnavailable(code) from error
        if status == 404 or code in ("NoSuchKey", "NoSuchVersion"):
            raise ObjectMissing(code) from error
        if status == 416:
            raise ObjectEmpty(code) from error
        if status == 412:
            raise ObjectChanged(code) from error
        if status == 501:  # the store does not support this call, so a retry is no use
            raise StoreRefused("NotImplemented") from error
        if status >= 500 or status in (0, 408, 429) or code in ("SlowDown", "RequestTimeout"):
            raise StoreUnavailable(code) from error
        raise StoreRefused(code or str(status)) from error
    except (NoCredentialsError, ParamValidationError) as error:
        raise StoreRefused(type(error).__name__) from error
    except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StoreUnavailable(type(error).__name__) from error
