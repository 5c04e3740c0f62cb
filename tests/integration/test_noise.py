"""What strangers can write: log lines and dead letters, bounded for each source."""

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from api import callers
from api.clients import source_of
from api.noise import AT_ONCE, FAULTS_AT_ONCE
from api.pace import Pace
from shared import dead_letters, tokens
from shared.allowance import BURST
from shared.settings import load_settings
from shared.tokens import find_caller
from tests.support.proxy import running_proxy
from tests.support.service import ApiProcess, Service, until
from tests.support.stack import BUCKET, EVENTS_TOKEN
from tests.support.starting import StartService

FLOOD = 2000
PATH = "/api/v2/attachments"


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to a fresh database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def api(service: Service) -> AsyncIterator[ApiProcess]:
    """An API process whose log is JSON."""
    process = ApiProcess(service.environment, log_format="json")
    await process.start()
    yield process
    process.close()


async def exchange(api: ApiProcess, *requests: bytes, source: str = "127.0.0.1") -> bytes:
    """Send requests from an address of loopback, and read until the end."""
    url = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, local_addr=(source, 0))
    answer = b""
    with suppress(ConnectionError):
        for request in requests:
            writer.write(request)
        await writer.drain()
        async with asyncio.timeout(30):
            answer = await reader.read()
    writer.close()
    return answer


def request(path: str = PATH, *headers: str, method: str = "GET", host: str = "a") -> bytes:
    """Write a request after whose answer the connection ends."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def flood(api: ApiProcess, make: Callable[[], bytes], count: int = FLOOD) -> None:
    """Send that many requests from one source, twenty at a time."""

    async def some() -> None:
        for _ in range(count // 20):
            await exchange(api, make())

    await asyncio.gather(*(some() for _ in range(20)))


def lines_of(log: str, event: str) -> list[dict[str, Any]]:
    """Read the log's lines of one event."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def logged(api: ApiProcess, event: str, count: int) -> list[dict[str, Any]]:
    """Wait for that many lines of one event: a thread writes them, after the answer perhaps."""

    async def all_there() -> list[dict[str, Any]]:
        found = lines_of(api.log(), event)
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = await until(all_there)
    return found


