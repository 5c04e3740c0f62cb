"""Amazon SNS: certificates fetched and kept, messages verified, subscriptions confirmed.

Nothing is asked of any address but SNS's own, and nothing at all before the topic is known to be
ours: the rules stand in `shared.notifications.sns`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp

from shared.errors import SnsRefused, SnsUnreachable
from shared.log import get_logger
from shared.notifications import sns
from shared.settings import Settings

FETCH_TIMEOUT_S = 2.0
CONFIRM_TIMEOUT_S = 8.0
"""SNS waits 15 s for an answer, and tries three times."""

MAX_CERTIFICATE_BYTES = 64 * 1024
KEPT = 16
KEPT_FOR_S = 24 * 3600.0

log = get_logger(__name__)


class Sns:
    """Tells SNS's messages from forged ones, and confirms subscriptions to topics of ours."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._certificates: dict[str, tuple[float, bytes]] = {}
        # One fetch at a time: forged messages cannot have many made.
        self._fetching = asyncio.Lock()

    async def verify(self, document: Any) -> None:
        """Prove that SNS wrote a message for us. Raises SnsRefused, SnsUnreachable."""
        now = datetime.now(UTC)
        url = sns.certificate_url(
            document, topics=self._settings.sns_topics,
            versions=self._settings.sns_signature_versions, now=now,
        )  # fmt: skip
        sns.verify(document, await self._certificate(url), now=now)

    async def confirm(self, document: Any) -> None:
        """Confirm a subscription that has been verified; may be repeated.

        Raises SnsRefused if its address is not SNS's, SnsUnreachable if SNS does not confirm.
        """
        status, _ = await self._get(sns.subscribe_url(document), CONFIRM_TIMEOUT_S)
        if status != 200:
            raise SnsUnreachable(f"the confirmation was answered with {status}")
        log.info("subscription confirmed", topic=document["TopicArn"])

    async def _certificate(self, url: str) -> bytes:
        async with self._fetching:
            kept = self._certificates.get(url)
            if kept is not None and time.monotonic() - kept[0] < KEPT_FOR_S:
                return kept[1]
            status, body = await self._get(url, FETCH_TIMEOUT_S)
            if 400 <= status < 500:
                raise SnsRefused("there is no such certificate")
            if status != 200:
                raise SnsUnreachable(f"the certificate was answered with {status}")
            if len(self._certificates) >= KEPT:
                del self._certificates[next(iter(self._certificates))]
            self._certificates[url] = (time.monotonic(), body)
            return body

    async def _get(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as answer:
                body = await answer.content.read(MAX_CERTIFICATE_BYTES)
                while not answer.content.at_eof() and len(body) < MAX_CERTIFICATE_BYTES:
                    body += await answer.content.read(MAX_CERTIFICATE_BYTES - len(body))
                return answer.status, body
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SnsUnreachable(type(error).__name__) from error


@asynccontextmanager
async def open_sns(
    settings: Settings, connector: aiohttp.BaseConnector | None
) -> AsyncIterator[Sns]:
    """Open the way to SNS; `connector` is another one than the usual."""
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Sns(settings, session)
