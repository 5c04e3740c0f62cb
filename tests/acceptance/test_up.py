"""`attachments up`, run as an operator runs it."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest

from deploy.local.data_dir import local_environment
from tests.support.service import Client, scrape
from tests.support.up import (
    NAMES,
    START_S,
    STOP_S,
    Up,
    command,
    environment,
    printed_json,
    refused,
    running,
    s3_client,
    until,
)

LARGEST_BYTES = 314_572_800
KEYS = {
    "api_url",
    "token",
    "organization_id",
    "bucket",
    "s3_endpoint_url",
    "s3_access_key_id",
    "s3_secret_access_key",
    "s3_region",
    "upload_url",
    "events_url",
    "events_token",
    "database_url",
    "broker_url",
    "metrics_urls",
    "upload_page_url",
    "pids",
}


def left_of(tree: list[psutil.Process], *, within_s: float) -> list[psutil.Process]:
    """Return the processes that still run. Zombies, which only wait for init, do not count."""
    left = []
    for process in psutil.wait_procs(tree, timeout=within_s)[1]:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


@asynccontextmanager
async def client_of(document: dict[str, Any]) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(
            session=session,
            base_url=document["api_url"],
            organization_id=document["organization_id"],
            token=document["token"],
        )


async def is_served(document: dict[str, Any]) -> bool:
    async with client_of(document) as client:
        return (await client.request("GET", "/api/v2/attachments")).status == 200


def without_pids(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "pids"}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run a local stack that several tests share. Tests that stop a stack start their own."""
    data_dir = tmp_path_factory.mktemp("up") / "data"
    with running(data_dir, "--decoders", "1") as shared:
        yield shared


async def test_everything_answers_once_the_ready_file_is_there(up: Up) -> None:
    document = up.document()
    assert set(document) == KEYS
    assert set(document["pids"]) == set(NAMES)
    assert set(document["metrics_urls"]) == {"api", "worker"}
    assert all(psutil.pid_exists(pid) for pid in document["pids"].values())
    assert (document["organization_id"], await is_served(document)) == (1, True)
    assert "tables are missing" not in up.log.read_text()
    assert stat.S_IMODE(up.ready_file.stat().st_mode) == 0o600
    assert json.loads((up.data_dir / "ready.json").read_bytes()) == document


def test_everything_listens_on_loopback_only(up: Up) -> None:
    assert {address for address, _ in up.listening()} == {"127.0.0.1"}


def test_no_secret_can_be_read_by_other_users(up: Up) -> None:
    document = up.document()
    secrets = [
        document["token"],
        document["events_token"],
        document["s3_secret_access_key"],
        document["database_url"].split("@")[0].rpartition(":")[2],
        document["broker_url"].split("@")[0].rpartition(":")[2],
    ]
    lines = " ".join(word for process in up.tree() for word in process.cmdline())
    assert not [secret for secret in secrets if secret in lines]
    for path in up.data_dir.glob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_store_sends_the_api_events_of_new_objects(up: Up) -> None:
    document = up.document()
    async with s3_client(document) as store:
        await store.put_object(Bucket=document["bucket"], Key="some/key", Body=b"abc")
        deadline = time.monotonic() + 5
        while 'dialect="seaweedfs"' not in await scrape(document["metrics_urls"]["api"]):
            assert time.monotonic() < deadline, "no event arrived"
            await asyncio.sleep(0.05)


async def test_an_object_of_the_greatest_size_is_taken(up: Up) -> None:
    document = up.document()
    async with s3_client(document) as store:
        body = bytes(LARGEST_BYTES)
        await store.put_object(Bucket=document["bucket"], Key="large", Body=body)
        found = await store.head_object(Bucket=document["bucket"], Key="large")
    assert found["ContentLength"] == LARGEST_BYTES


def test_other_commands_find_its_environment(up: Up, tmp_path: Path) -> None:
    document = up.document()
    found = local_environment(up.data_dir)
    assert found is not None
    assert found["ATTACHMENTS_DATABASE_URL"] == document["database_url"]
    assert found["ATTACHMENTS_DECODERS"] == "1"
    assert found["ATTACHMENTS_API_URL"] == document["api_url"]
    assert found["ATTACHMENTS_TOKEN"] == document["token"]
    assert found["AWS_SECRET_ACCESS_KEY"] == document["s3_secret_access_key"]
    assert local_environment(tmp_path) is None


async def test_a_data_directory_serves_one_at_a_time(up: Up) -> None:
    printed = refused(up.data_dir, "--ready-file", str(up.ready_file))
    assert printed == f"attachments up: another `attachments up` runs in {up.data_dir}\n"
    assert await is_served(up.document())


@pytest.mark.parametrize("name", NAMES)
async def test_a_part_that_is_killed_is_started_again(up: Up, name: str) -> None:
    before = up.document()
    os.kill(before["pids"][name], signal.SIGKILL)
    until(lambda: up.document()["pids"][name] != before["pids"][name], 20)
    after = up.document()
    assert psutil.pid_exists(after["pids"][name])
    assert after["pids"] == before["pids"] | {name: after["pids"][name]}
    assert without_pids(after) == without_pids(before)
    deadline = time.monotonic() + 5
    while not await is_served(after):
        assert time.monotonic() < deadline, "the API does not answer any more"
        await asyncio.sleep(0.1)


