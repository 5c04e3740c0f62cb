"""Amazon SNS: fetch and cache certificates, verify messages, confirm subscriptions.

Requests go only to addresses of SNS, and only after the topic is found in the settings. The rules
are in `shared.notifications.sns`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509

from shared.errors import SnsRefused, SnsUnreachable
from shared.log import get_logger
from shared.notifications import sns
from shared.settings import Settings
from shared.web_proxies import proxy_for, trusted

FETCH_TIMEOUT_S = 1.5
CONFIRM_TIMEOUT_S = 1.5
"""Timeouts in seconds. FETCH_TIMEOUT_S and CONFIRM_TIMEOUT_S are 3 s together, because every sender
of events waits at least 3 s for the answer. If a request to SNS takes longer, SNS sends its message
again."""

FETCHES = 4
"""Maximum number of concurrent fetches of certificates. Forged messages may name any number of
addresses."""

MAX_CERTIFICATE_BYTES = 64 * 1024
KEPT = 16
KEPT_FOR = timedelta(hours=24)

log = get_logger(__name__)


class Sns:
    """Verifies that messages come from SNS, and confirms subscriptions to configured topics."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._certificates: dict[str, tuple[datetime, x509.Certificate]] = {}
        self._fetching: dict[str, asyncio.Task[x509.Certificate]] = {}

    async def verify(self, document: Any, *, now: datetime) -> None:
        """Verify that SNS signed a message and that its topic is configured.

        Raises SnsRefused if the signature is not valid or the topic is not configured, and
        SnsUnreachable if the certificate cannot be fetched now.
        """
        url = sns.certificate_url(
            document,
            topics=self._settings.sns_topics,
            versions=self._settings.sns_signature_versions,
            now=now,
        )
        sns.verify(document, self._known(url, now) or await self._certificate(url, now))

    async def confirm(self, document: Any) -> None:
        """Confirm a subscription whose message has been verified. May be repeated.

        Raises SnsRefused if the address in the message does not belong to SNS, and SnsUnreachable
        if SNS does not confirm.
        """
        status, _ = await self._get(sns.subscribe_url(document), CONFIRM_TIMEOUT_S)
        if status != 200:
            raise SnsUnreachable(f"the confirmation was answered with {status}")
        log.info("subscription confirmed", topic=document["TopicArn"])

    def _known(self, url: str, now: datetime) -> x509.Certificate | None:
        kept = self._certificates.get(url)
        if kept is None or now - kept[0] >= KEPT_FOR:
            return None
        return kept[1] if now <= kept[1].not_valid_after_utc else None

    async def _certificate(self, url: str, now: datetime) -> x509.Certificate:
        """Return a certificate. Fetch it once for all messages that wait for it."""
        task = self._fetching.get(url)
        if task is None:
            if len(self._fetching) >= FETCHES:
                raise SnsUnreachable("too many certificates are asked for")
            task = asyncio.create_task(self._fetch(url, now))
            self._fetching[url] = task
            task.add_done_callback(lambda ended: self._fetched(url, ended))
        return await asyncio.shield(task)

    def _fetched(self, url: str, task: "asyncio.Task[x509.Certificate]") -> None:
        del self._fetching[url]
        if not task.cancelled():
            # Reading the exception marks it as retrieved. Otherwise asyncio logs it if no message
            # waits.
            task.exception()

    async def _fetch(self, url: str, now: datetime) -> x509.Certificate:
        status, body = await self._get(url, FETCH_TIMEOUT_S)
        if status >= 500 or status in (408, 429):
            raise SnsUnreachable(f"the certificate was answered with {status}")
        if status != 200:  # a redirect is an error too
            raise SnsRefused("there is no such certificate")
        if len(body) > MAX_CERTIFICATE_BYTES:
            raise SnsRefused("the certificate is too large")
        # An invalid certificate raises an error here, so it is not cached.
        certificate = sns.read_certificate(body, now=now)
        self._certificates.pop(url, None)
        if len(self._certificates) >= KEPT:
            del self._certificates[next(iter(self._certificates))]
        self._certificates[url] = (now, certificate)
        return certificate

    async def _get(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.get(
                url, timeout=timeout, allow_redirects=False, proxy=proxy_for(url)
            ) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > MAX_CERTIFICATE_BYTES:
                        break
                return answer.status, bytes(body)
        except (aiohttp.ClientError, TimeoutError) as error:
            host = urlsplit(url).hostname
            raise SnsUnreachable(f"{type(error).__name__} at {host}") from error


@asynccontextmanager
async def open_sns(
    settings: Settings, connector: aiohttp.BaseConnector | None
) -> AsyncIterator[Sns]:
    """Open the client for SNS. `connector` replaces the usual one."""
    if connector is None and (context := trusted()) is not None:
        connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Sns(settings, session)
