"""Lists and counts of attachments for operators: the newest ones by state and reason.

The rows of each state are read in the order of an index (migration 0010). So the cost of a page
does not depend on how many rows there are, or on how few of them match.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.attachments import COLUMNS, Attachment
from shared.database import Connection
from shared.keys import MAX_ID
from shared.lists import MAX_COUNTED
from shared.reasons import ReasonCode
from shared.rows import FromRow
from shared.states import STATES, State
from shared.styles import lacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects attachments in `states` that are not deleted.

    `reason` and `organization_id` are further conditions; None means any.
    """

    states: Sequence[State] = STATES
    reason: ReasonCode | None = None
    organization_id: int | None = None


async def list_newest(
    connection: Connection, selection: Selection, *, limit: int, before: int | None = None
) -> list[Attachment]:
    """List up to `limit` attachments, newest first. With `before`, list only lower ids."""
    bounds = {} if before is None else {"before": before}
    statement, values = _walk(selection, COLUMNS, "DESC", limit, **bounds)
    return [Attachment.from_row(row) for row in await connection.fetch(statement, *values)]


async def list_ids(
    connection: Connection, selection: Selection, *, limit: int, after: int = 0
) -> list[int]:
    """List up to `limit` ids greater than `after`, in ascending order."""
    statement, values = _walk(selection, "a.id", "ASC", limit, after=after)
    return [row["id"] for row in await connection.fetch(statement, *values)]


WALKED = 2000
"""The number of rows that one call of `find_lacking` reads, so that each statement ends well within
the server's timeout even if no row lacks the style."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking(FromRow):
    """One part of a walk: the ids of attachments that lack a style.

    `walked_to` is the last id that was read; None after the last part.
    """

    ids: list[int]
    walked_to: int | None


async def find_lacking(
    connection: Connection,
    style: str,
    edge: int,
    *,
    after: int = 0,
    organization_id: int | None = None,
) -> Lacking:
    """Read the next WALKED `ready` rows after an id, and find those that lack a style."""
    wanted = Selection(states=("ready",), organization_id=organization_id)
    key, where, values = _range("state", wanted.states, wanted, after=after)
    values += [style, str(edge)]
    row = await connection.fetchrow(
        f"""
        SELECT max(a.id) AS walked_to,
               coalesce(array_agg(a.id ORDER BY a.id) FILTER (WHERE a.lacking), '{{}}') AS ids
        FROM unnest($1::text[]) AS walked (value) CROSS JOIN LATERAL (
            SELECT a.id, {lacks(len(values) - 1, len(values))} AS lacking
            FROM attachments AS a WHERE {where} ORDER BY {", ".join(key)} LIMIT {WALKED}
        ) AS a
        """,
        *values,
    )
    assert row is not None  # an aggregate has one row
    return Lacking.from_row(row)


async def count_states(
    connection: Connection, organization_id: int | None = None, *, most: int = MAX_COUNTED
) -> dict[State, int]:
    """Count the attachments of each state that are not deleted, up to `most` + 1 in each state."""
    wanted = Selection(organization_id=organization_id)
    key, where, values = _range("state", STATES, wanted)
    rows = await connection.fetch(
        "SELECT walked.value, counted.count FROM unnest($1::text[]) AS walked (value)"
        " CROSS JOIN LATERAL (SELECT count(*) FROM (SELECT FROM attachments AS a"
        f" WHERE {where} ORDER BY {', '.join(key)} LIMIT {most + 1}) AS a) AS counted",
        *values,
    )
    found = {row["value"]: int(row["count"]) for row in rows}
    return {state: found[state] for state in STATES}


async def estimate_state(
    connection: Connection, state: State, organization_id: int | None = None
) -> int:
    """Estimate the number of attachments in a state, from the planner's statistics.

    No rows are read. The result is above MAX_COUNTED, so call it only if `count_states` counted
    more than that.
    """
    where, values = "a.state = $1 AND a.deleted_at IS NULL", [state]
    more: list[Any] = []
    if organization_id is not None:
        where, more = f"{where} AND a.organization_id = $2", [organization_id]
    plan = await connection.fetchval(
        f"EXPLAIN (FORMAT JSON) SELECT FROM attachments AS a WHERE {where}", *values, *more
    )
    return max(int(json.loads(plan)[0]["Plan"]["Plan Rows"]), MAX_COUNTED + 1)


def _range(
    column: str,
    walked: Sequence[str],
    selection: Selection,
    *,
    after: int = 0,
    before: int = MAX_ID,
) -> tuple[list[str], str, list[Any]]:
    """Return the columns of ORDER BY, the condition for one value of `column`, and its parameters.

    $1 lists the values of `column` whose rows are read. The condition compares all columns of ORDER
    BY with > and <. If a column were compared with "=", the planner would ignore it in ORDER BY. It
    might then choose another index, and read and skip any number of rows.
    """
    values: list[Any] = [list(walked), after, before]
    columns, low, high = [f"a.{column}", "a.id"], ["walked.value", "$2"], ["walked.value", "$3"]
    if selection.organization_id is not None:
        values.append(selection.organization_id)
        parameter = f"${len(values)}::bigint"
        columns, low, high = ["a.organization_id", *columns], [parameter, *low], [parameter, *high]
    key = ", ".join(columns)
    where = (
        f"({key}) > ({', '.join(low)}) AND ({key}) < ({', '.join(high)})"
        f" AND a.{column} IS NOT NULL AND a.deleted_at IS NULL"  # the condition of the indexes
    )
    if column == "reason" and set(selection.states) != set(STATES):
        values.append(list(selection.states))
        where += f" AND a.state = ANY(${len(values)})"
    return columns, where, values


def _walk(
    selection: Selection, columns: str, direction: str, limit: int, **bounds: int
) -> tuple[str, list[Any]]:
    """Return a statement that lists the rows of each state by id, and merges these lists.

    If `selection` has a reason, the statement lists the rows with that reason instead.
    """
    column: str = "state"
    walked: Sequence[str] = selection.states
    if selection.reason is not None:
        column, walked = "reason", (selection.reason,)
    key, where, values = _range(column, walked, selection, **bounds)
    order = ", ".join(f"{each} {direction}" for each in key)
    values.append(limit)
    most = f"LIMIT ${len(values)}"
    return (
        f"SELECT {columns} FROM unnest($1::text[]) AS walked (value) CROSS JOIN LATERAL"
        f" (SELECT * FROM attachments AS a WHERE {where} ORDER BY {order} {most}) AS a"
        f" ORDER BY a.id {direction} {most}"
    ), values
