"""The statements for lists: totals, and pages by number or from an id."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.attachments import COLUMNS, Attachment
from shared.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Selects attachments that belong to an `attachable_type` with one of `ids`.

    If `negated`, it selects all others, also those that belong to nothing.
    """

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
"""Totals are exact up to this number; above it they are estimates (contract.md)."""


async def count(connection: Connection, organization_id: int, filters: Sequence[Filter]) -> int:
    """Count the attachments that match, up to MAX_COUNTED + 1."""
    where, values = _where(organization_id, filters)
    # Without ORDER BY the planner may scan the table from its start. If the organization's rows are
    # at the end, it then reads most of the table. If the filters list ids, it must not scan by id.
    order = "" if any(not item.negated for item in filters) else "ORDER BY a.organization_id, a.id"
    total = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM attachments AS a WHERE {where} {order}"
        f" LIMIT {MAX_COUNTED + 1}) AS counted",
        *values,
    )
    return int(total)


async def estimate(connection: Connection, organization_id: int, filters: Sequence[Filter]) -> int:
    """Estimate a total above MAX_COUNTED from the planner's statistics, without reading a row."""
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
    """List up to `limit` attachments in the order of their ids.

    `after` and `before` are the ids from which the page starts, at constant cost; these two ids are
    excluded. With `before`, the result is the `limit` attachments nearest to it, still in the
    requested order.
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
        # The rows before the page are skipped in the index alone. LATERAL and OFFSET 0 make the
        # planner fetch the rows of the page by the primary key.
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
