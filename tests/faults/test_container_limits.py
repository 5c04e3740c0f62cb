"""Limits of containers: no writable folder, no user name, process id 1, a stop during the start."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest

from tests.data import images
from tests.support.commands import command
from tests.support.faults import SOON, reaches
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess, WorkerProcess
from tests.support.stack import Stack

pytestmark = pytest.mark.fault

AS_ROOT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root and unshare (Debian package util-linux)",
)
BARE = """
for each in /tmp /var/tmp; do
    mount --bind "$each" "$each" && mount -o remount,bind,ro "$each" || exit 9
done
cd / &&
exec setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps +dac_read_search \
    --ambient-caps +dac_read_search "$@"
"""
"""A shell script that runs a command without a writable folder for temporary files.

The command runs as a user without a name. This user may read every file, so Python can start.
"""


class Pod(WorkerProcess):
    """A worker process that is started by the command `prefix`."""

    prefix: Sequence[str] = ()

    async def start(self) -> "Pod":
        """Start the worker, and wait until it is ready."""
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [*self.prefix, sys.executable, *self.program],
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            return self.sign in self.log()

        await until(ready, within_s=60)
        return self


@AS_ROOT
async def test_an_upload_is_processed_without_a_place_to_write_and_without_a_name(
    service: Service,
) -> None:
    body = images.encode(images.noise(1800, 1300), "PNG")
    assert len(body) > 4 * 1024 * 1024
    pod = Pod(service.environment, **SOON)
    pod.environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    pod.prefix = ("unshare", "--mount", "sh", "-c", BARE, "sh")
    try:
        await pod.start()
        attachment_id = await service.client.upload(body, "img.png")
        row = await reaches(service, attachment_id, "ready", within_s=60)
        assert row.resized
        assert pod.log().count("no folder for temporary files") == 1
    finally:
        pod.close()


@AS_ROOT
@pytest.mark.parametrize("moment_s", [0.5, 1.0, None])
async def test_process_1_of_a_container_ends_on_a_signal(
    service: Service, moment_s: float | None
) -> None:
    pod = Pod(service.environment)
    pod.prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    pod.sign = "" if moment_s is not None else pod.sign
    try:
        await pod.start()
        if moment_s is not None:
            await asyncio.sleep(moment_s)

        async def first() -> int:
            children = psutil.Process(pod.pid).children()
            return int(children[0].pid) if children else 0

        os.kill(await until(first), signal.SIGTERM)
        assert pod.process is not None
        assert await asyncio.to_thread(pod.process.wait, 20) == 0
        assert "Traceback" not in pod.log()
    finally:
        pod.close()


@AS_ROOT
async def test_process_1_waits_for_orphans() -> None:
    orphan = (
        "import os, subprocess, sys, time\n"
        "from shared.beginning import end_on_signal\n"
        "end_on_signal()\n"
        "assert os.getpid() != 1\n"
        "subprocess.run(['sh', '-c', 'sleep 0.1 &'])\n"
        "time.sleep(2)\n"
        "states = subprocess.run(['ps', '-eo', 'stat='], capture_output=True, text=True).stdout\n"
        "sys.exit(7 if 'Z' in states else 3)\n"
    )
    ended = await asyncio.create_subprocess_exec(
        "unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", orphan
    )
    assert await asyncio.wait_for(ended.wait(), 30) == 3


def catches_sigterm(pid: int) -> bool:
    """Return True if a process has a handler for SIGTERM (`SigCgt` in proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt":
            return bool(int(value, 16) >> (signal.SIGTERM - 1) & 1)
    raise AssertionError("the kernel does not report handlers")


async def has_begun(pid: int) -> None:
    """Wait until the program has set its first handler; on macOS, wait half a second instead."""
    if sys.platform != "linux":
        await asyncio.sleep(0.5)
        return

    async def catches() -> bool:
        return await asyncio.to_thread(catches_sigterm, pid)

    await until(catches, within_s=20)


@pytest.mark.parametrize("moment_s", [0.1, 0.3, 0.6, 1.0, 1.8, 2.8])
@pytest.mark.parametrize(
    "program",
    [("api",), ("worker",), ("deploy", "up", "--data-dir", "{folder}")],
    ids=["api", "worker", "up"],
)
async def test_a_process_that_is_stopped_while_it_starts_ends_in_order(
    stack: Stack, database_url: str, tmp_path: Path, program: Sequence[str], moment_s: float
) -> None:
    environment = {"PATH": os.environ["PATH"], "ATTACHMENTS_API_PORT": "0"}
    if program[0] != "deploy":
        environment = {**stack.environment(database_url), **environment}

    async def stop_by(number: signal.Signals) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *(each.format(folder=tmp_path / number.name) for each in program),
            env=environment,
            start_new_session=True,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        # Before the program's first lines have run, Python itself answers SIGINT with a traceback.
        await has_begun(process.pid)
        await asyncio.sleep(moment_s)
        process.send_signal(number)
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        # Until the program can stop in order, a signal simply ends the process.
        assert process.returncode in (0, -number), out
        assert b"Traceback" not in out

    await asyncio.gather(stop_by(signal.SIGTERM), stop_by(signal.SIGINT))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["::", "0:0:0:0:0:0:0:0"])
async def test_everywhere_is_both_families_and_the_checks_find_it(
    service: Service, host: str
) -> None:
    api = ApiProcess(service.environment, api_host=host)
    port = api.environment["ATTACHMENTS_API_PORT"]
    try:
        await api.start()
        async with aiohttp.ClientSession() as session:
            for address in ("127.0.0.1", "[::1]"):
                async with session.get(f"http://{address}:{port}/health/live") as answer:
                    assert answer.status == 200
        for arguments in (("health",), ("health", "--ready")):
            ended = await command(service, *arguments, api_host=host, api_port=port)
            assert ended.status == 0, ended.err
        ended = await command(service, "doctor", "--wait", "1", api_host=host, api_port=port)
        assert "no API at" not in ended.out
    finally:
        api.close()
    ended = await command(service, "health", api_host=host, api_port=port)
    assert ended.status == 1
    assert "no answer" in ended.err
