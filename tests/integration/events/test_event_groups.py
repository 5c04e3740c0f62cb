"""Event messages that one statement records together. Each message gets its own result."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from api.event_groups import MAX_MESSAGES, EventGroups
from shared import intake
from shared.attachments import Attachment
from shared.database import Database, DatabaseAway, open_database
from shared.intake import Message, read_message
from shared.lifecycle import Recorded
from shared.settings import Settings
from tests.support.events import message, new_row, record
from tests.support.service import Service, make_settings, until
from tests.support.stack import BUCKET

PLACES = 2


@dataclass(kw_only=True)
class Site:
    """The parts that a test needs to record messages. `runs` has the size of each group."""

    service: Service
    settings: Settings
    database: Database
    groups: EventGroups
    runs: list[int] = field(default_factory=list)

    def begin(
        self, row: Attachment, *, within_s: float = 20.0, **item: Any
    ) -> "asyncio.Task[Recorded]":
        """Start to record an event of an attachment."""
        return asyncio.create_task(
            self.groups.record(
                read(row, **item), may_be_kept=True, ends=time.monotonic() + within_s
            )
        )

    async def rows(self, count: int) -> list[Attachment]:
        return [await new_row(self.service) for _ in range(count)]

    async def revisions(self, rows: Sequence[Attachment]) -> list[int]:
        return [(await self.service.row(row.id)).revision for row in rows]

    @asynccontextmanager
    async def occupied(self) -> AsyncIterator[None]:
        """Keep all PLACES statements busy in the block: each waits for a locked row."""
        rows = await self.rows(PLACES)
        async with AsyncExitStack() as locks:
            await locks.enter_async_context(self.locked(rows))
            tasks = [self.begin(row, eTag="e") for row in rows]
            await until(lambda: self.waiting(PLACES))
            yield
        await asyncio.gather(*tasks)

    @asynccontextmanager
    async def locked(self, rows: Sequence[Attachment]) -> AsyncIterator[None]:
        async with self.service.database.acquire() as connection, connection.transaction():
            ids = [row.id for row in rows]
            await connection.execute("SELECT FROM attachments WHERE id = ANY($1) FOR UPDATE", ids)
            yield

    async def waiting(self, count: int) -> bool:
        """Return True if exactly `count` statements wait for a lock."""
        found = await self.service.database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return bool(found == count)


def read(row: Attachment, **item: Any) -> Message:
    return read_message(message(record(row.key, **item)), source="webhook", bucket=BUCKET)


@pytest_asyncio.fixture
async def site(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Return a site whose groups run at most PLACES statements at a time."""
    settings = make_settings(service.environment)
    async with open_database(settings, size=PLACES) as database:
        made = Site(
            service=service,
            settings=settings,
            database=database,
            groups=EventGroups(database, settings, concurrent=PLACES),
        )
        run_within = Database.run_within

        async def note(database: Database, timeout_s: float, function: Any, *rest: Any) -> Any:
            if function is intake.record:
                made.runs.append(len(rest[0]))
            return await run_within(database, timeout_s, function, *rest)

        monkeypatch.setattr(Database, "run_within", note)
        yield made


async def test_messages_that_wait_share_a_statement_and_each_gets_its_own_result(
    site: Site,
) -> None:
    rows = await site.rows(5)
    async with site.occupied():
        tasks = [site.begin(row, eTag="e") for row in rows]
        await asyncio.sleep(0)  # let each task run until it waits
    for row, recorded in zip(rows, await asyncio.gather(*tasks), strict=True):
        assert recorded.changed == [row.id]
        assert [each.attachment_id for each in recorded.woken] == [row.id]
    assert site.runs == [1] * PLACES + [len(rows)]


async def test_nothing_waits_while_a_place_is_free(site: Site) -> None:
    rows = await site.rows(PLACES)
    await asyncio.gather(*(site.begin(row, eTag="e") for row in rows))
    assert site.runs == [1] * PLACES


