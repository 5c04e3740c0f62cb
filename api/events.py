"""The intake of events about completed uploads: one address for every dialect.

An event is authenticated, parsed, recorded and committed, and only then answered. Wake-ups for
workers are published in the background, so the answer does not wait for the broker. The rules are
in events.md.
"""

import asyncio
import base64
import binascii
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cache, partial
from typing import Any

import orjson
from aiohttp import web

from api.bodies import EXPECTS, inflate, read_raw
from api.clients import client_address, source_of
from api.noise import DenialReason, SnsReason
from api.parts import PARTS, Parts, now
from api.problems import (
    Problem,
    access_denied,
    document_response,
    unauthenticated,
    unavailable,
)
from shared.errors import Busy, SnsRefused, SnsUnreachable
from shared.intake import (
    Message,
    allow,
    effects,
    log_faults,
    parse,
    read_message,
    unreadable,
)
from shared.lifecycle import Recorded
from shared.log import get_logger
from shared.metrics import EVENTS
from shared.notifications import sns
from shared.notifications.event import MessageSource

MAX_EVENT_BYTES = 1024 * 1024

MAX_SIGNED_BYTES = 384 * 1024
"""Maximum length, in bytes, of a body from a sender without a token. The sender may be SNS, whose
messages have at most 256 KiB; their JSON form is somewhat longer.
"""

MAX_STRANGE_BYTES = 16 * 1024
"""Maximum length, in bytes, of a body from a sender without a token if no SNS topic is configured.
This length is enough to recognise an SNS message, and to answer why the message is not accepted."""

MAX_STRANGERS = 64
"""Maximum number of long bodies of unauthenticated senders that are received at one time. A body
that has already arrived completely is not counted. A body whose Content-Length is at most
MAX_STRANGE_BYTES is not counted, because a connection buffers that many bytes in any case. The
usual messages of SNS are not counted, so an attacker who reaches this maximum does not block them.
"""

STRANGER_S = 3.0
"""Time, in seconds, in which an unauthenticated sender must send its body. SNS sends its bodies
immediately.
"""

LONG_BODY_BYTES = 4 * 1024
"""Maximum length, in bytes, of a body that is parsed in the event loop. A longer one is parsed in a
thread: 16 KiB may contain 5,000 records, which take 17 ms. The usual messages of stores are
shorter."""

STRANGE_LONG_BYTES = 64 * 1024
"""Maximum length, in bytes, of a body of an unauthenticated sender that is parsed in the event
loop, which takes 1 or 2 ms. A longer one waits for a single thread. The usual messages of SNS are
shorter, so they do not wait."""

RECORD_WITHIN_S = 2.5
"""Time, in seconds, from the last byte of a message to the commit of its events. Some sources wait
only 3 s for an answer, for example versitygw."""

COMMIT_S = 0.5
"""The part of RECORD_WITHIN_S, in seconds, that is reserved for the database. Parsing may use only
the rest."""

log = get_logger(__name__)

# The results of `labels` are cached, because each call takes a lock and checks the labels. The
# cache is small, because there are few dialects and effects.
_counter = cache(EVENTS.labels)

# One thread: if several large bodies were parsed in parallel, all would miss their deadline, and
# again at each retry.
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long-bodies")

# Bodies of unauthenticated senders have their own thread, so that they do not delay the store's
# events.
_strange_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="strange-bodies")


async def intake(request: web.Request) -> web.Response:
    """Answer POST /events/s3 and /events/s3/{token}: 2xx after the message's events are committed.

    The sender must have a valid token or the signature of SNS: without both, the answer is 401. It
    is 403 for an SNS message that cannot be verified, 413 above 1 MiB, and 503 while the database
    is unavailable, so that the source tries again. A message that cannot be used is kept as a dead
    letter and also answered with 2xx. Otherwise some stores would repeat it forever and send no
    later ones.
    """
    parts = request.app[PARTS]
    given = (request.match_info.get("token", ""), *_credentials(request))
    credentials = [each for each in given if each]
    number = parts.events_gate.admits(*credentials)
    if number is None:
        reason: DenialReason = "unknown token" if credentials else "no token"
        return await _from_sns(request, parts, reason)
    sender = f"webhook token {number} {source_of(client_address(request))}"
    body = await read_raw(request, max_bytes=MAX_EVENT_BYTES)
    ends = time.monotonic() + RECORD_WITHIN_S
    try:
        body = inflate(request, body, max_bytes=MAX_EVENT_BYTES)
    except Problem as problem:
        if problem.status not in (400, 415):
            raise
        message = unreadable(
            body, source="webhook", sender=sender, fault="the body cannot be decompressed"
        )
        return await _take_in(parts, message, ends)
    message = await _read(body, "webhook", sender, parts, ends)
    if message.reading.dialect == "sns" and (confirmation := _confirmation(body)) is not None:
        # A token allows sending events. It does not allow a subscription to an SNS topic, so check
        # the signature too.
        return await _verified(request, parts, confirmation, body, ends)
    return await _take_in(parts, message, ends)


