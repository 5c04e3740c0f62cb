"""Runs the peer in Python, with the packages that `make bench` installs."""

import sys
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy.embedded.ports import choose_port
from tests.benchmarks.peers.peer import Peer, Program, running_peer
from tests.benchmarks.site import Site

ROOT: Final = Path(__file__).parents[3]
SOURCE: Final = "tests.benchmarks.peers.python"
PACKAGES: Final = ("boto3", "fastapi", "httptools", "psycopg", "uvicorn")


def missing() -> str | None:
    """Return the name of the package that the peer lacks, or None if it can run."""
    return next((name for name in PACKAGES if find_spec(name) is None), None)


def running_python(site: Site, *, processes: int, broker: int) -> AbstractAsyncContextManager[Peer]:
    """Run uvicorn and a Celery worker with `processes` child processes in the block.

    `broker` is the number of the broker's database, which no other peer may use.
    """
    port = choose_port()
    server = [f"{SOURCE}.peer_api:app", f"--port={port}", "--no-access-log"]
    worker = ["worker", f"--concurrency={processes}", "--loglevel=WARNING"]
    fewer_messages = ["--without-gossip", "--without-mingle"]
    return running_peer(
        f"python_peer_{processes}",
        site,
        folder=ROOT,
        api=Program(argv=[sys.executable, "-m", "uvicorn", *server], ready="Uvicorn running on"),
        worker=Program(
            argv=[
                *(sys.executable, "-m", "celery", f"--app={SOURCE}.peer_tasks:celery"),
                *worker,
                *fewer_messages,
            ],
            ready="the worker is ready",
        ),
        port=port,
        environment={"BROKER_URL": f"{site.stack.valkey.url.rpartition('/')[0]}/{broker}"},
    )
