"""Calls of the data functions that operators' commands use for tokens and dead letters.

The result of each call is checked too: if a call finds no row, its query plan proves nothing.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from shared import (
    backlog,
    bucket_owner,
    dead_letters,
    organizations,
    overview,
    reconciliation,
    sequence,
    tokens,
)
from shared.overview import Selection
from shared.settings import load_settings
from tests.support.explaining import Call
from tests.support.million import (
    BIG,
    BUCKET,
    LETTERS,
    ROWS,
    USUAL,
)
from tests.support.planned_rows import (
    find_new_caller,
    with_heavy_letters,
    with_row,
    with_thumbnails,
    with_waiting,
)

NEEDED = {
    "database_url": "postgresql://h/d",
    "broker_url": "redis://h",
    "s3_bucket": BUCKET,
    "files_secret": "a secret of the tests",
}

KEEPS_FEW = load_settings(**NEEDED, dead_letters="1000", dead_letter_age="5000")

KEEPS_ALL = load_settings(**NEEDED, dead_letters="100000", dead_letter_age="5000000")

OPERATOR_CALLS: dict[str, tuple[Call, Callable[[Any], bool]]] = {
    "overview.list_ids of the failed": (
        lambda c: overview.list_ids(c, Selection(states=("failed",)), after=500_000, limit=100),
        lambda found: len(found) == 100,
    ),
    "overview.list_ids by reason": (
        lambda c: overview.list_ids(
            c, Selection(states=("ready", "failed", "rejected"), reason="missing"), limit=100
        ),
        lambda found: len(found) == 100,
    ),
    "overview.find_lacking": (
        lambda c: overview.find_lacking(c, "medium", 1024, after=500_000),
        lambda found: (found.ids, found.walked_to) == ([], 502_043),
    ),
    "overview.find_lacking with thumbnails": (
        lambda c: with_thumbnails(c, lambda _: overview.find_lacking(c, "medium", 1024)),
        lambda found: len(found.ids) == 5,
    ),
    "overview.find_lacking of an organization": (
        lambda c: overview.find_lacking(c, "medium", 1024, organization_id=USUAL),
        lambda found: found.ids == [] and found.walked_to > 100_000,
    ),
    "overview.list_newest": (
        lambda c: overview.list_newest(c, Selection(), limit=50),
        lambda rows: [row.id for row in rows] == [n for n in range(ROWS, 0, -1) if n % 50][:50],
    ),
    "overview.list_newest of an organization": (
        lambda c: overview.list_newest(
            c, Selection(organization_id=USUAL), limit=50, before=ROWS // 2
        ),
        lambda rows: len(rows) == 50,
    ),
    "overview.list_newest of the failed of an organization": (
        lambda c: overview.list_newest(
            c, Selection(states=("failed",), organization_id=BIG), limit=50
        ),
        lambda rows: rows == [],
    ),
    "overview.list_newest by reason": (
        lambda c: overview.list_newest(c, Selection(reason="missing"), limit=50),
        lambda rows: len(rows) == 50,
    ),
    "overview.list_newest by reason of an organization": (
        lambda c: overview.list_newest(
            c, Selection(reason="missing", organization_id=BIG), limit=50
        ),
        lambda rows: rows == [],
    ),
    "overview.list_newest by a reason that none has": (
        lambda c: overview.list_newest(c, Selection(reason="too_large"), limit=50),
        lambda rows: rows == [],
    ),
    "overview.count_states": (
        overview.count_states,
        lambda counts: counts["ready"] == 100_001 and counts["failed"] == 1001,
    ),
    "overview.count_states of an organization": (
        lambda c: overview.count_states(c, USUAL),
        lambda counts: 1000 < counts["ready"] < 100_000,
    ),
    "overview.estimate_state": (
        lambda c: overview.estimate_state(c, "ready"),
        lambda n: 800_000 < n < 1_300_000,
    ),
    "overview.estimate_state of an organization": (
        lambda c: overview.estimate_state(c, "ready", BIG),
        lambda n: 100_000 < n < 250_000,
    ),
    "organizations.create_named": (
        lambda c: organizations.create_named(c, "a name of its own"),
        bool,
    ),
    "organizations.exists": (
        lambda c: organizations.exists(c, USUAL),
        lambda found: found is True,
    ),
    "organizations.list_organizations": (
        lambda c: organizations.list_organizations(c, after=USUAL, limit=20),
        lambda found: [each.id for each in found] == list(range(USUAL + 1, USUAL + 21)),
    ),
    "organizations.create_organization": (
        lambda c: organizations.create_organization(c, "new", 5000),
        lambda found: found == 5000,
    ),
    "tokens.create_token": (
        lambda c: tokens.create_token(c, USUAL, "new"),
        bool,
    ),
    "tokens.list_tokens": (lambda c: tokens.list_tokens(c, USUAL), bool),
    "tokens.revoke_token": (lambda c: tokens.revoke_token(c, 100), bool),
    "tokens.issue_token": (
        lambda c: tokens.issue_token(c, USUAL, "new", expires=timedelta(days=1)),
        bool,
    ),
    "tokens.has_ended": (
        lambda c: tokens.has_ended(c, "no such"),
        lambda found: found is False,
    ),
    "tokens.record_use": (
        lambda c: tokens.record_use(c, {100: 0.0, 200: 1.5}),
        lambda found: found is None,
    ),
    "dead_letters.keep": (
        lambda c: dead_letters.keep(
            c, b"new", source="webhook", origin="o", dialect=None, reason="r"
        ),
        bool,
    ),
    "dead_letters.prune": (
        lambda c: dead_letters.prune(c, KEEPS_FEW, ["o1", "o2"]),
        lambda found: found == 200,
    ),
    "dead_letters.lock": (dead_letters.lock, lambda found: found is None),
    "dead_letters.prune of many bytes": (
        lambda c: with_heavy_letters(c, lambda: dead_letters.prune(c, KEEPS_ALL, ["o1", "o2"])),
        lambda found: found == 100,
    ),
    "dead_letters.prune of nothing": (
        lambda c: dead_letters.prune(c, KEEPS_ALL, ["o1", "o2"]),
        lambda found: found == 0,
    ),
    "dead_letters.count_again": (lambda c: dead_letters.count_again(c, b"7"), bool),
    "dead_letters.list_newest": (
        lambda c: dead_letters.list_newest(c, limit=50, before=LETTERS // 2),
        lambda found: len(found) == 50,
    ),
    "dead_letters.find": (lambda c: dead_letters.find(c, 7), bool),
    "dead_letters.remove": (
        lambda c: dead_letters.remove(c, [7, 8]),
        lambda found: found is None,
    ),
    "tokens.find_caller": (lambda c: find_new_caller(c), bool),
    "tokens.notify": (
        lambda c: tokens.notify(c, "channel"),
        lambda found: found is None,
    ),
    "reconciliation.name_bucket": (
        lambda c: with_row(c, lambda row: reconciliation.name_bucket(c, row, "other")),
        lambda found: found is None,
    ),
    "reconciliation.walk_rows": (
        lambda c: reconciliation.walk_rows(c, ROWS // 2),
        lambda found: len(found) == 1000,
    ),
    "backlog.measure": (backlog.measure, lambda found: found.waiting == 2),
    "backlog.measure with a backlog": (
        lambda c: with_waiting(c, lambda: backlog.measure(c)),
        lambda found: 11_000 < found.waiting < 12_000,
    ),
    "backlog.read_sample": (
        lambda c: backlog.read_sample(c, max_age_s=0),
        lambda found: found.waiting == 2 and found.letters == LETTERS,
    ),
    "bucket_owner.find_other_bucket": (
        lambda c: bucket_owner.find_other_bucket(c, "other"),
        lambda found: found == BUCKET,
    ),
    "sequence.find_last_id": (sequence.find_last_id, lambda found: found >= ROWS),
    "sequence.find_greatest_row": (sequence.find_greatest_row, lambda found: found == ROWS),
    "sequence.raise_sequence": (lambda c: sequence.raise_sequence(c, 2 * ROWS), bool),
}
