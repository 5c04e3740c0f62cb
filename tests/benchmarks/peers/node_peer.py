"""Runs the peer in Node, whose packages are installed once into a folder of the machine's cache."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

import aiobotocore.session
import aiohttp
import asyncpg

from deploy.embedded.ports import choose_port
from tests.benchmarks.backlog import Worked
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.site import Site
from tests.support.service import until

SOURCE: Final = Path(__file__).parent / "node"
CACHE: Final = Path.home() / ".cache" / "attachments-benchmarks"

TABLE: Final = """
CREATE TABLE uploads (
    key text PRIMARY KEY, state text NOT NULL DEFAULT 'pending', content_type text, size bigint,
    width integer, height integer, uploaded_at timestamptz, processed_at timestamptz
)
"""


def missing() -> str | None:
    """Return the name of the program that the peer lacks, or None if it can run."""
    return next((name for name in ("node", "npm") if shutil.which(name) is None), None)


def install() -> Path:
    """Install the peer's packages as the lock file pins them. Returns the folder of the peer."""
    lock = SOURCE / "package-lock.json"
    folder = CACHE / f"node-{sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not (folder / "node_modules").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", lock.name):
            shutil.copy(SOURCE / name, folder)
        try:
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
        except BaseException:
            shutil.rmtree(folder)
            raise
    shutil.copy(SOURCE / "server.mjs", folder)
    return folder


class NodePeer:
    """A running API and worker of the peer."""

    def __init__(self, site: Site, database: asyncpg.Connection, url: str, pids: list[int]) -> None:
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
                keys.append(f"peers/{self._number}")
                await s3.put_object(Bucket=weed.bucket, Key=keys[-1], Body=content)
        await self._database.executemany("INSERT INTO uploads (key) VALUES ($1)", zip(keys))
        return keys


@asynccontextmanager
async def running_node(site: Site) -> AsyncIterator[NodePeer]:
    """Run the peer's API and worker in the block, with a database of their own."""
    folder = await asyncio.to_thread(install)
    admin = await asyncpg.connect(site.stack.postgres.url)
    await admin.execute("CREATE DATABASE node_peer")
    await admin.close()
    url = site.stack.postgres.database_url("node_peer")
    weed, port = site.stack.seaweedfs, choose_port()
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_ENV": "production",
        "DATABASE_URL": url,
        "BROKER_URL": site.stack.valkey.url,
        "BUCKET": weed.bucket,
        "REGION": weed.region,
        "ENDPOINT_URL": weed.url,
        "AWS_ACCESS_KEY_ID": weed.access_key_id,
        "AWS_SECRET_ACCESS_KEY": weed.secret_access_key,
    }
    async with AsyncExitStack() as stack:
        database = await asyncpg.connect(url)
        stack.push_async_callback(database.close)
        await database.execute(TABLE)
        pids = []
        for role in (["api", str(port)], ["worker"]):
            log = stack.enter_context((folder / f"{role[0]}.log").open("w+b"))
            process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                ["node", "server.mjs", *role], cwd=folder, env=environment, stdout=log, stderr=log
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            pids.append(process.pid)
            await until(partial(_is_ready, log, process), within_s=60)
        yield NodePeer(site, database, f"http://127.0.0.1:{port}", pids)


async def _is_ready(log: IO[bytes], process: "subprocess.Popen[bytes]") -> bool:
    printed = os.pread(log.fileno(), 100_000, 0).decode(errors="replace")
    assert process.poll() is None, printed
    return '{"ready":' in printed
