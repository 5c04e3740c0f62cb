"""Read and record the events that stores send by webhook, SNS or SQS.

One transaction, usually a single statement, records the events and keeps the unusable messages as
dead letters. The sender may be answered and workers may be woken only after the commit.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared import dead_letters, lifecycle, notifications, probes
from shared.allowance import Allowance
from shared.database import Connection
from shared.lifecycle import Recorded, WakeUp
from shared.log import get_logger
from shared.metrics import NOT_KEPT
from shared.notifications import Reading, UploadEvent
from shared.notifications.event import Effect, MessageSource
from shared.settings import Settings
from shared.throttle import Throttle

log = get_logger(__name__)

_PROBE = f"/{probes.NAME}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A received message, the way by which it came (`source`), and the content that was read.

    `sender` is the proven sender: `webhook token 1 10.0.0.1` (the token's number in
    ATTACHMENTS_EVENTS_TOKENS, and the address), `sns` and the topic, or `sqs`.
    """

    body: bytes
    source: MessageSource
    sender: str
    reading: Reading

    @property
    def origin(self) -> str:
        """The sender and the dialect. The dead letters of one origin share one limit."""
        return f"{self.sender} {self.reading.dialect or 'unknown'}"


def parse(body: bytes) -> Any:
    """Decode JSON. Raises orjson.JSONDecodeError.

    The garbage collector is paused during this. For a megabyte of brackets, the garbage collector
    would scan half a million new lists many times, which takes most of a second.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if paused:
            gc.enable()


def read_message(body: bytes, *, source: MessageSource, bucket: str, sender: str = "") -> Message:
    """Read a message with any content. Never raises. If `sender` is empty, `source` is used."""
    sender = sender or source
    try:
        reading = notifications.read(parse(body), bucket=bucket)
    except orjson.JSONDecodeError:
        return unreadable(body, source=source, sender=sender, fault="the body is not JSON")
    except Exception:  # a bug must not lose this message or the others that came with it
        log.exception("message cannot be read", source=source)
        return unreadable(body, source=source, sender=sender, fault="reading it fails: see the log")
    return Message(body=body, source=source, sender=sender, reading=reading)


def unreadable(body: bytes, *, source: MessageSource, sender: str, fault: str) -> Message:
    """Return the Message for a body that cannot be read; `fault` says why."""
    reading = Reading(dialect=None, faults=[fault])
    return Message(body=body, source=source, sender=sender, reading=reading)


def allow(allowance: Allowance, messages: Sequence[Message]) -> list[bool]:
    """Return for each message whether it may become a dead letter; False for usable messages.

    Each call counts its messages for the limits of their origins, so pass each message only once.
    """
    kept = [bool(each.reading.faults) and allowance.spend(each.origin) for each in messages]
    if not_kept := sum(bool(each.reading.faults) for each in messages) - sum(kept):
        NOT_KEPT.inc(not_kept)
    return kept


def log_faults(throttle: Throttle, messages: Sequence[Message]) -> None:
    """Log one line for each unusable message, even if it has many faults."""
    for message in messages:
        reading = message.reading
        if reading.faults:
            throttle.log(
                "unreadable event",
                (message.origin, reading.faults[0]),
                source=message.source,
                origin=message.origin,
                dialect=reading.dialect,
                fault=reading.faults[0],
                faults=len(reading.faults),
            )


async def record(
    connection: Connection,
    messages: Sequence[Message],
    settings: Settings,
    kept: Sequence[bool],
) -> Recorded:
    """Record all messages or none. Return the changed ids, and the wake-ups to publish.

    `kept` has one value for each message: whether it may become a dead letter if it is unusable. If
    it may not, only the count of an identical dead letter is raised. May be repeated: that only
    raises the counts of dead letters. Do not call it within a transaction.
    """
    events = _events(messages)
    if all(is_plain(message) for message in messages):
        return await _record(connection, events, settings.publish_grace)
    async with connection.transaction():
        recorded = await _record(connection, events, settings.publish_grace)
        if any(kept):
            await dead_letters.lock(connection)
        new: set[str] = set()
        # The messages are sorted, so that two transactions with the same messages cannot deadlock.
        pairs = zip(messages, kept, strict=True)
        for message, may_be_kept in sorted(pairs, key=lambda pair: pair[0].body):
            reading = message.reading
            await probes.note_arrivals(
                connection, reading.events, source=message.source, dialect=reading.dialect or ""
            )
            if not reading.faults:
                continue
            if not may_be_kept:
                await dead_letters.count_again(connection, message.body)
            elif await dead_letters.keep(
                connection,
                message.body,
                source=message.source,
                origin=message.origin,
                dialect=reading.dialect,
                reason=reading.faults[0],
            ):
                new.add(message.origin)
        if new:
            await dead_letters.prune(connection, settings, sorted(new))
    return recorded


def effects(messages: Sequence[Message], recorded: Recorded) -> list[dict[Effect, int]]:
    """Count the effects of each message's records. Call it after `record` has committed them.

    The effects of a record are:
    `recorded` - the record changed a row;
    `no_effect` - the record changed no row;
    `ignored` - the record is not about an original of this service;
    `unreadable` - the record makes the message a dead letter.

    If several messages report the same change, it counts for the first of them.
    """
    if len(messages) == 1:
        return [_effects(messages[0].reading, len(recorded.changed))]
    left = set(recorded.changed)
    counts = []
    for message in messages:
        changed = left.intersection(event.attachment_id for event in message.reading.events)
        left -= changed
        counts.append(_effects(message.reading, len(changed)))
    return counts


def split(messages: Sequence[Message], recorded: Recorded) -> list[Recorded]:
    """Split the result by message. No two messages may be about the same attachment."""
    changed = set(recorded.changed)
    woken = {each.attachment_id: each for each in recorded.woken}
    parts = []
    for message in messages:
        ids = changed.intersection(event.attachment_id for event in message.reading.events)
        parts.append(Recorded(changed=[*ids], woken=[woken[id] for id in ids if id in woken]))
    return parts


def _effects(reading: Reading, changed: int) -> dict[Effect, int]:
    return {
        "recorded": changed,
        "no_effect": len(reading.events) - changed,
        "ignored": reading.ignored,
        "unreadable": len(reading.faults),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The result of reading a dead letter again, and the wake-ups to publish."""

    reading: Reading
    woken: list[WakeUp]


