"""Functions that read a process's health: at its metrics address, and in its log."""

from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp

from tests.support.log_lines import named
from tests.support.service import until


class Logs(Protocol):
    """A process whose log can be read."""

    def log(self) -> str:
        """Return all output that the process has written so far."""
        ...


def health_url(process: Logs) -> str:
    """Return the address at which a process reports its health.

    The process must have logged its metrics address.
    """
    (line,) = named(process.log(), "metrics are served")
    return str(line["url"]).replace("/metrics", "/health")


async def asked(process: Logs, question: str = "ready") -> tuple[int, Any]:
    """Request a process's health, and return the status and the JSON document of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{health_url(process)}/{question}") as answer,
    ):
        return answer.status, await answer.json()


async def waits_for(
    process: Logs, name: str, *parts: str, but: Sequence[str] = ()
) -> dict[str, str]:
    """Wait until a process logs that it waits for `parts` only; return the health of all its parts.

    `name` is the name of the process in the log. `but` names further unavailable parts, for which
    the process does not wait. The health must report `parts` and `but` as faulty, and no other
    part. Assert that the process does not log that it is ready.
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
    """Wait until a process logs that it is ready, and assert that its health then agrees."""

    async def is_announced() -> bool:
        return bool(named(process.log(), f"{name} is ready"))

    await until(is_announced, within_s=30)
    assert (await asked(process))[0] == 200
