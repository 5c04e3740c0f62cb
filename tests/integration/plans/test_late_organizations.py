"""A list skips at most a few attachments of other organizations, whatever the planner expects.

Here, most attachments belong to a first organization, but those of a second one are older. From its
statistics, the planner expects that nearly every row, in the order of ids, belongs to the first.
"""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from shared import lists
from shared.filters import OfAttachable, OneOf
from tests.support.databases import clone_database, drop_database
from tests.support.explaining import Call, nodes, sent
from tests.support.stack import Stack

EARLY, LATE = 1, 2
EARLY_ROWS, LATE_ROWS = 30_000, 200_000
MOST_SKIPPED = 100
"""Maximum number of rows that a statement may read without using them."""

FILL = """
INSERT INTO attachments (organization_id, bucket, name, file_name, attachable_type, attachable_id,
                         policy_expires_at)
SELECT $1, 'bucket', 'img.png', 'img.png', 'task', 1 + n % 2, now()
FROM generate_series(1, $2::integer) AS n
"""

TASK = OfAttachable(attachable_type="task", ids=(1,))
PENDING_TASKS = [
    OneOf(column="state", values=("pending",)),
    OneOf(column="attachable_type", values=("task",)),
]
OTHER_TASK = OfAttachable(attachable_type="task", ids=(2,), negated=True)
CALLS: dict[str, Call] = {
    "page": lambda c: lists.page(c, LATE, [], limit=30),
    "page after nothing": lambda c: lists.page(c, LATE, [], limit=30, after=0),
    "page after an early id": lambda c: lists.page(c, LATE, [], limit=30, after=EARLY_ROWS // 2),
    "page with an offset": lambda c: lists.page(c, LATE, [], limit=30, offset=1000),
    "page of an attachable": lambda c: lists.page(c, LATE, [TASK], limit=30),
    "page of an attachable's state": lambda c: lists.page(
        c, LATE, [TASK, OneOf(column="state", values=("pending",))], limit=30
    ),
    "page of another attachable": lambda c: lists.page(c, LATE, [OTHER_TASK], limit=30),
    "page of a state and a type": lambda c: lists.page(c, LATE, PENDING_TASKS, limit=30),
    "page of a state and a type, from an id": lambda c: lists.page(
        c, LATE, PENDING_TASKS, limit=30, before=EARLY_ROWS + 100
    ),
    "last page of the early": lambda c: lists.page(c, EARLY, [], limit=30, descending=True),
    "count": lambda c: lists.count(c, LATE, []),
    "count of a state and a type": lambda c: lists.count(c, LATE, PENDING_TASKS),
    "count of an attachable": lambda c: lists.count(c, LATE, [TASK]),
}


@pytest_asyncio.fixture(scope="module")
async def connection(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to a database with both organizations' attachments."""
    database_url = await clone_database(stack)
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO organizations (id, name) VALUES (1, 'o'), (2, 'o')")
    await connection.execute(FILL, EARLY, EARLY_ROWS)
    await connection.execute(FILL, LATE, LATE_ROWS)
    await connection.execute("VACUUM ANALYZE attachments")
    yield connection
    await connection.close()
    await drop_database(stack, database_url)


@pytest.mark.parametrize("name", CALLS)
async def test_a_list_skips_hardly_any_rows_of_other_organizations(
    connection: asyncpg.Connection, name: str
) -> None:
    statement, values = await sent(CALLS[name])
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    read = [
        node
        for node in nodes(json.loads(plan)[0]["Plan"])
        if node.get("Relation Name") == "attachments"
    ]
    assert read
    for node in read:
        assert node["Node Type"] != "Seq Scan", node
        skipped = sum(node.get(f"Rows Removed by {way}", 0) for way in ("Filter", "Index Recheck"))
        assert skipped * node["Actual Loops"] <= MOST_SKIPPED, node
