"""Parse query strings: sorting, paging, include and sparse fieldsets."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from aiohttp import web

from api.filters import Filters
from api.preferences import parse_wait
from api.problems import MEDIA_TYPE, Problem, about, bad_parameter, bad_request, unsupported
from api.words import NUMBER, parse_id, shortened
from shared.documents import INCLUDABLE
from shared.filters import Filter
from shared.keys import MAX_ID

CURSORS = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
"""The beginning of the URIs of error types in the JSON:API profile "Cursor Pagination"."""

CURSOR_TYPE = (
    f'{MEDIA_TYPE}; profile="http://jsonapi.org/profiles/ethanresnick/cursor-pagination/"'
    "; charset=utf-8"
)
"""The Content-Type of pages by cursor. The URI of the profile itself begins with `http`, not
`https`."""

PAGE_SIZE = 30
MAX_PAGE_SIZE = 200
MAX_REPEATED = 200
MAX_PAGE_NUMBER = 10**9
MAX_OFFSET = 100_000
"""Maximum number of attachments before the first one of a page by number. The database must read
all of these to find the page."""

# Matches the parameters whose values are lists of names. They may have an array index: include,
# include[], fields[attachments][0].
_NAMES = re.compile(r"(include|fields\[[^\[\]]*\])(?:\[[0-9]{0,4}\])?", re.ASCII)
_ANY_NUMBER = re.compile(r"[1-9][0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The parameters that decide what an answer shows, and `wait`.

    `include` has the names of relationships. `fieldset` has the names of fields; None means all
    fields. `wait_s` is the parameter `wait`, or None.
    """

    include: tuple[str, ...] = ()
    fieldset: frozenset[str] | None = None
    wait_s: int | None = None