async def test_servers_of_the_settings_are_used_instead(up: Up, data_dir: Path) -> None:
    given = up.document()
    settings = {
        "ATTACHMENTS_DATABASE_URL": given["database_url"],
        "ATTACHMENTS_BROKER_URL": given["broker_url"],
        "ATTACHMENTS_S3_BUCKET": given["bucket"],
        "ATTACHMENTS_S3_ENDPOINT_URL": given["s3_endpoint_url"],
        "AWS_ACCESS_KEY_ID": given["s3_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": given["s3_secret_access_key"],
    }
    with running(data_dir, **settings) as other:
        document = other.document()
        assert set(document["pids"]) == {"api", "worker"}
        same = set(settings.values())
        assert same <= set(map(str, document.values()))
        assert await is_served(document)


def test_a_signal_during_the_start_stops_it_too(data_dir: Path) -> None:
    with subprocess.Popen(
        command(data_dir, "--port", "0"), stdout=subprocess.DEVNULL, env=environment({})
    ) as process:
        until((data_dir / "postgres" / "data.new").exists, START_S)
        tree = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(STOP_S) == 0
        assert not left_of(tree, within_s=0)


def sockets() -> set[Path]:
    """Return the Unix sockets of SeaweedFS, including sockets that killed servers have left."""
    return set(Path("/tmp").glob("*.sock"))


def stops_and_leaves_nothing(up: Up, number: signal.Signals, before: set[Path]) -> None:
    """Send a signal, and assert that no process, socket or ready file is left.

    `before` are the sockets that existed before the run.
    """
    tree = up.tree()
    ports = tuple(str(port) for _, port in up.listening())
    up.process.send_signal(number)
    assert up.process.wait(STOP_S) == 0
    assert not left_of(tree, within_s=0)
    assert not [path for path in sockets() - before if path.stem.endswith(ports)]
    assert not (up.data_dir / "ready.json").exists()
    assert not up.ready_file.exists()


async def test_after_each_end_the_next_run_carries_on(data_dir: Path) -> None:
    others = sockets()
    with running(data_dir) as up:
        before = up.document()
        async with client_of(before) as client, s3_client(before) as store:
            created = await client.create("a.png")
            await store.put_object(Bucket=before["bucket"], Key="kept", Body=b"abc")
        stops_and_leaves_nothing(up, signal.SIGINT, others)
    with running(data_dir, ATTACHMENTS_LOG_FORMAT="json") as up:
        after = up.document()
        page = {"upload_page_url": after["upload_page_url"]}  # the URL has a new secret in each run
        assert without_pids(after) == without_pids(before) | page
        async with client_of(after) as client, s3_client(after) as store:
            assert (await client.show(created["data"]["id"]))["id"] == created["data"]["id"]
            found = await store.get_object(Bucket=after["bucket"], Key="kept")
            assert await found["Body"].read() == b"abc"
        stops_and_leaves_nothing(up, signal.SIGTERM, others)
    printed_json(up.log.read_text())
    with running(data_dir) as up:
        tree = up.tree()
        up.process.kill()  # all processes that `up` has started must end too
        up.process.wait()
        assert not left_of(tree, within_s=5)
    with running(data_dir) as up:
        assert up.document()["token"] == before["token"]
        assert await is_served(up.document())


def test_a_taken_port_is_reported_before_anything_starts(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        printed = refused(data_dir, "--port", str(port))
    assert printed == f"attachments up: port {port} cannot be listened on: Address already in use\n"
    assert not (data_dir / "postgres").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="others have one address of loopback only")
def test_if_the_usual_port_is_taken_the_other_one_is_printed_first_and_last(data_dir: Path) -> None:
    host = "127.80.0.1"  # no program listens at this address
    ready_file, log = data_dir.with_name("ready.json"), data_dir.with_name("log")
    with socket.create_server((host, 8000)), log.open("wb") as output:
        process = subprocess.Popen(
            command(data_dir, "--ready-file", str(ready_file), "--decoders", "1"),
            stdout=output,
            env=environment({"ATTACHMENTS_API_HOST": host}),
        )
        try:
            until(lambda: ready_file.exists() or process.poll() is not None, START_S)
            port = json.loads(ready_file.read_bytes())["api_url"].rpartition(":")[2]
        finally:
            process.terminate()
            process.wait(STOP_S)
    lines = [line for line in log.read_text().splitlines() if line.startswith("up ")]
    sent = f"the API cannot listen on port 8000 (Address already in use): it uses port {port} "
    assert sent in lines[0]
    assert lines[0] == lines[-2]
    assert lines[-1].endswith("| stopping")


def test_unusable_settings_are_reported_before_anything_starts(data_dir: Path) -> None:
    stale = data_dir.with_name("ready.json")
    stale.write_text("{}")
    options = ("--port", "0", "--ready-file", str(stale))
    printed = refused(data_dir, *options, ATTACHMENTS_MAX_SIZE="many")
    assert "ATTACHMENTS_MAX_SIZE" in printed
    assert "Traceback" not in printed
    assert not stale.exists()
    assert not (data_dir / "postgres").exists()
