"""The routes of deliveries: list, show, retry one, retry all failed ones, send a test event."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from api.bodies import read_json
from api.negotiation import check_accept, refuse_bulk
from api.parts import PARTS, Parts, admit_admin, origin, with_key
from api.problems import (
    about,
    document_response,
    general,
    not_found,
    unsupported,
    unsupported_value,
)
from api.queries import (
    PAGE_SIZE,
    cursor_of,
    given,
    page_size,
    parse_cursor,
    unknown_parameter,
)
from api.request_keys import GivenKey, run_once
from api.webhooks.attributes import check_since
from api.webhooks.documents import delivery_resource
from api.webhooks.routes import (
    MAX_BODY_BYTES,
    PATH,
    audit,
    find_webhook,
    refuse_parameters,
)
from api.words import path_id, shortened
from shared.database import Connection
from shared.idempotency import Repeated
from shared.keys import MAX_ID
from shared.tokens import Caller
from shared.webhooks import deliveries
from shared.webhooks.deliveries import DeliveryRow
from shared.webhooks.kinds import DELIVERY_STATES, DeliveryState
from shared.webhooks.registry import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of deliveries that a client requests. The newest delivery comes first."""

    state: DeliveryState | None = None
    before: int = MAX_ID
    size: int = PAGE_SIZE


def _parse(request: web.Request) -> Page:
    """Parse `filter[state]`, `page[after]`, `page[size]`. Raises Problem 400 for other names."""
    found: dict[str, Any] = {}
    for name, value in given(request):
        if name in ("filter[state]", "filter[state][eq]"):
            if value not in DELIVERY_STATES:
                allowed = ", ".join(DELIVERY_STATES)
                problem = unsupported_value(f"Filter 'state' takes one of {allowed}")
                raise about(problem, "filter[state]")
            found["state"] = value
        elif name == "page[after]":
            if value:
                found["before"] = parse_cursor(name, value)
        elif name == "page[size]":
            found["size"] = page_size(value, cursor=True)
        elif name.startswith("filter"):
            raise unsupported("Filter", shortened(name[7:-1]))
        elif name == "sort":
            raise unsupported("Sort", shortened(value))
        else:
            raise unknown_parameter(name)
    return Page(**found)


async def index(request: web.Request) -> web.Response:
    """Answer GET /api/v2/webhooks/{id}/deliveries: a page by cursor, newest first."""
    parts, caller = await admit_admin(request)
    check_accept(request)
    page = _parse(request)
    webhook = await find_webhook(request, parts, caller)
    rows = await parts.clients.of(caller.organization_id).run(
        deliveries.list_page,
        webhook.id,
        state=page.state,
        before=page.before,
        limit=page.size + 1,
    )
    shown = rows[: page.size]
    base = f"{origin(request, parts.settings)}{PATH}/{webhook.id}/deliveries"
    links: dict[str, str | None] = {"first": _link(base, page, ""), "next": None}
    if len(rows) > page.size:
        links["next"] = _link(base, page, cursor_of(shown[-1].id))
    return document_response(
        {
            "data": [delivery_resource(parts.documents, row) for row in shown],
            "links": links,
            "meta": {"page_size": page.size},
        }
    )


def _link(base: str, page: Page, after: str) -> str:
    words = {"filter[state]": page.state, "page[after]": after, "page[size]": str(page.size)}
    return f"{base}?{urlencode({name: word for name, word in words.items() if word is not None})}"


async def show(request: web.Request) -> web.Response:
    """Answer GET /api/v2/webhooks/{id}/deliveries/{delivery_id}: one delivery."""
    parts, caller = await admit_admin(request)
    check_accept(request)
    refuse_parameters(request)
    row = await parts.clients.of(caller.organization_id).run(
        deliveries.find, path_id(request), path_id(request, "delivery_id"), caller.organization_id
    )
    if row is None:
        raise not_found()
    return document_response({"data": delivery_resource(parts.documents, row), "meta": {}})


