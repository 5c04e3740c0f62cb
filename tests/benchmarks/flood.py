"""A client that sends requests without a pause until it is killed.

Usage: `-m tests.benchmarks.flood PORT KIND ORGANIZATION TOKEN SOURCE REPORT`.
`tests.benchmarks.others` lists the kinds. The client is a separate process, so that it does not
slow down the process that measures.
"""

import asyncio
import gzip
import itertools
import json
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp

from tests.data.images import photo
from tests.support.service import MEDIA_TYPE, Client

CONNECTIONS = 32
BULK = f"{MEDIA_TYPE}; ext=bulk"
COPIES = 20
"""The number of copies that one request creates."""

LISTS = (
    "page[size]=200&page[number]=500",
    "filter[task_id][not_eq]=1,2",
    "sort=-id",
    "filter[task_id]=1&page[size]=200",
)

WALKS = (
    "filter[task_id][not_eq]=1,2",
    "filter[task_id][not_eq]=1,2&sort=-id",
    "filter[task_id][not_eq]=2,1&page[after]=",
)
"""Queries of lists. Each query reads all rows of the organization and finds none."""


def requests_of(kind: str, credentials: dict[str, str], source: str) -> list[bytes]:
    """Return the HTTP requests of one kind of flood; each is sent unchanged."""
    bulk = {**credentials, "Content-Type": BULK, "Accept": BULK}
    path = "/api/v2/attachments"
    if kind == "bombs":
        bomb = gzip.compress(b"[" * 1_000_000)
        return [_request("POST", path, {**bulk, "Content-Encoding": "gzip"}, bomb)]
    if kind in ("lists", "walks"):
        queries = LISTS if kind == "lists" else WALKS
        return [_request("GET", f"{path}?{query}", credentials) for query in queries]
    if kind == "copies":
        attributes = {"name": "copy.bin", "temp_url": source}
        items = [{"type": "attachments", "attributes": attributes}] * COPIES
        return [_request("POST", path, bulk, json.dumps({"data": items}).encode())]
    unknown = {**credentials, "X-Auth-Token": "nobody"}
    wide = b"[" + b"[]," * 5000 + b"[]]"
    return [
        _request("GET", path, unknown),
        _request("POST", "/events/s3", {}, wide),
        _request("GET", "/attachments/files/000/000/001/original/a.png?1&s=none", {}),
        _request("GET", "/nowhere", {}),
    ]


def _request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def caller(port: int, requests: list[bytes], first: int, counts: Counter[str]) -> None:
    """Send one request after another over a connection; reconnect when the connection is closed."""
    turn = itertools.islice(itertools.cycle(requests), first, None)
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for request in turn:
                    writer.write(request)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length or b"0"))
                    counts[head[9:12].decode()] += 1
            finally:
                writer.close()
        await asyncio.sleep(0.01)


async def uploader(port: int, credentials: dict[str, str], counts: Counter[str]) -> None:
    """Create attachments and post a photo to each, one after the other."""
    content = photo()
    async with aiohttp.ClientSession() as session:
        client = Client(
            session=session,
            base_url=f"http://127.0.0.1:{port}",
            organization_id=int(credentials["X-Organization-Id"]),
            token=credentials["X-Auth-Token"],
        )
        while True:
            try:
                status, _ = await client.post_file(await client.create("photo.jpg"), content)
                counts[str(status)] += 1
            except (AssertionError, aiohttp.ClientError) as error:
                counts[type(error).__name__] += 1
                await asyncio.sleep(0.01)


async def main(
    port: int, kind: str, organization_id: str, token: str, source: str, report: str
) -> None:
    """Send requests until the process is killed. Count answers by status in the file `report`."""
    credentials = {"X-Auth-Token": token, "X-Organization-Id": organization_id}
    counts = Counter[str]()
    if kind == "uploads":
        work = [uploader(port, credentials, counts) for _ in range(CONNECTIONS)]
    else:
        requests = requests_of(kind, credentials, source)
        work = [caller(port, requests, number, counts) for number in range(CONNECTIONS)]
    callers = [asyncio.create_task(each) for each in work]
    sys.stdout.write("1\n")  # this report tells the parent process that the flood has begun
    while not any(task.done() for task in callers):
        sys.stdout.flush()
        await asyncio.sleep(1)
        Path(report).write_text(json.dumps(counts))  # noqa: ASYNC240 - a line
    await asyncio.gather(*callers)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:7]))
