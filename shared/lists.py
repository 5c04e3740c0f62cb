"""SQL statements for lists: total numbers, pages by number, and pages from an id.

Each list is read in one of four ways. If a filter is by attachable, or if the only filter has an
index of its own, that index gives a list of attachments for each value of the filter, and these
lists are merged by id. For a range of times, the index by time is read, and the ids are sorted. A
list without filters, or with negated ones only, is read from the organization's index by id. For
any other list, PostgreSQL's planner chooses the index.

The planner must never choose the primary key for a list: it would then skip all older attachments
of other organizations, which may be millions. So the conditions compare all columns of the index
with > and <, or the organization with "= ANY". If it were compared with "=", the planner would
ignore it in ORDER BY.
"""

import json
from collections.abc import Sequence
from typing import Any

from shared import filters as filtering
from shared.attachments import COLUMNS, Attachment
from shared.database import Connection
from shared.filters import INDEXED, Filter, OfAttachable, OneOf
from shared.keys import MAX_ID

MAX_COUNTED = 100_000
"""The number up to which totals are exact. Above it, totals are estimates (contract.md)."""


async def count(connection: Connection, organization_id: int, filters: Sequence[Filter]) -> int:
    """Count the attachments that match the filters, up to MAX_COUNTED + 1."""
    chosen = filtering.walked(filters)
    if chosen is not None:
        source, values = _walk(organization_id, chosen, filters, "ASC", str(MAX_COUNTED + 1))
        selected = f"SELECT {source}"
    elif not filtering.narrowed(filters):
        source, values = _walk_all(organization_id, filters, "ASC")
        selected = f"SELECT {source}"
    else:
        where, values = _own(organization_id, filters)
        # Without ORDER BY, the planner may scan the table from its start. It then reads most of the
        # table if the organization's rows are at the end. But ORDER BY can make the planner scan
        # the organization's rows by id, which is slow if a filter lists ids.
        order = "ORDER BY a.organization_id, a.id"
        if filtering.by_time(filters):
            order = "ORDER BY a.organization_id, a.created_at"
        elif not filtering.read_many(filters):
            order = ""
        selected = f"SELECT FROM attachments AS a WHERE {where} {order}"
    total = await connection.fetchval(
        f"SELECT count(*) FROM ({selected} LIMIT {MAX_COUNTED + 1}) AS counted", *values
    )
    return int(total)


async def is_crowded(
    connection: Connection, organization_id: int, chosen: OfAttachable, *, most: int
) -> bool:
    """Return whether more than `most` attachments belong to the objects of a filter.

    At most that many entries of an index are read.
    """
    source, values = _walk(organization_id, chosen, [chosen], "ASC", str(most + 1))
    count = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT {source} LIMIT {most + 1}) AS counted", *values
    )
    return int(count) > most