@with_key(admit_admin, reads_body=False)
async def retry(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/webhooks/{id}/deliveries/{delivery_id}/retry: send one delivery again."""
    check_accept(request)
    refuse_parameters(request)
    webhook = await find_webhook(request, parts, caller)
    _require_active(webhook.active)
    delivery_id = path_id(request, "delivery_id")

    async def make(connection: Connection) -> DeliveryRow:
        due = await deliveries.retry(connection, webhook.id, delivery_id, caller.organization_id)
        if due is None:
            raise not_found()
        return due

    row, repeated = await _run_once(parts, caller, key, make, webhook.id)
    if not repeated:
        audit("delivery retried", request, caller, webhook.id)
    return _queued(request, row)


@with_key(admit_admin)
async def retry_all(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/webhooks/{id}/deliveries/retry: send all that failed since a time."""
    refuse_bulk(request, only_for="attachments")
    check_accept(request)
    refuse_parameters(request)
    webhook = await find_webhook(request, parts, caller)
    check = check_since if key is None else key.noting(check_since)
    since = await read_json(
        request, parts.readers, caller.organization_id, max_bytes=MAX_BODY_BYTES, check=check
    )
    _require_active(webhook.active)

    count = await _retry_failed(parts, webhook, since, key)
    if isinstance(count, Repeated):
        (count,) = count.made
    elif count:
        audit("failed deliveries retried", request, caller, webhook.id)
    return document_response({"data": None, "meta": {"retried": count}})


async def _retry_failed(
    parts: Parts, webhook: Webhook, since: datetime, key: GivenKey | None
) -> int | Repeated:
    """Make all failed deliveries of a webhook due; return their number.

    They are changed in batches. Each batch is a transaction and waits for its turn, so other
    requests of the organization are served between two batches. The last batch stores the
    Idempotency-Key. So if a request ends early, the client can repeat it for the deliveries that
    are left.
    """
    database, count = parts.clients.of(webhook.organization_id), 0

    async def make(connection: Connection) -> int:
        return await deliveries.retry_since(connection, webhook.id, webhook.organization_id, since)

    def made(more: int) -> list[int] | None:
        return None if more == deliveries.RETRIED_AT_ONCE else [count + more]

    while True:
        more = await run_once(database, key, make, made)
        if isinstance(more, Repeated):
            return more
        count += more
        if more:
            parts.publisher.wake_couriers()
        if more < deliveries.RETRIED_AT_ONCE:
            return count


@with_key(admit_admin, reads_body=False)
async def test(
    request: web.Request, parts: Parts, caller: Caller, key: GivenKey | None
) -> web.Response:
    """Answer POST /api/v2/webhooks/{id}/test: queue the event `webhook.test`."""
    check_accept(request)
    refuse_parameters(request)
    webhook = await find_webhook(request, parts, caller)
    _require_active(webhook.active)

    async def make(connection: Connection) -> DeliveryRow:
        made = await deliveries.queue_test(connection, webhook.id, caller.organization_id)
        if made is None:
            raise not_found()
        return made

    row, _ = await _run_once(parts, caller, key, make, webhook.id)
    return _queued(request, row, status=201)


async def _run_once(
    parts: Parts,
    caller: Caller,
    key: GivenKey | None,
    make: Callable[[Connection], Awaitable[DeliveryRow]],
    webhook_id: int,
) -> tuple[DeliveryRow, bool]:
    """Run `make`, but only once for each Idempotency-Key.

    Returns the delivery in its present state, and True if an earlier request has made it. Raises
    Problem 404 if the delivery no longer exists.
    """
    database = parts.clients.of(caller.organization_id)
    found = await run_once(database, key, make, lambda new: [new.id])
    if not isinstance(found, Repeated):
        return found, False
    row = await database.run(deliveries.find, webhook_id, found.made[0], caller.organization_id)
    if row is None:
        raise not_found()
    return row, True


def _queued(request: web.Request, row: DeliveryRow, status: int = 200) -> web.Response:
    parts = request.app[PARTS]
    parts.publisher.wake_couriers()
    return document_response(
        {"data": delivery_resource(parts.documents, row), "meta": {}}, status=status
    )


def _require_active(active: bool) -> None:
    if not active:
        raise general(409, "The webhook is not active")


# The id must not be `retry`. Otherwise the Allow header of `deliveries/retry` would contain GET.
_ONE = r"{delivery_id:(?!retry/?$)[^/]+}"

ROUTES = (
    web.get(f"{PATH}/{{id}}/deliveries", index),
    web.post(f"{PATH}/{{id}}/deliveries/retry", retry_all),
    web.get(f"{PATH}/{{id}}/deliveries/{_ONE}", show),
    web.post(f"{PATH}/{{id}}/deliveries/{{delivery_id}}/retry", retry),
    web.post(f"{PATH}/{{id}}/test", test),
)
