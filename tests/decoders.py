"""Find the processes of the box by who started them."""

from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def find_decoders(pid: int) -> list[psutil.Process]:
    """Find the decoders of a worker that still live, spare ones included, in order of their ids."""
    found = []
    for child in _family(pid):
        with suppress(psutil.NoSuchProcess):
            if _runs(child, "worker.box") or (
                _runs(child, "worker.zygote") and _runs(child.parent(), "worker.zygote")
            ):
                found.append(child)
    return sorted(found, key=lambda process: int(process.pid))


def find_zygotes(pid: int) -> list[psutil.Process]:
    """Find the zygotes of a worker that still live."""
    found = []
    for child in _family(pid, recursive=False):
        with suppress(psutil.NoSuchProcess):
            if _runs(child, "worker.zygote"):
                found.append(child)
    return found


def has_begun(process: psutil.Process) -> bool:
    """Whether a decoder has ever been given a job: only then has it a limit of CPU time."""
    # Not by prlimit(2): of another user's process that takes CAP_SYS_RESOURCE.
    with suppress(OSError):
        lines = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        (limit,) = (line.split()[3] for line in lines if line.startswith("Max cpu time"))
        return limit != "unlimited"
    return False


def _family(pid: int, *, recursive: bool = True) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=recursive))
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process | None, module: str) -> bool:
    return (
        process is not None
        and module in process.cmdline()
        and process.status() != psutil.STATUS_ZOMBIE
    )
