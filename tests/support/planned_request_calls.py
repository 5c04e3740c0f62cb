"""Calls of the data functions that serve requests and the copies that requests start.

The result of each call is checked too: if a call finds no row, its query plan proves nothing.
"""

from collections.abc import Callable
from typing import Any

from shared import (
    attachments,
    copies,
    lists,
    new_attachments,
)
from shared.filters import OfAttachable
from shared.new_attachments import NewAttachment
from tests.support.explaining import Call
from tests.support.million import (
    BIG,
    BUCKET,
    DELETED,
    READY,
    ROWS,
    USUAL,
)
from tests.support.planned_rows import WANTED, ask_copy, with_copy, with_row

ONE = OfAttachable(attachable_type="comment", ids=(77,))

SEVERAL = OfAttachable(attachable_type="comment", ids=tuple(range(2000, 2100)))

NOT = OfAttachable(attachable_type="comment", ids=(77, 78), negated=True)

REQUEST_CALLS: dict[str, tuple[Call, Callable[[Any], bool]]] = {
    "new_attachments.create": (
        lambda c: new_attachments.create(
            c,
            [NewAttachment(name="a")] * 100,
            organization_id=USUAL,
            creator_id=None,
            bucket=BUCKET,
            policy_ttl_s=60,
            first_check_s=75,
        ),
        lambda found: len(found) == 100,
    ),
    "attachments.find": (lambda c: attachments.find(c, READY, USUAL), bool),
    "attachments.find with a lock": (
        lambda c: attachments.find(c, READY, USUAL, lock=True),
        bool,
    ),
    "attachments.find_any": (lambda c: attachments.find_any(c, DELETED), bool),
    "lists.count": (lambda c: lists.count(c, USUAL, []), lambda n: n > 1000),
    "lists.count of a big organization": (
        lambda c: lists.count(c, BIG, []),
        lambda n: n > 100_000,
    ),
    "lists.estimate": (
        lambda c: lists.estimate(c, BIG, []),
        lambda n: 150_000 < n < 250_000,
    ),
    "lists.estimate by not": (
        lambda c: lists.estimate(c, BIG, [NOT]),
        lambda n: 100_000 < n < 250_000,
    ),
    "lists.count by attachable": (lambda c: lists.count(c, USUAL, [SEVERAL]), bool),
    "lists.count by not": (lambda c: lists.count(c, USUAL, [NOT]), bool),
    "lists.page": (lambda c: lists.page(c, USUAL, [], limit=50), bool),
    "lists.page of a big organization": (
        lambda c: lists.page(c, BIG, [], limit=200, descending=True),
        bool,
    ),
    "lists.page at an offset": (
        lambda c: lists.page(c, USUAL, [], limit=50, offset=1000),
        bool,
    ),
    "lists.page at the largest offset": (
        lambda c: lists.page(c, BIG, [], limit=200, offset=100_000),
        lambda rows: len(rows) == 200,
    ),
    "lists.page at an offset by not": (
        lambda c: lists.page(c, BIG, [NOT], limit=200, offset=1000, descending=True),
        lambda rows: len(rows) == 200,
    ),
    "lists.page after": (
        lambda c: lists.page(c, USUAL, [], limit=50, after=ROWS // 2),
        bool,
    ),
    "lists.page before": (
        lambda c: lists.page(c, USUAL, [], limit=50, before=ROWS // 2, descending=True),
        bool,
    ),
    "lists.page by attachable": (
        lambda c: lists.page(c, BIG, [ONE], limit=50),
        bool,
    ),
    "lists.page by several": (
        lambda c: lists.page(c, USUAL, [SEVERAL], limit=50),
        bool,
    ),
    "lists.page by not": (lambda c: lists.page(c, USUAL, [NOT], limit=50), bool),
    "attachments.update": (
        lambda c: attachments.update(c, READY, USUAL, {"name": "b", "attachable_id": 5}),
        bool,
    ),
    "attachments.update of nothing": (lambda c: attachments.update(c, READY, USUAL, {}), bool),
    "attachments.delete": (
        lambda c: attachments.delete(c, READY, USUAL, retention_s=60),
        bool,
    ),
    "copies.ask": (
        lambda c: with_row(c, lambda row: ask_copy(c, row)),
        lambda found: found is not None,
    ),
    "copies.find": (lambda c: with_copy(c, lambda row: copies.find(c, row.id)), bool),
    "copies.create": (
        lambda c: copies.create(
            c,
            [NewAttachment(name="a"), NewAttachment(name="b")],
            [WANTED, None],
            grace_s=15,
            organization_id=USUAL,
            creator_id=None,
            bucket=BUCKET,
            policy_ttl_s=60,
            first_check_s=60,
        ),
        lambda rows: [row.copy_key for row in rows] == ["k", None],
    ),
    "copies.change": (
        lambda c: with_row(c, lambda row: copies.change(c, row, {"name": "c"}, WANTED, grace_s=1)),
        bool,
    ),
    "copies.show": (lambda c: with_copy(c, lambda row: copies.show(c, row)), bool),
    "attachments.find_rows": (
        lambda c: attachments.find_rows(c, range(1000, 2000)),
        lambda found: len(found) == 1000,
    ),
}