async def estimate(connection: Connection, organization_id: int, filters: Sequence[Filter]) -> int:
    """Estimate a total above MAX_COUNTED from the planner's statistics, without reading rows."""
    where, values = filtering.where(organization_id, filters)
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

    A page starts after the id `after` or ends before the id `before`, at constant cost. These two
    ids are not on the page. With `before`, the result is the `limit` attachments next to `before`,
    in the requested order.
    """
    backwards = before is not None
    bound = before if backwards else after
    order = "DESC" if descending != backwards else "ASC"
    low = high = None
    if bound is not None:
        low, high = (bound, None) if order == "ASC" else (None, bound)
    chosen = filtering.walked(filters)
    if chosen is not None:
        source, values = _walk(
            organization_id, chosen, filters, order, str(limit + offset), low=low, high=high
        )
        selected = f"{source} ORDER BY a.id {order}"
    elif not filtering.narrowed(filters):
        selected, values = _walk_all(organization_id, filters, order, low=low, high=high)
    else:
        where, values = _own(organization_id, filters)
        if bound is not None:
            values.append(bound)
            where += f" AND a.id {'>' if order == 'ASC' else '<'} ${len(values)}"
        # With `+ 0`, the planner cannot use the index by id. That index would be slow if all
        # attachments of the range of times were at its end.
        sorted_by = f"a.organization_id {order}, a.id {order}"
        if filtering.by_time(filters):
            sorted_by = f"a.id + 0 {order}"
        selected = f"FROM attachments AS a WHERE {where} ORDER BY {sorted_by}"
    values.append(limit)
    selected += f" LIMIT ${len(values)}"
    statement = f"SELECT {COLUMNS} {selected}"
    if offset or chosen is not None or filtering.by_time(filters):
        # The entries before the page are skipped in the index, without reading their rows. LATERAL
        # and OFFSET 0 make the planner fetch only the page's rows, by the primary key.
        values.append(offset)
        statement = (
            f"SELECT {COLUMNS} FROM (SELECT a.id {selected} OFFSET ${len(values)}) AS chosen"
            " CROSS JOIN LATERAL"
            " (SELECT * FROM attachments AS a WHERE a.id = chosen.id OFFSET 0) AS a"
            f" ORDER BY a.id {order}"
        )
    rows = await connection.fetch(statement, *values)
    found = [Attachment.from_row(row) for row in rows]
    return found[::-1] if backwards else found


def _walk_all(
    organization_id: int,
    filters: Sequence[Filter],
    order: str,
    *,
    low: int | None = None,
    high: int | None = None,
) -> tuple[str, list[Any]]:
    """Return SQL (FROM …) that reads an organization's attachments by id, and its parameters."""
    where, values = _others(organization_id, filters)
    values += [low or 0, MAX_ID if high is None else high]
    count = len(values)
    return (
        "FROM attachments AS a"
        f" WHERE (a.organization_id, a.id) > ($1, ${count - 1}::bigint)"
        f" AND (a.organization_id, a.id) < ($1, ${count}::bigint)"
        f" AND {where} ORDER BY a.organization_id {order}, a.id {order}"
    ), values


def _own(organization_id: int, filters: Sequence[Filter]) -> tuple[str, list[Any]]:
    """Return the conditions of a list whose index the planner chooses, and their parameters."""
    where, values = filtering.where(organization_id, filters)
    # A list of one value finds the same rows and can use the same indexes as "=", but the planner
    # does not ignore the column in ORDER BY.
    return where.replace(
        "a.organization_id = $1", "a.organization_id = ANY (ARRAY[$1::bigint])", 1
    ), values


def _others(organization_id: int, filters: Sequence[Filter]) -> tuple[str, list[Any]]:
    """Return the conditions of a walk other than that of its index, and their parameters."""
    where, values = filtering.where(organization_id, filters)
    return where.removeprefix("a.organization_id = $1 AND "), values


def _walk(
    organization_id: int,
    chosen: OneOf | OfAttachable,
    filters: Sequence[Filter],
    order: str,
    most: str,
    *,
    low: int | None = None,
    high: int | None = None,
) -> tuple[str, list[Any]]:
    """Return SQL (FROM …) that lists up to `most` ids of each value, and its parameters."""
    where, values = _others(organization_id, [item for item in filters if item is not chosen])
    if isinstance(chosen, OfAttachable):
        values.append(chosen.attachable_type)
        columns = ["organization_id", "attachable_type", "attachable_id", "id"]
        bounds, kind, walked = f"$1, ${len(values)}, walked.value", "bigint", chosen.ids
    else:
        columns = ["organization_id", chosen.column, "id"]
        bounds, kind, walked = "$1, walked.value", INDEXED[chosen.column], chosen.values
    values += [list(walked), low or 0, MAX_ID if high is None else high]
    count = len(values)
    key = ", ".join(f"a.{column}" for column in columns)
    directed = ", ".join(f"a.{column} {order}" for column in columns)
    return (
        f"FROM unnest(${count - 2}::{kind}[]) AS walked (value) CROSS JOIN LATERAL ("
        "SELECT a.id FROM attachments AS a"
        f" WHERE ({key}) > ({bounds}, ${count - 1}::bigint)"
        f" AND ({key}) < ({bounds}, ${count}::bigint)"
        f" AND a.{columns[-2]} IS NOT NULL AND {where} ORDER BY {directed} LIMIT {most}) AS a"
    ), values
