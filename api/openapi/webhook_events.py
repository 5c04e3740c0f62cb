"""Describe the webhooks that the service sends: for each event, its request and the answers."""

from typing import Final, get_args

from api.openapi import samples
from api.openapi.attachment_schemas import TIME
from api.openapi.shapes import TEXT, Json, content, members, resource, schema
from shared.webhooks.kinds import (
    DELAYS_S,
    FAILING_DAYS,
    TEST,
    TIMEOUT_S,
    AttachmentEvent,
    DeliveryEvent,
)

WHEN: Final[dict[DeliveryEvent, str]] = {
    "attachment.uploaded": "An object was recorded, the first one or a newer one",
    "attachment.ready": "The file was measured, and has its thumbnail if there is one",
    "attachment.rejected": "The file may not be kept",
    "attachment.failed": "All attempts are used up, or the object is gone",
    "attachment.expired": "The policy has ended and nothing was uploaded",
    "attachment.deleted": "The attachment was deleted",
    "webhook.test": "A client asked for a test event",
}

ABOUT = (
    "Sent at least once, and not always in order. The signature is that of"
    " [Standard Webhooks](https://www.standardwebhooks.com), by the secret of the webhook, over the"
    " body as it is sent. No redirect is followed."
)

ANSWERS: Json = {
    "2XX": {
        "description": f"Delivered, if the status comes within {TIMEOUT_S:g} seconds. The body has"
        " no meaning"
    },
    "410": {"description": "Not delivered. The webhook is deactivated"},
    "default": {
        "description": f"Not delivered, as without an answer. It is tried again {len(DELAYS_S)}"
        f" times, first after {DELAYS_S[0]} seconds. A webhook is deactivated after"
        f" {FAILING_DAYS} days of failures without any success"
    },
}


def _header(name: str, description: str, values: Json, example: str, *, required: bool) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": values,
        "example": example,
    }


HEADERS = (
    _header(
        "webhook-id",
        "The id of the event, the same for each attempt",
        {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"},
        samples.MESSAGE_ID,
        required=True,
    ),
    _header(
        "webhook-timestamp",
        "The Unix time of the attempt",
        {"type": "string", "pattern": "^[0-9]+$"},
        "1776398570",
        required=True,
    ),
    _header(
        "webhook-signature",
        "One signature for each live secret of the webhook, with spaces between them",
        {"type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$"},
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        required=True,
    ),
    _header(
        "traceparent",
        "The span of the delivery, if the service records traces",
        TEXT,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        required=False,
    ),
)


def webhooks() -> Json:
    """Return the webhooks of all events, by the type of the event."""
    return {event: {"post": _sent(event)} for event in get_args(DeliveryEvent)}


def _sent(event: DeliveryEvent) -> Json:
    about = schema("Attachment") if event in get_args(AttachmentEvent) else resource("webhooks", {})
    body = members(
        {
            "type": {"type": "string", "const": event},
            "timestamp": {**TIME, "description": "When the event happened"},
            "data": about,
        }
    )
    example = samples.TEST_EVENT if event == TEST else samples.news(event)
    return {
        "operationId": f"receive_{event.replace('.', '_')}",
        "summary": WHEN[event],
        "description": ABOUT,
        "tags": ["webhooks"],
        "parameters": list(HEADERS),
        "requestBody": {
            "required": True,
            "content": content(body, example, "application/json"),
        },
        "responses": ANSWERS,
        "security": [],
    }
