"""The log while the broker, the database or the store is unavailable.

Each process logs an outage as warnings: one at the beginning, one with a count in each interval,
and one at the end. There is no other warning and no traceback.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg
import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import pytest_asyncio
import redis.asyncio

from tests.support.database_faults import crash
from tests.support.faults import closed_port
from tests.support.log_lines import Line, named
from tests.support.lossy_site import Site, running_site
from tests.support.service import until
from tests.support.service_processes import ServiceProcess
from tests.support.stack import Stack

pytestmark = pytest.mark.fault

ALL = ("api", "worker", "consumer")

EVERY_S = 0.5
"""The pause, in seconds, between two uses of all servers. Each use makes a copy, which workers
process after the outage.
"""

GiveBack = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A server, the log events of its outage, and the processes that use it or need it."""

    lost: str
    back: str
    used_by: Sequence[str]
    needed_by: Sequence[str] = ()


DATABASE = Part(lost="database is unavailable", back="database is back", used_by=ALL, needed_by=ALL)
BROKER = Part(
    lost="broker is unavailable; the sweep takes over", back="broker is back", used_by=ALL
)
STORE = Part(
    lost="store is unavailable",
    back="store is back",
    used_by=("api", "worker"),
    needed_by=("worker",),
)
PARTS = (DATABASE, BROKER, STORE)


async def killed_database(site: Site) -> GiveBack:
    await crash(site.postgres)
    return site.postgres.start


async def frozen_database(site: Site) -> GiveBack:
    assert site.postgres.child is not None
    server = psutil.Process(site.postgres.child.pid)
    processes = [server, *server.children(recursive=True)]
    for each in processes:
        each.suspend()

    async def thaw() -> None:
        for each in processes:
            each.resume()

    return thaw


async def read_only_database(site: Site) -> GiveBack:
    async def set_to(value: str) -> None:
        connection = await asyncpg.connect(site.postgres.url)
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()

    await set_to("on")
    return partial(set_to, "off")


async def killed_broker(site: Site) -> GiveBack:
    site.valkey.kill()
    return site.valkey.start


async def frozen_broker(site: Site) -> GiveBack:
    assert site.valkey.child is not None
    pid = site.valkey.child.pid
    os.kill(pid, signal.SIGSTOP)

    async def thaw() -> None:
        os.kill(pid, signal.SIGCONT)

    return thaw


async def read_only_broker(site: Site) -> GiveBack:
    async def command(*words: str) -> None:
        async with redis.asyncio.from_url(site.valkey.url) as client:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]  # in redis-py

    await command("REPLICAOF", "127.0.0.1", str(closed_port()))
    return partial(command, "REPLICAOF", "NO", "ONE")


async def killed_store(site: Site) -> GiveBack:
    site.seaweedfs.kill()
    return site.seaweedfs.start


@pytest_asyncio.fixture(scope="module")
async def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Start the service's processes, and only then the servers that they use."""
    async with running_site(stack, tmp_path_factory.mktemp("site")) as running:
        relay, before = stack.relay, stack.relay.target
        await until(
            partial(has_all, running, DATABASE, counted=False), within_s=60, every_s=EVERY_S
        )
        await running.postgres.start()
        # Processes use the broker and the store only after the database has answered.
        for part in (BROKER, STORE):
            await until(
                partial(has_all, running, part, counted=False), within_s=60, every_s=EVERY_S
            )
        await asyncio.gather(running.valkey.start(), running.seaweedfs.start())
        for part in PARTS:
            await until(partial(is_over, running, part), within_s=60, every_s=EVERY_S)
        await until(lambda: asyncio.sleep(0, named(running.worker.log(), "worker is ready")))
        await running.recovered()
        running.first_lines = {each: running.new_lines(each) for each in running.processes}
        relay.target = running.api.url
        yield running
        relay.target = before


def users(site: Site, names: Sequence[str]) -> list[ServiceProcess]:
    return [getattr(site, name) for name in names]


def warnings(lines: Sequence[Line]) -> list[Line]:
    """Return the lines above level info, and the lines with a traceback."""
    return [each for each in lines if each["level"] not in ("debug", "info") or "exception" in each]


async def has_all(site: Site, part: Part, *, counted: bool) -> bool:
    """Use every server. Return True if all processes that use `part` have logged its outage.

    If `counted` is true, each must have logged a line with a count.
    """
    await site.use_everything()
    return all(
        any(
            line["event"] == part.lost and ("count" in line or not counted)
            for line in site.new_lines(process)
        )
        for process in users(site, part.used_by)
    )


async def is_over(site: Site, part: Part) -> bool:
    """Use every server. Return True if all users of `part` have logged the end of its outage."""
    await site.use_everything()
    return all(
        any(line["event"] == part.back for line in site.new_lines(process))
        for process in users(site, part.used_by)
    )


def check_outage(lines: Sequence[Line], part: Part) -> None:
    """Assert that the first line begins an outage, the last ends it, and each other has a count."""
    assert {each["level"] for each in lines} == {"warning"}
    assert not [each for each in lines if "exception" in each]
    first, *counts, last = lines
    assert first["event"] == part.lost, first
    assert "count" not in first
    assert {each["event"] for each in counts} <= {part.lost}, lines
    assert all(each["count"] > 0 and each["lasts_s"] > 0 for each in counts)
    assert last["event"] == part.back
    assert last["lasted_s"] > 0
    # No line about the outage has the id of a request or of an attachment.
    assert not [each for each in lines if {"request_id", "attachment"} & set(each)]


async def test_parts_that_are_missing_at_the_start_are_outages_and_nothing_else(
    site: Site,
) -> None:
    for process in site.processes:
        found = warnings(site.first_lines[process])
        for part in PARTS:
            lines = [each for each in found if each["event"] in (part.lost, part.back)]
            if process in users(site, part.used_by):
                check_outage(lines, part)
            found = [each for each in found if each not in lines]
        assert not found


@pytest.mark.parametrize(
    ("part", "lose"),
    [
        (DATABASE, killed_database),
        (DATABASE, frozen_database),
        (DATABASE, read_only_database),
        (BROKER, killed_broker),
        (BROKER, frozen_broker),
        (BROKER, read_only_broker),
        (STORE, killed_store),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_an_outage_is_all_that_a_process_warns_of(
    site: Site, part: Part, lose: Callable[[Site], Awaitable[GiveBack]]
) -> None:
    site.mark()
    copying = await site.begin_work()
    give_back = await lose(site)
    site.let_work_end()
    try:
        await until(partial(has_all, site, part, counted=True), within_s=60, every_s=EVERY_S)
        for process in site.processes:
            assert await site.health(process, "live") == 200
        if lose is not read_only_database:  # a read-only database still answers queries
            for process in users(site, part.needed_by):
                assert await site.health(process, "ready") == 503
    finally:
        await give_back()
        await asyncio.gather(copying, return_exceptions=True)
    await until(partial(is_over, site, part), within_s=60, every_s=EVERY_S)
    await site.recovered()
    for process in site.processes:
        found = warnings(site.new_lines(process))
        if process in users(site, part.used_by):
            check_outage(found, part)
            assert len(found) > 2
        else:
            assert not found
