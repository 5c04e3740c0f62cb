"""SQL statements that change an attachment's state: record, claim, finish, purge.

    pending ──event / PATCH / sweep──▶ uploaded ──claim──▶ processing ──▶ ready
       │                                  ▲                    ├──▶ rejected
       └─policy over, no object─▶ expired │                    ├──▶ failed
                                          └────────────────────┴──▶ uploaded

A statement changes a row only if the row is as the statement expects.

`revision` counts the changes recorded about the object. A claim is a worker's right to process a
row. It is identified by its revision (`claimed_revision`) and by `attempt`, which counts the claims
of that revision. A write under a claim compares both numbers, so a worker that lost its claim
changes nothing. It also compares the organization: after a loss of rows, another organization may
have an attachment with the same id. While a worker holds an attachment, no other worker can claim
it. A newer upload only raises `revision`, and the holder notices that when it renews or finishes.
So two workers never write the same thumbnail at once.

`due_at` is the time at which the sweep (see `shared.due`) must look at a row. In every state it
means one of these: a lease ends, the next attempt is due, the store must be checked, or the objects
must be purged. `due_at` is compared only with the database's clock.

The file is long, so that a reader can compare the statements, which must agree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Self

from shared import traces
from shared.attachments import CHECK_MARGIN, COLUMNS, LATE_UPLOAD_S, Attachment
from shared.database import Connection, affected
from shared.facts import DECLARED, FACTS, MEASURED, NO_FACTS, Facts
from shared.notifications import UploadEvent
from shared.reasons import ReasonCode
from shared.rows import FromRow
from shared.states import EndState, State
from shared.styles import Styles, emptied, lacks, read_styles, write_styles
from shared.verdicts import NOT_SCANNED, Scan

# SQL for `due_at`. LAST_CHECK is the time at which the store is asked for the last time whether the
# object has changed, because the event of an overwrite under the same policy may have been lost.
# Nothing is due after that. In NEXT_CHECK, $5 is the number of seconds to the next check.
ALIVE = f"(a.policy_expires_at + interval '{CHECK_MARGIN}' > now())"
LAST_CHECK = f"CASE WHEN {ALIVE} THEN a.policy_expires_at + interval '{CHECK_MARGIN}' END"
NEXT_CHECK = f"""least(now() + $5 * interval '1 second',
                        a.policy_expires_at + interval '{CHECK_MARGIN}')"""
# When the object is gone, clear its measured facts. If no object was ever seen (etag is null), keep
# the facts that the client declared.
_NO_FACTS = ", ".join(f"{name} = CASE WHEN a.etag IS NULL THEN a.{name} END" for name in MEASURED)
COPY_ATTEMPTS = 1000
"""If `copy_attempt` is a multiple of this, no process has tried the copy: see `shared.copies`."""


def unless_copied(due_at: str) -> str:
    """Return the SQL expression for the new `due_at` when a row's processing or check ends.

    If no copy is requested, the new value is the argument `due_at`, which is SQL. If a copy is
    requested and nobody has claimed it, the row is due at once. If the copy is claimed, `due_at`
    does not change, because it is the end of the copy's lease.
    """
    return f"""CASE WHEN a.copy_key IS NULL THEN {due_at}
                    WHEN a.copy_attempt % {COPY_ATTEMPTS} = 0 THEN now() ELSE a.due_at END"""


# A file's address contains uploaded_at in whole seconds, so these seconds of two uploads must
# differ.
_NEXT_STAMP = "greatest(now(), date_trunc('second', a.uploaded_at) + interval '1 second')"
ACTIVE = "a.state IN ('uploaded', 'processing')"
_VAGUE = "(event.etag IS NULL AND event.sequencer IS NULL)"
# After these events it is not known which object the store has now, so the store is asked.
_ASK = f"(event.removed OR ({_VAGUE} AND a.state IN ('processing', 'ready', 'rejected')))"


def _padded(sequencer: str) -> str:
    # S3 documentation: sequencers of one key are compared as text, the shorter one padded with 0.
    width = "greatest(length(event.sequencer), length(a.sequencer))"
    return f"rpad({sequencer}, {width}, '0') COLLATE \"C\""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp(FromRow):
    """The message that starts a worker's task: an attachment's id, and the revision to process.

    `request_id` is the id of the request that caused the message; it is empty before a worker has
    received the message. `traceparent` is the upload's trace context, or None if traces are off.
    """

    NOT_COLUMNS = frozenset({"request_id"})

    attachment_id: int
    organization_id: int
    revision: int
    request_id: str = field(default="", compare=False)
    traceparent: str | None = field(default=None, compare=False)


COURIERS = WakeUp(attachment_id=0, organization_id=0, revision=0)
"""The message that wakes a courier, which delivers webhooks. No attachment has the id 0, so workers
of the previous release do nothing with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The result of recording events.

    `changed` are the ids of all changed rows. Among them are rows for which the sweep will ask the
    store, and rows whose worker must check the object again before the worker finishes. `woken` are
    the wake-ups to publish now.
    """

    changed: list[int]
    woken: list[WakeUp]


_RECORD_UPLOADS = f"""
    UPDATE attachments AS a
    -- a raised revision makes the worker that holds the claim check the store again
    SET revision = CASE WHEN {_ASK} AND a.state <> 'processing' THEN a.revision
                        ELSE a.revision + 1 END,
        state = CASE WHEN {_ASK} OR a.state = 'processing' THEN a.state ELSE 'uploaded' END,
        reason = CASE WHEN {_ASK} THEN a.reason END,
        resized = {_ASK} AND a.resized,
        -- kept if the event has none: the row still describes that object
        etag = CASE WHEN {_ASK} THEN a.etag ELSE coalesce(event.etag, a.etag) END,
        version_id = CASE WHEN {_ASK} THEN a.version_id ELSE event.version_id END,
        sequencer = CASE WHEN {_ASK} THEN a.sequencer
                         ELSE coalesce(event.sequencer, a.sequencer) END,
        uploaded_at = CASE WHEN {_ASK} THEN a.uploaded_at ELSE {_NEXT_STAMP} END,
        -- an upload is traced where its event says, else the first one with its create request
        traceparent = CASE WHEN {_ASK} THEN a.traceparent
                           ELSE coalesce($9, CASE WHEN a.revision = 0 THEN a.traceparent END,
                                         $10, a.traceparent) END,
        due_at = CASE WHEN a.state = 'processing' THEN a.due_at
                      WHEN {_ASK} THEN now()
                      ELSE now() + $8 * interval '1 second' END
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                $7::boolean[])
         AS event (id, bucket, file_name, etag, version_id, sequencer, removed)
    WHERE a.id = event.id AND a.bucket = event.bucket AND a.file_name = event.file_name
      AND a.deleted_at IS NULL
      AND CASE
          WHEN event.removed OR {_VAGUE} THEN a.state <> 'uploaded'
          WHEN {_padded("event.sequencer")} <= {_padded("a.sequencer")} THEN false
          ELSE NOT (a.state IN ('uploaded', 'processing', 'ready', 'rejected')
                    AND coalesce(a.etag = event.etag, false)
                    AND coalesce(a.version_id = event.version_id, true))
          END
    RETURNING a.id AS attachment_id, a.organization_id, a.revision, a.state, a.traceparent
