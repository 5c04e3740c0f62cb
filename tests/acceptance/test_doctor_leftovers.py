"""`attachments doctor` leaves no data in the service, and removes what earlier runs have left."""

import asyncio
import json
import signal

import pytest

from shared import keys, probes
from tests.support.doctor import environment, examine, read
from tests.support.doctor_runs import event_awaited, leftovers, probe_of, start_doctor
from tests.support.objects import exists, opened_storage
from tests.support.proxy import running_proxy
from tests.support.service import Service, until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_a_stopped_doctor_removes_its_probe_and_prints_its_findings(
    service: Service, number: int
) -> None:
    service.stack.relay.target = None
    seen = len(service.stack.relay.seen)
    variables = environment(service)
    process = await start_doctor(variables, "--wait", "600", "--json")

    async def uploaded() -> bool:
        return any(probes.NAME in event["key"] for event in service.stack.relay.seen[seen:])

    await until(uploaded, within_s=30)
    await event_awaited(service)
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (1, b"")
    examined = read(json.loads(out), variables)
    assert examined["event"]["found"] == "the doctor received a signal to stop"
    assert examined.named("skipped") == ["thumbnail", "links"]
    assert examined["removal"]["status"] == "ok"
    assert await leftovers(service) == []


async def test_a_probe_that_a_worker_has_in_hand_is_left_to_the_sweep(service: Service) -> None:
    async def take() -> int:
        attachment_id = await probe_of(service)
        await service.execute(
            "UPDATE attachments SET state = 'processing', attempt = 1,"
            " due_at = now() + interval '1 hour' WHERE id = $1",
            attachment_id,
        )
        return attachment_id

    examined, attachment_id = await asyncio.gather(examine(environment(service), wait=6), take())
    assert examined["removal"]["status"] == "warning"
    assert "marked deleted" in examined["removal"]["found"]
    row = await service.row(attachment_id)
    assert row.deleted_at is not None
    assert row.due_at is not None
    async with opened_storage(service.stack) as storage:
        assert not await exists(storage, row.key)


async def test_a_database_that_goes_away_meanwhile_costs_the_rest_and_no_traceback(
    service: Service,
) -> None:
    service.stack.relay.target = None
    url = service.environment["ATTACHMENTS_DATABASE_URL"]
    async with running_proxy(url) as proxy:

        async def cut() -> int:
            attachment_id = await probe_of(service)
            await event_awaited(service)
            proxy.cut()
            return attachment_id

        variables = environment(service, database_url=proxy.url)
        examined, attachment_id = await asyncio.gather(examine(variables, wait=20), cut())
    assert {"event", "thumbnail", "links", "removal"} <= set(examined.named("failed"))
    assert "the connection to the database was lost" in examined["event"]["found"]
    assert f"attachment {attachment_id} cannot be removed" in examined["removal"]["found"]


async def test_a_store_that_goes_away_meanwhile_leaves_the_probe_to_the_sweep(
    service: Service,
) -> None:
    service.stack.relay.target = None
    async with running_proxy(service.stack.seaweedfs.url) as proxy:

        async def cut() -> int:
            attachment_id = await probe_of(service)
            await event_awaited(service)
            proxy.cut()
            return attachment_id

        variables = environment(
            service, s3_endpoint_url=proxy.url, s3_public_url=service.settings.upload_url
        )
        examined, attachment_id = await asyncio.gather(examine(variables, wait=3), cut())
    assert examined["removal"]["status"] == "failed"
    row = await service.row(attachment_id)
    assert row.deleted_at is not None
    assert row.due_at is not None


async def test_leftovers_of_an_hour_ago_are_removed_and_younger_ones_are_not(
    working: Service,
) -> None:
    ids = [
        await working.database.fetchval(
            "INSERT INTO attachments (organization_id, bucket, name, file_name, policy_expires_at,"
            " created_at, deleted_at, due_at) VALUES ($1, $2, $3, $3, now() + interval '1 hour',"
            " now() - $4 * interval '1 minute', $5, now() + interval '1 hour') RETURNING id",
            probes.ORGANIZATION,
            working.settings.s3_bucket,
            probes.NAME,
            age,
            None,
        )
        for age in (90, 61, 30)
    ]
    await working.execute("UPDATE attachments SET deleted_at = now() WHERE id = $1", ids[1])
    for attachment_id, age in zip(ids, (90, 61, 30), strict=True):
        await working.execute(
            "INSERT INTO probe_arrivals (attachment_id, source, dialect, arrived_at)"
            " VALUES ($1, 'webhook', 'x', now() - $2 * interval '1 minute')",
            attachment_id,
            age,
        )
    async with opened_storage(working.stack) as storage:
        objects = [keys.original_key(attachment_id, probes.NAME) for attachment_id in ids]
        for key in objects:
            await storage.write(key, b"left", content_type="image/png")
        examined = await examine(environment(working))
        assert "2 of earlier doctors" in examined["removal"]["found"]
        assert [await exists(storage, key) for key in objects] == [False, False, True]
        await storage.delete(objects[2])
    rows = await working.database.fetch("SELECT id FROM attachments WHERE organization_id = 0")
    assert [row[0] for row in rows] == ids[2:]
    arrivals = await working.database.fetch("SELECT attachment_id FROM probe_arrivals")
    # The store sent an event when the test wrote the object of the youngest probe. So this probe
    # can have two arrivals. That is why the test compares sets of ids.
    assert {row[0] for row in arrivals} == set(ids[2:])
    await working.execute("DELETE FROM attachments WHERE organization_id = 0")
    await working.execute("DELETE FROM probe_arrivals")
