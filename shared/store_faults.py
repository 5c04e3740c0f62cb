"""Map the errors of botocore and aiohttp to the store's errors in `shared.errors`."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Final

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from shared import traces
from shared.errors import ObjectChanged, ObjectEmpty, ObjectMissing, StoreRefused, StoreUnavailable
from shared.metrics import STORE_ERRORS, STORE_SECONDS, StoreVerb
from shared.outages import STORE
from shared.store_limits import ended_limit

NO_UPLOAD = "NoSuchUpload"
"""S3's error code for a multipart upload that is already completed or removed."""


METHODS: Final[Mapping[StoreVerb, str]] = {
    "head": "HeadObject",
    "get": "GetObject",
    "put": "PutObject",
    "copy": "CopyObject",
    "delete": "DeleteObject",
    "list": "ListObjectsV2",
    "versions": "ListObjectVersions",
}
"""The S3 operation of each verb, for traces. Verbs with several operations are missing."""

WRITES: Final[Collection[StoreVerb]] = ("put", "copy", "delete", "multipart")

_seconds = cache(STORE_SECONDS.labels)
_errors = cache(STORE_ERRORS.labels)


@contextmanager
def mapped(verb: StoreVerb, *, timed: bool = True) -> Iterator[None]:
    """Raise errors of `shared.errors` in place of the client's errors in the block.

    Faults of the store are counted by verb and reported to the store's `Outage`. If a limit of
    `shared.store_limits` cancels a call, that counts as a fault too. If `timed`, the seconds of the
    call are counted, and a span is recorded.
    """
    began = time.perf_counter()
    try:
        if traces.recorder is None or not timed:
            with _mapped():
                yield
        else:
            with _span(verb), _mapped():
                yield
        STORE.success(wrote=verb in WRITES)
    except StoreRefused:
        _errors(verb, "refused").inc()
        raise
    except StoreUnavailable as error:
        _errors(verb, "unavailable").inc()
        if str(error) != NO_UPLOAD:
            # A ClientError is an answer with a status. So the store is reachable, and reading may
            # still work.
            answered = isinstance(error.__cause__, ClientError)
            STORE.fault(str(error), only_writes=answered and verb in WRITES)
        raise
    except asyncio.CancelledError:
        if (fault := ended_limit()) is not None:
            _errors(verb, "unavailable").inc()
            STORE.fault(fault)
        raise
    finally:
        if timed:
            _seconds(verb).observe(time.perf_counter() - began)


def _span(verb: StoreVerb) -> AbstractContextManager[object]:
    """Begin the span of a call. The key is left out, because it contains the file's name."""
    assert traces.recorder is not None
    method = METHODS.get(verb, verb)
    attributes = {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": method}
    return traces.recorder.call(f"S3/{method}", attributes)


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            raise StoreRefused(code) from error
        if code == NO_UPLOAD:  # another worker has removed the upload, and makes the copy now
            raise StoreUnavailable(code) from error
        if status == 404 or code in ("NoSuchKey", "NoSuchVersion"):
            raise ObjectMissing(code) from error
        if status == 416:
            raise ObjectEmpty(code) from error
        if status == 412:
            raise ObjectChanged(code) from error
        if status == 501:  # the store does not support this call, so a retry cannot succeed
            raise StoreRefused("NotImplemented") from error
        if status >= 500 or status in (0, 408, 429) or code in ("SlowDown", "RequestTimeout"):
            raise StoreUnavailable(code) from error
        raise StoreRefused(code or str(status)) from error
    except (NoCredentialsError, ParamValidationError) as error:
        raise StoreRefused(type(error).__name__) from error
    except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StoreUnavailable(type(error).__name__) from error
