"""Functions that find and examine a worker's decoders and zygotes, the sandbox's processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box
from worker.measuring import DECODER_KILLS, KillCause


def find_decoders(pid: int) -> list[psutil.Process]:
    """Find the living decoders of a worker, spare decoders included, in order of their process ids.

    If the process `pid` has started another worker process, the decoders of that worker are not
    found.
    """
    found = []
    for child in _family(pid):
        with suppress(psutil.NoSuchProcess):
            if _runs(child, "worker.decoding.child"):
                found.append(child)
            elif _runs(child, "worker.decoding.zygote"):
                found += [
                    each for each in child.children() if _runs(each, "worker.decoding.zygote")
                ]
    return sorted(found, key=lambda process: int(process.pid))


def find_zygotes(pid: int) -> list[psutil.Process]:
    """Find the living zygotes of a worker."""
    found = []
    for child in _family(pid):
        with suppress(psutil.NoSuchProcess):
            if _runs(child, "worker.decoding.zygote"):
                found.append(child)
    return found


def has_begun(process: psutil.Process) -> bool:
    """Return True if a decoder has begun its first job.

    A decoder that begins a job limits its own CPU time, and the function reads this limit. A
    suspended decoder does not begin; use `has_job` to see whether it has been given a job.
    """
    return find_limit(process, "Max cpu time") not in ("unlimited", None)


def find_limit(process: psutil.Process, name: str) -> str | None:
    """Return the soft limit of a process by its name in /proc, or None if the process has ended."""
    # Read /proc, because prlimit(2) needs CAP_SYS_RESOURCE for another user's process.
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines():
            if line.startswith(name):
                return line.removeprefix(name).split()[0]
    return None


def has_job(pid: int) -> bool:
    """Return True if a worker has given a job to a decoder and waits for the answer (Linux only).

    Only during a job, the worker has a read-only descriptor of the upload's bytes.
    """
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # the descriptor may be closed by now
            if os.readlink(descriptor).startswith("/memfd:"):
                lines = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().splitlines()
                (flags,) = (line.split()[1] for line in lines if line.startswith("flags:"))
                if int(flags, 8) & os.O_ACCMODE == os.O_RDONLY:
                    return True
    return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children())
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process | None, module: str) -> bool:
    return (
        process is not None
        and module in process.cmdline()
        and process.status() != psutil.STATUS_ZOMBIE
    )


@contextmanager
def opened(content: bytes) -> Iterator[int]:
    """Yield a descriptor of an in-memory file with this content."""
    descriptor = os.memfd_create("test")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


async def decode(of: Decoders, content: bytes, organization: int = 1) -> Any:
    """Decode an image in a decoder of `organization`, and return the decoder's answer."""
    with opened(content) as descriptor:
        return await of.decode(Box.IMAGES, organization, descriptor)


def children() -> list[psutil.Process]:
    """Find the living decoders that this process has started."""
    return find_decoders(os.getpid())


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    """Return the soft and hard limits of a process by their names in /proc.

    The function reads /proc, because prlimit(2) is refused for another user's process.
    """
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def python_with_changed_child(folder: Path, change: str) -> str:
    """Write a program for the service to start instead of Python.

    The program runs the code `change`, and then the module that the service names.
    """
    code = "import sys, time; from worker.decoding import child;"
    code += f"from worker.decoding.formats import Box; {change};"
    code += "from importlib import import_module; run = import_module(sys.argv[1]).main;"
    code += "run(int(sys.argv[4]), Box(sys.argv[2]), ())"
    program = folder / "python"
    # The service calls the program as: python -I -m worker.decoding.zygote KIND MORE FD
    words = f'{sys.executable} -I -c "{code}" "$3" "$4" "$5" "$6"'
    # The shell sets PWD itself, but the sandbox must start with an empty environment.
    program.write_text(f"#!/bin/sh\nunset PWD\nexec {words}\n")
    program.chmod(0o755)
    return str(program)


@contextmanager
def counted_kill(cause: KillCause, times: int = 1) -> Iterator[None]:
    """Assert that this process counts `times` kills of image decoders in the block.

    Each kill must have this cause, and no other decoder may be killed.
    """
    before = _kills()
    yield
    after = _kills()
    grown = {key: count - before.get(key, 0) for key, count in after.items()}
    assert {key: more for key, more in grown.items() if more} == {("images", cause): times}


def _kills() -> dict[tuple[str, str], float]:
    (family,) = DECODER_KILLS.collect()
    return {(each.labels["kind"], each.labels["cause"]): each.value for each in family.samples}
