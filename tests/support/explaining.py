"""Connections that look at the plan of each statement, and statements without a server."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg

SCANS = ("Seq Scan on attachments", "Seq Scan on tokens", "Seq Scan on dead_letters")


class Explaining:
    """A connection that looks at the plan of each statement before it runs it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.explained = 0
        self.walked: list[str] = []

    async def _explain(self, statement: str, values: tuple[Any, ...]) -> None:
        if statement.startswith("EXPLAIN "):  # by `estimate`, which reads no row
            self.explained += 1
            return
        # With these very values, and as a statement is planned that is prepared and used often.
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
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.fetchval(statement, *values)

    async def execute(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.execute(statement, *values)

    def transaction(self) -> Any:
        """Begin a transaction inside the test's own."""
        return self._connection.transaction()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Walk a plan's tree."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


Call = Callable[[Any], Awaitable[Any]]


async def sent(call: Call) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that a function sends, and its values."""
    seen: list[tuple[str, tuple[Any, ...]]] = []

    class Listening:
        async def fetch(self, statement: str, *values: Any) -> list[Any]:
            seen.append((statement, values))
            return []

        async def fetchval(self, statement: str, *values: Any) -> int:
            seen.append((statement, values))
            return 0

    await call(Listening())
    return seen[0]
