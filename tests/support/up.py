"""Runs of `attachments up`. Each run ends with its `with` block."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
from aiobotocore.session import get_session

from tests.support.forked import Started, start_module
from tests.support.log_lines import named, objects

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

START_S = 120.0
"""The time in which a run must start, in seconds: a busy machine needs ten times the usual 5 s."""
STOP_S = 10.0
NAMES = ("postgres", "valkey", "seaweedfs", "api", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """A running `attachments up` process; its standard output goes to the file `log`."""

    process: Started
    data_dir: Path
    ready_file: Path
    log: Path

    def document(self) -> dict[str, Any]:
        """Parse the JSON document in the ready file."""
        document: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        return document

    def tree(self) -> list[psutil.Process]:
        """Return the `up` process and all its descendants."""
        up = psutil.Process(self.process.pid)
        return [up, *up.children(recursive=True)]

    def listening(self) -> set[tuple[str, int]]:
        """Return the address and port of every TCP socket on which a process of `tree` listens."""
        return {
            (connection.laddr.ip, connection.laddr.port)
            for process in self.tree()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }


def command(data_dir: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "deploy.cli", "up", "--data-dir", str(data_dir), *options]


def environment(settings: dict[str, str]) -> dict[str, str]:
    ours = ("ATTACHMENTS_", "AWS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | settings


def until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)


@contextmanager
def running(data_dir: Path, *options: str, **settings: str) -> Iterator[Up]:
    """Run `attachments up` in the block, and end all its processes at the end.

    The command itself is forked. It starts its processes as usual, each with a new Python.
    """
    ready_file = data_dir.with_name(f"{data_dir.name}-ready.json")
    ready_file.unlink(missing_ok=True)  # a killed run may have left this file
    log = data_dir.with_name(f"{data_dir.name}.log")
    _, *program = command(data_dir, "--port", "0", "--ready-file", str(ready_file), *options)
    with log.open("wb") as output:
        process = start_module(
            program,
            {"PATH": os.environ["PATH"], **settings},
            out=output.fileno(),
            err=2,
        )
    tree: list[psutil.Process] = []
    up = Up(process=process, data_dir=data_dir, ready_file=ready_file, log=log)
    try:
        until(lambda: ready_file.exists() or process.poll() is not None, START_S)
        assert process.poll() is None, "it ended at its start"
        tree = up.tree()
        yield up
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for left in psutil.wait_procs(tree, timeout=1)[1]:
            left.kill()


def printed_json(text: str) -> None:
    """Assert that `up` prints only JSON lines, and prints the lines of its processes unchanged."""
    lines = objects(text)
    assert {"up", "api", "worker"} <= {line["process"] for line in lines}
    (listens,) = named(text, "api listens")
    assert listens["process"] == "api"
    assert listens["logger"] != "output"  # "output" is for lines that are not JSON
    assert isinstance(listens["port"], int)


def refused(data_dir: Path, *options: str, **settings: str) -> str:
    """Run `attachments up` with arguments that must make it fail, and return its error output."""
    run = subprocess.run(
        command(data_dir, *options),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        env=environment(settings),
    )
    assert run.returncode == 1, run
    return run.stderr


def s3_client(document: dict[str, Any]) -> AbstractAsyncContextManager["S3Client"]:
    client: AbstractAsyncContextManager[S3Client] = get_session().create_client(
        "s3",
        endpoint_url=document["s3_endpoint_url"],
        region_name=document["s3_region"],
        aws_access_key_id=document["s3_access_key_id"],
        aws_secret_access_key=document["s3_secret_access_key"],
    )
    return client
