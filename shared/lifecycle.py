"""The life of an attachment in guarded statements: uploads recorded, claimed, finished, purged.

    pending ──event / PATCH / sweep──▶ uploaded ──claim──▶ processing ──▶ ready
       │                                  ▲                    ├──▶ rejected
       └─policy over, no object─▶ expired │                    ├──▶ failed
                                          └────────────────────┴──▶ uploaded

`revision` counts what was recorded about the object. A claim is named by the revision that it
was made for (`claimed_revision`) and by `attempt`, which counts the claims of that revision; every
later write names both, so that a worker that lost its claim changes nothing. It names the
organization too: after rows were lost, the same id may be claimed for another one. While one worker
holds an attachment no other can claim it: a newer upload only raises `revision`, and the holder
finds that out when it renews or finishes. So no two ever write the same thumbnail at one time.

`due_at` is when the sweep (see `shared.due`) must look at a row, whatever its state: the end of a
lease, the time of the next attempt, of the next question to the store, of the purge. Only the
database's clock decides.

The file is long so that a reader can compare the statements, which must agree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.attachments import CHECK_MARGIN, COLUMNS, LATE_UPLOAD_S, Attachment
from shared.database import Connection, affected
from shared.keys import parse_key
from shared.notifications import UploadEvent
from shared.reasons import ReasonCode
from shared.rows import FromRow
from shared.states import EndState, State

# When the store is asked for the last time whether the object has changed: an overwrite under
# the same policy may have come with no event. Nothing is due after that. In NEXT_CHECK $5 is the
# time to the next check, in seconds.
ALIVE = f"(a.policy_expires_at + interval '{CHECK_MARGIN}' > now())"
LAST_CHECK = f"CASE WHEN {ALIVE} THEN a.policy_expires_at + interval '{CHECK_MARGIN}' END"
NEXT_CHECK = f"""least(now() + $5 * interval '1 second',
                        a.policy_expires_at + interval '{CHECK_MARGIN}')"""
# Of an object that is gone nothing is true any more. What a client declared of one that has not
# come yet stays.
_NO_FACTS = ", ".join(
    f"{name} = CASE WHEN a.etag IS NULL THEN a.{name} END"
    for name in (
        "content_type", "size", "width", "height", "pages", "checksum_sha256"
    )
)  # fmt: skip
COPY_ATTEMPTS = 1000
"""`copy_attempt` is a multiple of it while nobody has tried the copy: see `shared.copies`."""


def unless_copied(due_at: str) -> str:
    """Write `due_at` for a row whose processing or check ends, in SQL.

    Due at once is what is still to be copied to the attachment's key. Once that copy is claimed,
    the time stays: it is the end of a lease.
    """
    return f"""CASE WHEN a.copy_key IS NULL THEN {due_at}
                    WHEN a.copy_attempt % {COPY_ATTEMPTS} = 0 THEN now() ELSE a.due_at END"""


# Addresses of files carry uploaded_at as whole seconds: two uploads in one second must differ.
_NEXT_STAMP = "greatest(now(), date_trunc('second', a.uploaded_at) + interval '1 second')"
ACTIVE = "a.state IN ('uploaded', 'processing')"
_VAGUE = "(event.etag IS NULL AND event.sequencer IS NULL)"
# What cannot be judged from the event alone: the store is asked, and nothing is assumed.
_ASK = f"(event.removed OR ({_VAGUE} AND a.state IN ('processing', 'ready', 'rejected')))"


def _padded(sequencer: str) -> str:
    # S3: sequencers of one key compare as text once the shorter is padded with zeros.
    width = "greatest(length(event.sequencer), length(a.sequencer))"
    return f"rpad({sequencer}, {width}, '0') COLLATE \"C\""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp(FromRow):
    """What a task needs to be told: which attachment, and of which revision."""

    attachment_id: int
    organization_id: int
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What events came to: the attachments that they changed, and those to be processed now.

    `changed` are ids; among them are also those of which the store will be asked, and those whose
    worker must look again before it finishes.
    """

    changed: list[int]
    woken: list[WakeUp]