"""


async def record_uploads(
    connection: Connection, events: Sequence[UploadEvent], *, publish_grace_s: float
) -> Recorded:
    """Record events in one statement. Return the changed ids, and the wake-ups to publish.

    May be repeated: the second time changes nothing. An event has no effect if its sequencer is
    older than the row's, or if the row already describes the event's object. After an event of a
    removal, and after an event without etag and sequencer about a finished attachment, the sweep
    asks the store at once. `publish_grace_s` is how many seconds the sweep waits for a new upload's
    wake-up.
    """
    named = [event for event in events if event.attachment_id is not None]
    rows = await connection.fetch(
        _RECORD_UPLOADS,
        [event.attachment_id for event in named],
        [event.bucket for event in named],
        [event.key.rsplit("/", 1)[-1] for event in named],
        [event.etag for event in named],
        [event.version_id for event in named],
        [event.sequencer for event in named],
        [event.removed for event in named],
        publish_grace_s,
        traces.given(),
        traces.current(),
    )
    woken = [WakeUp.from_row(row) for row in rows if row["state"] == "uploaded"]
    return Recorded(changed=[row["attachment_id"] for row in rows], woken=woken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to process one revision of an attachment until the lease ends."""

    attachment: Attachment

    @property
    def proof(self) -> tuple[int, int, int]:
        """The id, claimed revision and attempt. A write under this claim must match all of them."""
        row = self.attachment
        return row.id, row.claimed_revision, row.attempt


