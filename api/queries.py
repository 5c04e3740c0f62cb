"""Query strings: filters, sorting, paging, include and sparse fieldsets, and the links to pages."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from api.documents import INCLUDABLE
from api.problems import Problem, bad_request, unsupported
from shared.attachments import Filter
from shared.keys import MAX_ID

FILTERS = {"comment_id": "comment", "page_id": "page", "task_id": "task"}
PAGE_SIZE = 30
MAX_PAGE_SIZE = 200
MAX_FILTER_IDS = 200
MAX_PAGE_NUMBER = 10**9
MAX_OFFSET = 100_000
"""How many attachments may lie before a page by number: all of them are walked over."""

_FILTER = re.compile(r"filter\[([^\[\]]*)\](?:\[([^\[\]]*)\])?")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_ANY_NUMBER = re.compile(r"[1-9][0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How resources are to be shown: relationships named by `include`, and the fieldset."""

    include: tuple[str, ...] = ()
    fieldset: frozenset[str] | None = None


USUAL_VIEW = View()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a list request asks for; with `cursor`, pages are walked by `after` and `before`."""

    view: View
    filters: tuple[Filter, ...]
    descending: bool
    number: int
    size: int
    cursor: bool
    after: int | None
    before: int | None
    kept: tuple[tuple[str, str], ...]


def parse_id(text: str) -> int | None:
    """Read an id from an address: canonical ASCII decimal below 2^63, or None."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def parse_view(request: web.Request) -> View:
    """Read `include` and `fields[attachments]`; any other parameter is refused with 400."""
    if not request.rel_url.raw_query_string:
        return USUAL_VIEW
    return _parse(request, listing=False).view


def parse_listing(request: web.Request) -> Listing:
    """Read everything that a list request may ask for. Raises Problem 400."""
    return _parse(request, listing=True)


def _parse(request: web.Request, *, listing: bool) -> Listing:
    include: tuple[str, ...] = ()
    fieldset: frozenset[str] | None = None
    descending = False
    page: dict[str, str] = {}
    filters: dict[tuple[str, bool], list[int]] = {}
    kept: list[tuple[str, str]] = []
    for name, value in request.query.items():
        if name.startswith("page[") and listing:
            if name[5:-1] not in ("number", "size", "after", "before") or name[-1] != "]":
                raise bad_request(f"Parameter '{_short(name)}' is not supported on this endpoint")
            if name[5:-1] in page:
                raise bad_request(f"Parameter '{name}' is given twice")
            page[name[5:-1]] = value
            continue
        kept.append((name, value))
        if name == "include":
            include = tuple(dict.fromkeys(filter(None, value.split(","))))
            for relationship in include:
                if relationship not in INCLUDABLE:
                    raise unsupported("Include", _short(relationship))
        elif name == "fields[attachments]":
            fieldset = frozenset(filter(None, value.split(",")))
        elif name.startswith("fields["):
            continue
        elif name == "sort":
            if not listing or value not in ("id", "-id"):
                raise unsupported("Sort", _short(value))
            descending = value == "-id"
        elif name.startswith("filter") and listing:
            key, ids = _filter(name, value)
            filters.setdefault(key, []).extend(ids)
        elif name.startswith("filter"):
            raise unsupported("Filter", _short(name[7:-1]))
        else:
            raise bad_request(f"Parameter '{_short(name)}' is not supported on this endpoint")
    if any(len(ids) > MAX_FILTER_IDS for ids in filters.values()):
        raise bad_request(f"A filter may name at most {MAX_FILTER_IDS} ids")
    after, before = page.get("after"), page.get("before")
    if after is not None and before is not None:
        raise bad_request("Only one of page[after] and page[before] may be given")
    if "number" in page and (after is not None or before is not None):
        raise bad_request("page[number] does not go with a cursor")
    number = _positive("page[number]", page.get("number", "1"))
    size = _size(page.get("size", str(PAGE_SIZE)))
    if (number - 1) * size > MAX_OFFSET:
        raise bad_request(
            f"Parameter 'page[number]' reaches beyond the first {MAX_OFFSET} attachments:"
            " walk further by 'page[after]'"
        )
    return Listing(
        view=View(include=include, fieldset=fieldset),
        filters=tuple(
            Filter(attachable_type=FILTERS[name], ids=tuple(ids), negated=negated)
            for (name, negated), ids in filters.items()
        ),
        descending=descending,
        number=number,
        size=size,
        cursor=after is not None or before is not None,
        after=_cursor(after) if after else None,
        before=_cursor(before) if before else None,
        kept=tuple(kept),
    )


def _short(text: str) -> str:
    return "".join(character for character in text[:100] if character.isprintable())


def _filter(name: str, value: str) -> tuple[tuple[str, bool], list[int]]:
    match = _FILTER.fullmatch(name)
    field = match[1] if match else name.removeprefix("filter")
    if match is None or field not in FILTERS:
        raise unsupported("Filter", _short(field))
    operator = match[2] or "eq"
    if operator not in ("eq", "not_eq"):
        raise unsupported("Filter", _short(f"{field}[{operator}]"))
    ids = [parse_id(word) for word in value.split(",")]
    if None in ids:
        raise bad_request(f"Filter '{field}' takes ids: decimal integers from 1, with commas")
    return (field, operator == "not_eq"), [number for number in ids if number is not None]


def _positive(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_PAGE_NUMBER:
        raise bad_request(f"Parameter '{name}' must be an integer from 1 to {MAX_PAGE_NUMBER}")
    return int(text)


def _size(text: str) -> int:
    # However large it is, it counts as the largest: only its first digits need be read.
    if not _ANY_NUMBER.fullmatch(text):
        raise bad_request("Parameter 'page[size]' must be an integer from 1")
    return min(int(text[:9]), MAX_PAGE_SIZE)


def cursor_of(attachment_id: int) -> str:
    """Make the opaque cursor that stands for a place in the list."""
    return urlsafe_b64encode(str(attachment_id).encode()).decode().rstrip("=")


def _cursor(text: str) -> int:
    # The profile names this error; JSON:API cursor pagination, "Invalid Parameter Value Error".
    try:
        number = parse_id(urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except ValueError:
        number = None
    if number is None or cursor_of(number) != text:
        raise Problem(
            400,
            [{"status": "400", "title": "Bad Request", "detail": "The page cursor is invalid"}],
        )
    return number


def page_link(listing: Listing, base: str, **page: str) -> str:
    """Write the link to a page: what was asked for, then `page[…]`, percent-encoded."""
    query = [*listing.kept, *((f"page[{name}]", value) for name, value in page.items())]
    return f"{base}?{urlencode(query)}"
