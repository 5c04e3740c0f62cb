"""Describe the operations on webhooks and deliveries. All need a token with the scope `admin`."""

from collections.abc import Sequence

from api.openapi import samples
from api.openapi.attachment_operations import REFUSED
from api.openapi.components import LIMITS, SHARED
from api.openapi.shapes import Json, answer, content, errors, operation, parameter, schema
from api.queries import MAX_PAGE_SIZE, PAGE_SIZE
from shared.webhooks.kinds import DELIVERY_STATES

TAG = "webhooks"
ID = parameter("request_id")
ADMIN = "Needs a token with the scope `admin`."

DELIVERY_ID: Json = {
    "name": "delivery_id",
    "in": "path",
    "required": True,
    "description": "The id of the delivery",
    "schema": schema("Id"),
    "example": "9",
}


def _one(text: str) -> Json:
    return answer(text, content(schema("WebhookDocument"), samples.WEBHOOK), *LIMITS, *SHARED)


def _delivery(text: str) -> Json:
    return answer(text, content(schema("DeliveryDocument"), samples.DELIVERY), *LIMITS, *SHARED)


def _of(
    name: str,
    summary: str,
    responses: Json,
    *statuses: int,
    parameters: Sequence[Json] = (ID,),
    body: Json | None = None,
) -> Json:
    return operation(
        name,
        summary,
        tag=TAG,
        description=ADMIN,
        parameters=parameters,
        body=body,
        responses=responses | errors(*REFUSED, *statuses),
    )


def paths() -> Json:
    """Return the paths of webhooks and deliveries, with their operations."""
    place = "/api/v2/webhooks/{id}"
    one = [parameter("id")]
    both = [*one, DELIVERY_ID]
    shown = answer(
        "All webhooks of the organization",
        content(schema("WebhookListDocument"), samples.WEBHOOK_LIST),
        *LIMITS,
        *SHARED,
    )
    created = answer(
        "Created, with its secret",
        content(schema("WebhookDocument"), samples.WEBHOOK),
        "Location",
        *LIMITS,
        *SHARED,
    )
    new = content(schema("NewWebhookDocument"), samples.NEW_WEBHOOK)
    changed = content(schema("ChangedWebhookDocument"), samples.CHANGED_WEBHOOK)
    return {
        "/api/v2/webhooks": {
            "get": _of("list_webhooks", "List webhooks", {"200": shown}),
            "post": _of(
                "create_webhook",
                "Create a webhook",
                {"201": created},
                *(404, 409, 413, 415, 422),
                parameters=[ID, parameter("key")],
                body=new,
            ),
        },
        place: {
            "parameters": one,
            "get": _of("show_webhook", "Show a webhook", {"200": _one("The webhook")}, 404),
            "patch": _of(
                "update_webhook",
                "Change a webhook",
                {"200": _one("The webhook")},
                *(404, 409, 413, 415, 422),
                body=changed,
            ),
            "delete": _of(
                "delete_webhook",
                "Delete a webhook",
                {"204": answer("Deleted", None, *LIMITS, *SHARED)},
                404,
            ),
        },
        f"{place}/secret": {
            "parameters": one,
            "post": _of(
                "create_webhook_secret",
                "Make a new secret; the former one signs too for a day",
                {"200": _one("The webhook with its secret")},
                *(404, 409, 422),
                parameters=[ID, parameter("key")],
            ),
        },
        f"{place}/test": {
            "parameters": one,
            "post": _of(
                "test_webhook",
                "Send a test event",
                {"201": _delivery("The delivery of the test event")},
                *(404, 409, 422),
                parameters=[ID, parameter("key")],
            ),
        },
        f"{place}/deliveries": {"parameters": one, "get": _deliveries()},
        f"{place}/deliveries/retry": {"parameters": one, "post": _retry_all()},
        f"{place}/deliveries/{{delivery_id}}": {
            "parameters": both,
            "get": _of("show_delivery", "Show a delivery", {"200": _delivery("The delivery")}, 404),
        },
        f"{place}/deliveries/{{delivery_id}}/retry": {
            "parameters": both,
            "post": _of(
                "retry_delivery",
                "Send a delivery again now",
                {"200": _delivery("The delivery, which is due now")},
                *(404, 409, 422),
                parameters=[ID, parameter("key")],
            ),
        },
    }


def _deliveries() -> Json:
    state: Json = {
        "name": "filter[state]",
        "in": "query",
        "description": "Only deliveries with this state",
        "schema": {"type": "string", "enum": list(DELIVERY_STATES)},
        "example": DELIVERY_STATES[-1],
    }
    size: Json = {
        "name": "page[size]",
        "in": "query",
        "description": "Deliveries of a page",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PAGE_SIZE,
            "default": PAGE_SIZE,
        },
        "example": 50,
    }
    page = content(schema("DeliveryListDocument"), samples.DELIVERY_LIST)
    return _of(
        "list_deliveries",
        "List the deliveries of a webhook, newest first",
        {"200": answer("A page of deliveries", page, *LIMITS, *SHARED)},
        404,
        parameters=[state, parameter("page_after"), size, ID],
    )


def _retry_all() -> Json:
    return _of(
        "retry_deliveries",
        "Send all deliveries again that failed since a time",
        {
            "200": answer(
                "How many are due now",
                content(schema("RetriedDocument"), samples.RETRIED),
                *LIMITS,
                *SHARED,
            )
        },
        *(404, 409, 413, 415, 422),
        parameters=[ID, parameter("key")],
        body=content(schema("RetryDocument"), samples.RETRY),
    )
