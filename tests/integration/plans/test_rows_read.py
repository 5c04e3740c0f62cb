"""In a table of a million rows, statements read no more rows than they need."""

import json
from typing import Any

import asyncpg
import pytest

from shared import (
    due,
    lists,
    overview,
)
from shared.filters import OneOf
from shared.overview import Selection
from shared.reasons import ReasonCode
from shared.states import STATES, State
from tests.support.explaining import Call, Explaining, nodes, sent
from tests.support.million import BIG, ROWS, USUAL
from tests.support.planned_filter_calls import FILTERS
from tests.support.planned_rows import with_backlog


async def test_a_sweep_reads_no_more_of_a_backlog_than_it_needs(connection: Explaining) -> None:
    async def sweep() -> list[dict[str, Any]]:
        statement, values = await sent(
            lambda c: due.take_due(c, limit=32, lease_s=30, attempts=5, after=USUAL)
        )
        plan = await connection._connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values
        )
        return list(nodes(json.loads(plan)[0]["Plan"]))

    async def backlog() -> dict[str, list[dict[str, Any]]]:
        # The planner does not know of the backlog before ANALYZE.
        unknown = await sweep()
        await connection._connection.execute("ANALYZE attachments")
        return {"of an unknown backlog": unknown, "of a known backlog": await sweep()}

    plans = {"without a backlog": await sweep(), **await with_backlog(connection, backlog)}
    for name, walked in plans.items():
        read = {
            node["Index Name"]: node["Actual Rows"] * node["Actual Loops"]
            for node in walked
            if node.get("Relation Name") == "attachments" and "Index Name" in node
        }
        assert set(read) == {
            "attachments_due",
            "attachments_due_by_organization",
            "attachments_pkey",
        }, name
        assert max(read.values()) <= due.SWEEP_WINDOW, name
        if name != "without a backlog":
            (locks,) = (node for node in walked if node["Node Type"] == "LockRows")
            assert locks["Actual Rows"] * locks["Actual Loops"] == 32, name


@pytest.mark.parametrize(
    ("call", "most_rows", "most_blocks"),
    [
        pytest.param(lambda c: lists.count(c, BIG, []), 100_001, 1500, id="count"),
        pytest.param(
            lambda c: lists.page(c, BIG, [], limit=200, offset=100_000),
            100_200,
            2500,
            id="page",
        ),
    ],
)
async def test_a_list_reads_no_more_of_a_large_organization_than_it_shows_and_counts(
    filled: str, connection: Explaining, call: Call, most_rows: int, most_blocks: int
) -> None:
    statement, values = await sent(call)
    plain = await asyncpg.connect(filled)
    for _ in range(5):
        # Earlier tests have changed some pages. VACUUM marks these pages as all-visible again. It
        # may have to run several times, because it skips pages that another process is using.
        await plain.execute("VACUUM ANALYZE attachments")
        plan = json.loads(
            await connection._connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *values
            )
        )[0]["Plan"]
        walked = [node for node in nodes(plan) if "Index Name" in node]
        if walked[0].get("Heap Fetches") == 0:
            break
    await plain.close()
    assert walked[0]["Node Type"] == "Index Only Scan"
    assert walked[0]["Heap Fetches"] == 0
    assert max(node["Actual Rows"] for node in walked) <= most_rows
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= most_blocks


@pytest.mark.parametrize("bounds", [{}, {"descending": True}, {"after": ROWS // 2}], ids=str)
@pytest.mark.parametrize("name", ["one state", "a rare state", "states", "a type", "a person"])
async def test_a_list_with_one_filter_reads_no_more_than_it_may_show(
    connection: Explaining, name: str, bounds: dict[str, Any]
) -> None:
    organization, wanted = FILTERS[name]
    (one,) = wanted
    assert isinstance(one, OneOf)
    statement, values = await sent(
        lambda c: lists.page(c, organization, wanted, limit=50, **bounds)
    )
    plan = await connection._connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values
    )
    for node in nodes(json.loads(plan)[0]["Plan"]):
        if node.get("Relation Name") == "attachments":
            read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            assert read * node["Actual Loops"] <= len(one.values) * 50, node


@pytest.mark.parametrize("organization", [None, USUAL, BIG])
@pytest.mark.parametrize("reason", [None, "missing", "too_large"])
@pytest.mark.parametrize("states", [STATES, *((state,) for state in STATES)], ids=",".join)
async def test_an_operators_list_reads_no_more_than_it_may_show(
    connection: Explaining,
    states: tuple[State, ...],
    reason: ReasonCode | None,
    organization: int | None,
) -> None:
    wanted = Selection(states=states, reason=reason, organization_id=organization)
    for call in (
        lambda c: overview.list_newest(c, wanted, limit=50, before=ROWS),
        lambda c: overview.list_ids(c, wanted, limit=50, after=ROWS // 2),
    ):
        statement, values = await sent(call)
        plan = await connection._connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values
        )
        for node in nodes(json.loads(plan)[0]["Plan"]):
            if node.get("Relation Name") == "attachments":
                passed_over = node.get("Rows Removed by Filter", 0)
                read = (node["Actual Rows"] + passed_over) * node["Actual Loops"]
                # The index on states cannot find a reason. But few rows have a reason.
                assert read <= len(states) * 50 + 1100 * (reason is not None), node


@pytest.mark.parametrize("organization", [None, USUAL, BIG])
async def test_each_part_of_the_walk_for_a_style_reads_a_limited_number_of_rows(
    connection: Explaining, organization: int | None
) -> None:
    statement, values = await sent(
        lambda c: overview.find_lacking(
            c, "medium", 1024, after=ROWS // 2, organization_id=organization
        )
    )
    plan = await connection._connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values
    )
    found = [node for node in nodes(json.loads(plan)[0]["Plan"]) if "Relation Name" in node]
    assert {node["Relation Name"] for node in found} == {"attachments"}
    for node in found:
        assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= overview.WALKED, node
