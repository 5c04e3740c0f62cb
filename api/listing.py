"""Read one page of a list: its rows, links and meta. The cost does not grow with the table."""

from dataclasses import dataclass
from typing import Any

from api.pages import cursor_links, number_links
from api.parts import Parts
from api.queries import MAX_PAGE_SIZE, Listing
from api.walks import LONG_OFFSET, Walks
from shared import lists
from shared.attachments import Attachment
from shared.database import Connection
from shared.filters import sifted
from shared.lists import MAX_COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The rows of a page in their order, and the links and meta of its document."""

    rows: list[Attachment]
    links: dict[str, Any]
    meta: dict[str, Any]


async def read_page(parts: Parts, organization_id: int, asked: Listing, base: str) -> Page:
    """Read the requested page. `base` is the address of the list; the links begin with it.

    A walk is a request that must read many rows (`api.walks`). Raises Busy if too many walks of the
    organization wait, and Problem 400 if a walk takes too long.
    """

    async def read(connection: Connection) -> Page:
        if asked.cursor:
            return await _by_cursor(connection, organization_id, asked, base)
        return await _by_number(connection, parts.walks, organization_id, asked, base)

    run = parts.clients.of(organization_id).run
    is_long = parts.walks.are_long(organization_id, asked)
    if not is_long and (chosen := sifted(asked.filters)) is not None:
        is_long = await run(lists.is_crowded, organization_id, chosen, most=LONG_OFFSET)
    if is_long:
        page = await parts.walks.run(parts.clients, organization_id, asked, read)
        assert isinstance(page, Page)
        return page
    return await run(read)


async def _by_cursor(
    connection: Connection, organization_id: int, asked: Listing, base: str
) -> Page:
    # Read one row more than the page has. The extra row shows whether there is another page.
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
