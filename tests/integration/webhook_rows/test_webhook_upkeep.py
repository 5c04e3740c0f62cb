"""The SQL statements with which couriers and the upkeep change deliveries. No courier runs here."""

import asyncio
from typing import Any

import pytest

from shared.database import Database
from shared.organizations import create_organization
from shared.webhooks import deliveries, registry
from shared.webhooks.dispatch import Attempt, Room, settle, take
from shared.webhooks.kinds import DELAYS_S, delay_s
from shared.webhooks.vault import SecretUnreadable, Vault
from tests.support.webhook_rows import VALUES, VAULT, execute, make_webhook, queue
from worker.webhooks.housekeeping import tidy_once
from worker.webhooks.windows import WIDEST, Windows


async def taken(database: Database, **options: Any) -> list[int]:
    """Claim due deliveries, and return the webhook's id for each of them."""
    given: dict[str, Any] = {"limit": 100, "rooms": {}, "usual_room": WIDEST, **options}
    found = await database.run(take, **given)
    return [each.webhook_id for each in found.deliveries]


def test_the_schedule_is_that_of_the_documentation() -> None:
    assert DELAYS_S == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert [delay_s(each) for each in (1, 9, 10, 11)] == [5, 86400, None, None]


async def test_webhooks_have_turns_and_rooms(database: Database) -> None:
    first, second, third = [await make_webhook(database) for _ in range(3)]
    await queue(database, first, 5)
    await queue(database, second, 5)
    await queue(database, third, 5)
    rooms = {second: Room(in_flight=3, more=1), third: Room(in_flight=0, more=0)}
    assert sorted(await taken(database, limit=3, rooms=rooms)) == [first] * 3
    assert sorted(await taken(database, rooms=rooms)) == [first] * 2 + [second]


async def test_with_a_backlog_every_webhook_has_its_turn(database: Database) -> None:
    flooded = await make_webhook(database)
    await execute(
        database,
        "INSERT INTO webhook_deliveries (webhook_id, organization_id, message_id, event)"
        " SELECT $1, 1, gen_random_uuid(), 'webhook.test' FROM generate_series(1, 3000)",
        flooded,
    )
    other = await make_webhook(database)
    await queue(database, other, 1)
    assert other in await taken(database, limit=10)


async def test_two_couriers_never_hold_one_delivery(database: Database) -> None:
    webhook_id = await make_webhook(database)
    await queue(database, webhook_id, 20)
    options: dict[str, Any] = {"limit": 20, "rooms": {}, "usual_room": WIDEST}
    both = await asyncio.gather(*(database.run(take, **options) for _ in range(4)))
    found = [each.id for part in both for each in part.deliveries]
    assert len(found) == len(set(found)) == 20


async def test_deliveries_of_an_inactive_webhook_end_and_none_are_queued(
    database: Database,
) -> None:
    webhook_id = await make_webhook(database)
    await queue(database, webhook_id, 2)
    await database.run(registry.update, webhook_id, 1, {"active": False})
    assert await database.run(deliveries.queue_test, webhook_id, 1) is None
    assert await taken(database) == []
    rows = await database.run(
        deliveries.list_page, webhook_id, state="failed", before=10**9, limit=9
    )
    assert [row.fault for row in rows] == ["webhook_inactive"] * 2


async def test_an_outdated_attempt_changes_nothing(database: Database) -> None:
    webhook_id = await make_webhook(database)
    await queue(database, webhook_id, 1)
    (held,) = (await database.run(take, limit=1, rooms={}, usual_room=1)).deliveries
    # End the lease of the first claim.
    await execute(database, "UPDATE webhook_deliveries SET due_at = now()")
    (newer,) = (await database.run(take, limit=1, rooms={}, usual_room=1)).deliveries
    assert (held.attempt, newer.attempt) == (1, 2)
    await database.run(settle, [Attempt(delivery_id=held.id, attempt=1)])
    assert await execute(database, "SELECT state FROM webhook_deliveries") == "pending"
    await database.run(settle, [Attempt(delivery_id=held.id, attempt=2)])
    assert await execute(database, "SELECT state FROM webhook_deliveries") == "delivered"