USUAL_VIEW = View()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The parsed parameters of a list request.

    If `cursor` is true, the ids `after` and `before` decide which page is read. Otherwise `number`
    decides. `from_end` is true if the last page is requested. Then `before` is an id that comes
    after all others in the list (0 if `descending`). `kept` has the parameters that links to other
    pages repeat.
    """

    view: View
    filters: tuple[Filter, ...]
    descending: bool
    number: int
    size: int
    cursor: bool
    after: int | None
    before: int | None
    from_end: bool
    kept: tuple[tuple[str, str], ...]


def parse_view(request: web.Request, *, waits: bool = False) -> View:
    """Parse `include` and `fields[attachments]`, and if `waits` is true also `wait`.

    Raises Problem 400 for unknown parameters.
    """
    if not request.rel_url.raw_query_string:
        return USUAL_VIEW
    return _parse(request, listing=False, waits=waits).view


def parse_listing(request: web.Request, zone: tzinfo = UTC) -> Listing:
    """Parse all parameters of a list request. A time without an offset is in `zone`.

    Raises Problem 400 for an unknown or invalid parameter.
    """
    return _parse(request, listing=True, zone=zone)


def _parse(
    request: web.Request, *, listing: bool, waits: bool = False, zone: tzinfo = UTC
) -> Listing:
    include: dict[str, None] = {}
    fieldset: frozenset[str] | None = None
    sort, wait_s = "id", None
    page: dict[str, str] = {}
    filters = Filters(zone)
    kept: list[tuple[str, str]] = []
    for name, value in given(request):
        if name.startswith("page[") and listing:
            if name[5:-1] not in ("number", "size", "after", "before") or name[-1] != "]":
                raise about(unknown_parameter(name), shortened(name))
            page[name[5:-1]] = value
            continue
        kept.append((name, value))
        names = list_name(name)
        if names == "include":
            for relationship in filter(None, value.split(",")):
                if relationship not in INCLUDABLE:
                    raise unsupported("Include", shortened(relationship))
                include[relationship] = None
        elif names == "fields[attachments]":
            fieldset = (fieldset or frozenset()).union(filter(None, value.split(",")))
        elif name.startswith("fields["):
            continue
        elif name == "wait" and waits:
            wait_s = parse_wait(value)
        elif name == "sort":
            if not listing:
                raise unsupported("Sort", shortened(value))
            sort = value
        elif name.startswith("filter") and listing:
            filters.add(name, value)
        elif name.startswith("filter"):
            raise unsupported("Filter", shortened(name[7:-1]))
        else:
            raise unknown_parameter(name)
    return Listing(
        view=View(include=tuple(include), fieldset=fieldset, wait_s=wait_s),
        filters=filters.found(),
        kept=tuple(kept),
        **_paging(page, sort),
    )


def list_name(name: str) -> str | None:
    """Return the name of a parameter whose value is a list of names, without the array index.

    Returns None for any other parameter.
    """
    match = _NAMES.fullmatch(name)
    return match[1] if match else None


def unknown_parameter(name: str) -> Problem:
    """Return a 400 for a parameter that the endpoint does not know."""
    return bad_request(f"Parameter '{shortened(name)}' is not supported on this endpoint")


def given(request: web.Request) -> list[tuple[str, str]]:
    """Return the parameters of a request without repetitions.

    If a parameter is repeated, its last value is used; for an array, all different values are used.
    Repetitions occur because some clients add their parameters to a link that already has them. If
    the service's links kept the repetitions, they would grow from page to page. Raises Problem 400
    if a parameter is given more than MAX_REPEATED times.
    """
    last: dict[Hashable, tuple[str, str]] = {}
    counts: dict[Hashable, int] = {}
    for name, value in request.query.items():
        key = (name, value) if name.endswith("[]") else name
        last[key] = (name, value)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] > MAX_REPEATED:
            raise bad_request(
                f"Parameter '{shortened(name)}' is given more than {MAX_REPEATED} times"
            )
    return list(last.values())


def _paging(page: dict[str, str], sort: str) -> dict[str, Any]:
    """Parse `page[…]` and `sort` into fields of Listing. Raises Problem 400 for invalid values.

    An empty `page[after]` means the first page, an empty `page[before]` the last page.
    """
    after, before = page.get("after"), page.get("before")
    cursor = after is not None or before is not None
    if sort not in ("id", "-id"):
        problem = unsupported("Sort", shortened(sort))
        raise about(problem, "sort", kind=f"{CURSORS}unsupported-sort") if cursor else problem
    descending = sort == "-id"
    if after is not None and before is not None:
        raise bad_parameter(
            "page[before]",
            "Only one of page[after] and page[before] may be given",
            kind=f"{CURSORS}range-pagination-not-supported",
        )
    if cursor and "number" in page:
        raise bad_parameter("page[number]", "page[number] does not go with a cursor")
    number = _positive("page[number]", page.get("number", "1"))
    size = page_size(page.get("size", str(PAGE_SIZE)), cursor=cursor)
    if (number - 1) * size > MAX_OFFSET:
        raise bad_parameter(
            "page[number]",
            f"Parameter 'page[number]' reaches beyond the first {MAX_OFFSET} attachments:"
            " walk further by 'page[after]'",
        )
    end = 0 if descending else MAX_ID
    return {
        "descending": descending,
        "number": number,
        "size": size,
        "cursor": cursor,
        "after": parse_cursor("page[after]", after) if after else None,
        "before": end if before == "" else before and parse_cursor("page[before]", before),
        "from_end": before == "",
    }


def _positive(name: str, text: str) -> int:
    if not NUMBER.fullmatch(text) or int(text) > MAX_PAGE_NUMBER:
        raise bad_parameter(
            name, f"Parameter '{name}' must be an integer from 1 to {MAX_PAGE_NUMBER}"
        )
    return int(text)


def page_size(text: str, *, cursor: bool) -> int:
    """Parse `page[size]`. Raises Problem 400 if it is not an integer from 1.

    If the size is above MAX_PAGE_SIZE, a page by number has MAX_PAGE_SIZE attachments. For a page
    by cursor, such a size is an error.
    """
    # The JSON:API profile for cursors allows leading zeros (its first note: `^[0-9]+$`).
    if cursor and text.isascii() and text.isdigit():
        text = text.lstrip("0")
    if not _ANY_NUMBER.fullmatch(text):
        raise bad_parameter("page[size]", "Parameter 'page[size]' must be an integer from 1")
    # Any larger number means the maximum, so the first nine digits are enough.
    size = int(text[:9])
    if cursor and size > MAX_PAGE_SIZE:
        raise bad_parameter(
            "page[size]",
            f"Parameter 'page[size]' must be at most {MAX_PAGE_SIZE}",
            kind=f"{CURSORS}max-size-exceeded",
            meta={"page": {"maxSize": MAX_PAGE_SIZE}},
        )
    return min(size, MAX_PAGE_SIZE)


def cursor_of(number: int) -> str:
    """Return the opaque cursor of a position in the list: an id in URL-safe base64."""
    return urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def parse_cursor(name: str, text: str) -> int:
    """Return the id in the cursor of parameter `name`. Raises Problem 400 if it is invalid."""
    try:
        number = parse_id(urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except ValueError:
        number = None
    if number is None or cursor_of(number) != text:
        raise bad_parameter(name, "The page cursor is invalid")
    return number