KINDS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "no-http": ("unreadable request", lambda secret: f"{secret} x\r\n\r\n".encode()),
    "bad-header": ("unreadable request", lambda secret: request(PATH, f"X-Auth-Token : {secret}")),
    "bad-host": ("request refused", lambda secret: request(f"{PATH}?q={secret}", host="<a>")),
    "expect": ("request refused", lambda secret: request(f"/{secret}", "Expect: x")),
    "no-token": ("authentication failed", lambda secret: request(f"{PATH}?q={secret}")),
    "bearer": (
        "authentication failed",
        lambda secret: request(PATH, f"Authorization: Bearer é{secret}"),
    ),
    "event": (
        "authentication failed",
        lambda secret: request(f"/events/s3/{secret}?q={secret}", method="POST"),
    ),
    "sns": (
        "access denied",
        lambda secret: (
            request("/events/s3", "Content-Length: 300", method="POST")
            + json.dumps(
                {
                    "Type": "Notification",
                    "MessageId": secret,
                    "TopicArn": "arn:x",
                    "Message": "m",
                    "Timestamp": "t",
                    "SignatureVersion": "2",
                    "Signature": "s",
                    "SigningCertURL": "u",
                }
            )
            .encode()
            .ljust(300)
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_from_one_source_is_a_few_lines_that_count_it(
    api: ApiProcess, kind: str
) -> None:
    event, make = KINDS[kind]
    secret = f"sesame{secrets.token_hex(8)}"
    count = FLOOD if kind == "no-http" else 200
    await flood(api, lambda: make(secret), count)
    during = await logged(api, event, AT_ONCE)
    assert AT_ONCE <= len(during) <= AT_ONCE + 2  # a minute may end meanwhile
    # Another source is still logged at once.
    await exchange(api, make(secret), source="127.0.0.2")
    await until(lambda: asyncio.sleep(0, lines_of(api.log(), event)[-1]["address"] == "127.0.0.2"))
    await api.stop()
    by_source: Counter[str] = Counter()
    for line in lines_of(api.log(), event):
        by_source[line["address"]] += line.get("count", 1)
    assert by_source == {"127.0.0.1": count, "127.0.0.2": 1}
    assert secret not in api.log()
    assert "Authorization" not in api.log()


async def test_a_refusal_says_who_was_refused_where_and_why(
    api: ApiProcess, service: Service
) -> None:
    client = service.client
    own, wrong = f"X-Auth-Token: {client.token}", f"X-Auth-Token: {'f' * 64}"
    async with service.database.acquire() as connection:
        reader = await tokens.issue_token(connection, client.organization_id, "r", scope="read")
        own_id = await connection.fetchval("SELECT min(id) FROM tokens")
    organization = f"X-Organization-Id: {client.organization_id}"
    await exchange(api, request())
    await exchange(api, request(f"{PATH}/7?secret=x", wrong, organization, method="DELETE"))
    await exchange(api, request(PATH, own, "X-Organization-Id: 0"))
    limited = f"X-Auth-Token: {reader.plain}"
    await exchange(api, request(f"{PATH}/7", limited, organization, method="DELETE"))
    common = {"address": "127.0.0.1", "route": PATH}
    found = [
        {name: line[name] for name in line if name not in ("level", "logger", "timestamp")}
        for event in ("authentication failed", "access denied")
        for line in await logged(api, event, 2)
    ]
    known = {"organization": client.organization_id}
    assert found == [
        {"event": "authentication failed", "reason": "no token", "method": "GET", **common},
        {
            "event": "authentication failed",
            "reason": "unknown token",
            "method": "DELETE",
            **common,
            "route": f"{PATH}/{{id}}",
        },
        {
            "event": "access denied",
            "reason": "wrong organization",
            "method": "GET",
            **common,
            **known,
            "token": own_id,
        },
        {
            "event": "access denied",
            "reason": "outside the scope",
            "method": "DELETE",
            **common,
            **known,
            "route": f"{PATH}/{{id}}",
            "token": reader.id,
        },
    ]
    for secret in (client.token, reader.plain, "f" * 64, "secret"):
        assert secret not in api.log()


async def test_every_delete_is_a_line_of_its_own(api: ApiProcess, service: Service) -> None:
    client = service.client
    ids = [int((await client.create())["data"]["id"]) for _ in range(AT_ONCE + 5)]
    headers = f"X-Auth-Token: {client.token}", f"X-Organization-Id: {client.organization_id}"
    for number in ids:
        await exchange(api, request(f"{PATH}/{number}", *headers, method="DELETE"))
    await exchange(api, request(f"{PATH}/{ids[0]}", *headers, method="DELETE"))  # gone: no line
    found = await logged(api, "attachment deleted", len(ids))
    assert [line["attachment"] for line in found] == ids
    token = await service.database.fetchval("SELECT id FROM tokens")
    for line in found:
        assert (line["organization"], line["token"], line["address"], line["level"]) == (
            client.organization_id,
            token,
            "127.0.0.1",
            "info",
        )
    assert client.token not in api.log()


async def test_requests_that_reach_no_route_are_counted(service: Service) -> None:
    def count(reason: str) -> float:
        pattern = rf'attachments_refused_requests_total{{reason="{reason}"}} (\S+)'
        found = re.search(pattern, service.metrics())
        return float(found[1]) if found else 0.0

    before = {reason: count(reason) for reason in ("unreadable", "host", "expect")}
    url = urlsplit(service.base_url)
    for sent in (b"x\r\n\r\n", request(host="<a>"), request(PATH, "Expect: x")):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(sent)
        await reader.read()
        writer.close()
    assert {reason: count(reason) - old for reason, old in before.items()} == {
        "unreadable": 1,
        "host": 1,
        "expect": 1,
    }


# -- dead letters ------------------------------------------------------------------------------


async def origins(service: Service) -> Counter[str]:
    """Count the dead letters of each origin."""
    rows = await service.database.fetch("SELECT origin FROM dead_letters")
    return Counter(row[0] for row in rows)


async def post_event(api: ApiProcess, body: bytes, source: str) -> None:
    """Post an event from an address of loopback; it must be taken."""
    head = request(
        "/events/s3",
        f"Authorization: Bearer {EVENTS_TOKEN}",
        f"Content-Length: {len(body)}",
        method="POST",
    )
    assert (await exchange(api, head + body, source=source)).startswith(b"HTTP/1.1 200")


async def test_a_flood_of_one_origin_drops_only_its_own_letters(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    settings = load_settings(
        database_url="postgresql://h/d",
        broker_url="redis://h",
        s3_bucket=BUCKET,
        files_secret="a secret of the tests",
        dead_letters="200",
    )

    async def keep(origin: str, number: int) -> None:
        async with connection.transaction():
            body = f"{origin} {number}".encode()
            await dead_letters.lock(connection)
            assert await dead_letters.keep(
                connection, body, source="webhook", origin=origin, dialect=None, reason="r"
            )
            await dead_letters.prune(connection, settings, [origin])

    for number in range(5):
        await keep("b", number)
    for number in range(5000):
        await keep("a", number)
    rows = await connection.fetch("SELECT origin, body FROM dead_letters ORDER BY id")
    assert Counter(row[0] for row in rows)["b"] == 5
    assert 198 <= len(rows) <= 200
    assert rows[-1][1] == b"a 4999"
    # Two floods share the room; neither drops the letters of the third.
    for number in range(200):
        await keep("c", number)
    found = Counter(row[0] for row in await connection.fetch("SELECT origin FROM dead_letters"))
    assert found["b"] == 5
    assert abs(found["a"] - found["c"]) <= 2
    counted = dict(
        tuple(row)
        for row in await connection.fetch("SELECT origin, letters FROM dead_letter_origins")
    )
    assert counted == {**found, "": found.total()}


async def test_an_origin_holds_a_bounded_number_of_bytes(
    connection: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MAX_ORIGIN_BYTES", 1000)
    settings = load_settings(
        database_url="postgresql://h/d",
        broker_url="redis://h",
        s3_bucket=BUCKET,
        files_secret="a secret of the tests",
    )
    for number in range(30):
        for origin in ("a", "b"):
            body = f"{origin}{number}".encode().ljust(300 if origin == "a" else 30)
            await dead_letters.keep(
                connection, body, source="webhook", origin=origin, dialect=None, reason="r"
            )
            await dead_letters.prune(connection, settings, [origin])
    rows = await connection.fetch("SELECT origin, body FROM dead_letters ORDER BY id DESC")
    assert [row[1].strip() for row in rows if row[0] == "a"] == [b"a29", b"a28", b"a27"]
    assert sum(row[0] == "b" for row in rows) == 30


async def test_a_flood_of_events_leaves_the_letters_of_other_addresses(
    api: ApiProcess, service: Service
) -> None:
    for number in range(5):
        await post_event(api, b"other %d" % number, "127.0.0.2")
    numbers = iter(range(3 * BURST))

    async def some() -> None:
        for number in numbers:
            await post_event(api, b"flood %d" % number, "127.0.0.1")

    await asyncio.gather(*(some() for _ in range(8)))
    found = await origins(service)
    flooding, other = "webhook token 1 127.0.0.1 unknown", "webhook token 1 127.0.0.2 unknown"
    assert found.keys() == {flooding, other}
    assert found[other] == 5
    assert found[flooding] >= BURST
    # A message that is kept already is counted, even if no more are kept.
    await post_event(api, b"flood 0", "127.0.0.1")
    assert (
        await service.database.fetchval(
            "SELECT count FROM dead_letters WHERE body = $1", b"flood 0"
        )
        == 2
    )
    assert len(lines_of(api.log(), "unreadable event")) <= 2 * FAULTS_AT_ONCE + 1


# -- tokens that nobody knows ------------------------------------------------------------------


async def test_without_a_token_the_database_is_not_asked(service: Service) -> None:
    async with running_proxy(service.environment["ATTACHMENTS_DATABASE_URL"]) as proxy:
        api = ApiProcess(service.environment, database_url=proxy.url)
        try:
            await api.start()
            proxy.cut()
            assert (await exchange(api, request())).startswith(b"HTTP/1.1 401")
            event = request("/events/s3/no-such-token", method="POST")
            assert (await exchange(api, event)).startswith(b"HTTP/1.1 401")
            unknown = request(PATH, "X-Auth-Token: unknown")
            assert (await exchange(api, unknown)).startswith(b"HTTP/1.1 503")
        finally:
            api.close()


async def test_made_up_tokens_leave_connections_to_known_ones(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(database_pool="4")
    await service.client.create()
    running, most = 0, 0
    real = find_caller

    async def slow(connection: Any, digest: bytes) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.3)
            return await real(connection, digest)
        finally:
            running -= 1

    monkeypatch.setattr(callers, "find_caller", slow)
    strangers = asyncio.gather(
        *(
            service.client.request("GET", PATH, headers={"X-Auth-Token": secrets.token_hex(32)})
            for _ in range(40)
        )
    )

    async def are_looked_up() -> bool:
        return running > 0

    await until(are_looked_up)
    known = [await service.client.request("GET", PATH) for _ in range(5)]
    statuses = {answer.status for answer in await strangers}
    assert {answer.status for answer in known} == {200}
    assert statuses <= {401, 503}
    assert 503 in statuses
    assert most <= 2


def test_a_client_of_ipv6_is_one_source_with_its_whole_network() -> None:
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::1") != source_of("2001:db8:1:2::1")
    assert source_of("10.0.0.1") == "10.0.0.1"
    assert source_of("") == "unknown"


async def test_only_refusals_without_a_known_token_wait_for_their_pace(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = 0

    async def wait(_self: Pace) -> None:
        nonlocal waited
        waited += 1

    monkeypatch.setattr(Pace, "wait", wait)
    client, unknown = service.client, {"X-Auth-Token": "unknown"}
    created = await client.create()
    for path in (f"{PATH}/{created['data']['id']}", f"{PATH}/1", f"{PATH}?sort=name"):
        await client.request("GET", path)
    assert (await client.request("GET", "/health/ready")).status == 200
    assert waited == 0
    for path, headers in ((PATH, unknown), (PATH, {"X-Auth-Token": ""}), ("/nowhere", {})):
        assert (await client.request("GET", path, headers=headers)).status in (401, 404)
    answer = await client.request("POST", "/events/s3", {}, headers={"X-Auth-Token": ""})
    assert answer.status == 401
    assert waited == 4
