"""Webhooks and deliveries as JSON:API resources (webhooks.md, "The API of webhooks")."""

from typing import Any

from shared.documents import Documents
from shared.webhooks.deliveries import DeliveryRow
from shared.webhooks.registry import Webhook
from shared.webhooks.secret_signing import written_id


def webhook_resource(
    documents: Documents, row: Webhook, *, secret: str | None = None
) -> dict[str, Any]:
    """Return the resource of a webhook.

    `secret` is given only in the answer to the request that created the secret.
    """
    deactivated = None
    if row.deactivated_because is not None:
        deactivated = {"reason": row.deactivated_because, "at": documents.time(row.deactivated_at)}
    return {
        "id": str(row.id),
        "type": "webhooks",
        "attributes": {
            "target_url": row.target_url,
            "events": list(row.events),
            "description": row.description,
            "active": row.active,
            "created_at": documents.time(row.created_at),
            **({} if secret is None else {"secret": secret}),
        },
        "meta": {
            "failing_since": documents.time(row.failing_since),
            "deactivated": deactivated,
            "previous_secret_ends_at": documents.time(row.previous_ends_at),
        },
    }


def delivery_resource(documents: Documents, row: DeliveryRow) -> dict[str, Any]:
    """Return the resource of a delivery."""
    attachment = None
    if row.attachment_id is not None:
        attachment = {"type": "attachments", "id": str(row.attachment_id)}
    return {
        "id": str(row.id),
        "type": "webhook_deliveries",
        "attributes": {
            "event": row.event,
            "message_id": written_id(row.message_id),
            "state": row.state,
            "attempts": row.attempt,
            "last_status": row.status,
            "last_fault": row.fault,
            "last_attempt_at": documents.time(row.attempted_at),
            "next_attempt_at": documents.time(row.due_at),
            "created_at": documents.time(row.created_at),
        },
        "relationships": {
            "webhook": {"data": {"type": "webhooks", "id": str(row.webhook_id)}},
            "attachment": {"data": attachment},
        },
    }
