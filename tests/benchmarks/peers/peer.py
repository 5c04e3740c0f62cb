"""Runs a peer, which has an API process and a worker process, and gives it uploads to process.

All peers do the same: an event marks a row as uploaded and queues a job. The job reads the object,
stores a thumbnail of at most 320×320 beside it, and writes type, size, width and height to the row.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

import aiobotocore.session
import aiohttp
import asyncpg

from tests.benchmarks.backlog import Worked
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.site import Site
from tests.support.service import until

CACHE: Final = Path.home() / ".cache" / "attachments-benchmarks"
"""The folder of the installed packages, and of the logs of the last run."""

TABLE: Final = """
CREATE TABLE uploads (
    key text PRIMARY KEY, state text NOT NULL DEFAULT 'pending', content_type text, size bigint,
    width integer, height integer, uploaded_at timestamptz, processed_at timestamptz
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process of a peer. It has started when its log contains the text `ready`."""

    argv: Sequence[str]
    ready: str


class Peer:
    """A running API and worker of a peer."""

    def __init__(
        self, name: str, site: Site, database: asyncpg.Connection, url: str, pids: list[int]
    ) -> None:
        self._name = name
        self._site = site
        self._database = database
        self._url = url
        self._pids = pids
        self._number = 0

    async def work_off(self, files: list[bytes]) -> Worked:
        """Store files, then send their events, and wait until the worker has processed all."""
        keys = await self._store(files)
        before = self._cpu_s()
        async with aiohttp.ClientSession() as session:

            async def post(key: str) -> None:
                async with session.post(f"{self._url}/events", json={"key": key}) as answer:
                    assert answer.status == 204

            await asyncio.gather(*map(post, keys))
        await until(lambda: self._all_ready(keys), within_s=300)
        cpu = self._cpu_s() - before
        seconds = await self._database.fetchval(
            "SELECT extract(epoch FROM max(processed_at) - min(uploaded_at))"
            " FROM uploads WHERE key = ANY($1)",
            keys,
        )
        return Worked(uploads=len(files), seconds=float(seconds), cpu_s=cpu)

    def _cpu_s(self) -> float:
        return sum(map(cpu_s, self._pids))

    async def _all_ready(self, keys: list[str]) -> bool:
        ready = await self._database.fetchval(
            "SELECT count(*) FROM uploads WHERE key = ANY($1) AND state = 'ready'", keys
        )
        return bool(ready == len(keys))

    async def _store(self, files: list[bytes]) -> list[str]:
        weed = self._site.stack.seaweedfs
        keys = []
        async with aiobotocore.session.get_session().create_client(
            "s3",
            region_name=weed.region,
            endpoint_url=weed.url,
            aws_access_key_id=weed.access_key_id,
            aws_secret_access_key=weed.secret_access_key,
        ) as s3:
            for content in files:
                self._number += 1
                keys.append(f"{self._name}/{self._number}")
                await s3.put_object(Bucket=weed.bucket, Key=keys[-1], Body=content)
        await self._database.executemany("INSERT INTO uploads (key) VALUES ($1)", zip(keys))
        return keys


@asynccontextmanager
async def running_peer(
    name: str,
    site: Site,
    *,
    folder: Path,
    api: Program,
    worker: Program,
    port: int,
    environment: Mapping[str, str],
) -> AsyncIterator[Peer]:
    """Run a peer's API and worker in `folder` during the block, with their own database.

    `environment` is added to the settings that all peers have. The logs are in the cache.
    """
    admin = await asyncpg.connect(site.stack.postgres.url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = site.stack.postgres.database_url(name)
    weed = site.stack.seaweedfs
    settings = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": url,
        "BROKER_URL": site.stack.valkey.url,
        "BUCKET": weed.bucket,
        "REGION": weed.region,
        "ENDPOINT_URL": weed.url,
        "AWS_ACCESS_KEY_ID": weed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
        **environment,
    }
    CACHE.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = await asyncpg.connect(url)
        stack.push_async_callback(database.close)
        await database.execute(TABLE)
        pids = []
        for role, program in (("api", api), ("worker", worker)):
            log = stack.enter_context((CACHE / f"{name}-{role}.log").open("w+b"))
            process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                program.argv,
                cwd=folder,
                env=settings,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that children can be killed with their parent
            )
            stack.callback(process.wait)
            stack.callback(_kill, process)
            pids.append(process.pid)
            await until(partial(_is_ready, log, process, program.ready), within_s=60)
        yield Peer(name, site, database, f"http://127.0.0.1:{port}", pids)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _is_ready(log: IO[bytes], process: "subprocess.Popen[bytes]", ready: str) -> bool:
    printed = os.pread(log.fileno(), 100_000, 0).decode(errors="replace")
    assert process.poll() is None, printed
    return ready in printed
