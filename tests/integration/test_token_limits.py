"""Tokens: their expiry, the requests that they allow, and the time of their last use."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from api.token_use import WRITE_EVERY_S, TokenUse
from shared import organizations, tokens
from shared.database import Database, open_database
from tests.support.proxy import running_proxy
from tests.support.resources import PATH, body, problem, written
from tests.support.service import MEDIA_TYPE, Answer, Client, Service, make_settings, until
from tests.support.stack import Stack
from tests.support.starting import StartService

BULK = f"{MEDIA_TYPE}; ext=bulk"
BULK_HEADERS = {"Content-Type": BULK, "Accept": BULK}
MANY = {"data": [body({"name": "a"})["data"]]}
DENIED = problem(403, "Access Denied", "You are not authorized to access this resource")


async def with_token(service: Service, client: Client, **options: Any) -> Client:
    """Return a client of the same organization with another token."""
    async with service.database.acquire() as connection:
        token = await tokens.issue_token(connection, client.organization_id, "limited", **options)
    return replace(client, token=token.plain)


REQUESTS: dict[str, tuple[str, str, Any, dict[str, str], int]] = {
    "list": ("GET", PATH, None, {}, 200),
    "show": ("GET", f"{PATH}/{{id}}", None, {}, 200),
    "head": ("HEAD", f"{PATH}/{{id}}", None, {}, 200),
    "create": ("POST", PATH, body({"name": "a"}), {}, 201),
    "create in bulk": ("POST", PATH, MANY, BULK_HEADERS, 201),
    "update": ("PATCH", f"{PATH}/{{id}}", None, {}, 200),
    "delete": ("DELETE", f"{PATH}/{{id}}", None, {}, 204),
}


@pytest.mark.parametrize(
    ("method", "path", "sent", "headers", "status"), REQUESTS.values(), ids=REQUESTS
)
@pytest.mark.parametrize("scope", tokens.SCOPES)
async def test_a_scope_decides_which_methods_a_token_may_use(
    running: Service,
    scope: str,
    method: str,
    path: str,
    sent: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    owner = await running.organization()
    number = (await owner.create())["data"]["id"]
    limited = await with_token(running, owner, scope=scope)

    document = body({"name": "b"}, number) if method == "PATCH" else sent
    answer = await limited.request(method, path.format(id=number), document, headers=headers)

    if scope == "read" and method not in ("GET", "HEAD"):
        assert answer.status == 403
        assert written(answer.document) == written(DENIED)
        assert (await owner.show(number))["attributes"]["name"] == "img.png"
        assert len((await owner.request("GET", PATH)).data) == 1
    else:
        assert answer.status == status, answer.body


async def test_a_scope_that_this_release_does_not_know_allows_nothing(running: Service) -> None:
    owner = await running.organization()
    limited = await with_token(running, owner)
    await running.execute("ALTER TABLE tokens DROP CONSTRAINT tokens_scope_check")
    try:
        await running.execute(
            "UPDATE tokens SET scope = 'future' WHERE digest = $1",
            tokens.digest(limited.token),
        )
        assert (await limited.request("GET", PATH)).status == 403
    finally:
        await running.execute("DELETE FROM tokens WHERE scope = 'future'")
        await running.execute(
            "ALTER TABLE tokens ADD CONSTRAINT tokens_scope_check"
            " CHECK (scope IN ('read', 'write', 'admin'))"
        )


async def test_a_token_is_good_until_it_expires(running: Service) -> None:
    owner = await running.organization()
    ending = await with_token(running, owner, expires=timedelta(seconds=2))
    assert (await ending.request("GET", PATH)).status == 200

    async def refused() -> Answer | None:
        answer = await ending.request("GET", PATH)
        return answer if answer.status != 200 else None

    answer = await until(refused)
    unknown = await replace(ending, token="unknown").request("GET", PATH)

    assert (answer.status, answer.body) == (unknown.status, unknown.body)
    assert answer.headers["WWW-Authenticate"] == unknown.headers["WWW-Authenticate"]


async def test_a_revoked_or_expired_token_has_ended(running: Service) -> None:
    owner = await running.organization()
    async with running.database.acquire() as connection:
        issue = tokens.issue_token
        live, revoked, expired = [
            await issue(connection, owner.organization_id, "test", expires=timedelta(hours=1))
            for _ in range(3)
        ]
        await tokens.revoke_token(connection, revoked.id)
        await connection.execute("UPDATE tokens SET expires_at = now() WHERE id = $1", expired.id)
        ended = [
            await tokens.has_ended(connection, token.plain) for token in (live, revoked, expired)
        ]

    assert ended == [False, True, True]


# The following tests are about the time at which a token was last used.


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Open a connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def database(stack: Stack, database_url: str) -> AsyncIterator[Database]:
    """Open a pool for the test's database."""
    async with open_database(make_settings(stack.environment(database_url))) as opened:
        yield opened


