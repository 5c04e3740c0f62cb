"""Event requests as S3 posts them, and a client that needs little CPU time to send them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from shared.keys import original_key
from tests.support.stack import BUCKET, EVENTS_TOKEN

CONNECTIONS = 16
NAME = "img.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The status of the answer to a post, and the seconds until it arrived."""

    status: int
    seconds: float


def post(ids: Sequence[int]) -> bytes:
    """Return one HTTP request with S3's upload events for these attachments."""
    body = orjson.dumps({"Records": [record(number) for number in ids]})
    lines = [
        "POST /events/s3 HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Authorization: Bearer {EVENTS_TOKEN}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(number: int) -> dict[str, object]:
    """Return an event record with all members that S3 writes.

    Source: Amazon S3 User Guide, "Event message structure".
    """
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-04-18T12:00:00.000Z",
        "eventName": "ObjectCreated:Post",
        "userIdentity": {"principalId": "AWS:AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "203.0.113.7"},
        "responseElements": {
            "x-amz-request-id": "C3D13FE58DE4C810",
            "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "uploads",
            "bucket": {
                "name": BUCKET,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{BUCKET}",
            },
            "object": {
                "key": original_key(number, NAME),
                "size": 1024,
                "eTag": f"{number:032x}",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": f"{number:018X}",
            },
        },
    }


async def send(
    port: int,
    posts: Sequence[bytes],
    *,
    connections: int = CONNECTIONS,
    every_s: float = 0.0,
) -> list[Answer]:
    """Send requests over several connections in parallel, with little CPU time for the client.

    If `every_s` is given, each connection is to send one request every `every_s` seconds. A latency
    is then measured from the scheduled time of its request. So if a late answer delays the next
    request, that delay is counted too.
    """
    answers: list[Answer] = []
    waiting = iter(posts)

    async def caller(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begins_at = time.perf_counter() + number * every_s / connections
        for request in waiting:
            if every_s:
                await asyncio.sleep(begins_at - time.perf_counter())
            else:
                begins_at = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            answers.append(Answer(status=int(head[9:12]), seconds=time.perf_counter() - begins_at))
            begins_at += every_s
        writer.close()

    await asyncio.gather(*(caller(number) for number in range(min(connections, len(posts)))))
    return answers
