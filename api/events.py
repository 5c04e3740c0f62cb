"""The intake of completion events: one address for every dialect.

Authenticated, read, recorded in one statement, committed; only then answered. What a worker is
woken for is published behind the answer's back. Rules: events.md.
"""

import base64
import binascii

import orjson
from aiohttp import web

from api.bodies import read_body
from api.metrics import EVENTS
from api.parts import PARTS
from api.problems import Problem, document_response, unauthenticated
from shared import notifications, processing
from shared.log import get_logger

MAX_EVENT_BYTES = 1024 * 1024

log = get_logger(__name__)


async def intake(request: web.Request) -> web.Response:
    """POST /events/s3 and /events/s3/{token}: 2xx once what the message says is committed.

    401 without a live token and 413 above 1 MiB. 503 while the database is away, so that the
    source tries again. A message that cannot be read is answered 2xx too: some stores would send
    it for ever and hold back all others behind it.
    """
    parts = request.app[PARTS]
    if not parts.events_gate.admits(request.match_info.get("token"), *_credentials(request)):
        raise unauthenticated()
    try:
        body = await read_body(request, max_bytes=MAX_EVENT_BYTES)
        document = orjson.loads(body)
    except Problem as problem:
        if problem.status not in (400, 415):
            raise
        return _unreadable("the body is cut short or wrongly encoded")
    except orjson.JSONDecodeError:
        return _unreadable("the body is not JSON")
    reading = notifications.read(document, bucket=parts.settings.s3_bucket)
    for fault in reading.faults:
        log.warning("unreadable event", dialect=reading.dialect, fault=fault)
    woken = []
    if reading.events:
        woken = await parts.database.run(
            processing.record_uploads,
            reading.events,
            publish_grace_s=parts.settings.publish_grace,
        )
    for wake_up in woken:
        parts.publisher.publish(wake_up)
    dialect = reading.dialect or "unknown"
    EVENTS.labels(dialect, "recorded").inc(len(woken))
    EVENTS.labels(dialect, "no_effect").inc(len(reading.events) - len(woken))
    EVENTS.labels(dialect, "ignored").inc(reading.ignored)
    EVENTS.labels(dialect, "unreadable").inc(len(reading.faults))
    return document_response(
        {
            "meta": {
                "recorded": len(woken),
                "no_effect": len(reading.events) - len(woken),
                "ignored": reading.ignored,
                "unreadable": len(reading.faults),
            }
        }
    )


def _unreadable(fault: str) -> web.Response:
    log.warning("unreadable event", fault=fault)
    EVENTS.labels("unknown", "unreadable").inc()
    return document_response(
        {"meta": {"recorded": 0, "no_effect": 0, "ignored": 0, "unreadable": 1}}, status=202
    )


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
