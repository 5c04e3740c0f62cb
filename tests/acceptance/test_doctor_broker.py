"""`attachments doctor` reports what is wrong with a broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import redis.asyncio

from deploy.embedded.valkey import EmbeddedValkey
from tests.support.doctor import environment, examine
from tests.support.service import Service


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """Start a broker that only this test uses and may break."""
    server = EmbeddedValkey(directory=tmp_path / "valkey")
    await server.start()
    yield server
    await server.stop()


async def configure(valkey: EmbeddedValkey, **options: str) -> None:
    async with redis.asyncio.from_url(valkey.url) as client:
        for name, value in options.items():
            await client.config_set(name.replace("_", "-"), value)


async def test_a_broker_that_is_down_does_not_keep_the_upload_from_being_tried(
    working: Service, closed_port: int
) -> None:
    examined = await examine(environment(working, broker_url=f"redis://127.0.0.1:{closed_port}/0"))
    assert examined.named("failed") == ["broker"]
    found = f"the broker at 127.0.0.1:{closed_port} cannot be reached: connection refused"
    assert examined["broker"]["found"] == found
    assert examined.named("skipped") == ["persistence", "eviction", "rights", "worker"]
    assert examined["thumbnail"]["status"] == "ok"


async def test_a_broker_that_evicts_fails_once_its_memory_is_limited(
    working: Service, valkey: EmbeddedValkey
) -> None:
    await configure(valkey, maxmemory_policy="allkeys-lru", appendonly="no")
    variables = environment(working, broker_url=valkey.url)
    examined = await examine(variables)
    assert examined.named("warning") == ["persistence", "eviction"]
    assert "noeviction" in examined["eviction"]["mend"]
    assert "appendonly yes" in examined["persistence"]["mend"]
    # The check `worker` fails, because no worker takes wake-ups from this broker.
    assert examined.named("failed") == ["worker"]
    assert "attachments worker" in examined["worker"]["mend"]

    await configure(valkey, maxmemory="100mb")
    assert (await examine(variables))["eviction"]["status"] == "failed"


async def test_a_broker_that_does_not_allow_info_is_a_warning(
    working: Service, valkey: EmbeddedValkey
) -> None:
    async with redis.asyncio.from_url(valkey.url) as client:
        await client.acl_setuser(
            "mute",
            enabled=True,
            passwords=["+its-password"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
            commands=["-info", "-client"],
        )
    url = valkey.url.replace(f":{valkey.password}@", "mute:its-password@")
    examined = await examine(environment(working, broker_url=url))
    assert examined.named("warning") == ["broker", "persistence", "eviction", "worker"]

    wrong = url.replace("its-password", "not-its-password")
    examined = await examine(environment(working, broker_url=wrong))
    assert "refuses the user or the password" in examined["broker"]["found"]
