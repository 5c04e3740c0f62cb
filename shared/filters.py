"""The filters of a list, each as a record that returns its condition in SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

INDEXED: Final = {
    "external_id": "text",
    "message_id": "text",
    "creator_id": "bigint",
    "attachable_type": "text",
    "state": "text",
}
"""Columns with an index on (organization_id, column, id), and their types in SQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAttachable:
    """Selects attachments that belong to an `attachable_type` with one of `ids`.

    If `negated`, it selects all other attachments, also those that belong to no object.
    """

    attachable_type: str
    ids: tuple[int, ...]
    negated: bool = False

    @property
    def name(self) -> str:
        """The name by which a client knows the filter."""
        return f"{self.attachable_type}_id"

    def condition(self, values: list[Any]) -> str:
        """Return the condition in SQL, and append its parameters to `values`."""
        values += [self.attachable_type, list(self.ids)]
        match = f"a.attachable_type = ${len(values) - 1} AND a.attachable_id = ANY(${len(values)})"
        return f"({match}) IS NOT TRUE" if self.negated else match


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """Selects attachments whose column has one of `values`.

    `column` is `id`, `organization_id` or a column of INDEXED. If `negated`, it selects all other
    attachments, also those without a value.
    """

    column: str
    values: tuple[Any, ...]
    negated: bool = False

    @property
    def name(self) -> str:
        """The name by which a client knows the filter."""
        return self.column

    @property
    def is_walked(self) -> bool:
        """True if an index lists the attachments of each value in the order of their ids."""
        return self.column in INDEXED and not self.negated

    def condition(self, values: list[Any]) -> str:
        """Return the condition in SQL, and append its parameters to `values`.

        The first of `values` must be the organization's id.
        """
        values.append(list(self.values))
        if self.column == "organization_id":
            # This condition uses no column, so it does not change the planner's choice of an index.
            match = f"$1 = ANY(${len(values)}::bigint[])"
        else:
            kind = INDEXED.get(self.column, "bigint")
            match = f"a.{self.column} = ANY(${len(values)}::{kind}[])"
        return f"({match}) IS NOT TRUE" if self.negated else match


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedIn:
    """Selects attachments created at `since` or later and before `until`; None means no limit."""

    since: datetime | None = None
    until: datetime | None = None
    name = "created_at"
    negated = False

    def condition(self, values: list[Any]) -> str:
        """Return the condition in SQL, and append its parameters to `values`."""
        bounds = []
        for operator, bound in ((">=", self.since), ("<", self.until)):
            if bound is not None:
                values.append(bound)
                bounds.append(f"a.created_at {operator} ${len(values)}")
        return " AND ".join(bounds)


Filter = OfAttachable | OneOf | CreatedIn


def where(organization_id: int, filters: Iterable[Filter]) -> tuple[str, list[Any]]:
    """Return the condition in SQL for an organization's attachments, and its parameters."""
    values: list[Any] = [organization_id]
    conditions = ["a.organization_id = $1", "a.deleted_at IS NULL"]
    conditions += [item.condition(values) for item in filters]
    return " AND ".join(conditions), values


def walked(filters: Sequence[Filter]) -> OneOf | OfAttachable | None:
    """Return the filter whose index lists attachments in the order of ids, or None.

    A filter by attachable is chosen even if there are other filters, because few attachments belong
    to one object. If there is a filter by `id`, that one is better, and no index is walked.
    """
    positive = [item for item in filters if _narrows(item)]
    if not any(item.name == "id" for item in positive):
        by_attachable = (item for item in positive if isinstance(item, OfAttachable))
        if (chosen := next(by_attachable, None)) is not None:
            return chosen
    if len(positive) == 1 and isinstance(positive[0], OneOf) and positive[0].is_walked:
        return positive[0]
    return None


def values_walked(filters: Sequence[Filter]) -> int:
    """Return the number of values whose lists of attachments are merged; 0 if none are."""
    chosen = walked(filters)
    if chosen is None:
        return 0
    return len(chosen.ids if isinstance(chosen, OfAttachable) else chosen.values)


def sifted(filters: Sequence[Filter]) -> OfAttachable | None:
    """Return the filter by attachable whose attachments other filters sift, or None.

    Such a list may have to read all attachments of these objects to find a few.
    """
    chosen = walked(filters)
    others = any(_narrows(item) or item.negated for item in filters if item is not chosen)
    return chosen if isinstance(chosen, OfAttachable) and others else None


def narrowed(filters: Sequence[Filter]) -> bool:
    """Return True if at least one filter selects attachments, instead of excluding some."""
    return any(map(_narrows, filters))


def by_time(filters: Sequence[Filter]) -> bool:
    """Return whether a list reads the index by time: it has a time range and no filter by ids."""
    return any(isinstance(item, CreatedIn) for item in filters) and not _by_ids(filters)


def read_many(filters: Sequence[Filter]) -> bool:
    """Return whether a list may have to read many more rows than it shows.

    True for a negated filter, for a range of times, and for several filters at once. But a range of
    times or several filters are cheap if one filter is by ids: then the result is False.
    """
    if any(item.negated for item in filters) or by_time(filters):
        return True
    return sum(map(_narrows, filters)) > 1 and not _by_ids(filters)


def _narrows(item: Filter) -> bool:
    return not item.negated and item.name != "organization_id"


def _by_ids(filters: Sequence[Filter]) -> bool:
    return any(
        isinstance(item, OfAttachable) or item.name == "id" for item in filters if not item.negated
    )
