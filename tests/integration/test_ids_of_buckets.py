"""No API starts if the bucket holds an object with an id that the database has not issued.

The doctor reports the same fault. After an operator has corrected the sequence, an API starts, and
the doctor reports no fault.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partialmethod
from unittest import mock

import asyncpg
import pytest
import pytest_asyncio

from api.ids import IdCheck
from deploy.local.bucket import check_bucket
from deploy.processes.supervisor import StartFailed
from shared import keys, sequence
from shared.database import open_database
from shared.differences import Kind
from shared.errors import IdsUndecided
from shared.reconciliation import Reconciliation
from shared.storage import Storage
from tests.support.commands import command
from tests.support.doctor import environment, examine
from tests.support.forked import run_module
from tests.support.lost_rows import lose_rows, own_bucket
from tests.support.objects import opened_storage
from tests.support.other_api import create, readiness
from tests.support.proxy import Proxy
from tests.support.resources import open_bucket
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess
from tests.support.stack import Stack
from tests.support.starting import Launch, StartService

REMEDY = "attachments reconcile --mend"


@pytest_asyncio.fixture
async def alone(stack: Stack, start_service: StartService) -> AsyncIterator[Service]:
    """Start a service with its own bucket."""
    async with own_bucket(stack) as bucket:
        yield await start_service(s3_bucket=bucket)


async def put(service: Service, *ids: int) -> None:
    """Store originals with these ids directly in the store."""
    async with open_bucket(service.stack) as bucket:
        for each in ids:
            key = keys.original_key(each, "img.png")
            await bucket.put_object(Bucket=service.settings.s3_bucket, Key=key, Body=b"x")


async def find_taken(service: Service) -> int | None:
    """Return an id that the bucket already uses, or None if there is no such id."""
    async with (
        open_database(service.settings) as database,
        opened_storage(service.stack, service.settings.s3_bucket) as storage,
    ):
        found = await sequence.find_taken_id(database, storage)
    return None if found is None else found.attachment_id


async def last_id(service: Service) -> int:
    """Return the last id that the database's sequence has issued."""
    async with service.database.acquire() as connection:
        return await sequence.find_last_id(connection)


async def ended(service: Service, *program: str) -> tuple[int, str]:
    """Run a process until it ends by itself; return its exit status and its output."""
    status, out, err = await asyncio.to_thread(
        run_module,
        program,
        {"PATH": os.environ["PATH"], **service.environment, "ATTACHMENTS_API_PORT": "0"},
        timeout_s=60,
    )
    return status, (out + err).decode()


async def test_ids_are_compared_as_numbers_in_a_real_bucket(alone: Service) -> None:
    await lose_rows(alone, 5)
    assert await last_id(alone) == 4
    assert await find_taken(alone) is None
    await put(alone, 1, 4)
    assert await find_taken(alone) is None
    await put(alone, 1_000_000_000)
    assert await find_taken(alone) == 1_000_000_000
    await put(alone, 5, 1004, 1_000_000)
    assert await find_taken(alone) == 1_000_000
    await lose_rows(alone, 1_000_000_001)
    assert await find_taken(alone) is None


async def test_an_object_that_was_deleted_again_takes_no_id(alone: Service) -> None:
    await lose_rows(alone, 5)
    await put(alone, 7)
    async with opened_storage(alone.stack, alone.settings.s3_bucket) as storage:
        await storage.delete(keys.original_key(7, "img.png"))
    assert await find_taken(alone) is None


