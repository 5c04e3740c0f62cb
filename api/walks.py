"""Decide which lists are walks, and limit how many walks run at one time.

A walk is a list request for which many rows must be read. Each organization may run one walk at a
time, and all organizations together two. So walks never use all of the database's capacity.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import asyncpg

from api.problems import bad_request
from api.queries import Listing
from shared.database import Connection
from shared.filters import read_many, sifted, values_walked
from shared.lists import MAX_COUNTED
from shared.shares import Shares
from shared.turns import Turns

Read = Callable[[Connection], Awaitable[Any]]

LONG_OFFSET = 2_000
"""A request is a walk if more rows than this come before its page, if the list has more rows than
this, or if several filters sift more attachments of an object than this."""

WALKS, WALKING_WAIT = 2, 32
"""WALKS is the maximum number of walks that run at the same time, for all organizations together.
WALKING_WAIT is the maximum number of walks of one organization that wait."""

WALK_S = 2.0
"""Timeout, in seconds, of one statement of a walk. Only three kinds of walks take that long: with
filters that match few of millions of rows (`not_eq`, or several filters together), with a range of
times that matches millions of rows, and with many values of a filter and a page far from the
beginning. Every other walk reads at most about 100,000 rows of an index."""

REMEMBERED = 1_000
"""Maximum number of large totals in the cache."""

ESTIMATE_KEPT_S = 10.0


def too_long(asked: Listing) -> str:
    """Return the error text for a walk that takes too long. It names the cause and the remedy."""
    is_sifted = sifted(asked.filters) is not None
    if not read_many(asked.filters) and not is_sifted:
        name = "page[after]" if asked.cursor else "page[number]"
        return (
            f"Parameter '{name}': the list takes too long to read this far from its beginning."
            " Walk it by 'page[after]', with fewer filters"
        )
    negated = next((item for item in asked.filters if item.negated), None)
    if negated is None:
        names = " and ".join(f"'filter[{item.name}]'" for item in asked.filters)
        remedy = "fewer of these filters" if is_sifted else "a shorter range of times"
        return (
            f"Parameters {names}: very many attachments must be read to find those that match."
            f" Use {remedy}, or a filter by ids"
        )
    name = f"filter[{negated.name}][not_eq]"
    return (
        f"Parameter '{name}' takes too long: it leaves out nearly all of very many attachments."
        " Add a filter without 'not_eq', or walk the list by 'page[after]' without this parameter"
    )


class Walks:
    """Decides which lists are walks, and runs one walk at a time for each organization.

    The large totals of lists are cached by organization and filters. A cached estimate may be shown
    for ESTIMATE_KEPT_S seconds. An exact total is counted for each request.
    """

    def __init__(self) -> None:
        self._turns = Turns(WALKS, each=1, waiting=WALKING_WAIT)
        self._large: dict[Hashable, tuple[int, float]] = {}

    def are_long(self, organization_id: int, asked: Listing) -> bool:
        """Return True if a list is known to be a walk before any row is read."""
        offset = (asked.number - 1) * asked.size
        return (
            read_many(asked.filters)
            or offset > LONG_OFFSET
            or offset * values_walked(asked.filters) > MAX_COUNTED
            or (not asked.cursor and (organization_id, asked.filters) in self._large)
        )

    def estimated(self, organization_id: int, asked: Listing) -> int | None:
        """Return the cached estimate of a total, or None.

        Only an estimate above MAX_COUNTED that was made less than ESTIMATE_KEPT_S ago is returned.
        """
        total, ends = self._large.get((organization_id, asked.filters), (0, 0.0))
        return total if total > MAX_COUNTED and time.monotonic() < ends else None

    def note(self, organization_id: int, asked: Listing, total: int) -> None:
        """Cache a total if it is large."""
        key = (organization_id, asked.filters)
        self._large.pop(key, None)
        if total > LONG_OFFSET:
            if len(self._large) >= REMEMBERED:
                del self._large[next(iter(self._large))]
            self._large[key] = (total, time.monotonic() + ESTIMATE_KEPT_S)

    async def run(self, clients: Shares, organization_id: int, asked: Listing, read: Read) -> Any:
        """Run `read` when it is the organization's turn.

        Raises Busy if too many walks wait, and Problem 400 if a statement takes longer than WALK_S.
        """

        async def bounded(connection: Connection) -> Any:
            # Set the timeout in the server. There it does not include the network, so only a slow
            # statement can exceed it.
            async with connection.transaction(readonly=True):
                await connection.execute(f"SET LOCAL statement_timeout = {int(WALK_S * 1000)}")
                try:
                    return await read(connection)
                except asyncpg.QueryCanceledError:
                    raise bad_request(too_long(asked)) from None

        async with self._turns.turn(organization_id):
            return await clients.of(organization_id).run(bounded)
