"""The three calls to an SQS queue: receive, hide, delete.

The AWS client's errors become QueueAway.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from shared.credentials import open_session
from shared.errors import QueueAway, SettingsError
from shared.settings import Settings
from shared.web_proxies import client_proxies, trusted

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

BATCH = 10
"""Maximum number of messages in one request (limit of SQS)."""

REQUEST_S = 5.0
"""Timeout of a request in seconds, not counting the time that it waits for messages."""

# Every host name of SQS contains the region, also the legacy names and the names of VPC endpoints.
_NAME = "([a-z]{2,4}(?:-[a-z]+)+-[0-9]+)"
_REGION = re.compile(rf"(?:^|\.)sqs(?:-fips)?\.{_NAME}\.|^{_NAME}\.queue\.amazonaws\.")
_USUAL = re.compile(rf"https://sqs\.{_NAME}\.amazonaws\.com(?:\.cn)?")
# Error codes after which a retry can succeed. OverLimit: too many messages are in flight.
_PASSING = (
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "KmsThrottled",
    "RequestTimeout",
    "OverLimit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message as the queue delivered it. `receipt` is SQS's handle of this delivery."""

    id: str
    receipt: str
    body: bytes


class Queue:
    """One queue. Every method may raise QueueAway, and may be repeated."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    async def receive(self, *, wait_s: int, hide_s: int) -> list[Received]:
        """Receive up to ten messages; wait up to `wait_s` seconds for the first.

        The messages are then invisible to other consumers for `hide_s` seconds.
        """
        with _mapped(self._url):
            async with asyncio.timeout(wait_s + REQUEST_S):
                answer = await self._client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=BATCH,
                    WaitTimeSeconds=wait_s,
                    VisibilityTimeout=hide_s,
                )
        return [
            Received(
                id=message["MessageId"],
                receipt=message["ReceiptHandle"],
                body=message.get("Body", "").encode(errors="surrogatepass"),
            )
            for message in answer.get("Messages", [])
        ]

    async def hide(self, batch: Sequence[Received], seconds: int) -> None:
        """Hide messages from other consumers for `seconds` from now. With 0, they can be received
        at once.

        Raises QueueAway even if only one of the messages could not be hidden.
        """
        if not batch:
            return
        with _mapped(self._url):
            async with asyncio.timeout(REQUEST_S):
                answer = await self._client.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {
                            "Id": str(number),
                            "ReceiptHandle": item.receipt,
                            "VisibilityTimeout": seconds,
                        }
                        for number, item in enumerate(batch)
                    ],
                )
        if failed := answer.get("Failed"):
            raise QueueAway(f"{len(failed)} not changed: {failed[0]['Code']}", of_messages=True)

    async def delete(self, batch: Sequence[Received]) -> None:
        """Delete messages. Raises QueueAway even if only one of them could not be deleted."""
        if not batch:
            return
        with _mapped(self._url):
            async with asyncio.timeout(REQUEST_S):
                answer = await self._client.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": item.receipt}
                        for number, item in enumerate(batch)
                    ],
                )
        if failed := answer.get("Failed"):
            raise QueueAway(f"{len(failed)} not deleted: {failed[0]['Code']}", of_messages=True)


def region_of(host: str) -> str | None:
    """Return the region in a host name of SQS; None if the name contains no region."""
    found = _REGION.search(host)
    return (found[1] or found[2]) if found else None


def _endpoint(queue_url: str) -> str | None:
    """Return the endpoint of a queue's URL; None if botocore should choose the endpoint.

    botocore chooses it if the URL has the standard host of a region. Then AWS_USE_FIPS_ENDPOINT and
    AWS_USE_DUALSTACK_ENDPOINT have an effect, as for S3.
    """
    address = urlsplit(queue_url)
    endpoint = f"{address.scheme}://{address.netloc}"
    return None if _USUAL.fullmatch(endpoint) else endpoint


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response.get("Error", {}).get("Code", "")) or str(status)
        refused = 400 <= status < 500 and status != 429 and code not in _PASSING
        raise QueueAway(code, refused=refused) from error
    except NoCredentialsError as error:
        raise QueueAway("there are no AWS credentials", refused=True) from error
    except (
        BotoCoreError,
        ResponseParserError,
        aiohttp.ClientError,
        TimeoutError,
        OSError,
    ) as error:
        raise QueueAway(f"{type(error).__name__} at {urlsplit(url).netloc}") from error


@asynccontextmanager
async def open_queue(settings: Settings, *, connections: int) -> AsyncIterator[Queue]:
    """Open a client for the queue's URL, which gives the endpoint and usually the region.

    Makes no request to the queue. Raises SettingsError if the sources of AWS credentials are
    misconfigured, or if the URL is not that of a queue.
    """
    assert settings.sqs_queue_url is not None
    host = urlsplit(settings.sqs_queue_url).hostname or ""
    region = region_of(host) or settings.store.client_region
    trusted()  # check the CA files now: botocore would read them only at the first request
    config = AioConfig(
        proxies=client_proxies(settings.sqs_queue_url),
        connect_timeout=3,
        ignore_configured_endpoint_urls=True,  # the queue's address comes only from our setting
        max_pool_connections=connections,
        retries={"total_max_attempts": 2, "mode": "standard"},
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                open_session(region).create_client(
                    "sqs",
                    region_name=region,
                    endpoint_url=_endpoint(settings.sqs_queue_url),
                    config=config,
                )
            )
        # the texts of these errors contain only names, so they may be shown
        except (ProfileNotFound, PartialCredentialsError) as error:
            raise SettingsError(f"AWS credentials: {type(error).__name__}: {error}") from None
        except (BotoCoreError, ClientError, OSError, KeyError) as error:
            # These errors may come from a configured program or file, so their text may contain
            # secrets.
            raise SettingsError(f"AWS credentials: {type(error).__name__}") from None
        except ValueError:
            raise SettingsError(
                "ATTACHMENTS_SQS_QUEUE_URL: is not the address of a queue"
            ) from None
        yield Queue(client, settings.sqs_queue_url)