@pytest.fixture
def few_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the search for ids to six listings of folders."""
    monkeypatch.setattr(sequence, "MAX_LISTINGS", 6)


async def empty(service: Service, *ids: int) -> None:
    """Store originals and delete them. The store still lists their empty folders."""
    await put(service, *ids)
    async with opened_storage(service.stack, service.settings.s3_bucket) as storage:
        for each in ids:
            await storage.delete(keys.original_key(each, "img.png"))


@pytest.mark.usefixtures("few_listings")
async def test_more_emptied_folders_than_listings_hide_no_original(alone: Service) -> None:
    await lose_rows(alone, 12)
    await put(alone, 3, 11, 12, 13, 900)
    await lose_rows(alone, 14)
    await empty(alone, *range(2000, 2010), *range(3000, 3010))
    assert await find_taken(alone) == 900
    await lose_rows(alone, 901)
    assert await find_taken(alone) is None


@pytest.mark.usefixtures("few_listings")
async def test_undecided_is_never_free(
    alone: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sequence, "KEY_PAGES", 1)
    await lose_rows(alone, 5)
    await empty(alone, *range(2000, 2010))
    # These keys fill a whole page of the store's list, and none of them is an original's key.
    monkeypatch.setattr(Storage, "list_keys", partialmethod(Storage.list_keys, page_size=20))
    async with open_bucket(alone.stack) as bucket:
        for number in range(21):
            key = f"attachments/files/000/000/007/x/{number}"
            await bucket.put_object(Bucket=alone.settings.s3_bucket, Key=key, Body=b"x")
    await put(alone, 900)
    async with (
        open_database(alone.settings) as database,
        opened_storage(alone.stack, alone.settings.s3_bucket) as storage,
    ):
        with pytest.raises(IdsUndecided):
            await sequence.find_taken_id(database, storage)
        check = IdCheck(database, storage)
        assert not await check.at_start()
        found = [
            each.kind
            async for each in Reconciliation(database, storage, alone.settings).differences()
        ]
        assert Kind.SEQUENCE in found
    examined = await examine(environment(alone), wait=1)
    assert examined["sequence"]["status"] == "warning"
    assert "was undecided" in examined["sequence"]["found"]
    with mock.patch.dict("os.environ", alone.environment):
        await check_bucket(alone.settings, mend=False)
    assert "was undecided" in capsys.readouterr().err


async def test_the_sequence_is_never_lowered(alone: Service) -> None:
    await alone.execute("ALTER SEQUENCE attachments_id_seq RESTART WITH 700")
    async with alone.database.acquire() as connection:
        assert not await sequence.raise_sequence(connection, 600)
        assert await sequence.find_last_id(connection) == 699
        assert await sequence.raise_sequence(connection, 800)
        assert await sequence.find_last_id(connection) == 800
    assert (await alone.client.create())["data"]["id"] == "801"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(("-m", "api"), id="python -m api"),
        pytest.param(("-m", "deploy.cli", "api"), id="attachments api"),
    ],
)
async def test_an_api_does_not_start_until_it_is_mended(
    alone: Service, launch: Launch, program: tuple[str, ...]
) -> None:
    await put(alone, await last_id(alone) + 3)

    status, printed = await ended(alone, *program)

    assert status == 1
    assert "Traceback" not in printed
    # Ignore these lines, because they report no fault.
    usual = ("metrics are served", "api waits")
    (line,) = (each for each in printed.splitlines() if not any(word in each for word in usual))
    assert REMEDY in line
    assert str(await last_id(alone) + 3) in line

    mended = await command(alone, "reconcile", "--mend")
    assert "Traceback" not in mended.err
    await launch(ApiProcess(alone.environment, program=program))


async def test_the_doctor_fails_until_it_is_mended(alone: Service) -> None:
    taken = await last_id(alone) + 3
    await put(alone, taken)

    examined = await examine(environment(alone), wait=1)

    assert examined["sequence"]["status"] == "failed"
    assert str(taken) in examined["sequence"]["found"]
    assert REMEDY in examined["sequence"]["mend"]
    # The doctor uploads no probe, because the probe would get an id that the bucket already uses.
    assert examined["upload"]["status"] == "skipped"
    await command(alone, "reconcile", "--mend")
    examined = await examine(environment(alone), wait=1)
    assert examined["sequence"]["status"] == "ok"


async def test_an_api_that_could_not_ask_refuses_once_it_knows_and_serves_once_mended(
    alone: Service, launch: Launch, proxy: Proxy
) -> None:
    await put(alone, await last_id(alone) + 3)
    proxy.cut()
    api = await launch(ApiProcess(alone.environment, s3_endpoint_url=proxy.url))
    assert (await readiness(alone.client, api.url))[0] == 200

    proxy.let_go()

    async def refuses() -> bool:
        status, printed = await readiness(alone.client, api.url)
        return status == 503 and REMEDY in printed

    await until(refuses, within_s=30)
    assert await create(alone.client, api.url) == 503
    assert (await readiness(alone.client, api.url))[0] == 503
    await until(lambda: asyncio.sleep(0, api.log().count("no attachments are created") == 1))
    await command(alone, "reconcile", "--mend")

    async def serves() -> bool:
        return await create(alone.client, api.url) == 201

    await until(serves, within_s=30)
    assert (await readiness(alone.client, api.url))[0] == 200


async def test_without_the_right_to_look_it_warns_and_starts(
    alone: Service, launch: Launch
) -> None:
    environment = {**alone.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    api = await launch(ApiProcess(environment))
    await until(lambda: asyncio.sleep(0, "s3:ListBucket" in api.log()))
    assert (await readiness(alone.client, api.url))[0] == 200


async def test_up_does_not_come_up_over_a_store_whose_rows_are_lost(alone: Service) -> None:
    taken = await last_id(alone) + 3
    await put(alone, taken)
    with mock.patch.dict("os.environ", alone.environment):
        with pytest.raises(StartFailed, match=f"up to {taken} or more.*attachments up --mend"):
            await check_bucket(alone.settings, mend=False)
        await check_bucket(alone.settings, mend=True)
        await check_bucket(alone.settings, mend=False)
    assert await last_id(alone) == sequence.raised_above(taken)


async def test_a_service_role_that_may_not_read_the_sequence_is_reported(alone: Service) -> None:
    await alone.execute("CREATE ROLE narrow LOGIN PASSWORD 'narrow'")
    await alone.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON attachments TO narrow")
    address = alone.environment["ATTACHMENTS_DATABASE_URL"]
    scheme, _, rest = address.partition("://")
    url = f"{scheme}://narrow:narrow@{rest.rpartition('@')[2]}"
    connection = await asyncpg.connect(url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await sequence.find_last_id(connection)
    finally:
        await connection.close()
        await alone.execute("DROP OWNED BY narrow")
        await alone.execute("DROP ROLE narrow")
