"""Requests without end: `-m tests.benchmarks.flood PORT KIND ORGANIZATION TOKEN SOURCE REPORT`.

A process of its own, since the one that measures must not wait for it.
"""

import asyncio
import gzip
import itertools
import json
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.service import MEDIA_TYPE

CONNECTIONS = 32
BULK = f"{MEDIA_TYPE}; ext=bulk"
COPIES = 20
"""How many copies one request asks for."""

LISTS = (
    "page[size]=200&page[number]=500",
    "filter[task_id][not_eq]=1,2",
    "sort=-id",
    "filter[task_id]=1&page[size]=200",
)


def requests_of(kind: str, credentials: dict[str, str], source: str) -> list[bytes]:
    """Write the requests of a kind of flood: bombs, lists, copies or noise."""
    bulk = {**credentials, "Content-Type": BULK, "Accept": BULK}
    path = "/api/v2/attachments"
    if kind == "bombs":
        bomb = gzip.compress(b"[" * 1_000_000)
        return [_request("POST", path, {**bulk, "Content-Encoding": "gzip"}, bomb)]
    if kind == "lists":
        return [_request("GET", f"{path}?{query}", credentials) for query in LISTS]
    if kind == "copies":
        attributes = {"name": "copy.bin", "temp_url": source}
        items = [{"type": "attachments", "attributes": attributes}] * COPIES
        return [_request("POST", path, bulk, json.dumps({"data": items}).encode())]
    unknown = {**credentials, "X-Auth-Token": "nobody"}
    wide = b"[" + b"[]," * 5000 + b"[]]"
    return [_request("GET", path, unknown), _request("POST", "/events/s3", {}, wide)]


def _request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def caller(port: int, requests: list[bytes], first: int, counts: Counter[str]) -> None:
    """Send one request after another over a connection; make it anew when it ends."""
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


async def main(
    port: int, kind: str, organization_id: str, token: str, source: str, report: str
) -> None:
    """Flood until killed; the file `report` counts the answers by status."""
    credentials = {"X-Auth-Token": token, "X-Organization-Id": organization_id}
    requests, counts = requests_of(kind, credentials, source), Counter[str]()
    callers = [
        asyncio.create_task(caller(port, requests, number, counts)) for number in range(CONNECTIONS)
    ]
    sys.stdout.write("1\n")  # it runs
    while not any(task.done() for task in callers):
        sys.stdout.flush()
        await asyncio.sleep(1)
        Path(report).write_text(json.dumps(counts))  # noqa: ASYNC240 - a line
    await asyncio.gather(*callers)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:7]))
