"""Workers and decoders on a machine that cannot load the decoders' filter of system calls."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil  # type: ignore[import-untyped]  # the locks include no stubs for this package
import pytest
import structlog
from pydantic import SecretStr

from deploy.doctor.examination import Examination
from deploy.doctor.seal import check_seal
from shared.errors import DecoderFault
from tests.data import images
from tests.support.decoders import children, decode, find_zygotes
from tests.support.seal import ROOT, python_that_cannot_seal
from tests.support.settings import VALID
from worker.decoding.decoders import Decoders
from worker.sandbox.privileges import BOX_USER
from worker.sandbox.sealing import find_obstacle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux"),
    pytest.mark.usefixtures("ended_decoders"),
]


OBSTACLES = {
    "no library": "libseccomp.so.2 cannot be loaded: install libseccomp 2"
    " (Debian and Ubuntu: libseccomp2; Fedora: libseccomp)",
    "no filter": "the kernel refuses the filter: allow the system calls seccomp and prctl"
    " in the security profile of the container or service",
}
STARTING = """
import sys
sys.executable = sys.argv[1]
from deploy.cli import run
sys.exit(run(["worker"]))
"""


def start_worker(program: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `attachments worker` until it ends.

    `program` replaces the Python executable with which the worker starts its child processes.
    """
    environment = {f"ATTACHMENTS_{name}": value for name, value in {**VALID, **variables}.items()}
    return subprocess.run(
        [sys.executable, "-c", STARTING, program],
        cwd=ROOT,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_worker_that_must_seal_and_cannot_does_not_start(obstacle: str, tmp_path: Path) -> None:
    program = python_that_cannot_seal(tmp_path, obstacle)
    ended = start_worker(program, {"DECODER_SEAL": "required"})
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "attachments: these settings cannot be used:",
        "  ATTACHMENTS_DECODER_SEAL: is required, but decoders cannot be sealed here: "
        + OBSTACLES[obstacle],
    ]


def test_a_word_that_is_none_is_refused() -> None:
    ended = start_worker(sys.executable, {"DECODER_SEAL": "always"})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[1:] == [
        "  ATTACHMENTS_DECODER_SEAL: input should be 'preferred' or 'required'"
    ]


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_a_decoder_that_must_be_sealed_and_is_not_gets_no_file(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asyncio.to_thread(find_obstacle) is None
    pool = Decoders(1, timeout_s=20, must_be_sealed=True)
    await pool.warm_up()
    spares = children()
    assert spares
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, obstacle))
    (zygote,) = find_zygotes(os.getpid())
    zygote.kill()
    # The kernel kills the decoders together with their zygote. Wait until they have ended, because
    # the socket of a decoder may be open until then.
    _, alive = await asyncio.to_thread(psutil.wait_procs, spares, 10)
    assert alive == []
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(DecoderFault, match="decoder_fault"),
    ):
        await decode(pool, images.photo())
    refusal = "decoder is not sealed: no file is sent to it"
    assert refusal in [entry["event"] for entry in logged]
    (zygote,) = find_zygotes(os.getpid())
    zygote.kill()
    monkeypatch.undo()
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_one_that_may_be_unsealed_decodes_all_the_same(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, obstacle))
    pool = Decoders(1, timeout_s=20)
    assert (await decode(pool, images.photo())).facts.width == 800
    assert children()
    for child in children():
        assert (psutil.Process(child.pid).uids().real == BOX_USER) is (os.geteuid() == 0)
    await pool.close()


@pytest.mark.parametrize(
    ("broker", "seal", "status"),
    [
        ("redis://10.0.0.1", "required", "skipped"),
        ("redis://broker.example", "required", "skipped"),
        ("redis://127.0.0.1:6379/0", "required", "failed"),
        ("redis://[::1]", "preferred", "warning"),
        ("rediss://localhost", "preferred", "warning"),
        ("unix:///run/valkey.sock", "required", "failed"),
    ],
)
async def test_a_doctor_reports_if_decoders_on_its_machine_can_be_sealed(
    broker: str, seal: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(broker_url=SecretStr(broker), decoder_seal=seal)
    examination = cast(Examination, SimpleNamespace(settings=settings))
    healthy = await check_seal(examination)
    assert healthy.status == ("skipped" if status == "skipped" else "ok")
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, "no library"))
    verdict = await check_seal(examination)
    assert verdict.status == status
    if status != "skipped":
        assert verdict.mend is not None
        assert verdict.mend.startswith("install libseccomp 2")