def held(number: int) -> str:
    """Return the SQL condition that a claim is still valid.

    The SQL parameters $1 to $3 are `Claim.proof`. `number` is the number of the parameter with the
    organization's id.
    """
    return f"""a.id = $1 AND a.claimed_revision = $2 AND a.attempt = $3
            AND a.state = 'processing' AND a.deleted_at IS NULL AND a.organization_id = ${number}"""


async def claim(
    connection: Connection, attachment_id: int, revision: int, *, lease_s: float
) -> Claim | None:
    """Claim the first attempt at a revision of an upload, for `lease_s` seconds.

    Returns None if the revision is claimed already, finished or replaced by a newer one, or if the
    attachment is deleted. Only the sweep claims later attempts, because they must wait until they
    are due.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE attachments AS a
        SET state = 'processing', attempt = 1, claimed_revision = a.revision,
            due_at = now() + $3 * interval '1 second'
        WHERE a.id = $1 AND a.revision = $2 AND a.state = 'uploaded' AND a.deleted_at IS NULL
          AND a.claimed_revision < a.revision
        RETURNING {COLUMNS}
        """,
        attachment_id,
        revision,
        lease_s,
    )
    return Claim(attachment=Attachment.from_row(row)) if row else None


async def renew(
    connection: Connection, claims: Iterable[Claim], *, lease_s: float
) -> dict[int, int]:
    """Extend the leases of many claims in one statement, to `lease_s` seconds from now.

    Returns the current revision of each attachment whose claim is still valid, by id. If an id is
    missing, its claim is lost. If a revision is higher than claimed, the object was replaced.
    """
    claims = list(claims)
    proofs = [item.proof for item in claims]
    rows = await connection.fetch(
        """
        UPDATE attachments AS a SET due_at = now() + $4 * interval '1 second'
        FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $5::bigint[])
             AS held (id, revision, attempt, organization_id)
        WHERE a.id = held.id AND a.id = ANY($1::bigint[]) AND a.claimed_revision = held.revision
          AND a.attempt = held.attempt AND a.organization_id = held.organization_id
          AND a.state = 'processing' AND a.deleted_at IS NULL
        RETURNING a.id, a.revision
        """,
        [proof[0] for proof in proofs],
        [proof[1] for proof in proofs],
        [proof[2] for proof in proofs],
        lease_s,
        [item.attachment.organization_id for item in claims],
    )
    return {row["id"]: row["revision"] for row in rows}


