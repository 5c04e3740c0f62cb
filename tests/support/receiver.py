"""A receiver of webhooks: an HTTP server that verifies each delivery with standardwebhooks."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook as Verifier

from tests.support.described import check_delivery
from tests.support.service import Client, until

PATH = "/api/v2/webhooks"

SETTINGS = {
    "api_url": "https://attachments.example",
    "webhook_secret": "key-of-webhook-secrets",
    "webhook_allow_http": "true",
    "webhook_networks": "127.0.0.0/8",
}
"""Settings with which the service may send webhooks to a receiver of the tests."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """One received delivery: its id, its headers and its JSON document."""

    message_id: str
    headers: dict[str, str]
    document: Any
    arrived_at: float

    @property
    def type(self) -> str:
        """Return the type of the event."""
        return str(self.document["type"])

    @property
    def attachment_id(self) -> str:
        """Return the id of the attachment that the event is about."""
        return str(self.document["data"]["id"])


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def accept(_request: web.Request) -> web.StreamResponse:
    """Answer 204, as a correct receiver does."""
    return web.Response(status=204)


@dataclass(kw_only=True)
class Receiver:
    """A receiver of webhooks: an HTTP server on loopback.

    The function `answer` makes each answer. The signatures are verified with the key `secret`,
    unless it is empty. Each delivery is compared with the OpenAPI document; `undescribed` lists the
    differences.
    """

    url: str = ""
    secret: str = ""
    answer: Answer = accept
    received: list[Received] = field(default_factory=list)
    undescribed: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Verify a delivery's signature, store the delivery, and answer."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.secret:
            # A wrong signature raises an exception, so aiohttp answers with 500.
            Verifier(self.secret).verify(body, headers)
        document = json.loads(body)
        try:
            check_delivery(headers, document)
        except AssertionError as fault:
            self.undescribed.append(str(fault))
        self.received.append(
            Received(
                message_id=headers["webhook-id"],
                headers=headers,
                document=document,
                arrived_at=asyncio.get_running_loop().time(),
            )
        )
        return await self.answer(request)

    def of(self, attachment_id: str | int) -> list[str]:
        """Return the types of the events of one attachment, in the order in which they arrived."""
        return [each.type for each in self.received if each.attachment_id == str(attachment_id)]

    async def wait_for(
        self, attachment_id: str | int, kind: str, *, within_s: float = 20
    ) -> Received:
        """Wait until an event of this kind arrives for an attachment, and return it."""

        async def found() -> Received | None:
            for each in self.received:
                if each.attachment_id == str(attachment_id) and each.type == kind:
                    return each
            return None

        answer: Received = await until(found, within_s=within_s)
        return answer


@asynccontextmanager
async def running_receiver(
    *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """Run a receiver of webhooks on a free port.

    Fail at the end if the OpenAPI document does not describe a delivery.
    """
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"{'https' if tls else 'http'}://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
    assert receiver.undescribed == []


async def make_webhook(client: Client, receiver: Receiver, **attributes: Any) -> str:
    """Create a webhook for a receiver, and give its secret to the receiver."""
    given = {"target_url": receiver.url, **attributes}
    answer = await client.request("POST", PATH, {"data": {"type": "webhooks", "attributes": given}})
    assert answer.status == 201, answer.body
    receiver.secret = answer.data["attributes"]["secret"]
    return str(answer.data["id"])
