"""Build records from database rows."""

from dataclasses import fields
from operator import itemgetter
from typing import Any, ClassVar, Self

import asyncpg


class FromRow:
    """Base of dataclasses whose fields have the names of columns."""

    __slots__ = ()
    NOT_COLUMNS: ClassVar[frozenset[str]] = frozenset()
    """Fields without a column."""

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        """Build the record of a row; ignore other columns. Raises KeyError if one is missing."""
        names = columns_of(cls)
        return cls(**dict(zip(names, itemgetter(*names)(row), strict=True)))


_COLUMNS: dict[type[Any], tuple[str, ...]] = {}


def columns_of(record: type[Any]) -> tuple[str, ...]:
    """Return the columns that `from_row` of a class reads: two or more."""
    if record not in _COLUMNS:
        names = (each.name for each in fields(record))
        _COLUMNS[record] = tuple(each for each in names if each not in record.NOT_COLUMNS)
    return _COLUMNS[record]
