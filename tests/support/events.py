"""Event messages of stores, and functions that post them to the API."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.attachments import Attachment
from tests.support.dialects import Dialect
from tests.support.service import Answer, Service
from tests.support.stack import BUCKET, EVENTS_TOKEN

EVENTS = "/events/s3"
CREATED, REMOVED = "ObjectCreated:Post", "ObjectRemoved:Delete"


def record(key: str, *, name: str = CREATED, bucket: str = BUCKET, **item: Any) -> Any:
    """Return one event record as S3 writes it; `item` sets members of the record's `object`."""
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "eventTime": "2026-11-23T10:00:00.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": key, "size": 3479, **item},
        },
    }


def message(*records: Any) -> bytes:
    """Return the JSON of an S3 message that holds these records."""
    return json.dumps({"Records": records}).encode()


def filer(key: str, kind: str = "create", **members: Any) -> bytes:
    """Return a message as the filer of SeaweedFS sends it."""
    entry = {"name": key.rpartition("/")[2], "attributes": {"md5": "hsSJ36fnikh6BrGGCAWwhg=="}}
    side = "old_entry" if kind == "delete" else "new_entry"
    return json.dumps(
        {"event_type": kind, "key": f"/buckets/{BUCKET}/{key}", "message": {side: entry, **members}}
    ).encode()


async def send(
    service: Service, body: bytes, headers: Mapping[str, str] | None = None, path: str = EVENTS
) -> Answer:
    """Post a message as a store would: with the events token, and without an API token."""
    default = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    return await service.client.request(
        "POST",
        path,
        body=body,
        headers={
            "X-Auth-Token": "",
            "X-Organization-Id": "",
            "Content-Type": "application/json",
            **(default if headers is None else headers),
        },
    )


async def deliver(
    service: Service, body: bytes, headers: Mapping[str, str] | None = None
) -> Answer:
    """Post a message as a store would; while the API answers with 503, post it again, at most three
    times in all.
    """
    for _ in range(3):
        answer = await send(service, body, headers)
        if answer.status != 503:
            return answer
        await asyncio.sleep(1)
    return await send(service, body, headers)


RECORDED = {"recorded": 1, "no_effect": 0, "ignored": 0, "unreadable": 0}
NO_EFFECT = {"recorded": 0, "no_effect": 1, "ignored": 0, "unreadable": 0}


async def new_row(service: Service, name: str = "a.png") -> Attachment:
    """Create an attachment and read its row."""
    created = await service.client.create(name)
    return await service.row(created["data"]["id"])


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header with Basic credentials."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An API that holds one attachment, which is pending."""

    service: Service
    row: Attachment

    @property
    def key(self) -> str:
        """Return the key of the attachment's original."""
        return self.row.key

    async def rows(self) -> list[str]:
        """Return every row of `attachments` as text."""
        found = await self.service.database.fetch("SELECT a::text FROM attachments AS a ORDER BY 1")
        return [row[0] for row in found]


async def post(service: Service, dialect: Dialect, *sent: Any) -> dict[str, int]:
    """Post one message that holds the given events, and return the counts in the API's answer."""
    body = json.dumps(dialect.message(*sent), separators=(",", ":")).encode()
    answer = await send(service, body)
    assert answer.status == 200, answer.body
    meta: dict[str, int] = answer.document["meta"]
    return meta


@asynccontextmanager
async def slow_strangers(service: Service, count: int, length: int) -> AsyncIterator[list[Stream]]:
    """Open connections that send a head without credentials and only one byte of the body."""
    url = urlsplit(service.base_url)
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
    streams = [await asyncio.open_connection(url.hostname, url.port) for _ in range(count)]
    try:
        for _, writer in streams:
            writer.write(head + b"{")
        yield streams
    finally:
        for _, writer in streams:
            writer.close()


async def status_in_pieces(service: Service, body: bytes, *, known: bool) -> int:
    """Send a request's head, and a moment later its body; return the status of the answer.

    If `known` is true, the head contains the events token.
    """
    token = f"Authorization: Bearer {EVENTS_TOKEN}\r\n" if known else ""
    url = urlsplit(service.base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: a\r\n{token}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode())
    await asyncio.sleep(0.05)
    writer.write(body)
    answer = await reader.readline()
    writer.close()
    return int(answer.split()[1])
