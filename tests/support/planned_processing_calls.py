"""Calls of the data functions that events, workers and the sweep use.

The result of each call is checked too: if a call finds no row, its query plan proves nothing.
"""

from collections.abc import Callable
from typing import Any

from shared import (
    copy_claims,
    due,
    lifecycle,
    older_objects,
)
from shared.lifecycle import Outcome, WakeUp
from tests.support.explaining import Call
from tests.support.million import (
    DELETED,
    FAILED,
    PROCESSING,
    READY,
    UPLOADED,
    USUAL,
)
from tests.support.planned_rows import (
    sent,
    with_backlog,
    with_claim,
    with_copy,
    with_row,
    with_thumbnails,
)

PROCESSING_CALLS: dict[str, tuple[Call, Callable[[Any], bool]]] = {
    "copy_claims.claim": (
        lambda c: with_copy(c, lambda row: copy_claims.claim(c, row.id, None, lease_s=30)),
        bool,
    ),
    "copy_claims.renew": (
        lambda c: with_copy(c, lambda row: copy_claims.renew(c, row, lease_s=30)),
        bool,
    ),
    "copy_claims.postpone": (
        lambda c: with_copy(c, lambda row: copy_claims.postpone(c, row, delay_s=1)),
        lambda found: found is None,
    ),
    "copy_claims.release": (
        lambda c: with_copy(c, lambda row: copy_claims.release(c, row, delay_s=1)),
        bool,
    ),
    "copy_claims.wait": (
        lambda c: with_copy(
            c, lambda row: copy_claims.wait(c, row.id, row.copy_attempt, delay_s=1)
        ),
        lambda found: found is None,
    ),
    "copy_claims.finish": (
        lambda c: with_copy(c, lambda row: copy_claims.finish(c, row, "e")),
        bool,
    ),
    "copy_claims.record": (
        lambda c: with_copy(c, lambda row: copy_claims.record(c, row, "e", publish_grace_s=1)),
        bool,
    ),
    "copy_claims.fail": (
        lambda c: with_copy(c, lambda row: copy_claims.fail(c, row, reason="copy_failed")),
        bool,
    ),
    "copy_claims.drop": (
        lambda c: with_copy(c, lambda row: copy_claims.drop(c, row.id, row.copy_attempt)),
        lambda found: found is None,
    ),
    "lifecycle.record_uploads": (
        lambda c: lifecycle.record_uploads(
            c,
            [sent(READY, etag="b"), sent(UPLOADED, etag="b", sequencer="1")],
            publish_grace_s=15,
        ),
        lambda found: len(found.changed) == 2,
    ),
    "lifecycle.record_uploads of many": (
        lambda c: lifecycle.record_uploads(
            c, [sent(n, etag="b") for n in range(10, 510)], publish_grace_s=15
        ),
        lambda found: len(found.changed) > 400,
    ),
    "lifecycle.claim": (lambda c: lifecycle.claim(c, UPLOADED, 1, lease_s=30), bool),
    "due.make_due": (
        lambda c: due.make_due(
            c,
            [
                WakeUp(attachment_id=each, organization_id=USUAL, revision=1)
                for each in range(UPLOADED, UPLOADED + 1000)
            ],
        ),
        lambda count: count == 0,  # nothing changes, because these rows are due already
    ),
    "due.take_due": (
        lambda c: due.take_due(c, limit=32, lease_s=30, attempts=5),
        lambda sweep: len(sweep.due) == 3,
    ),
    "due.take_due of a backlog": (
        lambda c: with_backlog(
            c, lambda: due.take_due(c, limit=32, lease_s=30, attempts=5, after=USUAL)
        ),
        lambda sweep: len({due.attachment.organization_id for due in sweep.due}) == 2,
    ),
    "lifecycle.renew": (
        lambda c: with_claim(c, lambda claim: lifecycle.renew(c, [claim] * 32, lease_s=30)),
        bool,
    ),
    "lifecycle.announce_thumbnail": (
        lambda c: with_claim(
            c, lambda claim: lifecycle.announce_thumbnail(c, claim, "a.png", {}, lease_s=30)
        ),
        bool,
    ),
    "lifecycle.finish": (
        lambda c: with_claim(
            c,
            lambda claim: lifecycle.finish(
                c, claim, Outcome(state="ready"), revision=1, next_check_s=75
            ),
        ),
        bool,
    ),
    "lifecycle.release": (
        lambda c: with_claim(c, lambda claim: lifecycle.release(c, claim, delay_s=1)),
        bool,
    ),
    "lifecycle.mark_missing": (
        lambda c: with_claim(
            c, lambda claim: lifecycle.mark_missing(c, claim, revision=1, next_check_s=75)
        ),
        bool,
    ),
    "lifecycle.process_again": (lambda c: lifecycle.process_again(c, PROCESSING), bool),
    "lifecycle.settle_missing": (
        lambda c: with_row(c, lambda row: lifecycle.settle_missing(c, row, next_check_s=75)),
        bool,
    ),
    "lifecycle.settle_unchanged": (
        lambda c: with_row(c, lambda row: lifecycle.settle_unchanged(c, row)),
        lambda found: found is None,
    ),
    "lifecycle.postpone": (
        lambda c: with_row(c, lambda row: lifecycle.postpone(c, row, delay_s=30)),
        lambda found: isinstance(found, bool),
    ),
    "lifecycle.row_age_s": (
        lambda c: lifecycle.row_age_s(c, DELETED),
        lambda found: found is not None,
    ),
    "lifecycle.settle_purged": (
        lambda c: lifecycle.settle_purged(c, DELETED),
        lambda found: found is None,
    ),
    "lifecycle.retry": (
        lambda c: lifecycle.retry(c, [FAILED, 1007, 2007]),
        lambda found: len(found) == 3,
    ),
    "lifecycle.retry_style": (
        lambda c: with_thumbnails(
            c, lambda ids: lifecycle.retry_style(c, [FAILED, *ids], "medium", 1024)
        ),
        lambda found: len(found) == 5,
    ),
    "older_objects.set_aside": (
        lambda c: with_claim(
            c, lambda claim: older_objects.set_aside(c, claim, revision=1, next_check_s=75)
        ),
        bool,
    ),
    "older_objects.settle_older": (
        lambda c: with_row(c, lambda row: older_objects.settle_older(c, row, next_check_s=75)),
        bool,
    ),
}
