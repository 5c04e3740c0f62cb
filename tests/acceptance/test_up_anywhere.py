"""`attachments up` in a folder of any name."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.service import until

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sp ace 'q\" %s %n ü \\ $x;#".encode(), id="characters"),
        pytest.param(b"no UTF-8 \xff\xfe", id="bytes"),
    ],
)
async def test_it_comes_up_in_a_folder_of_any_name(tmp_path: Path, name: bytes) -> None:
    folder = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(folder)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy", "up", "--port", "0", "--decoders", "1",
        cwd=folder, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    reading = asyncio.create_task(process.communicate())
    ready = os.path.join(folder, b".attachments/ready.json")

    async def is_up() -> bool:
        assert process.returncode is None, reading.result()[0] if reading.done() else ""
        return os.path.exists(ready)  # noqa: ASYNC240 - of a local disk

    try:
        await until(is_up, within_s=90)
        process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(asyncio.shield(reading), 30)
    finally:
        if process.returncode is None:
            process.kill()
        await reading
    assert process.returncode == 0
    assert b"Traceback" not in out
