"""Read and record the messages of a store, from every source, in one transaction.

Events take effect and unusable messages are kept in the same transaction, which is mostly a single
statement. A source may be answered only after the commit; workers are woken after that.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared import dead_letters, lifecycle, notifications, probes
from shared.allowance import Allowance
from shared.database import Connection
from shared.keys import parse_key
from shared.lifecycle import Recorded, WakeUp
from shared.log import get_logger
from shared.metrics import NOT_KEPT
from shared.notifications import Reading, UploadEvent
from shared.notifications.event import Effect, MessageSource
from shared.settings import Settings
from shared.throttle import Throttle

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it was received, its `source` (webhook, sns, sqs), and what was read from it.

    `sender` names the proven sender: `webhook token 1 10.0.0.1` (the number of the token in
    ATTACHMENTS_EVENTS_TOKENS, and the address), `sns` and the topic, or `sqs`.
    """

    body: bytes
    source: MessageSource
    sender: str
    reading: Reading

    @property
    def origin(self) -> str:
        """The sender and the dialect, whose dead letters share one limit."""
        return f"{self.sender} {self.reading.dialect or 'unknown'}"


def parse(body: bytes) -> Any:
    """Decode JSON. Raises orjson.JSONDecodeError.

    The garbage collector is paused: for a megabyte of brackets it would scan each of half a million
    new lists many times, which takes most of a second.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if paused:
            gc.enable()


def read_message(body: bytes, *, source: MessageSource, bucket: str, sender: str = "") -> Message:
    """Read a message of any content; never raises. The default sender is the source."""
    sender = sender or source
    try:
        reading = notifications.read(parse(body), bucket=bucket)
    except orjson.JSONDecodeError:
        return unreadable(body, source=source, sender=sender, fault="the body is not JSON")
    except Exception:  # a bug of ours must not lose this message or the others of the batch
        log.exception("message cannot be read", source=source)
        return unreadable(body, source=source, sender=sender, fault="reading it fails: see the log")
    return Message(body=body, source=source, sender=sender, reading=reading)


def unreadable(body: bytes, *, source: MessageSource, sender: str, fault: str) -> Message:
    """Build the message of a body that cannot be read."""
    reading = Reading(dialect=None, faults=[fault])
    return Message(body=body, source=source, sender=sender, reading=reading)


def allow(allowance: Allowance, messages: Sequence[Message]) -> list[bool]:
    """Return for each message whether it may become a dead letter; only unusable messages may.

    Each call spends from the allowance of the origin, so call it once for each arrival.
    """
    kept = [bool(each.reading.faults) and allowance.spend(each.origin) for each in messages]
    NOT_KEPT.inc(sum(bool(each.reading.faults) for each in messages) - sum(kept))
    return kept


def log_faults(throttle: Throttle, messages: Sequence[Message]) -> None:
    """Log one line for each unusable message; a single message may have half a million faults."""
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
    """Record messages, all or none; return the changed ids and the wake-ups to publish.

    `kept` has one value for each message: whether it may become a dead letter if it is unusable. If
    not, only the count of an identical dead letter is raised. May be repeated; a repetition changes
    only the counts of unusable messages. Must not be called within a transaction.
    """
    events = _events(messages)
    extras = any(message.reading.faults or _of_probe(message) for message in messages)
    if not extras:
        return await _record(connection, events, settings.publish_grace)
    async with connection.transaction():
        recorded = await _record(connection, events, settings.publish_grace)
        if any(kept):
            await dead_letters.lock(connection)
        new: set[str] = set()
        # The messages are sorted, so that two transactions that keep the same messages cannot
        # deadlock.
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
    """Count the effects of each message's records, after `record` has committed them.

    The effects of a record are:
    `recorded` - the record changed a row;
    `no_effect` - the record changed no row;
    `ignored` - the record names no original of ours;
    `unreadable` - the record makes the message a dead letter.

    If several messages report the same change, the change counts for the first of them.
    """
    if len(messages) == 1:
        return [_effects(messages[0].reading, len(recorded.changed))]
    left = set(recorded.changed)
    counts = []
    for message in messages:
        keys = (parse_key(event.key) for event in message.reading.events)
        changed = {key[0] for key in keys if key is not None} & left
        left -= changed
        counts.append(_effects(message.reading, len(changed)))
    return counts


def _effects(reading: Reading, changed: int) -> dict[Effect, int]:
    return {
        "recorded": changed,
        "no_effect": len(reading.events) - changed,
        "ignored": reading.ignored,
        "unreadable": len(reading.faults),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The result of reading a dead letter again, and the uploads to process now."""

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
    """Read a dead letter again and record its events; None if there is no such letter.

    `bucket` is the service's own. The sweep processes the recorded uploads after `publish_grace_s`
    seconds. The letter is removed if all of it can be read; if only a part can, that part is
    recorded and the letter stays. With `dry_run` all changes are rolled back. May be repeated.
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


def _of_probe(message: Message) -> bool:
    return any(event.key.endswith(f"/{probes.NAME}") for event in message.reading.events)


async def _record(
    connection: Connection, events: Sequence[UploadEvent], publish_grace_s: float
) -> Recorded:
    if not events:
        return Recorded(changed=[], woken=[])
    return await lifecycle.record_uploads(connection, events, publish_grace_s=publish_grace_s)