async def record_uploads(
    connection: Connection, events: Sequence[UploadEvent], *, publish_grace_s: float
) -> Recorded:
    """Record what events say, in one statement; tell what changed and whom to wake.

    Repeating it changes nothing. An event that is older by its sequencer, or that tells of the
    object we know, has no effect. One that tells neither etag nor sequencer of an attachment that
    is done, or that tells of a removal, makes the sweep ask the store at once.
    """
    named = [
        (event, key[0])
        for event in events
        if (key := parse_key(event.key)) is not None and key[1] == "original"
    ]
    rows = await connection.fetch(
        f"""
        UPDATE attachments AS a
        -- a raised revision makes the worker that has it ask the store before it finishes
        SET revision = CASE WHEN {_ASK} AND a.state <> 'processing' THEN a.revision
                            ELSE a.revision + 1 END,
            state = CASE WHEN {_ASK} OR a.state = 'processing' THEN a.state ELSE 'uploaded' END,
            reason = CASE WHEN {_ASK} THEN a.reason END,
            resized = {_ASK} AND a.resized,
            -- kept where the event names none: what the row says is still that object's
            etag = CASE WHEN {_ASK} THEN a.etag ELSE coalesce(event.etag, a.etag) END,
            version_id = CASE WHEN {_ASK} THEN a.version_id ELSE event.version_id END,
            sequencer = CASE WHEN {_ASK} THEN a.sequencer
                             ELSE coalesce(event.sequencer, a.sequencer) END,
            uploaded_at = CASE WHEN {_ASK} THEN a.uploaded_at ELSE {_NEXT_STAMP} END,
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
        RETURNING a.id AS attachment_id, a.organization_id, a.revision, a.state
        """,
        [attachment_id for _, attachment_id in named],
        [event.bucket for event, _ in named],
        [event.key.rsplit("/", 1)[-1] for event, _ in named],
        [event.etag for event, _ in named],
        [event.version_id for event, _ in named],
        [event.sequencer for event, _ in named],
        [event.removed for event, _ in named],
        publish_grace_s,
    )
    woken = [WakeUp.from_row(row) for row in rows if row["state"] == "uploaded"]
    return Recorded(changed=[row["attachment_id"] for row in rows], woken=woken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to process one revision of an attachment, until the lease is over."""

    attachment: Attachment

    @property
    def fence(self) -> tuple[int, int, int]:
        """What every write under this claim names: id, claimed revision, attempt."""
        row = self.attachment
        return row.id, row.claimed_revision, row.attempt


def held(place: int) -> str:
    """Write the condition that a claim still holds: $1 to $3 are its fence.

    `place` is the number of the parameter that has the organization's id.
    """
    return f"""a.id = $1 AND a.claimed_revision = $2 AND a.attempt = $3
            AND a.state = 'processing' AND a.deleted_at IS NULL AND a.organization_id = ${place}"""


async def claim(
    connection: Connection, attachment_id: int, revision: int, *, lease_s: float
) -> Claim | None:
    """Claim an upload that no one has tried yet; None if it is taken, done, newer or deleted.

    Later attempts belong to the sweep alone: they wait for their time.
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
        attachment_id, revision, lease_s,
    )  # fmt: skip
    return Claim(attachment=Attachment.from_row(row)) if row else None


async def renew(
    connection: Connection, claims: Iterable[Claim], *, lease_s: float
) -> dict[int, int]:
    """Lengthen the leases of many claims in one statement.

    Returns the current revision by id of every claim that still holds. One that is missing is
    lost; one whose revision has risen works on an object that has been replaced.
    """
    claims = list(claims)
    fences = [item.fence for item in claims]
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
        [fence[0] for fence in fences],
        [fence[1] for fence in fences],
        [fence[2] for fence in fences],
        lease_s,
        [item.attachment.organization_id for item in claims],
    )
    return {row["id"]: row["revision"] for row in rows}


