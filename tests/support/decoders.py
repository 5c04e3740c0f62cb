"""Find the processes of the box by who started them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box


def find_decoders(pid: int) -> list[psutil.Process]:
    """Find the decoders of a worker that still live, spare ones included, in order of their ids.

    Those of a worker that this process has started are that worker's, and not found.
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
    """Find the zygotes of a worker that still live."""
    found = []
    for child in _family(pid):
        with suppress(psutil.NoSuchProcess):
            if _runs(child, "worker.decoding.zygote"):
                found.append(child)
    return found


def has_begun(process: psutil.Process) -> bool:
    """Return True if a decoder has begun its first job: it then sets its own limit of CPU time.

    One that is suspended does not begin; `has_job` returns whether it has a job.
    """
    return find_limit(process, "Max cpu time") not in ("unlimited", None)


def find_limit(process: psutil.Process, name: str) -> str | None:
    """Read a soft limit of a process by its name in /proc; None once the process has ended."""
    # Not by prlimit(2): of another user's process that takes CAP_SYS_RESOURCE.
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines():
            if line.startswith(name):
                return line.removeprefix(name).split()[0]
    return None


def has_job(pid: int) -> bool:
    """Return True if a worker has given a job to any decoder and waits for the answer (Linux).

    It holds the upload's bytes open for reading only as long as that takes.
    """
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
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
    """Return a descriptor of a file with this content."""
    descriptor = os.memfd_create("test")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


async def decode(of: Decoders, content: bytes, organization: int = 1) -> Any:
    """Have content decoded as an image."""
    with opened(content) as descriptor:
        return await of.decode(Box.IMAGES, organization, descriptor)


def children() -> list[psutil.Process]:
    """Find the decoders that this process has started and that still live."""
    return find_decoders(os.getpid())


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    """Read the limits of a process, soft and hard. prlimit may not: it is of another user."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def python_with_changed_child(folder: Path, change: str) -> str:
    """Write a program to run in place of Python, whose box is changed by some code first."""
    code = "import sys, time; from worker.decoding import child as box;"
    code += f"from worker.decoding.formats import Box; {change};"
    code += "from importlib import import_module; run = import_module(sys.argv[1]).main;"
    code += "run(int(sys.argv[4]), Box(sys.argv[2]), ())"
    program = folder / "python"
    # called as: python -I -m worker.decoding.zygote KIND MORE FD
    words = f'{sys.executable} -I -c "{code}" "$3" "$4" "$5" "$6"'
    program.write_text(f"#!/bin/sh\nunset PWD\nexec {words}\n")  # the shell itself sets PWD
    program.chmod(0o755)
    return str(program)
