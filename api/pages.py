"""Links from a page of a list to other pages, and the meta of a page by number."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from api.queries import MAX_OFFSET, MAX_PAGE_SIZE, Listing, cursor_of
from shared.lists import MAX_COUNTED


def page_link(listing: Listing, base: str, **page: str) -> str:
    """Return the link to a page, percent-encoded.

    It contains the other parameters of the request, then `page[…]`. The values in `page` are
    numbers or cursors, which need no encoding.
    """
    pages = [f"page%5B{name}%5D={value}" for name, value in page.items()]
    kept = [_encoded(listing.kept)] if listing.kept else []
    return f"{base}?{'&'.join([*kept, *pages])}"


@lru_cache(maxsize=16)  # all links of one answer repeat these parameters
def _encoded(kept: tuple[tuple[str, str], ...]) -> str:
    return urlencode(kept)


def cursor_links(
    asked: Listing, base: str, ids: Sequence[int], *, more: bool
) -> dict[str, str | None]:
    """Return the links of a page by cursor that shows `ids`.

    `more` is true if further attachments follow in the direction of the request. An empty page
    before the beginning or after the end of the list has a link with an empty cursor. This link
    leads to the first or the last page.
    """
    backwards = asked.before is not None
    earlier = more if backwards else asked.after is not None
    later = not asked.from_end if backwards else more

    def link(**page: str) -> str:
        return page_link(asked, base, **page, size=str(asked.size))

    return {
        "first": link(after=""),
        "prev": link(before=cursor_of(ids[0]) if ids else "") if earlier else None,
        "next": link(after=cursor_of(ids[-1]) if ids else "") if later else None,
    }


def number_links(asked: Listing, base: str, total: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the links and meta of a page by number.

    If the total is above MAX_COUNTED, it is an estimate, and there is no link to the last page. No
    link leads to a page that begins after MAX_OFFSET attachments.
    """
    pages = max(1, -(-total // asked.size))

    def link(number: int) -> str:
        return page_link(asked, base, number=str(number), size=str(asked.size))

    links = {"first": link(1)}
    meta: dict[str, Any] = {
        "current_page": asked.number,
        "total_pages": pages,
        "total_count": total,
        "page_size": asked.size,
        "max_page_size": MAX_PAGE_SIZE,
    }
    if total > MAX_COUNTED:
        meta["total_is_estimate"] = True
    else:
        links["last"] = link(pages)
    if 1 < asked.number <= pages + 1:
        links["prev"] = link(asked.number - 1)
    if asked.number < pages and asked.number * asked.size <= MAX_OFFSET:
        links["next"] = link(asked.number + 1)
    return links, meta