async def test_a_message_without_effect_gets_no_part_of_the_others(site: Site) -> None:
    new, known = await site.rows(2)
    await site.begin(known, eTag="e")
    async with site.occupied():
        tasks = [site.begin(row, eTag="e") for row in (known, new)]
        await asyncio.sleep(0)
    without, recorded = await asyncio.gather(*tasks)
    assert (without.changed, without.woken) == ([], [])
    assert recorded.changed == [new.id]


async def test_messages_about_one_attachment_do_not_share_a_statement(site: Site) -> None:
    (row,) = await site.rows(1)
    async with site.occupied():
        tasks = [site.begin(row, eTag=f"e{each}", sequencer=f"0{each}") for each in (1, 2)]
        await asyncio.sleep(0)
    _, newest = await asyncio.gather(*tasks)
    assert newest.changed == [row.id]
    assert site.runs == [1] * PLACES + [1, 1]


async def test_a_message_that_the_database_refuses_fails_alone(site: Site) -> None:
    good, bad, other = await site.rows(3)
    await site.service.execute(
        "ALTER TABLE attachments ADD CONSTRAINT refuses CHECK (etag <> 'refused')"
    )
    try:
        async with site.occupied():
            tasks = [
                site.begin(row, eTag=etag)
                for row, etag in ((good, "e"), (bad, "refused"), (other, "e"))
            ]
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await site.service.execute("ALTER TABLE attachments DROP CONSTRAINT refuses")
    assert isinstance(results[1], asyncpg.CheckViolationError)
    assert await site.revisions([good, bad, other]) == [1, 0, 1]
    # For some time after a refused message, each message is recorded alone. The sender repeats the
    # refused message, and each repetition would delay the other messages of a group.
    site.runs.clear()
    rows = await site.rows(PLACES + 2)
    await asyncio.gather(*(site.begin(row, eTag="e") for row in rows))
    assert site.runs == [1] * len(rows)


async def test_a_message_does_not_wait_beyond_its_time(site: Site) -> None:
    (row,) = await site.rows(1)
    async with site.occupied():
        with pytest.raises(DatabaseAway):
            await site.begin(row, eTag="e", within_s=0.05)
    assert await site.revisions([row]) == [0]


async def test_a_cancelled_request_leaves_the_others_of_its_group(site: Site) -> None:
    rows = await site.rows(3)
    async with site.occupied():
        tasks = [site.begin(row, eTag="e") for row in rows]
        await asyncio.sleep(0)
        tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await site.revisions(rows) == [1, 0, 1]


async def test_unusable_messages_and_large_ones_are_recorded_alone(site: Site) -> None:
    rows = await site.rows(12)
    unusable = read_message(b"[]", source="webhook", bucket=BUCKET)
    large = read_message(
        message(*(record(row.key, eTag="e") for row in rows)), source="webhook", bucket=BUCKET
    )
    async with site.occupied():
        tasks = [
            asyncio.create_task(
                site.groups.record(each, may_be_kept=False, ends=time.monotonic() + 20)
            )
            for each in (unusable, large)
        ]
        await asyncio.sleep(0)
        assert site.runs == [1] * (PLACES + 2)
    await asyncio.gather(*tasks)
    assert await site.revisions(rows) == [1] * len(rows)


async def test_a_group_has_a_maximum(site: Site) -> None:
    (row,) = await site.rows(1)
    nothing = message(record(row.key, name="ObjectTagging:Put"))
    empty = [
        read_message(nothing, source="webhook", bucket=BUCKET) for _ in range(MAX_MESSAGES + 1)
    ]
    async with site.occupied():
        tasks = [
            asyncio.create_task(
                site.groups.record(each, may_be_kept=False, ends=time.monotonic() + 20)
            )
            for each in empty
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert site.runs == [1] * PLACES + [MAX_MESSAGES, 1]
