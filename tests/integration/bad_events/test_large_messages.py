"""Messages with a thousand records: one statement records all of their events, or none."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest_asyncio

from shared.keys import original_key
from tests.support.bad_events import every
from tests.support.databases import clone_database
from tests.support.dialects import BATCHING, Dialect
from tests.support.events import RECORDED, deliver, post, send
from tests.support.service import Service, running_service
from tests.support.stack import BUCKET, Stack


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """A thousand attachments, and a counter of the statements that write to their rows."""

    service: Service
    keys: list[str]

    async def reset(self) -> None:
        """Set all attachments back to `pending`, and set the counter of statements to zero."""
        await self.service.execute(
            "UPDATE attachments SET state = 'pending', revision = 0, etag = NULL, sequencer = NULL"
        )
        await self.service.execute("DELETE FROM statements")

    async def found(self) -> dict[str, int]:
        """Return the number of rows in each state."""
        rows = await self.service.database.fetch(
            "SELECT state, count(*) FROM attachments GROUP BY state"
        )
        return dict(rows)  # type: ignore[arg-type]  # a row of two is a pair


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def thousand(stack: Stack) -> AsyncIterator[Crowd]:
    """Start an API with a thousand attachments, for the whole test module."""
    async with running_service(stack, await clone_database(stack)) as service:
        item = {"type": "attachments", "attributes": {"name": "a.png"}}
        keys = []
        for _ in range(10):
            answer = await service.client.request(
                "POST",
                "/api/v2/attachments",
                {"data": [item] * 100},
                headers={"Content-Type": "application/vnd.api+json; ext=bulk"},
            )
            keys += [original_key(int(resource["id"]), "a.png") for resource in answer.data]
        await service.execute(
            """
            CREATE TABLE statements (at timestamptz DEFAULT clock_timestamp());
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO statements DEFAULT VALUES; RETURN NULL; END $$;
            CREATE TRIGGER noted AFTER UPDATE ON attachments EXECUTE FUNCTION note();
            """
        )
        yield Crowd(service=service, keys=keys)


@every(51, BATCHING)
async def test_a_thousand_records_are_stored_by_one_statement(
    thousand: Crowd, dialect: Dialect
) -> None:
    await thousand.reset()
    sent = [dialect.make_event(BUCKET, key, etag="e1", sequencer="0A") for key in thousand.keys]
    random.Random(51).shuffle(sent)
    assert await post(thousand.service, dialect, *sent) == {**RECORDED, "recorded": 1000}
    assert await thousand.found() == {"uploaded": 1000}
    assert await thousand.service.database.fetchval("SELECT count(*) FROM statements") == 1


@every(51, BATCHING)
async def test_of_a_thousand_records_all_or_none_are_stored(
    thousand: Crowd, dialect: Dialect
) -> None:
    await thousand.reset()
    sent = [dialect.make_event(BUCKET, key, etag="e1", sequencer="0A") for key in thousand.keys]
    body = json.dumps(dialect.message(*sent), separators=(",", ":")).encode()
    # A constraint makes it impossible to write one of the rows, so the statement fails.
    victim = thousand.keys[600].rpartition("/original/")[0].rpartition("files/")[2]
    await thousand.service.execute(
        "ALTER TABLE attachments ADD CONSTRAINT one"
        f" CHECK (id <> {int(victim.replace('/', ''))} OR etag IS NULL)"
    )
    try:
        assert (await send(thousand.service, body)).status == 500
        assert await thousand.found() == {"pending": 1000}
    finally:
        await thousand.service.execute("ALTER TABLE attachments DROP CONSTRAINT one")
    assert (await deliver(thousand.service, body)).document["meta"]["recorded"] == 1000
