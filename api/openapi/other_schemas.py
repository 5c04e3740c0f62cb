"""The schemas of webhooks, deliveries, usage, events, health and errors."""

from typing import get_args

from api.openapi.attachment_schemas import COUNT, TIME, URL
from api.openapi.sent_schemas import LINE
from api.openapi.shapes import (
    ALWAYS,
    TEXT,
    Json,
    document,
    members,
    or_null,
    resource,
    schema,
    words,
)
from api.problems import GENERAL, ErrorCode
from shared.notifications.event import Effect
from shared.quotas import QuotaName
from shared.webhooks.destinations import MAX_URL
from shared.webhooks.kinds import (
    DELIVERY_STATES,
    EVENTS,
    MAX_WEBHOOKS,
    Deactivation,
    DeliveryEvent,
    DeliveryFault,
)


def webhooks() -> dict[str, Json]:
    """Return the schemas of webhooks and their deliveries, by name."""
    events: Json = {"type": "array", "items": schema("WebhookEvent")}
    return {
        "WebhookEvent": words(EVENTS, "An event that a webhook may subscribe to"),
        "DeliveryEvent": words(get_args(DeliveryEvent), "An event that a delivery reports"),
        "DeliveryState": words(DELIVERY_STATES, "The state of a delivery"),
        "DeliveryFault": words(get_args(DeliveryFault), "Why the last attempt failed"),
        "Deactivation": words(get_args(Deactivation), "Why the service deactivated a webhook"),
        "Webhook": resource(
            "webhooks",
            {
                "attributes": members(
                    {
                        "target_url": TEXT,
                        "events": events,
                        "description": or_null(TEXT),
                        "active": {"type": "boolean"},
                        "created_at": TIME,
                        "secret": {
                            **TEXT,
                            "description": "Only in the answers that make or replace it",
                        },
                    },
                    required=("target_url", "events", "description", "active", "created_at"),
                ),
                "meta": members(
                    {
                        "failing_since": or_null(TIME),
                        "deactivated": or_null(
                            members({"reason": schema("Deactivation"), "at": TIME})
                        ),
                        "previous_secret_ends_at": or_null(TIME),
                    }
                ),
            },
        ),
        "WebhookDocument": document(schema("Webhook")),
        "WebhookListDocument": members(
            {
                "data": {"type": "array", "items": schema("Webhook")},
                "meta": members(
                    {
                        "total_count": COUNT,
                        "max_count": {"type": "integer", "const": MAX_WEBHOOKS},
                    }
                ),
            }
        ),
        **_new_webhooks(events),
        **_deliveries(),
    }


def _new_webhooks(events: Json) -> dict[str, Json]:
    kind: Json = {"type": "string", "const": "webhooks"}
    changeable: dict[str, Json] = {
        "target_url": {**TEXT, "minLength": 1, "maxLength": MAX_URL},
        "events": {**events, "minItems": 1, "maxItems": 2 * len(EVENTS)},
        "description": or_null(LINE),
        "active": {"type": "boolean"},
    }
    return {
        "NewWebhookDocument": members(
            {
                "data": members(
                    {"type": kind, "attributes": members(changeable, required=("target_url",))}
                )
            }
        ),
        "ChangedWebhookDocument": members(
            {
                "data": members(
                    {
                        "type": kind,
                        "id": schema("Id"),
                        "attributes": members(changeable, required=()),
                    },
                    required=("type",),
                )
            }
        ),
    }


def _deliveries() -> dict[str, Json]:
    def linked(kind: str) -> Json:
        return members({"type": {"type": "string", "const": kind}, "id": schema("Id")})

    return {
        "Delivery": resource(
            "webhook_deliveries",
            {
                "attributes": members(
                    {
                        "event": schema("DeliveryEvent"),
                        "message_id": {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"},
                        "state": schema("DeliveryState"),
                        "attempts": COUNT,
                        "last_status": or_null(COUNT),
                        "last_fault": or_null(schema("DeliveryFault")),
                        "last_attempt_at": or_null(TIME),
                        "next_attempt_at": or_null(TIME),
                        "created_at": TIME,
                    }
                ),
                "relationships": members(
                    {
                        "webhook": members({"data": linked("webhooks")}),
                        "attachment": members({"data": or_null(linked("attachments"))}),
                    }
                ),
            },
        ),
        "DeliveryDocument": document(schema("Delivery")),
        "DeliveryListDocument": members(
            {
                "data": {"type": "array", "items": schema("Delivery")},
                "links": members({"first": URL, "next": {**URL, "type": ["string", "null"]}}),
                "meta": members({"page_size": COUNT}),
            }
        ),
        "RetryDocument": members(
            {
                "data": members(
                    {
                        "type": {"type": "string", "const": "webhook_deliveries"},
                        "attributes": members(
                            {
                                "since": {
                                    **TEXT,
                                    "description": "A time of RFC 3339; a date is its first"
                                    " moment, a time without an offset is UTC",
                                    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}"
                                    "([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
                                    "([Zz]|[+-][0-9]{2}:[0-9]{2})?)?$",
                                }
                            }
                        ),
                    }
                )
            }
        ),
        "RetriedDocument": members({"data": {"type": "null"}, "meta": members({"retried": COUNT})}),
    }


def others() -> dict[str, Json]:
    """Return the schemas of usage, events, health and errors, by name."""
    statuses = sorted({*GENERAL, *ALWAYS, 422})
    quotas = {name: or_null(COUNT) for name in get_args(QuotaName)}
    return {
        "UsageDocument": document(
            resource(
                "usage",
                {
                    "attributes": members(
                        {
                            "attachments": or_null(COUNT),
                            "bytes": or_null(COUNT),
                            "uploads_today": or_null(COUNT),
                            "limits": members(quotas, description="The quotas; null is no limit"),
                            "as_of": TIME,
                        },
                        required=(),
                    )
                },
            )
        ),
        "EventsDocument": members(
            {"meta": members(dict.fromkeys(get_args(Effect), COUNT))},
            description="How many records changed a row, changed none, named no original, or could"
            " not be read",
        ),
        "Health": members({"status": words(("alive", "ready"), "The state of the process")}),
        "ErrorCode": words(get_args(ErrorCode), "The code of an error that its status leaves open"),
        "Quota": words((*get_args(QuotaName), "webhooks"), "The quota that has no room"),
        "Error": members(
            {
                "status": words(map(str, statuses), "The HTTP status"),
                "title": TEXT,
                "detail": TEXT,
                "code": schema("ErrorCode"),
                "source": members(
                    {"pointer": TEXT, "parameter": TEXT, "header": TEXT},
                    required=(),
                    description="The place of the fault: in the body, or a parameter, or a header",
                ),
                "links": members({"type": URL}),
                "meta": {
                    "type": "object",
                    "description": "Values of the fault: `value`, `allowed`, `count`, `quota` …",
                    "properties": {"quota": schema("Quota")},
                    "additionalProperties": True,
                },
            },
            required=("status", "title", "detail"),
        ),
        "ErrorDocument": members(
            {"errors": {"type": "array", "minItems": 1, "items": schema("Error")}}
        ),
    }