async def last_used(connection: Any) -> list[datetime | None]:
    """Return when each token was last used, in the order of token ids."""
    rows = await connection.fetch("SELECT last_used_at FROM tokens ORDER BY id")
    return [row[0] for row in rows]


async def make_tokens(connection: Any, count: int) -> list[int]:
    """Create an organization with `count` tokens, and return the token ids."""
    owner = await organizations.create_organization(connection, "tests")
    made = [await tokens.issue_token(connection, owner, "test") for _ in range(count)]
    return [token.id for token in made]


async def test_requests_show_when_a_token_was_last_used(start_service: StartService) -> None:
    service = await start_service()
    unused = await service.organization()
    assert (await service.client.request("GET", PATH)).status == 200

    async def used() -> list[tokens.Token] | None:
        async with service.database.acquire() as connection:
            found = await tokens.list_tokens(connection, service.client.organization_id)
        return found if found[0].last_used_at is not None else None

    (token,) = await until(used)
    assert token.last_used_at >= token.created_at
    async with service.database.acquire() as connection:
        (other,) = await tokens.list_tokens(connection, unused.organization_id)
    assert other.last_used_at is None


async def test_the_use_of_a_token_is_written_once_a_minute(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    now = 1000.0
    use = TokenUse(database, clock=lambda: now)
    first, second, _ = await make_tokens(connection, 3)

    use.note(first)
    use.note(second)
    await use.write_due()
    assert [at is not None for at in await last_used(connection)] == [True, True, False]
    await connection.execute("UPDATE tokens SET last_used_at = NULL")

    now += WRITE_EVERY_S / 2
    use.note(first)
    await use.write_due()
    assert await last_used(connection) == [None, None, None]

    now += WRITE_EVERY_S / 2
    await use.write_due()
    assert [at is not None for at in await last_used(connection)] == [True, False, False]


async def test_unwritten_uses_are_written_at_the_end(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    use = TokenUse(database)
    (token,) = await make_tokens(connection, 1)

    use.note(token)
    await use.write_rest()

    assert (await last_used(connection))[0] is not None


async def test_a_later_use_is_not_overwritten_by_an_earlier_one(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    (token,) = await make_tokens(connection, 1)

    await tokens.record_use(connection, {token: 0.0})
    before = await last_used(connection)
    await tokens.record_use(connection, {token: 30.0})

    assert await last_used(connection) == before


async def test_a_locked_token_holds_up_no_other_ones_use(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    use = TokenUse(database)
    locked, free = await make_tokens(connection, 2)
    async with connection.transaction():
        await connection.execute("SELECT FROM tokens WHERE id = $1 FOR UPDATE", locked)
        use.note(locked)
        use.note(free)
        await use.write_due()

        assert [at is not None for at in await last_used(connection)] == [False, True]


async def test_uses_are_kept_while_the_database_is_away(
    stack: Stack, database_url: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    now = 1000.0
    (token,) = await make_tokens(connection, 1)
    async with running_proxy(database_url) as proxy:
        settings = make_settings(stack.environment(proxy.url))
        async with open_database(settings) as database:
            use = TokenUse(database, clock=lambda: now)
            proxy.cut()
            use.note(token)
            await use.write_due()
            proxy.let_go()
            now += WRITE_EVERY_S
            await use.write_due()

    used = (await last_used(connection))[0]
    assert used is not None
    assert (await connection.fetchval("SELECT now()")) - used >= timedelta(seconds=WRITE_EVERY_S)
