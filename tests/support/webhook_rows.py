"""Webhooks and deliveries as rows, for tests of statements without an API or a worker."""

from typing import Any

from shared.database import Database
from shared.webhooks import deliveries, registry
from shared.webhooks.kinds import EVENTS
from shared.webhooks.vault import Vault

VAULT = Vault("key-of-webhook-secrets")
VALUES = {
    "target_url": "https://receiver.example/",
    "events": list(EVENTS),
    "description": None,
    "active": True,
}


async def make_webhook(database: Database, organization_id: int = 1, **changes: Any) -> int:
    """Create a webhook and return its id."""
    made = await database.run(registry.create, organization_id, {**VALUES, **changes}, VAULT)
    return made.webhook.id


async def queue(database: Database, webhook_id: int, count: int, organization_id: int = 1) -> None:
    """Queue test events of a webhook."""
    for _ in range(count):
        await database.run(deliveries.queue_test, webhook_id, organization_id)


async def execute(database: Database, statement: str, *values: Any) -> Any:
    """Run a statement and return the first value of its first row."""
    return await database.run(lambda connection: connection.fetchval(statement, *values))
