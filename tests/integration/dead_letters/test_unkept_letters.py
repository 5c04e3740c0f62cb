"""Unreadable messages that cannot be stored as dead letters: the sender gets 503 and tries again.

The log never contains the token or the body of a message.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from tests.support.dead_letters import TOKEN, letters, refuse_to_read
from tests.support.dialects import BATCHING
from tests.support.events import EVENTS, RECORDED, new_row, send
from tests.support.service import Answer, Service, until
from tests.support.stack import BUCKET
from tests.support.starting import StartService


@asynccontextmanager
async def database_away(service: Service) -> AsyncIterator[None]:
    """Rename the service's database in the block, so that the service cannot find it."""
    url = service.environment["ATTACHMENTS_DATABASE_URL"]
    name = url.rpartition("/")[2].partition("?")[0]
    connection = await asyncpg.connect(service.stack.postgres.url)

    async def rename(old: str, new: str) -> bool:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", old
        )
        try:
            await connection.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')
        # A client has connected again. PostgreSQL cannot rename a database with connections.
        except asyncpg.ObjectInUseError:
            return False
        return True

    try:
        await until(partial(rename, name, f"{name}_away"))
        yield
    finally:
        await until(partial(rename, f"{name}_away", name))
        await connection.close()


async def test_while_the_database_is_away_the_source_keeps_the_message(service: Service) -> None:
    row = await new_row(service)
    aws = BATCHING[0]
    sent = aws.make_event(BUCKET, row.key, etag="e1")
    mixed = json.dumps(aws.message(sent, {"eventSource": "aws:s3"})).encode()
    bodies = [b"no json \0", mixed]
    async with database_away(service):
        for body in bodies:
            answer = await send(service, body)
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        garbage = await send(service, b"x", {**TOKEN, "Content-Encoding": "gzip"})
        assert garbage.status == 503

    async def taken(body: bytes) -> Answer | None:
        try:
            answer = await send(service, body)
        except OSError:
            return None
        return answer if answer.status == 200 else None

    for body in bodies:
        await until(partial(taken, body))
    assert (await service.row(row.id)).state == "uploaded"
    found = {body: letter.count for letter, body in await letters(service)}
    assert found == dict.fromkeys(bodies, 1)


async def test_a_message_that_cannot_be_kept_has_no_partial_effect(service: Service) -> None:
    row = await new_row(service)
    aws = BATCHING[0]
    sent = aws.make_event(BUCKET, row.key, etag="e1")
    mixed = json.dumps(aws.message(sent, {"eventSource": "aws:s3"})).encode()
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE")
        answer = await send(service, mixed)
        assert answer.status == 503
        assert (await service.row(row.id)).state == "pending"
        # All records of the next message are readable, so it needs no dead letter. It is recorded
        # although `dead_letters` is locked.
        other = await new_row(service)
        whole = json.dumps(aws.message(aws.make_event(BUCKET, other.key, etag="e1"))).encode()
        assert (await send(service, whole)).document["meta"] == RECORDED

    async def kept() -> Any:
        return (await send(service, mixed)).status == 200 and await letters(service)

    await until(kept)
    assert (await service.row(row.id)).state == "uploaded"


async def test_tokens_and_bodies_are_never_logged(
    start_service: StartService, capsys: pytest.CaptureFixture[str]
) -> None:
    token, password = secrets.token_hex(16), secrets.token_hex(16)
    service = await start_service(events_tokens=f"{token},{password}")
    path = f"{EVENTS}/{token}"
    for body in (b"no json: words-of-a-person", b'{"Records":["words-of-a-person"]}'):
        await refuse_to_read(service, body, {"Authorization": f"Bearer {password}"}, path)
        async with database_away(service):
            answer = await send(service, body, {}, path)
            assert answer.status == 503
            assert token not in answer.body.decode()
    wrong = await send(service, b"x", {}, f"{path}0")
    assert wrong.status == 401
    assert token not in wrong.body.decode()

    rows = await service.database.fetch(
        "SELECT d::text || encode(d.body, 'escape') FROM dead_letters AS d"
    )
    stored = "".join(row[0] for row in rows)
    captured = capsys.readouterr()
    logged = captured.out + captured.err
    metrics = service.metrics()
    assert "unreadable event" in logged
    for secret in (token, password):
        assert secret not in stored
        assert secret not in logged
        assert secret not in metrics
    assert "words-of-a-person" in stored
    assert "words-of-a-person" not in logged
