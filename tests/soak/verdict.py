"""Checks the design's invariants: compares rows, objects and the clients' knowledge."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.attachments import Attachment
from shared.keys import parse_key
from shared.styles import named_keys, shown_thumbnails
from tests.soak.clients import Entry, Sent

UNFINISHED: Final = "accepted by the store, but not ready, rejected or failed"
MISDESCRIBED: Final = "rows that do not describe the object in the store"
THUMBNAILS: Final = "thumbnails missing, or of another version"
ORPHANS: Final = "objects that belong to no living row"
OUTCOMES: Final = "in a final state that does not fit their file"
LOST: Final = "accepted by the store, but gone from it"
HANDS: Final = "processes that did not start again by themselves"
ENDS: Final = "processes that ended without being killed"
GROWN: Final = "workers that hold more memory than they need"
ANSWERS: Final = "answers that no client should get"
SHOWN: Final = "secrets in a log"
FOREIGN: Final = "rows that another organization was shown"
HOOKS_LOST: Final = "changes of attachments that were not delivered"
HOOKS_FOREIGN: Final = "deliveries that another organization got, or that nobody signed"
SPARED: Final = "planned uploads and faults that did not happen"
INVARIANTS: Final = (
    UNFINISHED,
    MISDESCRIBED,
    THUMBNAILS,
    ORPHANS,
    OUTCOMES,
    LOST,
    HANDS,
    ENDS,
    GROWN,
    ANSWERS,
    SHOWN,
    FOREIGN,
    HOOKS_LOST,
    HOOKS_FOREIGN,
    SPARED,
)

FINAL_STATES: Final = ("ready", "rejected", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredItem:
    """An object in the store's list: `etag` has no quotes, `size` is in bytes."""

    etag: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One breach of an invariant."""

    invariant: str
    about: str


def judge(
    entries: Sequence[Entry],
    rows: Mapping[int, Attachment],
    objects: Mapping[str, StoredItem],
    shown: Mapping[int, int | None],
) -> list[Finding]:
    """Compare rows, objects and the clients' knowledge after the last sweep and purge.

    `objects` are all objects of the store by key. `shown` maps an attachment id to the number that
    the thumbnail shows, or to None if the thumbnail shows no number.
    """
    known = {entry.attachment_id: entry for entry in entries}
    findings = [*_orphans(rows, objects)]
    for row in rows.values():
        entry = known.get(row.id)
        if row.deleted_at is None:
            findings += _judge_row(row, entry, objects.get(row.key))
            findings += _judge_thumbnail(row, entry, objects, shown.get(row.id))
        reported = entry.deleted if entry is not None else None
        if reported is not None and reported != (row.deleted_at is not None):
            about = f"{_name(row)}: deleted by its client: {reported}"
            findings.append(Finding(invariant=OUTCOMES, about=about))
    for entry in entries:
        if entry.attachment_id not in rows:
            about = f"attachment {entry.attachment_id} has no row"
            findings.append(Finding(invariant=UNFINISHED, about=about))
    return findings


def _judge_row(
    row: Attachment, entry: Entry | None, stored: StoredItem | None
) -> Iterator[Finding]:
    accepted = entry is not None and any(sent.accepted_at for sent in entry.sent)
    if stored is None:
        if accepted:
            yield Finding(invariant=LOST, about=f"{_name(row)}: no object")
        if row.state in ("ready", "rejected"):
            yield Finding(invariant=MISDESCRIBED, about=f"{_name(row)}: no object")
        elif not accepted and row.state != "expired":
            yield Finding(invariant=OUTCOMES, about=f"{_name(row)}: never uploaded")
        return
    if row.state not in FINAL_STATES:
        yield Finding(invariant=UNFINISHED, about=f"{_name(row)}: there is an object")
        return
    if row.state == "failed":
        yield Finding(invariant=OUTCOMES, about=f"{_name(row)}: with {row.reason}")
        return
    if (row.etag, row.size) != (stored.etag, stored.size):
        about = f"{_name(row)}: says {row.etag} {row.size} B, is {stored.etag} {stored.size} B"
        yield Finding(invariant=MISDESCRIBED, about=about)
        return
    sent = _sent(entry, stored)
    if sent is None:
        about = f"{_name(row)}: {stored.etag} is nothing that its client sent last"
        yield Finding(invariant=MISDESCRIBED, about=about)
        return
    if row.checksum_sha256 not in (None, sent.sha256):
        about = f"{_name(row)}: says {row.checksum_sha256}, is {sent.sha256}"
        yield Finding(invariant=MISDESCRIBED, about=about)
    yield from _judge_outcome(row, sent)


def _judge_outcome(row: Attachment, sent: Sent) -> Iterator[Finding]:
    expected = sent.expected
    seen = (row.state, row.resized, row.width, row.height)
    due = (expected.state, expected.code is not None, expected.width, expected.height)
    if seen != due or row.reason not in expected.reasons:
        about = f"{_name(row)}: {sent.kind} became {seen} {row.reason}, not {due}"
        yield Finding(invariant=OUTCOMES, about=about)
    elif expected.content_type not in (None, row.content_type):
        about = f"{_name(row)}: {sent.kind} is {row.content_type}, not {expected.content_type}"
        yield Finding(invariant=OUTCOMES, about=about)


def _judge_thumbnail(
    row: Attachment,
    entry: Entry | None,
    objects: Mapping[str, StoredItem],
    shown: int | None,
) -> Iterator[Finding]:
    if not row.resized:
        return
    stored = objects.get(row.key)
    thumbnails = shown_thumbnails(row).items()
    if missing := [style for style, each in thumbnails if each.key not in objects]:
        yield Finding(invariant=THUMBNAILS, about=f"{_name(row)}: no {', '.join(missing)}")
        return
    sent = _sent(entry, stored) if stored is not None else None
    if sent is not None and shown != sent.expected.code:
        about = f"{_name(row)}: shows {shown}, not {sent.expected.code}"
        yield Finding(invariant=THUMBNAILS, about=about)


def _orphans(
    rows: Mapping[int, Attachment], objects: Mapping[str, StoredItem]
) -> Iterator[Finding]:
    for key in objects:
        parsed = parse_key(key)
        row = rows.get(parsed[0]) if parsed is not None else None
        if row is None:
            yield Finding(invariant=ORPHANS, about=f"{key}: no row")
        elif row.deleted_at is not None:
            if row.due_at is None:
                yield Finding(invariant=ORPHANS, about=f"{key}: {_name(row)} is purged")
        elif key not in (row.key, *named_keys(row).values()):
            yield Finding(invariant=ORPHANS, about=f"{key}: {_name(row)} names no such object")


def _sent(entry: Entry | None, stored: StoredItem) -> Sent | None:
    possible = entry.possible if entry is not None else []
    return next((sent for sent in possible if sent.md5 == stored.etag), None)


def _name(row: Attachment) -> str:
    return f"{row.state} attachment {row.id}"


def spared(*, made: int, asked: int, left_out: Mapping[str, int]) -> list[Finding]:
    """Return a finding for each kind of fault that was left out, and one for missing uploads.

    A soak test with these findings proves less than was requested.
    """
    findings = [
        Finding(invariant=SPARED, about=f"{count} {kind}") for kind, count in left_out.items()
    ]
    if made < asked:
        about = f"{asked - made} of {asked} uploads: there was no time for them"
        findings.append(Finding(invariant=SPARED, about=about))
    return findings


def by_invariant(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Sort findings by their invariant. An invariant that holds gets an empty list."""
    sorted_: defaultdict[str, list[str]] = defaultdict(list)
    for finding in findings:
        sorted_[finding.invariant].append(finding.about)
    return {invariant: sorted_[invariant] for invariant in INVARIANTS}


def delays_s(
    entries: Sequence[Entry], rows: Mapping[int, Attachment]
) -> dict[int, tuple[float, int]]:
    """Return how many seconds each upload took, and its attachment id, by upload number.

    The time is from the store's last 201 to the final state. Attachments that were deleted, and
    those whose last upload is unknown, are left out.
    """
    delays = {}
    for entry in entries:
        row = rows.get(entry.attachment_id)
        if row is None or row.deleted_at is not None or row.processed_at is None:
            continue
        if row.state not in FINAL_STATES or len(entry.possible) != 1:
            continue
        accepted_at = entry.possible[0].accepted_at
        if accepted_at is not None:
            delay_s = max(row.processed_at.timestamp() - accepted_at, 0.0)
            delays[entry.upload.number] = (delay_s, row.id)
    return delays
