"""Send one delivery: its body, its signatures, and the meaning of the answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from shared import traces
from shared.documents import RELATIONSHIPS, Documents
from shared.log import get_logger
from shared.macs import Mac
from shared.settings import Settings
from shared.version import VERSION
from shared.webhooks.dispatch import Delivery
from shared.webhooks.kinds import TIMEOUT_S, DeliveryFault
from shared.webhooks.secret_signing import signed_headers, signer_of, written_id
from shared.webhooks.vault import SecretUnreadable, Vault
from worker.webhooks.receivers import AddressRefused, make_connector

MAX_ANSWER: Final = 4096
"""Maximum number of bytes of an answer that are read. The rest is not needed and would only keep
the connection open."""

MAX_SIGNERS = 10_000
"""Maximum number of signers, each with a decrypted secret, that are kept in memory."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The receiver's status code, and the fault if the receiver did not accept the delivery."""

    status: int | None = None
    fault: DeliveryFault | None = None


class Sender:
    """Sends deliveries over one pool of connections."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        documents: Documents,
        vault: Vault,
        *,
        allow_http: bool = False,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._documents = documents
        self._vault = vault
        self._allow_http = allow_http
        self._timeout_s = timeout_s
        self._clock = clock
        self._signers: dict[bytes, Mac] = {}

    async def send(self, delivery: Delivery) -> Reply:
        """Send a delivery once; return the receiver's reply. Raises only CancelledError."""
        if traces.recorder is None:
            return await self._send(delivery, {})
        with _span(delivery) as span:
            reply = await self._send(delivery, {"traceparent": span.traceparent})
            span.set({"http.response.status_code": reply.status})
            if reply.fault is not None:
                span.fail(reply.fault)
            return reply

    async def _send(self, delivery: Delivery, more: dict[str, str]) -> Reply:
        try:
            body = orjson.dumps(self._document(delivery))
            headers = self._headers(delivery, body) | more
            return await self._post(delivery.target_url, body, headers)
        except SecretUnreadable:
            return Reply(fault="secret_unreadable")
        except Exception as error:  # A receiver can cause any error of the HTTP client.
            fault = _fault_of(error)
            if fault == "internal_error":
                log.exception("delivery cannot be sent", delivery=delivery.id)
            return Reply(fault=fault)

    async def _post(self, target_url: str, body: bytes, headers: dict[str, str]) -> Reply:
        url = URL(target_url)
        if url.scheme != "https" and not self._allow_http:
            # The setting that allows http may have changed since the webhook was made.
            raise AddressRefused("the receiver's URL is not https")
        async with asyncio.timeout(self._timeout_s):
            answer = await self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            )
        # The body may be read after the timeout, because only the status has to arrive in time.
        try:
            await _read_some(answer)
        finally:
            answer.release()
        return Reply(status=answer.status, fault=_judge(answer.status))

    def _headers(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        stored = (delivery.secret, delivery.secret_previous)
        return signed_headers(
            [self._signer(each) for each in stored if each is not None],
            message_id=written_id(delivery.message_id),
            timestamp_s=int(self._clock()),
            body=body,
        )

    def _signer(self, stored: bytes) -> Mac:
        """Return the signer of an encrypted secret. Raises SecretUnreadable."""
        signer = self._signers.get(stored)
        if signer is None:
            if len(self._signers) >= MAX_SIGNERS:
                del self._signers[next(iter(self._signers))]
            signer = self._signers[stored] = signer_of(self._vault.decrypt(stored))
        return signer

    def _document(self, delivery: Delivery) -> dict[str, Any]:
        """Return the body: the attachment as it was when the event was stored, with links signed
        now."""
        row = delivery.attachment
        if row is None:
            data: dict[str, Any] = {"id": str(delivery.webhook_id), "type": "webhooks"}
        else:
            named = ("creator", row.attachable_type)
            data = self._documents.resource(
                row,
                origin="",
                now=datetime.now(UTC),
                include=[name for name in named if name in RELATIONSHIPS],
            )
        happened_at = self._documents.time(delivery.created_at)
        return {"type": delivery.event, "timestamp": happened_at, "data": data}


def _span(delivery: Delivery) -> traces.Span:
    """Begin the span of a delivery, in the trace of its upload.

    The span has only the host and the port of the URL, because the rest may contain a secret.
    """
    assert traces.recorder is not None
    row, url = delivery.attachment, URL(delivery.target_url)
    return traces.recorder.begin(
        "POST",
        "client",
        {
            "http.request.method": "POST",
            "server.address": url.host,
            "server.port": url.port,
            "http.request.resend_count": delivery.attempt - 1 if delivery.attempt > 1 else None,
            "attachments.webhook_event": delivery.event,
            "attachments.webhook_id": delivery.webhook_id,
            "attachments.delivery_id": delivery.id,
            "attachments.organization_id": delivery.organization_id,
            "attachments.id": None if row is None else row.id,
        },
        parent=None if row is None else row.traceparent,
    )


def _judge(status: int) -> DeliveryFault | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return "redirect"
    return "gone" if status == 410 else "status"


async def _read_some(answer: aiohttp.ClientResponse) -> None:
    """Read an answer of up to MAX_ANSWER bytes, so that its connection can be used again.

    The status has already arrived, so an error here does not make the delivery fail. If the answer
    is longer, slower or broken, its connection is closed.
    """
    if answer.content.at_eof():
        return
    left = MAX_ANSWER
    try:
        async with asyncio.timeout(1):
            while left > 0 and (some := await answer.content.read(left)):
                left -= len(some)
    except (TimeoutError, aiohttp.ClientError):
        answer.close()
    if left <= 0 or not answer.content.at_eof():
        answer.close()


def _fault_of(error: Exception) -> DeliveryFault:
    if isinstance(error, (TimeoutError, aiohttp.ServerTimeoutError)):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "certificate"
    if isinstance(error, AddressRefused):
        return "address_refused"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "unresolved"
    if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
        return "unresolved"
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientOSError)):
        return "unreachable"
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return "broken_answer"
    return "internal_error"


@asynccontextmanager
async def open_sender(
    settings: Settings,
    vault: Vault,
    *,
    resolver: AbstractResolver | None = None,
    timeout_s: float = TIMEOUT_S,
) -> AsyncIterator[Sender]:
    """Open the pool of connections to receivers. `resolver` replaces the system's resolver."""
    connector = make_connector(
        settings.allowed_networks, limit=settings.webhook_concurrency, inner=resolver
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=MAX_ANSWER,
        timeout=aiohttp.ClientTimeout(total=None),  # `Sender` has its own timeout
        headers={
            "Content-Type": "application/json",
            "User-Agent": f"attachments/{VERSION}",
            "Accept-Encoding": "identity",
        },
    ) as session:
        yield Sender(
            session,
            Documents(settings),
            vault,
            allow_http=settings.webhook_allow_http,
            timeout_s=timeout_s,
        )
