"""Calls of the data functions for Idempotency-Keys, waiting clients, new policies and deliveries.

The result of each call is checked too: if a call finds no row, its query plan proves nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from shared import idempotency, renewing, settling
from shared.idempotency import REMOVED_AT_ONCE, Repeated, RequestKey
from shared.quotas import Quotas
from shared.webhooks import deliveries, dispatch
from shared.webhooks.dispatch import Attempt, Room
from tests.support.explaining import Call
from tests.support.million import BUCKET, DELETED, READY, UPLOADED, USUAL, USUAL_WEBHOOK

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def key(number: int) -> RequestKey:
    """Return an Idempotency-Key by its number. The database holds the numbers 1 to KEYS."""
    return RequestKey(
        organization_id=USUAL, digest=sha256(str(number).encode()).digest(), fingerprint=b"f"
    )


async def make_one(_connection: Any) -> int:
    """Return an id, as if a request had created a resource with this id."""
    return 7


async def settle_some(connection: Any) -> Any:
    """Take deliveries, and record that their receivers answered 410."""
    taken = await dispatch.take(connection, limit=50, rooms={}, usual_room=1)
    attempts = [
        Attempt(delivery_id=each.id, attempt=each.attempt, fault="gone")
        for each in taken.deliveries
    ]
    return await dispatch.settle(connection, attempts)


RENEWED: dict[str, Any] = {"bucket": BUCKET, "policy_ttl_s": 60, "first_check_s": 75.0}

WEBHOOK_CALLS: dict[str, tuple[Call, Callable[[Any], bool]]] = {
    "idempotency.find_made": (
        lambda c: idempotency.find_made(c, key(60)),
        lambda found: found.made == [60],
    ),
    "idempotency.find_made of an old key": (
        lambda c: idempotency.find_made(c, key(90_000)),
        lambda found: found is None,
    ),
    "idempotency.once": (
        lambda c: idempotency.once(c, key(200_000), make_one, lambda made: [made]),
        lambda made: made == 7,
    ),
    "idempotency.once for a known key": (
        lambda c: idempotency.once(c, key(60), make_one, lambda made: [made]),
        lambda found: isinstance(found, Repeated),
    ),
    "idempotency.prune": (idempotency.prune, lambda count: count == REMOVED_AT_ONCE),
    "settling.find_settled": (
        lambda c: settling.find_settled(c, [UPLOADED, READY, DELETED, *range(2000, 7000)]),
        lambda found: {READY, DELETED} < set(found) and UPLOADED not in found,
    ),
    "settling.announce_waiting": (
        lambda c: settling.announce_waiting(c, UUID(int=1), within_s=60),
        lambda found: found is None,
    ),
    "renewing.renew_policies": (
        lambda c: renewing.renew_policies(c, [UPLOADED, READY], USUAL, **RENEWED),
        lambda rows: [row.attachment.id for row in rows] == [UPLOADED, READY],
    ),
    "renewing.renew_counted": (
        lambda c: renewing.renew_counted(
            c, READY, USUAL, **RENEWED, max_size=100, usual=Quotas(uploads_per_day=10)
        ),
        bool,
    ),
    "deliveries.list_page": (
        lambda c: deliveries.list_page(c, USUAL_WEBHOOK, state=None, before=10**9, limit=30),
        lambda rows: len(rows) == 30,
    ),
    "deliveries.list_page of a state": (
        lambda c: deliveries.list_page(c, USUAL_WEBHOOK, state="failed", before=10**9, limit=20),
        lambda rows: len(rows) == 20,
    ),
    "deliveries.find": (
        lambda c: deliveries.find(c, USUAL_WEBHOOK, USUAL_WEBHOOK, USUAL),
        bool,
    ),
    "deliveries.retry": (
        lambda c: deliveries.retry(c, USUAL_WEBHOOK, USUAL_WEBHOOK, USUAL),
        bool,
    ),
    "deliveries.retry_since": (
        lambda c: deliveries.retry_since(c, USUAL_WEBHOOK, USUAL, LONG_AGO),
        lambda count: count > 20,
    ),
    "deliveries.queue_test": (lambda c: deliveries.queue_test(c, USUAL_WEBHOOK, USUAL), bool),
    "deliveries.prune_old": (deliveries.prune_old, lambda count: count == REMOVED_AT_ONCE),
    "deliveries.prune_orphans": (deliveries.prune_orphans, lambda count: count > 100),
    "deliveries.prune_surplus": (
        lambda c: deliveries.prune_surplus(c, most=50_000),
        lambda removed: sum(removed.values()) > 1000,
    ),
    "dispatch.take": (
        lambda c: dispatch.take(
            c, limit=50, rooms={USUAL_WEBHOOK: Room(in_flight=1, more=1)}, usual_room=2
        ),
        lambda taken: len(taken.deliveries) == 50,
    ),
    "dispatch.settle": (settle_some, lambda found: {each.because for each in found} == {"gone"}),
}
