"""The isolation of the processes that find the types of files."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
import structlog

from shared.errors import DecoderFault
from tests.support.seal import NO_CAPABILITY, SETS, python_that_cannot_seal, status_of
from tests.support.sniffers import identify, server_process, sniffing_children
from worker.sandbox.privileges import BOX_USER
from worker.sniffing import child
from worker.sniffing.sniffer import Sniffers

pytestmark = pytest.mark.slow
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
TEXT = b"plain words\n"


@LINUX
async def test_its_children_hold_nothing_and_can_do_nothing(sniffers: Sniffers) -> None:
    await identify(sniffers, TEXT)
    (pid,) = sniffing_children()
    status = await asyncio.to_thread(status_of, pid)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["CapEff"] == status["CapPrm"] == NO_CAPABILITY
    limits = await asyncio.to_thread(Path(f"/proc/{pid}/limits").read_text)
    assert f"Max address space         {child.MAX_MEMORY_BYTES}" in limits
    if os.geteuid() == 0:
        assert status["Uid"] == status["Gid"] == " ".join([str(BOX_USER)] * 4)
        assert status["Groups"] == ""
        assert {name: status[name] for name in SETS} == dict.fromkeys(SETS, NO_CAPABILITY)


@LINUX
async def test_it_inherits_no_environment_and_no_descriptor(
    sniffers: Sniffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    await identify(sniffers, TEXT)
    server = server_process()
    assert server is not None
    assert server.environ() == {}
    (pid,) = sniffing_children()
    folders = [server.pid] if not os.access(f"/proc/{pid}/fd", os.R_OK) else [server.pid, pid]
    for process in folders:
        folder = f"/proc/{process}/fd"
        targets = {int(name): os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
        assert {targets.pop(number) for number in (0, 1, 2)} == {"/dev/null"}
        (left,) = targets.values()
        assert left.startswith("socket:")


@LINUX
async def test_one_that_must_be_sealed_and_is_not_gets_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, "no library"))
    strict, lenient = (
        Sniffers(timeout_s=20, must_be_sealed=must_be_sealed) for must_be_sealed in (True, False)
    )
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(DecoderFault, match="decoder_fault"),
    ):
        await identify(strict, TEXT)
    assert [entry["event"] for entry in logged] == ["sniffer is not sealed: no file is sent to it"]
    assert sniffing_children() == []
    await strict.close()
    assert (await identify(lenient, TEXT)).startswith("text/plain")
    await lenient.close()
