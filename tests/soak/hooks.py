"""The receivers of webhooks in a soak test: one webhook for each organization."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

import asyncpg
from aiohttp import web
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from shared.webhooks import registry
from shared.webhooks.kinds import EVENTS
from shared.webhooks.vault import Vault
from tests.support.receiver import SETTINGS

ENVIRONMENT: Final = {f"ATTACHMENTS_{name.upper()}": value for name, value in SETTINGS.items()}

REFUSED: Final = 0.1
"""The share of deliveries that the receivers answer with an error."""


@dataclass(kw_only=True)
class Receivers:
    """A server on loopback that receives webhooks. The path of a request names the organization.

    `arrived` holds the message ids of each organization, and `types` holds the event types of each
    attachment.
    """

    random: Random
    secrets: dict[int, str] = field(default_factory=dict)
    arrived: dict[int, set[str]] = field(default_factory=dict)
    types: dict[int, set[str]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    async def receive(self, request: web.Request) -> web.Response:
        """Verify the signature of a delivery, record the delivery, and accept most deliveries."""
        organization_id = int(request.match_info["organization"])
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            Verifier(self.secrets[organization_id]).verify(body, headers)
        except WebhookVerificationError as error:
            self.foreign.append(f"organization {organization_id}: {error}")
            return web.Response(status=400)
        data = json.loads(body)["data"]
        owner = int(data["relationships"]["organization"]["data"]["id"])
        if owner != organization_id:
            self.foreign.append(f"attachment {data['id']} of {owner} came to {organization_id}")
        if self.random.random() < REFUSED:
            self.counts["refused"] += 1
            return web.Response(status=503)
        self.counts["accepted"] += 1
        self.arrived.setdefault(organization_id, set()).add(headers["webhook-id"])
        self.types.setdefault(int(data["id"]), set()).add(json.loads(body)["type"])
        return web.Response(status=204)


@asynccontextmanager
async def running_receivers(
    database: "asyncpg.Pool[asyncpg.Record]", organizations: Iterable[int], *, seed: int
) -> AsyncIterator[Receivers]:
    """Run the receivers, and create a webhook for each organization."""
    receivers = Receivers(random=Random(f"{seed}/receivers"))
    app = web.Application()
    app.router.add_post("/{organization}", receivers.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    vault = Vault(ENVIRONMENT["ATTACHMENTS_WEBHOOK_SECRET"])
    for organization_id in organizations:
        values = {
            "target_url": f"{address}/{organization_id}",
            "events": list(EVENTS),
            "description": None,
            "active": True,
        }
        async with database.acquire() as connection:
            made = await registry.create(connection, organization_id, values, vault)
        receivers.secrets[organization_id] = made.secret
    try:
        yield receivers
    finally:
        await runner.cleanup()
