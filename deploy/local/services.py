"""The processes of ours as parts of a stack, and how to tell that each of them works."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from deploy.processes.supervisor import Child, Program, Say, start

START_S = 30.0
COMMANDS = {"api": ("api",), "worker": ("worker",), "consume": ("deploy", "consume")}

Check = Callable[[], Awaitable[bool]]


@dataclass(kw_only=True)
class Service:
    """A process of ours. At first it must be `ready`; started again it must only be `alive`:

    what it needs may be away by then, and it waits for that better than we do.
    """

    name: str
    env: Mapping[str, str]
    directory: Path
    say: Say
    ready: Check
    alive: Check
    child: Child | None = None

    async def start(self) -> None:
        """Run the process and wait for it. Raises StartFailed."""
        program = Program(
            name=self.name,
            # -P: the data directory has folders with the names of packages
            argv=(sys.executable, "-P", "-m", *COMMANDS[self.name]),
            env=self.env,
            cwd=self.directory,
            say=self.say,
        )
        self.child = await start(program, self.alive if self.child else self.ready, START_S)

    async def stop(self, grace_s: float) -> None:
        """Stop the process, and kill it if that takes longer."""
        if self.child is not None:
            await self.child.stop(grace_s)


async def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def is_consumed(broker_url: str) -> bool:
    """Whether a worker waits at the broker; taken for granted where the broker does not tell."""
    try:
        async with redis.asyncio.from_url(broker_url, socket_timeout=2) as client:
            return any(each.get("cmd") == "brpop" for each in await client.client_list())
    except ResponseError:
        return True
    except (RedisError, OSError):
        return False


async def is_reachable(broker_url: str) -> bool:
    """Whether the broker answers us."""
    try:
        async with redis.asyncio.from_url(broker_url, socket_timeout=2) as client:
            return bool(await client.ping())
    except (RedisError, OSError):
        return False


async def always() -> bool:
    """Ask for nothing more than that the process runs."""
    return True
