"""The intake of completion events: one address for every dialect.

Authenticated, read, recorded in one transaction, committed; only then answered. What a worker is
woken for is published behind the answer's back. Rules: events.md.
"""

import asyncio
import base64
import binascii
import time
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from api.bodies import inflate, read_raw
from api.metrics import EVENTS
from api.parts import PARTS, Parts
from api.problems import (
    Problem,
    access_denied,
    document_response,
    unauthenticated,
    unavailable,
)
from shared.errors import SnsRefused, SnsUnreachable
from shared.intake import Message, parse, read_message, record, unreadable
from shared.log import get_logger
from shared.notifications import sns

MAX_EVENT_BYTES = 1024 * 1024

MAX_SIGNED_BYTES = 384 * 1024
"""SNS sends no more than 256 KiB, a little more as JSON; from strangers no more is read."""

MAX_STRANGE_BYTES = 16 * 1024
"""The same where no topic is accepted: enough to tell who posts SNS's messages what is wrong."""

MAX_STRANGERS = 64
"""How many bodies are read at a time of which nobody knows yet whether SNS signed them."""

LONG_BODY_BYTES = 64 * 1024
"""A longer body is read beside the event loop: it may hold half a million records."""

RECORD_WITHIN_S = 2.5
"""A source may wait no longer than 3 s for its answer, and versitygw does not."""

log = get_logger(__name__)


async def intake(request: web.Request) -> web.Response:
    """POST /events/s3 and /events/s3/{token}: 2xx once what the message says is committed.

    Authenticated by a live token, or by the signature of SNS: 401 without either, 403 for what
    only looks like SNS's. 413 above 1 MiB. 503 while the database is away, so that the source
    tries again. A message that cannot be used is kept as a dead letter and answered 2xx too: some
    stores would send it for ever and hold back all others behind it.
    """
    parts = request.app[PARTS]
    if not parts.events_gate.admits(request.match_info.get("token"), *_credentials(request)):
        return await _from_sns(request, parts)
    body = await read_raw(request, max_bytes=MAX_EVENT_BYTES)
    try:
        body = inflate(request, body, max_bytes=MAX_EVENT_BYTES)
    except Problem as problem:
        if problem.status not in (400, 415):
            raise
        return await _take_in(
            parts, unreadable(body, source="webhook", fault="the body cannot be decompressed")
        )
    message = await _read(body, "webhook", parts)
    if message.reading.dialect == "sns" and (confirmation := _confirmation(body)) is not None:
        # Whoever holds a token may tell of events, but not have us subscribe to anything.
        return await _verified(parts, confirmation, body)
    return await _take_in(parts, message)


async def _from_sns(request: web.Request, parts: Parts) -> web.Response:
    """Answer who shows no token: SNS, which signs what it says, or anyone."""
    if parts.strangers.locked():
        raise unavailable()
    async with parts.strangers:
        try:
            # As it is: SNS compresses nothing, and a stranger's kilobyte may be a megabyte.
            max_bytes = MAX_SIGNED_BYTES if parts.settings.sns_topics else MAX_STRANGE_BYTES
            body = await read_raw(request, max_bytes=max_bytes)
            document = parse(body)
        except (Problem, orjson.JSONDecodeError):
            raise unauthenticated() from None
        if not sns.recognises(document):
            raise unauthenticated()
        return await _verified(parts, document, body)


async def _read(body: bytes, source: str, parts: Parts) -> Message:
    read = partial(read_message, body, source=source, bucket=parts.settings.s3_bucket)
    return read() if len(body) <= LONG_BODY_BYTES else await asyncio.to_thread(read)


async def _verified(parts: Parts, document: Any, body: bytes) -> web.Response:
    """Do what a message in SNS's envelope says, once its signature has been checked."""
    began = time.monotonic()
    try:
        await parts.sns.verify(document)
        if document["Type"] == sns.CONFIRMATION:
            await parts.sns.confirm(document)
    except SnsRefused as error:
        EVENTS.labels("sns", "refused").inc()
        log.info("message of SNS refused", rule=str(error))
        raise access_denied(f"This is no message of SNS for us: {error}") from None
    except SnsUnreachable as error:
        log.warning("SNS cannot be reached", error=str(error))
        raise unavailable() from None
    if document["Type"] == sns.FAREWELL:
        log.warning("unsubscribed from a topic", topic=document["TopicArn"])
    message = await _read(body, "sns", parts)
    return await _take_in(parts, message, within_s=RECORD_WITHIN_S - (time.monotonic() - began))


def _confirmation(body: bytes) -> Any:
    document = parse(body)
    return document if document["Type"] in (sns.CONFIRMATION, sns.FAREWELL) else None


async def _take_in(
    parts: Parts, message: Message, *, within_s: float = RECORD_WITHIN_S
) -> web.Response:
    """Commit what a message says, wake workers, and count it."""
    reading = message.reading
    woken = []
    if reading.events or reading.faults:
        woken = await parts.database.run_within(within_s, record, [message], parts.settings)
    for wake_up in woken:
        parts.publisher.publish(wake_up)
    counts = {
        "recorded": len(woken),
        "no_effect": len(reading.events) - len(woken),
        "ignored": reading.ignored,
        "unreadable": len(reading.faults),
    }
    for effect, count in counts.items():
        if count:
            EVENTS.labels(reading.dialect or "unknown", effect).inc(count)
    return document_response({"meta": counts})


def _credentials(request: web.Request) -> list[str]:
    # Bearer; MinIO's verbatim form, in which a token of two words is the whole header; Basic and
    # API key as EventBridge's connections send them.
    found = [request.headers.get("X-Api-Key", "")]
    header = request.headers.get("Authorization", "")
    scheme, _, rest = header.partition(" ")
    found += [header, rest if scheme.lower() == "bearer" else ""]
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest, validate=True).decode()
            found.append(pair.partition(":")[2])
        except (binascii.Error, ValueError):
            pass
    return found