async def announce_thumbnail(
    connection: Connection, claimed: Claim, thumbnail_name: str, *, lease_s: float
) -> bool:
    """Note under which name a thumbnail is about to be stored, and renew the lease.

    Noted before it is written, so that whatever happens then the object can be found and removed.
    False if the claim is lost: then nothing may be written.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET thumbnail_name = $4, thumbnail_spoiled = false,
            due_at = now() + $5 * interval '1 second'
        WHERE {held(6)}
        """,
        *claimed.fence, thumbnail_name, lease_s, claimed.attachment.organization_id,
    )  # fmt: skip
    return affected(status) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out of one object: its end state and what was measured of it.

    `etag` and `version_id` name the object that was read.
    """

    state: EndState
    reason: ReasonCode | None = None
    etag: str | None = None
    version_id: str | None = None
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    checksum_sha256: str | None = None
    thumbnail_name: str | None = None
    carries_more: bool = False


_AFTER_FINISH = f"""CASE WHEN $5 <> 'failed' AND {ALIVE}
                          THEN least(now() + $17 * interval '1 second',
                                     a.policy_expires_at + interval '{CHECK_MARGIN}')
                          ELSE {LAST_CHECK} END"""


async def finish(
    connection: Connection,
    claimed: Claim,
    outcome: Outcome,
    *,
    revision: int,
    next_check_s: float,
) -> bool:
    """Write the outcome under the claim, if `revision` is still the current one.

    The store is asked once more soon, and once when the policy is over: clients that try again
    overwrite within moments, and the event of that may be lost. False when the claim is lost, a
    newer upload has been recorded, or a thumbnail would be promised that another worker may have
    spoiled since; nothing has changed then.
    """
    status = await connection.execute(
        f"""
        UPDATE attachments AS a
        SET state = $5, reason = $6, etag = coalesce($7, a.etag),
            -- the object was replaced before the worker read it, and its event may come later
            uploaded_at = CASE WHEN $7 <> a.etag THEN {_NEXT_STAMP} ELSE a.uploaded_at END,
            version_id = CASE WHEN $7 IS NULL THEN a.version_id ELSE $8 END,
            content_type = coalesce($9, a.content_type), size = coalesce($10, a.size),
            width = $11, height = $12, pages = $13, checksum_sha256 = $14,
            -- of what failed, a thumbnail may lie in the store all the same
            thumbnail_name = CASE $5 WHEN 'failed' THEN a.thumbnail_name ELSE $15 END,
            resized = $15 IS NOT NULL, carries_more = $16,
            thumbnail_spoiled = false, processed_at = now(),
            -- of a copy that has been made: it is measured now
            copy_bytes = CASE WHEN a.copy_key IS NOT NULL THEN a.copy_bytes END,
            due_at = {unless_copied(_AFTER_FINISH)}
        WHERE {held(18)} AND a.revision = $4
          AND NOT ($15::text IS NOT NULL AND a.thumbnail_spoiled)
        """,
        *claimed.fence, revision, outcome.state, outcome.reason, outcome.etag, outcome.version_id,
        outcome.content_type, outcome.size, outcome.width, outcome.height, outcome.pages,
        outcome.checksum_sha256, outcome.thumbnail_name, outcome.carries_more, next_check_s,
        claimed.attachment.organization_id,
    )  # fmt: skip
    return affected(status) == 1


async def release(
    connection: Connection,
    claimed: Claim,
    *,
    delay_s: float,
    reason: ReasonCode | None = None,
    counted: bool = True,
) -> int | None:
    """Give a claim back: `uploaded` again, due after `delay_s`, or at once if it is a newer upload.

    Unless `counted`, it is as if the attempt had not been made. Returns the current revision;
    None if the claim is lost already, and nothing has changed.
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
        *claimed.fence, delay_s, reason, counted, claimed.attachment.organization_id,
    )  # fmt: skip
    return int(revision) if revision is not None else None