async def replay(
    connection: Connection,
    letter_id: int,
    *,
    bucket: str,
    publish_grace_s: float,
    dry_run: bool,
) -> Replayed | None:
    """Read a dead letter again and record its events. Returns None if the letter does not exist.

    `bucket` is the service's own. If no wake-up starts the processing of an upload, the sweep does
    so after `publish_grace_s` seconds. If the whole letter can be read, it is removed. If only a
    part can be read, that part is recorded and the letter stays. With `dry_run` all changes are
    rolled back. May be repeated.
    """
    transaction = connection.transaction()
    await transaction.start()
    replayed = None
    try:
        replayed = await _replay(connection, letter_id, bucket, publish_grace_s)
    finally:
        if dry_run or replayed is None:
            await transaction.rollback()
        else:
            await transaction.commit()
    return replayed


async def _replay(
    connection: Connection, letter_id: int, bucket: str, publish_grace_s: float
) -> Replayed | None:
    found = await dead_letters.find(connection, letter_id)
    if found is None:
        return None
    letter, body = found
    reading = read_message(body, source=letter.source, bucket=bucket).reading
    recorded = await _record(connection, reading.events, publish_grace_s)
    if not reading.faults:
        await dead_letters.remove(connection, [letter_id])
    return Replayed(reading=reading, woken=recorded.woken)


def _events(messages: Sequence[Message]) -> list[UploadEvent]:
    if len(messages) == 1:
        return messages[0].reading.events
    return notifications.newest(event for message in messages for event in message.reading.events)


def is_plain(message: Message) -> bool:
    """Return whether a message has no fault and no event of a probe (see `shared.probes`)."""
    if message.reading.faults:
        return False
    return not any(event.key.endswith(_PROBE) for event in message.reading.events)


async def _record(
    connection: Connection, events: Sequence[UploadEvent], publish_grace_s: float
) -> Recorded:
    if not events:
        return Recorded(changed=[], woken=[])
    return await lifecycle.record_uploads(connection, events, publish_grace_s=publish_grace_s)
