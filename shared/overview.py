"""What operators look at: the newest attachments by state and reason, and how many there are.

Each state is walked in an index of its own order (migration 0010), so that a page costs the same
however many rows there are, and however few of them match.
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
from shared.states import STATES, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Attachments that are not deleted, in one of `states`; None is any reason or organization."""

    states: Sequence[State] = STATES
    reason: ReasonCode | None = None
    organization_id: int | None = None


async def list_newest(
    connection: Connection, selection: Selection, *, limit: int, before: int | None = None
) -> list[Attachment]:
    """List up to `limit` attachments by falling id, those below `before` if that is given."""
    bounds = {} if before is None else {"before": before}
    statement, values = _walk(selection, COLUMNS, "DESC", limit, **bounds)
    return [Attachment.from_row(row) for row in await connection.fetch(statement, *values)]


async def list_ids(
    connection: Connection, selection: Selection, *, limit: int, after: int = 0
) -> list[int]:
    """List up to `limit` ids above `after`, ascending."""
    statement, values = _walk(selection, "a.id", "ASC", limit, after=after)
    return [row["id"] for row in await connection.fetch(statement, *values)]


async def count_states(
    connection: Connection, organization_id: int | None = None, *, most: int = MAX_COUNTED
) -> dict[State, int]:
    """Count the attachments of each state that are not deleted, to `most` + 1 at most."""
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
    """Estimate how many are in a state by the planner's statistics; above MAX_COUNTED, no row read.

    For those of which `count_states` has counted more than MAX_COUNTED.
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
    """Write which rows have one value of the column that is walked; $1 are the values.

    Returns the columns of the order too. All of them are in a range of rows, and none in a "=":
    that would count for nothing in an order, and the planner might walk another index, passing
    over any number of rows.
    """
    values: list[Any] = [list(walked), after, before]
    columns, low, high = [f"a.{column}", "a.id"], ["walked.value", "$2"], ["walked.value", "$3"]
    if selection.organization_id is not None:
        values.append(selection.organization_id)
        place = f"${len(values)}::bigint"
        columns, low, high = ["a.organization_id", *columns], [place, *low], [place, *high]
    key = ", ".join(columns)
    where = (
        f"({key}) > ({', '.join(low)}) AND ({key}) < ({', '.join(high)})"
        f" AND a.{column} IS NOT NULL AND a.deleted_at IS NULL"  # as the indexes have it
    )
    if column == "reason" and set(selection.states) != set(STATES):
        values.append(list(selection.states))
        where += f" AND a.state = ANY(${len(values)})"
    return columns, where, values


def _walk(
    selection: Selection, columns: str, direction: str, limit: int, **bounds: int
) -> tuple[str, list[Any]]:
    """Write a statement that walks each state, or the one reason, by id and merges the rows."""
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
