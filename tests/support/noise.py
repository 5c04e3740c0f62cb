"""Raw requests that come from any loopback address, and the log lines about these requests."""

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from tests.support.service import until
from tests.support.service_processes import ApiProcess

PATH = "/api/v2/attachments"


async def exchange(api: ApiProcess, *requests: bytes, source: str = "127.0.0.1") -> bytes:
    """Send requests from a loopback address, and return all bytes until the API closes the
    connection.
    """
    url = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, local_addr=(source, 0))
    answer = b""
    with suppress(ConnectionError):
        for request in requests:
            writer.write(request)
        await writer.drain()
        async with asyncio.timeout(30):
            answer = await reader.read()
    writer.close()
    return answer


def request(path: str = PATH, *headers: str, method: str = "GET", host: str = "a") -> bytes:
    """Return the bytes of a request that asks the API to close the connection after the answer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def lines_of(log: str, event: str) -> list[dict[str, Any]]:
    """Return the log lines whose `event` is this name."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def logged(api: ApiProcess, event: str, count: int) -> list[dict[str, Any]]:
    """Wait until the log has `count` lines whose `event` is this name, and return them.

    A thread writes the log, so a line may be written after the response.
    """

    async def all_there() -> list[dict[str, Any]]:
        found = lines_of(api.log(), event)
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = await until(all_there)
    return found
