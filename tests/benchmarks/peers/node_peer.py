"""Runs the peer in Node, whose packages are installed once into a folder of the machine's cache."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from deploy.embedded.ports import choose_port
from tests.benchmarks.peers.peer import CACHE, Peer, Program, running_peer
from tests.benchmarks.site import Site

SOURCE: Final = Path(__file__).parent / "node"


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


@asynccontextmanager
async def running_node(site: Site) -> AsyncIterator[Peer]:
    """Install the peer, and run its API and worker in the block."""
    folder, port = await asyncio.to_thread(install), choose_port()
    async with running_peer(
        "node_peer",
        site,
        folder=folder,
        api=Program(argv=["node", "server.mjs", "api", str(port)], ready='{"ready":'),
        worker=Program(argv=["node", "server.mjs", "worker"], ready='{"ready":'),
        port=port,
        environment={"NODE_ENV": "production"},
    ) as peer:
        yield peer