async def announce_thumbnail(
    connection: Connection,
    claimed: Claim,
    thumbnail_name: str,
    styles: Styles,
    *,
    lease_s: float,
) -> bool:
    """Record the names of thumbnails that are about to be stored, and renew the lease.

    `thumbnail_name` is the name of `thumb`; `styles` has the names in all styles. They are recorded
    first, so that the objects can be found and removed after a crash. Returns False if the claim is
    lost. Then no thumbnail must be stored.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET thumbnail_name = $4, styles = $7::jsonb, thumbnail_spoiled = false,
            due_at = now() + $5 * interval '1 second'
        WHERE {held(6)}
        """,
        *claimed.proof,
        thumbnail_name,
        lease_s,
        claimed.attachment.organization_id,
        write_styles(styles),
    )
    return affected(status) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of processing one object: the end state and the measured facts.

    `etag` and `version_id` identify the object that was read. The other fields mean the same as in
    `Attachment`.
    """

    state: EndState
    reason: ReasonCode | None = None
    etag: str | None = None
    version_id: str | None = None
    facts: Facts = NO_FACTS
    thumbnail_name: str | None = None
    styles: Styles = field(default_factory=dict)
    scan: Scan = NOT_SCANNED

    def joined(self, found: Facts) -> Self:
        """Return this outcome with the facts that a later step measured."""
        return replace(self, facts=self.facts.joined(found))


_AFTER_FINISH = f"""CASE WHEN $5 <> 'failed' AND {ALIVE}
                          THEN least(now() + $10 * interval '1 second',
                                     a.policy_expires_at + interval '{CHECK_MARGIN}')
                          ELSE {LAST_CHECK} END"""
# $15 is the first fact. A fact that the client declared stays if it was not measured.
_SET_FACTS = ", ".join(
    f"{name} = coalesce(${number}, a.{name})" if name in DECLARED else f"{name} = ${number}"
    for number, name in enumerate(FACTS, 15)
)


async def finish(
    connection: Connection,
    claimed: Claim,
    outcome: Outcome,
    *,
    revision: int,
    next_check_s: float,
) -> bool:
    """Write the outcome if the claim holds and `revision` is still the row's revision.

    The store is checked once more after `next_check_s` seconds, and once when the policy has ended.
    The reason: a client that retries may soon overwrite its object, and the event of that may be
    lost. Returns False and changes nothing if the claim is lost, a newer upload has been recorded,
    or another worker may have spoiled the thumbnail of this outcome.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET state = $5, reason = $6, etag = coalesce($7, a.etag),
            -- the object was replaced before the worker read it; its event may arrive later
            uploaded_at = CASE WHEN $7 <> a.etag THEN {_NEXT_STAMP} ELSE a.uploaded_at END,
            version_id = CASE WHEN $7 IS NULL THEN a.version_id ELSE $8 END,
            {_SET_FACTS},
            scan_verdict = $12, scan_signature = $13,
            -- the store may have a thumbnail even if processing failed
            thumbnail_name = CASE $5 WHEN 'failed' THEN a.thumbnail_name ELSE $9 END,
            styles = CASE $5 WHEN 'failed' THEN a.styles ELSE $14::jsonb END,
            resized = $9 IS NOT NULL,
            thumbnail_spoiled = false, processed_at = now(),
            -- if the copy has been made, its object is measured now
            copy_bytes = CASE WHEN a.copy_key IS NOT NULL THEN a.copy_bytes END,
            due_at = {unless_copied(_AFTER_FINISH)}
        WHERE {held(11)} AND a.revision = $4
          AND NOT ($9::text IS NOT NULL AND a.thumbnail_spoiled)
        """,
        *claimed.proof,
        revision,
        outcome.state,
        outcome.reason,
        outcome.etag,
        outcome.version_id,
        outcome.thumbnail_name,
        next_check_s,
        claimed.attachment.organization_id,
        outcome.scan.verdict,
        outcome.scan.signature,
        write_styles(outcome.styles or emptied(read_styles(claimed.attachment.styles))),
        *astuple(outcome.facts),
    )
    return affected(status) == 1


async def release(
    connection: Connection,
    claimed: Claim,
    *,
    delay_s: float,
    reason: ReasonCode | None = None,
    counted: bool = True,
) -> int | None:
    """Release a claim. The row is `uploaded` again and due after `delay_s` seconds.

    If a newer upload has been recorded, the row is due at once. If `counted` is false, the attempt
    is not counted. Returns the current revision. Returns None and changes nothing if the claim is
    lost.
    """
    revision = await connection.fetchval(
        f"""
        UPDATE attachments AS a
        SET state = 'uploaded', reason = $5,
            attempt = CASE WHEN $6::boolean THEN a.attempt ELSE a.attempt - 1 END,
            due_at = CASE WHEN a.revision > a.claimed_revision THEN now()
                          ELSE now() + $4 * interval '1 second' END
        WHERE {held(7)} RETURNING a.revision
        """,
        *claimed.proof,
        delay_s,
        reason,
        counted,
        claimed.attachment.organization_id,
    )
    return int(revision) if revision is not None else None


async def mark_missing(
    connection: Connection, claimed: Claim, *, revision: int, next_check_s: float
) -> State | None:
    """Record under the claim that the store has no object. Return the new state.

    The new state is `pending` if no etag was ever recorded and the policy still allows uploads,
    else `failed` with `missing`. In both cases the sweep asks the store again while the policy
    lasts. Returns None and changes nothing if the claim is lost or a newer upload has been
    recorded.
    """
    state: State | None = await connection.fetchval(
        f"""
        UPDATE attachments AS a
        SET state = CASE WHEN a.etag IS NULL AND {ALIVE} THEN 'pending' ELSE 'failed' END,
            reason = CASE WHEN a.etag IS NULL AND {ALIVE} THEN NULL ELSE 'missing' END,
            uploaded_at = CASE WHEN a.etag IS NULL AND {ALIVE} THEN NULL
                               ELSE a.uploaded_at END,
            resized = false, {_NO_FACTS},
            processed_at = CASE WHEN a.etag IS NULL AND {ALIVE} THEN NULL ELSE now() END,
            due_at = {unless_copied(f"CASE WHEN {ALIVE} THEN {NEXT_CHECK} END")}
        WHERE {held(6)} AND a.revision = $4
        RETURNING a.state
        """,
        *claimed.proof,
        revision,
        next_check_s,
        claimed.attachment.organization_id,
    )
    return state


async def process_again(connection: Connection, attachment_id: int) -> bool:
    """Let an upload be processed again because its thumbnail may be spoiled.

    A worker calls this if it wrote or removed a thumbnail and then found its claim lost. If another
    worker holds the attachment now, that worker must store the thumbnail again before it can
    finish. A row that is not `processing` and has no thumbnail is not changed. Otherwise an upload
    that makes every worker too slow to keep the claim would be retried without end. Returns whether
    the row was changed.
    """
    status = await connection.execute(
        """
        UPDATE attachments AS a
        SET revision = CASE a.state WHEN 'processing' THEN a.revision ELSE a.revision + 1 END,
            thumbnail_spoiled = a.state = 'processing', resized = false,
            state = CASE a.state WHEN 'processing' THEN a.state ELSE 'uploaded' END,
            due_at = CASE a.state WHEN 'processing' THEN a.due_at ELSE now() END
        WHERE a.id = $1 AND a.deleted_at IS NULL
          AND (a.state = 'processing' OR (a.state = 'ready' AND a.resized))
        """,
        attachment_id,
    )
    return affected(status) == 1


# An upload that begins just before the policy's end may end much later, so an `expired` row is
# checked once more.
_AFTER_MISSING = f"""CASE WHEN {ALIVE} THEN {NEXT_CHECK}
                          WHEN a.state = 'pending' THEN now() + $4 * interval '1 second' END"""


async def settle_missing(
    connection: Connection, seen: Attachment, *, next_check_s: float
) -> State | None:
    """Record that the store has no object, if the row is unchanged since `seen` was read.

    A `pending` row stays `pending` while its policy lasts, and then becomes `expired`. A row that
    is `ready`, `rejected` or `failed` becomes `failed`. Returns the new state, or None if the row
    has changed.
    """
    state: State | None = await connection.fetchval(
        f"""
        UPDATE attachments AS a
        SET state = CASE WHEN a.state IN ('ready', 'rejected', 'failed') THEN 'failed'
                         WHEN {ALIVE} THEN a.state ELSE 'expired' END,
            reason = CASE WHEN a.reason IN ('source_missing', 'copy_failed') THEN a.reason
                          WHEN a.state IN ('ready', 'rejected', 'failed') THEN 'missing' END,
            resized = false, {_NO_FACTS},
            due_at = {unless_copied(_AFTER_MISSING)}
        WHERE a.id = $1 AND a.revision = $2 AND a.state = $3 AND a.deleted_at IS NULL
        RETURNING a.state
        """,
        seen.id,
        seen.revision,
        seen.state,
        LATE_UPLOAD_S,
        next_check_s,
    )
    return state


async def settle_unchanged(connection: Connection, seen: Attachment) -> None:
    """Record that the store still has the row's object, if the row is unchanged since `seen`.

    Sets the time of the last check. May be repeated.
    """
    await connection.execute(
        f"""
        UPDATE attachments AS a SET due_at = {unless_copied(LAST_CHECK)}
        WHERE a.id = $1 AND a.revision = $2 AND a.state = $3 AND a.deleted_at IS NULL
        """,
        seen.id,
        seen.revision,
        seen.state,
    )


async def postpone(connection: Connection, seen: Attachment, *, delay_s: float) -> bool:
    """Make a row due after `delay_s` seconds, if it is unchanged since the sweep took `seen`.

    Each delay raises `attempt`, which otherwise counts claims. That is safe, because the row has no
    claim: it is deleted, or its state is not `uploaded` or `processing`. Its next claim has a new
    revision. Returns whether the row was changed.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET attempt = least(a.attempt + 1, 1000), due_at = now() + $3 * interval '1 second'
        WHERE a.id = $1 AND a.due_at = $2 AND (a.deleted_at IS NOT NULL OR NOT {ACTIVE})
        """,
        seen.id,
        seen.due_at,
        delay_s,
    )
    return affected(status) == 1


async def row_age_s(connection: Connection, attachment_id: int) -> float | None:
    """Return the age of a row in seconds, by the database's clock, or None if there is no row."""
    age_s = await connection.fetchval(
        "SELECT extract(epoch FROM now() - a.created_at)::float8 FROM attachments AS a"
        " WHERE a.id = $1",
        attachment_id,
    )
    return float(age_s) if age_s is not None else None