async def _from_sns(request: web.Request, parts: Parts, reason: DenialReason) -> web.Response:
    """Answer a request without a valid token. Its message is accepted only if SNS has signed it."""
    body = await _read_strange(request, parts, reason)
    ends = time.monotonic() + RECORD_WITHIN_S
    try:
        if len(body) <= STRANGE_LONG_BYTES:
            document = parse(body)
        else:
            async with parts.strange_readers.turn(None):
                loop = asyncio.get_running_loop()
                document = await loop.run_in_executor(_strange_reader, parse, body)
    except orjson.JSONDecodeError:
        raise unauthenticated(reason) from None
    except Busy:
        raise unavailable() from None
    if not sns.recognises(document):
        raise unauthenticated(reason)
    return await _verified(request, parts, document, body, ends)


async def _read_strange(request: web.Request, parts: Parts, reason: DenialReason) -> bytes:
    """Read the body of an unauthenticated sender.

    Raises Problem 503 if too many such bodies are being received. Also raises it if an SNS topic is
    configured and the body arrives too slowly, because a retry by SNS may succeed. Raises Problem
    401 for any other fault of the body.
    """
    topics, length = parts.settings.sns_topics, request.content_length
    if not topics and EXPECTS in request:
        raise unauthenticated(reason)
    max_bytes = MAX_SIGNED_BYTES if topics else MAX_STRANGE_BYTES
    whole = request.content.is_eof()
    place: AbstractAsyncContextManager[None] = nullcontext()
    if not whole and (length is None or MAX_STRANGE_BYTES < length <= max_bytes):
        if parts.strangers.locked():
            raise unavailable()
        place = parts.strangers
    try:
        async with place, asyncio.timeout(None if whole else STRANGER_S):
            # The body is not decompressed: SNS does not compress, and a small body could expand to
            # megabytes.
            return await read_raw(request, max_bytes=max_bytes)
    except TimeoutError:
        raise unavailable() if topics else unauthenticated(reason) from None
    except Problem:
        raise unauthenticated(reason) from None


async def _read(
    body: bytes, source: MessageSource, sender: str, parts: Parts, ends: float
) -> Message:
    """Parse a message. Raises Problem 503 if no time is left to record it."""
    read = partial(
        read_message, body, source=source, sender=sender, bucket=parts.settings.s3_bucket
    )
    if len(body) <= LONG_BODY_BYTES:
        return read()
    try:
        async with asyncio.timeout(ends - COMMIT_S - time.monotonic()):
            return await asyncio.get_running_loop().run_in_executor(_reader, read)
    except TimeoutError:
        parts.noise.warning.log(
            "a message takes too long to read", sender, sender=sender, bytes=len(body)
        )
        raise unavailable() from None


async def _verified(
    request: web.Request, parts: Parts, document: Any, body: bytes, ends: float
) -> web.Response:
    """Verify the signature of an SNS message, then process the message."""
    try:
        await parts.sns.verify(document, now=now())
        if document["Type"] == sns.CONFIRMATION:
            await parts.sns.confirm(document)
    except SnsRefused as error:
        _counter("sns", "refused").inc()
        raise access_denied(
            f"This is not a message of SNS for this service: {error}",
            reason=SnsReason(f"SNS: {error}"),
        ) from None
    except SnsUnreachable as error:
        address = client_address(request)
        parts.noise.warning.log(
            "SNS cannot be reached",
            (str(error), source_of(address)),
            error=str(error),
            address=address,
        )
        raise unavailable() from None
    if document["Type"] == sns.FAREWELL:
        log.warning("unsubscribed from a topic", topic=document["TopicArn"])
    message = await _read(body, "sns", f"sns {document['TopicArn']}", parts, ends)
    return await _take_in(parts, message, ends)


def _confirmation(body: bytes) -> Any:
    document = parse(body)
    return document if document["Type"] in (sns.CONFIRMATION, sns.FAREWELL) else None


async def _take_in(parts: Parts, message: Message, ends: float) -> web.Response:
    """Record a message's events, publish wake-ups, and count the effects."""
    reading = message.reading
    recorded = Recorded(changed=[], woken=[])
    if reading.events or reading.faults:
        parts.bucket.require_ours()
        (may_be_kept,) = allow(parts.allowance, [message])
        recorded = await parts.event_groups.record(message, may_be_kept=may_be_kept, ends=ends)
        log_faults(parts.noise.warning, [message])
    for wake_up in recorded.woken:
        parts.publisher.publish(wake_up)
    (counts,) = effects([message], recorded)
    for effect, count in counts.items():
        if count:
            _counter(reading.dialect or "unknown", effect).inc(count)
    return document_response({"meta": counts})


def _credentials(request: web.Request) -> list[str]:
    # A sender may put its token into X-Api-Key or Authorization. EventBridge uses X-Api-Key or
    # Basic. Other stores use Bearer. MinIO sends a token of two words without a scheme, so the
    # whole header may be the token. HTTP libraries may add a second Authorization header, such as
    # Basic from a netrc file, so every header is tried in all forms.
    found = request.headers.getall("X-Api-Key", [])
    for header in request.headers.getall("Authorization", []):
        scheme, _, rest = header.partition(" ")
        found += [header, rest if scheme.lower() == "bearer" else ""]
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(rest, validate=True).decode()
                found.append(pair.partition(":")[2])
            except (binascii.Error, ValueError):
                pass
    return found
