"""Parse the filters of a list: `filter[f]`, `filter[f][operator]`, and their values."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from api.attributes import check_text
from api.problems import Problem, about, unsupported, unsupported_value
from api.words import parse_id, shortened
from shared.attachable_types import ATTACHABLE_TYPES
from shared.documents import INCLUDABLE, RELATIONSHIPS
from shared.filters import CreatedIn, Filter, OfAttachable, OneOf
from shared.states import STATES

MAX_FILTER_IDS = 200

_SAME = ("eq", "not_eq")
RANGES = ("gt", "gt_eq", "lt", "lt_eq")

# A filter has a name, and may have an operator and an array index: filter[f], filter[f][eq],
# filter[f][], filter[f][0].
_FILTER = re.compile(
    r"filter\[([^\[\]]*)\](?:\[([^\[\]0-9][^\[\]]*)\])?(?:\[[0-9]{0,4}\])?", re.ASCII
)
# In a query string, a plus sign means a space. Clients often send a time's offset unencoded, so
# `+02:00` is read as ` 02:00`.
_SPACED_OFFSET = re.compile(r"(T[0-9:.,]+) ([0-9]{2}:?[0-9]{2})", re.ASCII)
MAX_TIME = 40
"""Maximum length of a time, in characters."""

MILLISECOND = timedelta(milliseconds=1)


def _ids(words: Sequence[str]) -> tuple[Any, ...] | None:
    ids = tuple(number for word in words if (number := parse_id(word)) is not None)
    return ids if len(ids) == len(words) else None


def _text(words: Sequence[str]) -> tuple[Any, ...] | None:
    text = ",".join(words)  # a text is a single value, even with commas
    return None if check_text(text) is not None or not text.strip() else (text,)


def _words(allowed: tuple[str, ...]) -> Callable[[Sequence[str]], tuple[Any, ...] | None]:
    return lambda words: tuple(words) if set(words) <= set(allowed) else None


IDS = (_ids, "ids: decimal integers from 1, with commas")
TEXT = (_text, "a text of 1 to 255 characters")
FILTERS: dict[str, tuple[Callable[[Sequence[str]], tuple[Any, ...] | None], str]] = {
    "id": IDS,
    "state": (_words(STATES), f"states, with commas: {', '.join(STATES)}"),
    "external_id": TEXT,
    "message_id": TEXT,
    **{f"{name}_id": IDS for name in ("organization", *RELATIONSHIPS)},
    "attachable_type": (
        _words(ATTACHABLE_TYPES),
        f"types, with commas: {', '.join(ATTACHABLE_TYPES)}",
    ),
}
"""The filters that have the operators `eq` and `not_eq`. Each has a function that parses the
values, and a text for error messages that describes the allowed values."""

CREATED_AT = "created_at"
NAMES = (*FILTERS, CREATED_AT)

Key = tuple[str, str]
"""A filter's name and operator."""


class Filters:
    """Collects the filters of a query string. A time without an offset is in `zone`."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._values: dict[Key, dict[Any, None]] = {}
        self._times: dict[str, datetime] = {}

    def add(self, name: str, value: str) -> None:
        """Add a parameter. Raises Problem 400 for an unknown filter or an invalid value."""
        field, operator = _read_name(name)
        if field == CREATED_AT:
            self._times[operator] = self._time(name, value)
            return
        read, rule = FILTERS[field]
        words = value.split(",")
        found = read(words)
        if found is None:
            raise _refused(name, field, rule)
        values = self._values.setdefault((field, operator), {})
        values.update(dict.fromkeys(found))
        if max(len(values), len(found)) > MAX_FILTER_IDS:
            raise _refused(name, field, f"at most {MAX_FILTER_IDS} values")

    def found(self) -> tuple[Filter, ...]:
        """Return the filters, in the order of the query string."""
        filters: list[Filter] = []
        for (field, operator), values in self._values.items():
            negated = operator == "not_eq"
            kind = field.removesuffix("_id")
            if field != kind and kind in INCLUDABLE - {"organization", "creator"}:
                filters.append(
                    OfAttachable(attachable_type=kind, ids=tuple(values), negated=negated)
                )
            else:
                filters.append(OneOf(column=field, values=tuple(values), negated=negated))
        if self._times:
            lower = [bound for op, bound in self._times.items() if op in ("gt", "gt_eq")]
            upper = [bound for op, bound in self._times.items() if op in ("lt", "lt_eq")]
            since, until = max(lower, default=None), min(upper, default=None)
            filters.append(CreatedIn(since=since, until=until))
        return tuple(filters)

    def _time(self, name: str, text: str) -> datetime:
        """Parse a time. Returns the limit that CreatedIn compares with `created_at`.

        The database stores microseconds, but the API shows milliseconds. A filter compares the
        times as the API shows them. So if an attachment's shown time equals the filter's time, it
        matches `gt_eq`, but not `gt`.
        """
        operator = _read_name(name)[1]
        try:
            if len(text) > MAX_TIME or not text.isascii():
                raise ValueError(text)
            moment = datetime.fromisoformat(_SPACED_OFFSET.sub(r"\1+\2", text))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone)
            moment = moment.astimezone(UTC)
            shown = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
            if operator in ("gt", "lt_eq") or shown < moment:
                return shown + MILLISECOND
            return shown
        except (ValueError, OverflowError):
            raise _refused(name, CREATED_AT, "a time of ISO 8601") from None


def _read_name(name: str) -> Key:
    match = _FILTER.fullmatch(name)
    field = match[1] if match else name.removeprefix("filter")
    if match is None or field not in NAMES:
        raise unsupported("Filter", shortened(field))
    operator = match[2] or ("eq" if field in FILTERS else "")
    if operator not in (_SAME if field in FILTERS else RANGES):
        raise unsupported("Filter", shortened(f"{field}[{operator}]" if operator else field))
    return field, operator


def _refused(name: str, field: str, rule: str) -> Problem:
    return about(unsupported_value(f"Filter '{field}' takes {rule}"), shortened(name))
