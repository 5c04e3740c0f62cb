"""The service's own processes (API, worker, consumer) in a stack, and checks that they work."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from deploy.processes.supervisor import Child, Program, WriteLine, start

START_S = 30.0
COMMANDS = {"api": ("api",), "worker": ("worker",), "consume": ("deploy", "consume")}

Check = Callable[[], Awaitable[bool]]


@dataclass(kw_only=True)
class Service:
    """A process of the service.

    The first start waits until `ready` is true. A restart waits only until `alive` is true, because
    PostgreSQL or the broker may be down then, and the process itself waits for them.
    """

    name: str
    env: Mapping[str, str]
    directory: Path
    write_line: WriteLine
    ready: Check
    alive: Check
    child: Child | None = None

    async def start(self) -> None:
        """Run the process and wait until its check succeeds. Raises StartFailed after START_S."""
        program = Program(
            name=self.name,
            # With -P, Python does not import modules from the working directory. This is the data
            # directory, where some folders have the names of packages.
            argv=(sys.executable, "-P", "-m", *COMMANDS[self.name]),
            env=self.env,
            cwd=self.directory,
            write_line=self.write_line,
        )
        self.child = await start(program, self.alive if self.child else self.ready, START_S)

    async def stop(self, grace_s: float) -> None:
        """Stop the process; kill it if it still runs after `grace_s` seconds."""
        if self.child is not None:
            await self.child.stop(grace_s)


async def answers(url: str) -> bool:
    """Return True if a GET request is answered with 200 within 2 s."""
    try:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def is_consumed(broker_url: str) -> bool:
    """Return True if a worker waits for messages at the broker.

    The check uses CLIENT LIST. If the broker forbids this command, also returns True.
    """
    try:
        async with redis.asyncio.from_url(broker_url, socket_timeout=2) as client:
            return any(each.get("cmd") == "brpop" for each in await client.client_list())
    except ResponseError:
        return True
    except (RedisError, OSError):
        return False


async def is_reachable(broker_url: str) -> bool:
    """Return True if the broker answers a PING."""
    try:
        async with redis.asyncio.from_url(broker_url, socket_timeout=2) as client:
            return bool(await client.ping())
    except (RedisError, OSError):
        return False


async def always() -> bool:
    """Return True. This is the check of a process that only has to run."""
    return True
