"""Calls of the functions that read filtered lists, each with a check of its result."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shared import lists
from shared.filters import CreatedIn, Filter, OfAttachable, OneOf
from tests.support.explaining import Call
from tests.support.million import BIG, USUAL

NOW = datetime.now(UTC)
RECENT = CreatedIn(since=NOW - timedelta(minutes=30))
OLD = CreatedIn(since=NOW - timedelta(days=2), until=NOW - timedelta(days=1))
EVER = CreatedIn(since=NOW - timedelta(days=365))
READY = OneOf(column="state", values=("ready",))
FAILED = OneOf(column="state", values=("failed",))
NOT_FAILED = OneOf(column="state", values=("failed",), negated=True)
ENDED = OneOf(column="state", values=("ready", "failed", "rejected"))
EXTERNAL = OneOf(column="external_id", values=("x900",))
MESSAGES = OneOf(column="message_id", values=tuple(f"m{n}" for n in range(800, 1000)))
PERSON = OneOf(column="creator_id", values=(3,))
ONE_COMMENT = OfAttachable(attachable_type="comment", ids=(49_999,))
COMMENTS = OneOf(column="attachable_type", values=("comment",))
OWN = OneOf(column="organization_id", values=(BIG,))
OTHERS = OneOf(column="organization_id", values=(BIG,), negated=True)

FILTERS: dict[str, tuple[int, list[Filter]]] = {
    "ids": (BIG, [OneOf(column="id", values=tuple(range(5, 905, 5)))]),
    "not ids": (BIG, [OneOf(column="id", values=(5, 10), negated=True)]),
    "one state": (BIG, [READY]),
    "a rare state": (9, [FAILED]),
    "states": (BIG, [ENDED]),
    "not a state": (BIG, [OneOf(column="state", values=("pending",), negated=True)]),
    "an external_id": (BIG, [EXTERNAL]),
    "not an external_id": (USUAL, [OneOf(column="external_id", values=("x",), negated=True)]),
    "message_ids": (BIG, [MESSAGES]),
    "a person": (BIG, [PERSON]),
    "a type": (BIG, [COMMENTS]),
    "the organization": (BIG, [OWN]),
    "a type and not a state": (BIG, [COMMENTS, NOT_FAILED]),
    "recent": (BIG, [RECENT]),
    "recent of a usual organization": (USUAL, [RECENT]),
    "old": (BIG, [OLD]),
    "ever": (BIG, [EVER]),
    "ready and recent": (BIG, [READY, RECENT]),
    "of a person, ready": (BIG, [PERSON, ENDED]),
    "of a person, with a text": (BIG, [OneOf(column="creator_id", values=(5,)), EXTERNAL]),
    "of a comment and recent": (BIG, [ONE_COMMENT, EVER]),
    "all at once": (
        BIG,
        [COMMENTS, READY, PERSON, RECENT, OneOf(column="external_id", values=("x999",))],
    ),
}
"""Cases by name. Each is an organization, and filters that match some of its attachments."""


BOUNDS: dict[str, dict[str, Any]] = {
    "": {},
    " from the end": {"descending": True},
    " at an offset": {"offset": 1},
    " after": {"after": 10},
    " before": {"before": 10**9},
}


def _calls() -> dict[str, tuple[Call, Callable[[Any], bool]]]:
    calls: dict[str, tuple[Call, Callable[[Any], bool]]] = {}
    for name, (organization, filters) in FILTERS.items():
        listed: dict[str, Any] = {"organization_id": organization, "filters": filters}
        calls[f"lists.count by {name}"] = (partial(lists.count, **listed), bool)
        for place, bounds in BOUNDS.items():
            page = partial(lists.page, **listed, limit=50, **bounds)
            calls[f"lists.page by {name}{place}"] = (page, bool)
    calls["lists.count by another organization"] = (
        lambda c: lists.count(c, BIG, [OTHERS]),
        lambda found: found == 0,
    )
    calls["lists.is_crowded"] = (
        lambda c: lists.is_crowded(c, BIG, ONE_COMMENT, most=1),
        bool,
    )
    calls["lists.estimate by a type"] = (
        lambda c: lists.estimate(c, BIG, [COMMENTS, EVER]),
        lambda found: found > lists.MAX_COUNTED,
    )
    return calls


FILTER_CALLS = _calls()
