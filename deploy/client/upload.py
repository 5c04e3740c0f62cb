"""Upload files as any client does: create, post to the store, wait until each file is processed.

`attachments upload`, benchmarks and tests call `upload_files`. This module uses the service only
over HTTP, as the contract describes it.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from deploy.client.network_faults import fault_of
from deploy.client.wire import (
    API_TIMEOUT_S,
    COME_AGAIN,
    MEDIA_TYPE,
    FileReason,
    UploadFault,
    ask,
    error_detail,
    origin,
    post_file,
)
from shared.errors import AttachmentsError
from shared.facts import DECLARED, NO_FACTS, PIXELS, Facts
from shared.states import SETTLED, State

PARALLEL = 8
POLL_FROM_S = 0.05
POLL_UP_TO_S = 1.0
POLLS_PER_S = 200
"""Maximum number of status requests (polls) per second, for all waiting files together."""

LAST_ANSWER_S = 5.0
"""Minimum timeout of a status request (poll), in seconds, even if the file's time limit ends
earlier."""

CONNECT_TIMEOUT_S = 10


class ApiUnusable(AttachmentsError):
    """The API cannot be reached, or is not an attachments API, or does not accept the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """The result of one file.

    `state` is the last state that the API returned; None if no attachment was created. `reason` has
    `code` and `detail`. They come from the API or, if the upload itself failed, from this client.
    `facts` has the type, the size in bytes, the width and the height. `seconds` is the time from
    the request that creates the attachment to the result. `processing_seconds` is the time from the
    end of the upload to the result, or None.
    """

    file: Path
    id: str | None = None
    state: State | None = None
    reason: FileReason | None = None
    facts: Facts = NO_FACTS
    url: str | None = None
    thumb: str | None = None
    seconds: float = 0.0
    processing_seconds: float | None = None

    @property
    def succeeded(self) -> bool:
        """Return True if the file is ready, or if it was uploaded and the caller does not wait."""
        # a ready file has a reason only if it has no thumbnail
        if self.state == "ready":
            return True
        return self.reason is None and self.state not in (None, "rejected", "failed", "expired")

    def with_document(self, document: dict[str, Any]) -> "Uploaded":
        """Return a copy with the attachment's data from a document of the API.

        Raises UploadFault if a member is missing.
        """
        try:
            resource = document["data"]
            attributes, meta = resource["attributes"], resource["meta"]
            return replace(
                self,
                id=resource["id"],
                state=meta["state"],
                reason=meta["reason"],
                facts=Facts(
                    **{name: attributes[name] for name in DECLARED},
                    **{name: meta[name] for name in PIXELS},
                ),
                url=attributes["url"],
                thumb=attributes["thumb"],
            )
        except (KeyError, TypeError):
            raise UploadFault("unreadable_answer", "The API's answer is incomplete.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of one file.

    `number` is the file's index in the list of paths. `sent` is the number of bytes sent so far.
    """

    number: int
    file: Path
    sent: int
    sending: bool
    finished: bool


async def upload_files(
    api_url: str,
    token: str,
    organization_id: int | str,
    paths: Iterable[Path],
    *,
    attachable_type: str | None = None,
    attachable_id: int | None = None,
    wait: bool = True,
    timeout_s: float = 900,
    parallel: int = PARALLEL,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Uploaded]:
    """Upload regular files, `parallel` at a time; return the results in the order of `paths`.

    If a file fails, the others are still uploaded, and the cause is in the `reason` of its result.
    `timeout_s` limits how long to wait for each file after its upload. If the API or the token
    cannot be used, raises ApiUnusable before any file is sent.
    """
    parts = urlsplit(api_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiUnusable("the API's address must be an http:// or https:// address")
    headers = {"X-Auth-Token": token, "X-Organization-Id": str(organization_id)}
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise ApiUnusable("token and organization must be printable ASCII")
    async with (
        aiohttp.ClientSession(
            headers={**headers, "Accept": MEDIA_TYPE},
            connector=aiohttp.TCPConnector(limit=2 * parallel),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        ) as api,
        # Use a separate session for the store, because the store must not get the token.
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=parallel),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        ) as store,
    ):
        client = _Client(
            api=api,
            store=store,
            base=f"{api_url.rstrip('/')}/api/v2/attachments",
            attributes={
                name: value
                for name, value in (
                    ("attachable_type", attachable_type),
                    ("attachable_id", attachable_id),
                )
                if value is not None
            },
            wait=wait,
            timeout_s=timeout_s,
            permits=asyncio.Semaphore(parallel),
            on_progress=on_progress or (lambda _: None),
        )
        await client.check_access()
        return await asyncio.gather(
            *(client.upload(number, path) for number, path in enumerate(paths))
        )


@dataclass(slots=True, kw_only=True)
class _Client:
    api: aiohttp.ClientSession
    store: aiohttp.ClientSession
    base: str
    attributes: dict[str, Any]
    wait: bool
    timeout_s: float
    permits: asyncio.Semaphore
    on_progress: Callable[[Progress], None]
    waiting: int = field(default=0, init=False)

    async def check_access(self) -> None:
        """Check that the API accepts the token, before any file is sent. Raises ApiUnusable.

        The check requests the attachment with the id 0, which never exists. So the answer to a
        valid token is 404.
        """
        try:
            async with (
                asyncio.timeout(API_TIMEOUT_S),
                self.api.get(f"{self.base}/0", allow_redirects=False) as answer,
            ):
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is a subclass of OSError
            where = origin(self.base)
            raise ApiUnusable(f"the API cannot be reached at {where}: {fault_of(error)}") from error
        if answer.status == 401:
            raise ApiUnusable(
                "the API does not know this token (401): it is wrong, revoked or expired"
            )
        if answer.status == 403:
            raise ApiUnusable("the token belongs to another organization (403)")
        if not answer.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
            raise ApiUnusable(f"the server there ({answer.status}) is not an attachments API")
        if answer.status not in (404, *COME_AGAIN):
            raise ApiUnusable(error_detail(answer.status, body))

    async def upload(self, number: int, path: Path) -> Uploaded:
        """Create an attachment, send its file and wait for the result. Faults are in the result."""
        result = Uploaded(file=path)
        started: float | None = None
        stored: float | None = None
        try:
            async with self.permits:
                started = time.perf_counter()
                size = (await asyncio.to_thread(path.stat)).st_size
                document = await self._create(path, size)
                result = result.with_document(document)
                await post_file(
                    self.store,
                    *_policy(document),
                    path,
                    size,
                    lambda sent: self._progress(number, path, sent, sending=True),
                )
                stored = time.perf_counter()
            self._progress(number, path, size)
            if self.wait:
                result = await self._wait(result)
        except UploadFault as fault:
            result = replace(result, reason=fault.reason)
        except OSError as error:
            unreadable = UploadFault("unreadable_file", error.strerror or type(error).__name__)
            result = replace(result, reason=unreadable.reason)
        ended = time.perf_counter()
        self._progress(number, path, result.facts.size or 0, finished=True)
        return replace(
            result,
            seconds=ended - started if started is not None else 0.0,
            processing_seconds=ended - stored
            if stored is not None and result.state in SETTLED
            else None,
        )

    def _progress(
        self, number: int, path: Path, sent: int, *, sending: bool = False, finished: bool = False
    ) -> None:
        self.on_progress(
            Progress(number=number, file=path, sent=sent, sending=sending, finished=finished)
        )

    async def _create(self, path: Path, size: int) -> dict[str, Any]:
        # The size is declared, so that the API rejects a file that is too large before it is sent.
        name = os.fsencode(path.name).decode("utf-8", "replace")
        attributes = {"name": name, "size": size, **self.attributes}
        body = orjson.dumps({"data": {"type": "attachments", "attributes": attributes}})
        return await ask(self.api, "POST", self.base, expected=201, body=body)

    async def _wait(self, result: Uploaded) -> Uploaded:
        deadline = time.monotonic() + self.timeout_s
        interval_s = POLL_FROM_S
        self.waiting += 1
        try:
            while True:
                await asyncio.sleep(max(interval_s, self.waiting / POLLS_PER_S))
                left_s = max(deadline - time.monotonic(), LAST_ANSWER_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        url = f"{self.base}/{result.id}"
                        result = result.with_document(await ask(self.api, "GET", url, expected=200))
                if result.state in SETTLED:
                    return result
                if time.monotonic() > deadline:
                    late = f"It was still {result.state} after {self.timeout_s:g} s."
                    return replace(result, reason=UploadFault("timeout", late).reason)
                interval_s = min(interval_s * 1.5, POLL_UP_TO_S)
        finally:
            self.waiting -= 1


def _policy(document: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the address to which the file must be posted, and the fields of the form."""
    try:
        return document["meta"]["upload_url"], dict(document["data"]["attributes"]["aws_policy"])
    except (KeyError, TypeError, ValueError):
        raise UploadFault("unreadable_answer", "The API's answer has no policy.") from None