async def test_old_and_orphaned_deliveries_are_removed(database: Database) -> None:
    kept, gone = await make_webhook(database), await make_webhook(database)
    await queue(database, kept, 3)
    await queue(database, gone, 3)
    await execute(
        database,
        "UPDATE webhook_deliveries SET created_at = now() - interval '31 days'"
        " WHERE id = (SELECT min(id) FROM webhook_deliveries)",
    )
    await database.run(registry.delete, gone, 1)
    await tidy_once(database, VAULT)
    assert await execute(database, "SELECT count(*) FROM webhook_deliveries") == 2


async def test_of_too_many_the_organization_that_has_most_loses_its_oldest(
    database: Database,
) -> None:
    await database.run(create_organization, "small", 2)
    large, small = await make_webhook(database), await make_webhook(database, 2)
    await queue(database, large, 10)
    await queue(database, small, 3, 2)
    newest = await execute(
        database, "SELECT max(id) FROM webhook_deliveries WHERE webhook_id = $1", large
    )
    assert await database.run(deliveries.prune_surplus, most=8) == {large: 5}
    left = await database.run(deliveries.list_page, large, state=None, before=10**9, limit=99)
    assert [row.id for row in left] == [newest - each for each in range(5)]
    assert await database.run(deliveries.prune_surplus, most=8) == {}


@pytest.mark.parametrize(
    ("counts", "most", "lost"),
    [
        ({}, 5, {}),
        ({1: 3, 2: 2}, 5, {}),
        ({1: 10, 2: 3}, 8, {1: 5}),
        ({1: 10, 2: 10, 3: 1}, 9, {1: 6, 2: 6}),
    ],
)
def test_those_with_few_lose_none(counts: dict[int, int], most: int, lost: dict[int, int]) -> None:
    assert deliveries.shares(counts, most) == lost


async def test_secrets_are_encrypted_again_by_a_new_key(database: Database) -> None:
    lost = await database.run(registry.create, 1, VALUES, Vault("a-key-that-is-lost"))
    webhook_id = await make_webhook(database)
    rotated = await database.run(registry.rotate, webhook_id, 1, VAULT)
    assert rotated is not None
    newer = Vault("a-newer-key-of-secrets", "key-of-webhook-secrets")
    with pytest.raises(SecretUnreadable):
        await tidy_once(database, newer)
    await database.run(registry.delete, lost.webhook.id, 1)
    await tidy_once(database, newer)
    alone = Vault("a-newer-key-of-secrets")
    stored = await execute(database, "SELECT secret FROM webhooks")
    assert alone.decrypt(stored) == rotated.secret
    with pytest.raises(SecretUnreadable):
        VAULT.decrypt(stored)
    with pytest.raises(SecretUnreadable):
        await tidy_once(database, Vault("a-third-key-of-secrets"))


def test_a_window_shrinks_to_one_and_opens_again() -> None:
    windows = Windows(512)
    for _ in range(WIDEST):
        windows.enter(1)
    assert windows.rooms()[1].more == 0
    for _ in range(WIDEST):
        windows.leave(1, accepted=False)
    assert windows.rooms()[1] == Room(in_flight=0, more=1)
    for _ in range(WIDEST):
        windows.enter(1)
        windows.leave(1, accepted=True)
    assert windows.rooms() == {}


def test_slow_webhooks_leave_slots_to_the_next_one() -> None:
    windows = Windows(512)
    for number in range(2000):
        webhook_id = number % 100
        room = windows.rooms().get(webhook_id)
        if (windows.usual_room if room is None else room.more) > 0:
            windows.enter(webhook_id)
    assert windows.free >= 5
    assert windows.usual_room >= 5


def test_webhooks_that_only_fail_hold_at_most_half_of_the_slots() -> None:
    windows = Windows(10)
    for webhook_id in range(5):
        windows.enter(webhook_id)
        for _ in range(7):
            windows.enter(webhook_id)
            windows.leave(webhook_id, accepted=False)
    windows.enter(99)
    windows.leave(99, accepted=False)
    for _ in range(7):
        windows.enter(99)
        windows.leave(99, accepted=False)
    assert windows.rooms()[99].more == 0
    windows.leave(0, accepted=None)
    assert windows.rooms()[99].more == 1