async def settle_purged(connection: Connection, attachment_id: int) -> None:
    """Record that the objects of a deleted attachment are removed. May be repeated."""
    await connection.execute(
        "UPDATE attachments AS a SET due_at = NULL, thumbnail_name = NULL, styles = NULL,"
        " resized = false WHERE a.id = $1 AND a.deleted_at IS NOT NULL",
        attachment_id,
    )


async def retry(connection: Connection, ids: Sequence[int]) -> list[WakeUp]:
    """Let attachments that failed, were rejected, or are ready with a reason be processed again.

    Other ids are ignored, also those of attachments that are deleted or are being processed.
    Returns the wake-ups to publish.
    """
    rows = await connection.fetch(
        """
        UPDATE attachments AS a
        SET state = 'uploaded', revision = a.revision + 1, reason = NULL, due_at = now()
        WHERE a.id = ANY($1::bigint[]) AND a.deleted_at IS NULL
          AND (a.state IN ('failed', 'rejected') OR (a.state = 'ready' AND a.reason IS NOT NULL))
        RETURNING a.id AS attachment_id, a.organization_id, a.revision, a.traceparent
        """,
        ids,
    )
    return [WakeUp.from_row(row) for row in rows]


async def retry_style(
    connection: Connection, ids: Sequence[int], style: str, edge: int
) -> list[WakeUp]:
    """Let attachments that have a thumbnail, but not in this style and edge, be processed again.

    Other ids are ignored, also those of attachments that are not `ready`. So the call may be
    repeated. Nothing about the original changes. So no webhook is delivered, unless the attachment
    does not become `ready` again: see migration 0023. Returns the wake-ups to publish.
    """
    rows = await connection.fetch(
        f"""
        UPDATE attachments AS a
        SET state = 'uploaded', revision = a.revision + 1, restyled_revision = a.revision + 1,
            reason = NULL, due_at = now()
        WHERE a.id = ANY($1::bigint[]) AND a.deleted_at IS NULL AND a.state = 'ready'
          AND {lacks(2, 3)}
        RETURNING a.id AS attachment_id, a.organization_id, a.revision, a.traceparent
        """,
        ids,
        style,
        str(edge),
    )
    return [WakeUp.from_row(row) for row in rows]
