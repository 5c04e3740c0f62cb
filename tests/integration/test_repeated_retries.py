"""Retries of a webhook's failed deliveries: repeated requests, and retries in batches."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from shared.database import Connection
from shared.shares import WAITING
from shared.webhooks import deliveries
from tests.support.receiver import PATH as WEBHOOKS
from tests.support.receiver import SETTINGS
from tests.support.service import Answer, Client, Service, until
from tests.support.starting import StartService

BATCH = 2


async def with_failed(service: Service, count: int) -> str:
    """Make a webhook with failed deliveries, and return its address."""
    attributes = {"target_url": "https://receiver.example/hook"}
    document = {"data": {"type": "webhooks", "attributes": attributes}}
    made = await service.client.request("POST", WEBHOOKS, document)
    await service.execute(
        "INSERT INTO webhook_deliveries"
        " (webhook_id, organization_id, message_id, event, state, due_at)"
        " SELECT $1, $2, gen_random_uuid(), 'webhook.test', 'failed', NULL"
        " FROM generate_series(1, $3)",
        int(made.data["id"]),
        service.client.organization_id,
        count,
    )
    return f"{WEBHOOKS}/{made.data['id']}"


async def retry_all(client: Client, place: str, **headers: str) -> Answer:
    """Retry all failed deliveries of a webhook."""
    since = {"since": "2020-01-01T00:00:00Z"}
    document = {"data": {"type": "webhook_deliveries", "attributes": since}}
    return await client.request("POST", f"{place}/deliveries/retry", document, headers=headers)


async def test_a_repeated_retry_of_deliveries_sends_nothing_again(
    start_service: StartService,
) -> None:
    service = await start_service(**SETTINGS)
    client = service.client
    target = {"target_url": "https://receiver.example/hook"}
    document = {"data": {"type": "webhooks", "attributes": target}}
    made = await client.request("POST", WEBHOOKS, document)
    place = f"{WEBHOOKS}/{made.data['id']}"
    delivery = (await client.request("POST", f"{place}/test")).data["id"]
    since = {"since": "2020-01-01T00:00:00Z"}
    all_failed = {"data": {"type": "webhook_deliveries", "attributes": since}}

    for path, body_of in (
        (f"{place}/deliveries/{delivery}/retry", None),
        (f"{place}/deliveries/retry", all_failed),
    ):
        answers = []
        for _ in range(2):
            await service.execute("UPDATE webhook_deliveries SET state = 'failed', due_at = NULL")
            headers = {"Idempotency-Key": path[-20:]}
            answers.append(await client.request("POST", path, body_of, headers=headers))

        assert [each.status for each in answers] == [200, 200]
        assert answers[1].document["meta"] == answers[0].document["meta"]
        state = await service.database.fetchval("SELECT state FROM webhook_deliveries")
        assert state == "failed"
    assert answers[0].document["meta"] == {"retried": 1}
    later = {"data": {"type": "webhook_deliveries", "attributes": {"since": "2021-01-01"}}}
    other = await client.request("POST", path, later, headers=headers)
    assert other.status == 422
    assert other.document["errors"][0]["code"] == "idempotency_key_reused"


async def test_each_batch_of_a_retry_is_a_transaction_of_its_own(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "RETRIED_AT_ONCE", BATCH)
    service = await start_service(**SETTINGS)
    place = await with_failed(service, 2 * BATCH + 1)

    answer = await retry_all(service.client, place, **{"Idempotency-Key": "a key"})

    assert answer.document["meta"] == {"retried": 2 * BATCH + 1}
    rows = await service.database.fetch("SELECT state, xmin::text FROM webhook_deliveries")
    assert {row["state"] for row in rows} == {"pending"}
    assert len({row["xmin"] for row in rows}) == 3
    again = await retry_all(service.client, place, **{"Idempotency-Key": "a key"})
    assert again.document == answer.document


async def test_a_retry_that_broke_off_is_completed_by_its_repetition(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "RETRIED_AT_ONCE", BATCH)
    service = await start_service(**SETTINGS)
    place = await with_failed(service, 2 * BATCH)
    retry_some, calls = deliveries.retry_since, 0

    async def break_off(*given: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("of the test")
        return await retry_some(*given)

    monkeypatch.setattr(deliveries, "retry_since", break_off)
    assert (await retry_all(service.client, place, **{"Idempotency-Key": "a key"})).status == 500
    answer = await retry_all(service.client, place, **{"Idempotency-Key": "a key"})

    assert answer.document["meta"] == {"retried": BATCH}
    states = await service.database.fetch("SELECT DISTINCT state FROM webhook_deliveries")
    assert [row["state"] for row in states] == ["pending"]


async def test_other_requests_are_served_between_two_batches_of_a_retry(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "RETRIED_AT_ONCE", BATCH)
    # One of the two connections serves clients.
    service = await start_service(**SETTINGS, database_pool="2")
    place = await with_failed(service, 2 * BATCH)
    retry_some = deliveries.retry_since
    others: list[asyncio.Task[Answer]] = []
    served: list[bool] = []

    async def is_waiting() -> bool:
        return not service.clients.turns.has_room(service.client.organization_id, WAITING)

    async def watched(connection: Connection, *given: Any) -> int:
        served.extend(each.done() for each in others)
        if not others:
            others.append(asyncio.create_task(service.client.request("GET", place)))
            await until(is_waiting)
        return await retry_some(connection, *given)

    monkeypatch.setattr(deliveries, "retry_since", watched)
    answer = await retry_all(service.client, place)

    assert answer.document["meta"] == {"retried": 2 * BATCH}
    assert (await others[0]).status == 200
    assert served[-1]


async def test_a_retry_at_the_same_time_by_another_process_is_refused(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await start_service(**SETTINGS), await start_service(**SETTINGS)
    place = await with_failed(first, 1)
    other = replace(first.client, base_url=second.base_url)
    retry_some = deliveries.retry_since
    answers: list[Answer] = []

    async def watched(*given: Any) -> int:
        answers.append(await retry_all(other, place, **{"Idempotency-Key": "a key"}))
        return await retry_some(*given)

    monkeypatch.setattr(deliveries, "retry_since", watched)
    answer = await retry_all(first.client, place, **{"Idempotency-Key": "a key"})

    assert [each.status for each in answers] == [409]
    assert answer.document["meta"] == {"retried": 1}
