"""The statements of lists: totals, and pages by number or from an id."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.attachments import COLUMNS, Attachment
from shared.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """`attachable_type` is one of `ids`, or, where `negated`, it is not."""

    attachable_type: str
    ids: tuple[int, ...]
    negated: bool = False


def _where(organization_id: int, filters: Sequence[Filter]) -> tuple[str, list[Any]]:
    clauses = ["a.organization_id = $1", "a.deleted_at IS NULL"]
    values: list[Any] = [organization_id]
    for item in filters:
        values += [item.attachable_type, list(item.ids)]
        match = f"a.attachable_type = ${len(values) - 1} AND a.attachable_id = ANY(${len(values)})"
        clauses.append(f"({match}) IS NOT TRUE" if item.negated else match)
    return " AND ".join(clauses), values


MAX_COUNTED = 100_000
"""Totals are exact up to this number and an estimate beyond (contract.md)."""


async def count(connection: Connection, organization_id: int, filters: Sequence[Filter]) -> int:
    """Count what `page` walks through, to MAX_COUNTED + 1 at most."""
    where, values = _where(organization_id, filters)
    # Without an order the planner may read the table from its begin, and most of it if the
    # organization's rows are at its end. With ids to look for it must not walk by id.
    order = "" if any(not item.negated for item in filters) else "ORDER BY a.organization_id, a.id"
    total = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM attachments AS a WHERE {where} {order}"
        f" LIMIT {MAX_COUNTED + 1}) AS counted",
        *values,
    )
    return int(total)


async def estimate(connection: Connection, organization_id: int, filters: Sequence[Filter]) -> int:
    """Estimate a total above MAX_COUNTED by the planner's statistics; reads no row."""
    where, values = _where(organization_id, filters)
    plan = await connection.fetchval(
        f"EXPLAIN (FORMAT JSON) SELECT FROM attachments AS a WHERE {where}", *values
    )
    return max(int(json.loads(plan)[0]["Plan"]["Plan Rows"]), MAX_COUNTED + 1)


async def page(
    connection: Connection,
    organization_id: int,
    filters: Sequence[Filter],
    *,
    descending: bool = False,
    limit: int,
    offset: int = 0,
    after: int | None = None,
    before: int | None = None,
) -> list[Attachment]:
    """List attachments by id; `after` and `before` are ids to walk from, at constant cost.

    With `before`, the `limit` attachments nearest to it, still in the order asked for.
    """
    where, values = _where(organization_id, filters)
    backwards = before is not None
    bound = before if backwards else after
    if bound is not None:
        values.append(bound)
        where += f" AND a.id {'<' if descending != backwards else '>'} ${len(values)}"
    order = "DESC" if descending != backwards else "ASC"
    values.append(limit)
    chosen = f"FROM attachments AS a WHERE {where} ORDER BY a.id {order} LIMIT ${len(values)}"
    statement = f"SELECT {COLUMNS} {chosen}"
    if offset:
        # The rows before the page are passed over in the index alone. LATERAL and OFFSET 0 leave
        # the planner no other way to the rows of the page than by the primary key.
        values.append(offset)
        statement = (
            f"SELECT {COLUMNS} FROM (SELECT a.id {chosen} OFFSET ${len(values)}) AS chosen"
            " CROSS JOIN LATERAL"
            " (SELECT * FROM attachments AS a WHERE a.id = chosen.id OFFSET 0) AS a"
            f" ORDER BY a.id {order}"
        )
    rows = await connection.fetch(statement, *values)
    found = [Attachment.from_row(row) for row in rows]
    return found[::-1] if backwards else found
