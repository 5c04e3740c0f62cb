"""Connections that check the query plan of each statement, and functions that record statements."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg

SCANS = {
    f"Seq Scan on {table}"
    for table in ("attachments", "tokens", "dead_letters", "idempotency_keys", "webhook_deliveries")
}


class Explaining:
    """A database connection that checks the query plan of each statement before it runs the
    statement.
    """

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.explained = 0
        self.walked: list[str] = []

    async def _explain(self, statement: str, values: tuple[Any, ...]) -> None:
        # `estimate` sends an EXPLAIN statement. This statement reads no row, so its plan is not
        # checked.
        if statement.startswith("EXPLAIN "):
            self.explained += 1
            return
        # Check two plans: for these values, and the generic plan of a prepared statement.
        for options in ("FORMAT JSON", "FORMAT JSON, GENERIC_PLAN"):
            plan = json.loads(
                await self._connection.fetchval(f"EXPLAIN ({options}) {statement}", *values)
            )[0]["Plan"]
            for node in nodes(plan):
                walked = f"{node['Node Type']} on {node.get('Relation Name')}"
                self.walked.append(f"{walked} by {node.get('Index Name')}")
                assert walked not in SCANS, f"{options}: {statement}\n{json.dumps(plan, indent=1)}"
        self.explained += 1

    async def fetch(self, statement: str, *values: Any) -> Any:
        """Check the plan of a statement, run the statement, and return its rows."""
        await self._explain(statement, values)
        return await self._connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        """Check the plan of a statement, run the statement, and return its first row."""
        await self._explain(statement, values)
        return await self._connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """Check the plan of a statement, run the statement, and return the first value."""
        await self._explain(statement, values)
        return await self._connection.fetchval(statement, *values)

    async def execute(self, statement: str, *values: Any) -> Any:
        """Check the plan of a statement and run the statement."""
        await self._explain(statement, values)
        return await self._connection.execute(statement, *values)

    def transaction(self) -> Any:
        """Begin a nested transaction; the test has already begun the outer one."""
        return self._connection.transaction()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a query plan."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


Call = Callable[[Any], Awaitable[Any]]


async def sent(call: Call) -> tuple[str, tuple[Any, ...]]:
    """Call a function without a database, and return the statement that it would send, with its
    values.
    """
    seen: list[tuple[str, tuple[Any, ...]]] = []

    class Listening:
        async def fetch(self, statement: str, *values: Any) -> list[Any]:
            seen.append((statement, values))
            return []

        async def fetchval(self, statement: str, *values: Any) -> int:
            seen.append((statement, values))
            return 0

        async def fetchrow(self, statement: str, *values: Any) -> Any:
            seen.append((statement, values))
            return {"walked_to": None, "ids": []}

    await call(Listening())
    return seen[0]
