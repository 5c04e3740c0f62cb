"""Make one page of a list: its rows, links and meta. The cost does not grow with the table.

A list that must read many rows is called a walk. The number of walks is limited to one for each
organization and two in all, so that walks never use all of the database's capacity.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from api.pages import cursor_links, number_links
from api.problems import bad_request
from api.queries import MAX_PAGE_SIZE, Listing
from shared import lists
from shared.attachments import Attachment
from shared.database import Connection
from shared.filters import read_many
from shared.lists import MAX_COUNTED
from shared.turns import Turns

if TYPE_CHECKING:  # A circular import is avoided here: `api.parts` imports this module.
    from api.parts import Parts

Read = Callable[[Connection], Awaitable[Any]]

LONG_OFFSET = 2_000
"""A page that begins after more rows than this is a walk. A list whose total is above this number
is a walk too."""

WALKS, WALKING_WAIT = 2, 32
"""Maximum number of concurrent walks of all organizations, and of waiting walks of one
organization."""

WALK_S = 2.0
"""Timeout in seconds of one statement of a walk. Only filters that match few of millions of
rows (`not_eq`, or several together) and ranges of times that match millions take that long; every
other walk reads at most about 100,000 rows of an index."""

REMEMBERED = 1_000
"""Maximum number of large totals in the cache."""

ESTIMATE_KEPT_S = 10.0


def too_long(asked: Listing) -> str:
    """Return the detail of the error for a walk that takes too long: the parameter, the remedy."""
    if not read_many(asked.filters):
        name = "page[after]" if asked.cursor else "page[number]"
        return (
            f"Parameter '{name}': the list takes too long to read this far from its beginning."
            " Walk it by 'page[after]', with fewer filters"
        )
    negated = next((item for item in asked.filters if item.negated), None)
    if negated is None:
        names = " and ".join(f"'filter[{item.name}]'" for item in asked.filters)
        return (
            f"Parameters {names}: very many attachments must be read to find those that match."
            " Use a shorter range of times, or a filter by ids"
        )
    name = f"filter[{negated.name}][not_eq]"
    return (
        f"Parameter '{name}' takes too long: it leaves out nearly all of very many attachments."
        " Add a filter without 'not_eq', or walk the list by 'page[after]' without this parameter"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The rows of a page in order, and the links and meta of its document."""

    rows: list[Attachment]
    links: dict[str, Any]
    meta: dict[str, Any]


class Walks:
    """Decides which lists are walks, and runs one walk at a time for each organization.

    Large totals are cached by organization and filters, because counting again would cost as much.
    An estimate is used again for ESTIMATE_KEPT_S seconds; a total that is shown as exact is counted
    each time.
    """

    def __init__(self) -> None:
        self._turns = Turns(WALKS, each=1, waiting=WALKING_WAIT)
        self._large: dict[Hashable, tuple[int, float]] = {}

    def are_long(self, organization_id: int, asked: Listing) -> bool:
        """Return True if a list must read many rows, as far as that is known in advance."""
        return (
            read_many(asked.filters)
            or (asked.number - 1) * asked.size > LONG_OFFSET
            or (not asked.cursor and (organization_id, asked.filters) in self._large)
        )

    def estimated(self, organization_id: int, asked: Listing) -> int | None:
        """Return the estimate of a total, or None.

        Only an estimate above MAX_COUNTED and made less than ESTIMATE_KEPT_S ago is returned.
        """
        total, ends = self._large.get((organization_id, asked.filters), (0, 0.0))
        return total if total > MAX_COUNTED and time.monotonic() < ends else None

    def note(self, organization_id: int, asked: Listing, total: int) -> None:
        """Put a total into the cache if it is large."""
        place = (organization_id, asked.filters)
        self._large.pop(place, None)
        if total > LONG_OFFSET:
            if len(self._large) >= REMEMBERED:
                del self._large[next(iter(self._large))]
            self._large[place] = (total, time.monotonic() + ESTIMATE_KEPT_S)

    async def run(self, parts: "Parts", organization_id: int, asked: Listing, read: Read) -> Any:
        """Run `read` in its organization's turn.

        Raises Busy if too many walks wait, Problem 400 if a statement takes longer than WALK_S.
        """

        async def bounded(connection: Connection) -> Any:
            # The server's own timeout does not include the network, so it proves that the statement
            # was slow.
            async with connection.transaction(readonly=True):
                await connection.execute(f"SET LOCAL statement_timeout = {int(WALK_S * 1000)}")
                try:
                    return await read(connection)
                except asyncpg.QueryCanceledError:
                    raise bad_request(too_long(asked)) from None

        async with self._turns.turn(organization_id):
            return await parts.clients.of(organization_id).run(bounded)


async def read_page(parts: "Parts", organization_id: int, asked: Listing, base: str) -> Page:
    """Read the requested page; `base` is the address of the list, for links.

    Raises Busy if too many walks of the organization wait, Problem 400 if a walk takes too long.
    """

    async def read(connection: Connection) -> Page:
        if asked.cursor:
            return await _by_cursor(connection, organization_id, asked, base)
        return await _by_number(connection, parts.walks, organization_id, asked, base)

    if parts.walks.are_long(organization_id, asked):
        page = await parts.walks.run(parts, organization_id, asked, read)
        assert isinstance(page, Page)
        return page
    return await parts.clients.of(organization_id).run(read)


async def _by_cursor(
    connection: Connection, organization_id: int, asked: Listing, base: str
) -> Page:
    # Read one row more than the page has: that row shows if there is a further page.
    rows = await lists.page(
        connection,
        organization_id,
        asked.filters,
        descending=asked.descending,
        limit=asked.size + 1,
        after=asked.after,
        before=asked.before,
    )
    more = len(rows) > asked.size
    rows = rows[-asked.size :] if asked.before is not None else rows[: asked.size]
    links = cursor_links(asked, base, [row.id for row in rows], more=more)
    return Page(
        rows=rows, links=links, meta={"page_size": asked.size, "max_page_size": MAX_PAGE_SIZE}
    )


async def _by_number(
    connection: Connection, walks: Walks, organization_id: int, asked: Listing, base: str
) -> Page:
    total = walks.estimated(organization_id, asked)
    if total is None:
        total = await lists.count(connection, organization_id, asked.filters)
        if total > MAX_COUNTED:
            total = await lists.estimate(connection, organization_id, asked.filters)
        walks.note(organization_id, asked, total)
    offset = (asked.number - 1) * asked.size
    rows = []
    if offset < total:
        rows = await lists.page(
            connection,
            organization_id,
            asked.filters,
            descending=asked.descending,
            limit=asked.size,
            offset=offset,
        )
    links, meta = number_links(asked, base, total)
    return Page(rows=rows, links=links, meta=meta)
