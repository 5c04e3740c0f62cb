"""`attachments retry` makes workers process failed attachments again, and changes no other
attachment."""

from typing import Any

import pytest

from deploy.embedded.ports import HOST, choose_port
from shared.reasons import ReasonCode
from shared.states import State
from tests.data import images
from tests.support.commands import command
from tests.support.objects import store_proxy
from tests.support.service import Service, until
from tests.support.stack import Stack
from tests.support.starting import StartWorker
from tests.support.states import copy_row, create, put

NEVER_DONE = "9223372036854775807"


async def written(service: Service, attachment_id: str) -> Any:
    """Return all columns of an attachment's row as text."""
    return await service.database.fetchval(
        "SELECT a::text FROM attachments AS a WHERE id = $1", int(attachment_id)
    )


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        pytest.param("failed", "store_unavailable", id="failed"),
        pytest.param("rejected", "too_large", id="rejected"),
        pytest.param("ready", "damaged", id="ready-with-a-reason"),
    ],
)
async def test_a_worker_takes_it_up_again(
    service: Service, start_worker: StartWorker, state: State, reason: ReasonCode
) -> None:
    await start_worker(service)
    one = await service.client.upload(images.photo())
    await service.client.settled(one)
    await put(service, one, state, reason)
    await service.execute("UPDATE attachments SET resized = false WHERE id = $1", int(one))
    ended = await command(service, "retry", one)
    assert (ended.status, ended.out, ended.err) == (0, f"{one}: is processed again\n", "")

    async def ready() -> bool:
        row = await service.row(one)
        return row.state == "ready" and row.resized and row.reason is None

    await until(ready, within_s=30)
    assert (await service.row(one)).attempt == 1


async def test_only_failed_and_rejected_attachments_are_retried(service: Service) -> None:
    states: tuple[State, ...] = ("pending", "uploaded", "processing", "ready", "expired")
    ids = dict(zip(states, await create(service, len(states)), strict=True))
    for state, each in ids.items():
        await put(service, each, state)
    (deleted,) = await create(service)
    await put(service, deleted, "failed", "missing")
    await service.execute("UPDATE attachments SET deleted_at = now() WHERE id = $1", int(deleted))
    before = [await written(service, each) for each in (*ids.values(), deleted)]
    ended = await command(service, "retry", *ids.values(), deleted, NEVER_DONE)
    assert ended.status == 1
    assert ended.err == f"{NEVER_DONE}: no attachment has this id\n"
    assert ended.out.splitlines() == [
        *[
            f"{each}: is {state}, not failed or rejected; nothing was done"
            for state, each in ids.items()
        ],
        f"{deleted}: is deleted; nothing was done",
    ]
    assert [await written(service, each) for each in (*ids.values(), deleted)] == before


async def test_twice_in_a_row_it_has_one_effect(service: Service) -> None:
    (one,) = await create(service)
    await put(service, one, "failed", "internal_error")
    assert (await command(service, "retry", one, one)).out == f"{one}: is processed again\n"
    row = await service.row(one)
    again = await command(service, "retry", one)
    assert again.status == 0
    assert again.out == f"{one}: is uploaded, not failed or rejected; nothing was done\n"
    assert (row.state, row.revision, row.reason) == ("uploaded", 4, None)
    assert await service.row(one) == row


async def test_failed_takes_all_that_are_failed_and_no_rejected_or_deleted_one(
    service: Service,
) -> None:
    one, rejected, deleted = await create(service, 3)
    await put(service, one, "failed", "internal_error")
    await put(service, rejected, "rejected", "too_large")
    await put(service, deleted, "failed", "internal_error")
    await service.execute("UPDATE attachments SET deleted_at = now() WHERE id = $1", int(deleted))
    many = 1100  # more rows than one batch of the command
    await copy_row(service, one, many - 1)
    before = [await written(service, each) for each in (rejected, deleted)]
    ended = await command(service, "retry", "--failed")
    assert (ended.status, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == many
    counts = await service.database.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'uploaded' AND due_at IS NOT NULL),"
        " count(*) FILTER (WHERE state = 'failed') FROM attachments"
    )
    assert tuple(counts or ()) == (many, 1)
    assert [await written(service, each) for each in (rejected, deleted)] == before
    nothing = await command(service, "retry", "--failed")
    assert (nothing.status, nothing.out) == (0, "")
    assert nothing.err == "no attachment is failed; nothing was done\n"


async def test_state_and_reason_take_all_that_have_them(service: Service) -> None:
    other = await service.organization()
    theirs = str((await other.create())["data"]["id"])
    rejected, failed, kept, well, deleted = await create(service, 5)
    put_as: dict[str, tuple[State, ReasonCode | None]] = {
        rejected: ("rejected", "too_large"),
        failed: ("failed", "missing"),
        theirs: ("failed", "missing"),
        kept: ("ready", "unsupported"),
        well: ("ready", None),
        deleted: ("rejected", "too_large"),
    }

    async def retried(*options: str) -> set[str]:
        for each, (state, reason) in put_as.items():
            await put(service, each, state, reason)
        await service.execute(
            "UPDATE attachments SET deleted_at = now() WHERE id = $1", int(deleted)
        )
        ended = await command(service, "retry", *options)
        assert ended.status == 0
        assert bool(ended.out) is not ended.err.endswith("nothing was done\n")
        return {line.partition(":")[0] for line in ended.out.splitlines()}

    ours = ("--organization", str(service.client.organization_id))
    assert await retried("--state", "rejected") == {rejected}
    assert await retried("--state", "failed") == {failed, theirs}
    assert await retried("--failed", *ours) == {failed}
    assert await retried("--reason", "missing") == {failed, theirs}
    assert await retried("--reason", "missing", *ours) == {failed}
    assert await retried("--reason", "unsupported") == {kept}
    assert await retried("--reason", "too_large", "--state", "rejected") == {rejected}
    assert await retried("--reason", "too_large", "--state", "failed") == set()
    assert await retried(kept, well) >= {kept}
    assert (await service.row(well)).state == "ready"


async def test_with_the_broker_away_the_sweep_is_left_to_take_over(service: Service) -> None:
    (one,) = await create(service)
    await put(service, one, "failed", "internal_error")
    nowhere = f"redis://{HOST}:{choose_port()}/0"
    ended = await command(service, "retry", one, broker_url=nowhere)
    assert (ended.status, ended.out) == (0, f"{one}: is processed again\n")
    assert "the broker is unavailable; the next sweep of a worker takes them up" in ended.err
    assert nowhere.removeprefix("redis://").partition("/")[0] in ended.err
    row = await service.row(one)
    assert row.state == "uploaded"
    assert row.due_at is not None


async def test_retry_skips_uploads_that_a_worker_is_processing(
    stack: Stack, service: Service, start_worker: StartWorker
) -> None:
    async with store_proxy(stack) as proxy:
        await start_worker(service, s3_endpoint_url=proxy.url)
        proxy.hold()
        one = await service.client.upload(images.photo())

        async def processing() -> bool:
            return (await service.row(one)).state == "processing"

        await until(processing, within_s=30)
        ended = await command(service, "retry", one)
        assert ended.status == 0
        assert ended.out == f"{one}: is processing, not failed or rejected; nothing was done\n"
        proxy.let_go()
        assert (await service.client.settled(one))["meta"]["state"] == "ready"
    row = await service.row(one)
    assert (row.revision, row.attempt) == (1, 1)