async def mark_missing(
    connection: Connection, claimed: Claim, *, revision: int, next_check_s: float
) -> State | None:
    """Write down under the claim that there is no object; returns the new state.

    `pending` again where only a vague hint said that there was one and the policy lives on, else
    `failed` with `missing`; in both cases the store is asked again while the policy lives. None
    if the claim is lost or a newer upload has been recorded.
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
        *claimed.fence, revision, next_check_s, claimed.attachment.organization_id,
    )  # fmt: skip
    return state


async def process_again(connection: Connection, attachment_id: int) -> bool:
    """Ask for one more round over an upload whose thumbnail may have been spoiled.

    Called by a worker that wrote or removed a thumbnail and then found its claim lost. Whoever
    holds the attachment now must store its thumbnail again before it can finish. What promises no
    thumbnail is left alone, lest an upload that stalls every worker be tried for ever.
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


# An upload begun under the policy may end long after it.
_AFTER_MISSING = f"""CASE WHEN {ALIVE} THEN {NEXT_CHECK}
                          WHEN a.state = 'pending' THEN now() + $4 * interval '1 second' END"""


async def settle_missing(
    connection: Connection, seen: Attachment, *, next_check_s: float
) -> State | None:
    """Write down that the store has no object, if nothing happened since `seen` was read.

    `pending` waits on while its policy lives and is `expired` after; what had an object is
    `failed`. Returns the new state; None if the row has moved.
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
        seen.id, seen.revision, seen.state, LATE_UPLOAD_S, next_check_s,
    )  # fmt: skip
    return state


async def settle_unchanged(connection: Connection, seen: Attachment) -> None:
    """Write down that the store still has the object that the row describes."""
    await connection.execute(
        f"""
        UPDATE attachments AS a SET due_at = {unless_copied(LAST_CHECK)}
        WHERE a.id = $1 AND a.revision = $2 AND a.state = $3 AND a.deleted_at IS NULL
        """,
        seen.id, seen.revision, seen.state,
    )  # fmt: skip


async def put_off(connection: Connection, seen: Attachment, *, delay_s: float) -> bool:
    """Look at a row later, if nothing happened since `seen` was taken from the sweep.

    `attempt` counts how often, on top of the claims before. That is safe: a row that is deleted, or
    neither uploaded nor processing, has no claim to fence, and the next claim has a new revision.
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
    """Tell how many seconds ago a row was created, by the database's clock; None without a row."""
    age_s = await connection.fetchval(
        "SELECT extract(epoch FROM now() - a.created_at)::float8 FROM attachments AS a"
        " WHERE a.id = $1",
        attachment_id,
    )
    return float(age_s) if age_s is not None else None


async def settle_purged(connection: Connection, attachment_id: int) -> None:
    """Write down that a deleted attachment's objects are gone."""
    await connection.execute(
        "UPDATE attachments AS a SET due_at = NULL, thumbnail_name = NULL, resized = false"
        " WHERE a.id = $1 AND a.deleted_at IS NOT NULL",
        attachment_id,
    )


async def retry(connection: Connection, ids: Sequence[int]) -> list[WakeUp]:
    """Send failed and rejected attachments, and ready ones with a reason, through processing again.

    Safe on anything: others, also those that are deleted or being processed, are left as they are.
    """
    rows = await connection.fetch(
        """
        UPDATE attachments AS a
        SET state = 'uploaded', revision = a.revision + 1, reason = NULL, due_at = now()
        WHERE a.id = ANY($1::bigint[]) AND a.deleted_at IS NULL
          AND (a.state IN ('failed', 'rejected') OR (a.state = 'ready' AND a.reason IS NOT NULL))
        RETURNING a.id AS attachment_id, a.organization_id, a.revision
        """,
        ids,
    )
    return [WakeUp.from_row(row) for row in rows]
