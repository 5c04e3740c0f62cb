"""The rules by which a webhook is deactivated because its deliveries fail."""

from datetime import timedelta
from typing import Any

import pytest

from shared.database import Database
from shared.webhooks import registry
from shared.webhooks.dispatch import Attempt, settle, take
from tests.support.webhook_rows import execute, make_webhook, queue

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def attempt(database: Database, webhook_id: int, fault: Any = "timeout") -> list[str]:
    """Attempt one delivery, which ends with this fault, or with success if `fault` is None.

    If this deactivates the webhook, return the reason in a list, otherwise an empty list.
    """
    await queue(database, webhook_id, 1)
    (held,) = (await database.run(take, limit=1, rooms={}, usual_room=1)).deliveries
    ended = Attempt(delivery_id=held.id, attempt=held.attempt, fault=fault)
    return [each.because for each in await database.run(settle, [ended])]


async def let_pass(database: Database, time: timedelta) -> None:
    """Simulate that time passes: move the stored failure times of all webhooks into the past."""
    await execute(
        database,
        "UPDATE webhooks SET failing_since = failing_since - $1::interval,"
        " failed_at = failed_at - $1::interval",
        time,
    )


async def active(database: Database, webhook_id: int) -> bool:
    """Return True if a webhook is active."""
    found = await database.run(registry.find, webhook_id, 1)
    assert found is not None
    return found.active


@pytest.mark.parametrize("pause", [6 * HOUR, DAY, 2 * DAY], ids=str)
async def test_five_days_of_failures_deactivate(database: Database, pause: timedelta) -> None:
    webhook_id = await make_webhook(database)
    counted = min(pause, DAY)
    for _ in range(5 * DAY // counted):
        assert await attempt(database, webhook_id) == []
        await let_pass(database, pause)
    assert await attempt(database, webhook_id) == ["failing"]
    shown = await database.run(registry.find, webhook_id, 1)
    assert shown is not None
    assert (shown.active, shown.deactivated_because) == (False, "failing")


async def test_a_failure_after_a_long_time_without_deliveries_does_not_deactivate(
    database: Database,
) -> None:
    webhook_id = await make_webhook(database)
    assert await attempt(database, webhook_id) == []
    await let_pass(database, 30 * DAY)
    assert await attempt(database, webhook_id) == []
    await let_pass(database, HOUR)
    assert await attempt(database, webhook_id) == []
    assert await active(database, webhook_id)
    since = await execute(database, "SELECT now() - failing_since FROM webhooks")
    # The API shows `failing_since`. It is the time of the first failure after the last success.
    assert since >= 30 * DAY


async def test_a_success_begins_anew(database: Database) -> None:
    webhook_id = await make_webhook(database)
    for _ in range(5):
        assert await attempt(database, webhook_id) == []
        await let_pass(database, DAY)
    # This failure does not count, because the receiver has not caused it.
    assert await attempt(database, webhook_id, "secret_unreadable") == []
    assert await attempt(database, webhook_id, None) == []
    assert await execute(database, "SELECT failing_since FROM webhooks") is None
    assert await attempt(database, webhook_id) == []
    await let_pass(database, DAY)
    assert await attempt(database, webhook_id) == []


async def test_a_webhook_that_is_set_active_begins_anew(database: Database) -> None:
    webhook_id = await make_webhook(database)
    for _ in range(5):
        await attempt(database, webhook_id)
        await let_pass(database, DAY)
    assert await attempt(database, webhook_id) == ["failing"]
    await database.run(registry.update, webhook_id, 1, {"active": True})
    await let_pass(database, DAY)
    for _ in range(5):
        assert await attempt(database, webhook_id) == []
        await let_pass(database, DAY)
    assert await attempt(database, webhook_id) == ["failing"]


async def test_a_webhook_that_failed_before_the_count_is_not_deactivated_at_once(
    database: Database,
) -> None:
    webhook_id = await make_webhook(database)
    # Change the row as a worker of the previous release would: it wrote only `failing_since`.
    await execute(database, "UPDATE webhooks SET failing_since = now() - interval '6 days'")
    for _ in range(5):
        assert await attempt(database, webhook_id) == []
        await let_pass(database, DAY)
    assert await attempt(database, webhook_id) == ["failing"]


async def test_failures_of_one_moment_write_the_webhook_once(database: Database) -> None:
    webhook_id = await make_webhook(database)
    await attempt(database, webhook_id)
    written = await execute(database, "SELECT xmin::text FROM webhooks")
    await attempt(database, webhook_id)
    assert await execute(database, "SELECT xmin::text FROM webhooks") == written
    await let_pass(database, timedelta(minutes=2))
    await attempt(database, webhook_id)
    counted = await execute(database, "SELECT failing_for FROM webhooks")
    assert timedelta(minutes=2) <= counted < DAY
