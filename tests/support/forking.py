"""Functions that run decoders which a zygote forks, for files of several organizations."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.data import images
from tests.support.decoders import find_decoders, find_zygotes, opened
from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box
from worker.sandbox.privileges import BOX_USER

SMALL = images.photo(40, 30)


async def decode_for(
    of: Decoders, organization: int, content: bytes = SMALL, kind: Box = Box.IMAGES
) -> Any:
    """Decode content in a decoder of an organization, and return the decoder's answer."""
    with opened(content) as descriptor:
        return await of.decode(kind, organization, descriptor)


@asynccontextmanager
async def running(size: int = 1, **given: Any) -> AsyncIterator[Decoders]:
    """Run decoders, and assert at the end that none of their processes still runs."""
    decoders = Decoders(size, **{"timeout_s": 20, **given})
    await decoders.warm_up()
    try:
        yield decoders
    finally:
        await decoders.close()
        assert not find_decoders(os.getpid()) + find_zygotes(os.getpid())


def have_started(pid: int, count: int) -> bool:
    """Return True if a worker has `count` decoders and none of them still runs as root."""
    user = BOX_USER if os.geteuid() == 0 else os.geteuid()
    found = find_decoders(pid)
    return len(found) == count and all(child.uids().real == user for child in found)


def python_with_changed_zygote(folder: Path, change: str) -> Path:
    """Write a program for the service to start instead of Python.

    In this program, the zygote runs the code `change` first.
    """
    script, program = folder / "changed.py", folder / "python"
    script.write_text(
        "import sys\nfrom worker.decoding import child, zygote\n"
        "from worker.decoding.formats import Box\n"
        + change
        + "\nzygote.main(int(sys.argv[3]), Box(sys.argv[1]), ())\n"
    )
    # The service calls the program as: python -I -m worker.decoding.zygote KIND MORE FD
    line = f'exec {sys.executable} -I {script} "$4" "$5" "$6" worker.decoding.zygote'
    # The shell sets PWD itself, but the sandbox must start with an empty environment.
    program.write_text(f"#!/bin/sh\nunset PWD\n{line}\n")
    program.chmod(0o755)
    return program
