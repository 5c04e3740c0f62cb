"""The health of a process, as its metrics address reports it, and as its log does."""

from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp

from tests.support.log_lines import named
from tests.support.service import until


class Logs(Protocol):
    """A process whose log can be read."""

    def log(self) -> str:
        """Return everything that the process has logged so far."""
        ...


def health_url(process: Logs) -> str:
    """Return the address of a process's health, which the log names once it is served."""
    (line,) = named(process.log(), "metrics are served")
    return str(line["url"]).replace("/metrics", "/health")


async def asked(process: Logs, question: str = "ready") -> tuple[int, Any]:
    """Ask a process for its health; return the status and the document of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{health_url(process)}/{question}") as answer,
    ):
        return answer.status, await answer.json()


async def waits_for(
    process: Logs, name: str, *parts: str, but: Sequence[str] = ()
) -> dict[str, str]:
    """Wait until log and health both name exactly these parts; return the parts of the health.

    Assert that neither says that the process is ready. `name` is how the log calls the process;
    `but` are parts that the process does not need, and which do not answer either.
    """

    async def agrees() -> dict[str, str] | None:
        status, document = await asked(process)
        lines = named(process.log(), f"{name} waits")
        assert status == 503
        assert not named(process.log(), f"{name} is ready")
        faulty = {part for part, fault in document["parts"].items() if fault != "ok"}
        right = lines and set(lines[-1]["missing"].split(", ")) == set(parts)
        return dict(document["parts"]) if right and faulty == {*parts, *but} else None

    found: dict[str, str] = await until(agrees, within_s=30)
    return found


async def becomes_ready(process: Logs, name: str) -> None:
    """Wait until the log says that a process is ready; assert that its health agrees at once."""

    async def is_announced() -> bool:
        return bool(named(process.log(), f"{name} is ready"))

    await until(is_announced, within_s=30)
    assert (await asked(process))[0] == 200
