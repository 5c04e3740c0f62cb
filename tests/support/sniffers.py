"""Functions for the processes that identify the types of files."""

from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock

from tests.data.writing import HEAD
from tests.support.service import until
from worker.sniffing.sniffer import Sniffers


def server_process() -> psutil.Process | None:
    """Return the living fork server of sniffing children that this process started, or None."""
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if (
                "worker.sniffing.child" in process.cmdline()
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                return process
    return None


def sniffing_children() -> list[int]:
    """Return the process ids of the fork server's living children."""
    server = server_process()
    found = [] if server is None else server.children()
    return [one.pid for one in found if one.status() != psutil.STATUS_ZOMBIE]


async def wait_for_end(pid: int) -> None:
    """Wait until a process has ended or has become a zombie."""

    async def has_ended() -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await until(has_ended)


async def identify(of: Sniffers, content: bytes, organization_id: int = 1) -> str:
    """Identify the type of a file with this content, without a store."""

    async def read(start: int, end: int) -> bytes:
        return content[start:end]

    sniffed = await of.identify(organization_id, content[:HEAD], len(content), read)
    return sniffed.content_type
