"""Functions that upload many files in parallel through the running service and read the results."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types

from tests.support.service import FINAL_STATES, Client, Service

SIDE_BY_SIDE = 8


async def upload_all(service: Service, files: Sequence[tuple[str, bytes]]) -> list[str]:
    """Upload files, each given as its name and its bytes, and return the attachment ids in the same
    order.
    """
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def upload(name: str, content: bytes) -> str:
        async with places:
            return await service.client.upload(content, name)

    return await asyncio.gather(*(upload(*file) for file in files))


async def settle_all(service: Service, ids: Sequence[str]) -> list[str]:
    """Wait until the attachments are settled, and return the ids that are not settled in time."""
    numbers = [int(attachment_id) for attachment_id in ids]
    deadline = time.monotonic() + 30 + len(ids)
    while True:
        left = await service.database.fetch(
            "SELECT id FROM attachments WHERE id = ANY($1) AND NOT state = ANY($2)",
            numbers,
            list(FINAL_STATES),
        )
        if not left or time.monotonic() > deadline:
            return [str(row["id"]) for row in left]
        await asyncio.sleep(0.1)


def worker_of(service: Service) -> psutil.Process:
    """Find the process of the only worker of a service."""
    (pid,) = service.worker_pids
    return psutil.Process(pid)


@dataclass(frozen=True, kw_only=True)
class Served:
    """The parts of a response that decide what a browser does with a file."""

    status: int
    content_type: str
    disposition: str
    body: bytes


async def follow(client: Client, url: str) -> Served:
    """Request a link of the API, follow its redirects as a browser does, and return the last
    response.
    """
    async with client.session.get(url) as answer:
        return Served(
            status=answer.status,
            content_type=answer.headers.get("Content-Type", ""),
            disposition=answer.headers.get("Content-Disposition", "").partition(";")[0],
            body=await answer.read(),
        )


def outcome(resource: Any) -> tuple[str, str | None]:
    """Return the state of a resource and the code of its reason.

    The code is None if the resource has no reason.
    """
    reason = resource["meta"].get("reason")
    return resource["meta"]["state"], reason and reason["code"]


def is_without_thumbnail(resource: Any) -> bool:
    """Return True if no attribute of the resource names a thumbnail."""
    attributes = resource["attributes"]
    return attributes["resized"] is False and not attributes["thumb"]
