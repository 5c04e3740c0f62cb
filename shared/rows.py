"""The one way from a row of the database to a record."""

from dataclasses import fields
from operator import itemgetter
from typing import Any, ClassVar, Self

import asyncpg


class FromRow:
    """A dataclass whose fields are columns of the same names."""

    __slots__ = ()
    NOT_COLUMNS: ClassVar[frozenset[str]] = frozenset()
    """Fields that a row does not have."""

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        """Make the record of a row. Raises KeyError if a column is missing; more are ignored."""
        names = columns_of(cls)
        return cls(**dict(zip(names, itemgetter(*names)(row), strict=True)))


_COLUMNS: dict[type[Any], tuple[str, ...]] = {}


def columns_of(record: type[Any]) -> tuple[str, ...]:
    """Name the columns that `from_row` of a class reads: two or more."""
    if record not in _COLUMNS:
        names = (each.name for each in fields(record))
        _COLUMNS[record] = tuple(each for each in names if each not in record.NOT_COLUMNS)
    return _COLUMNS[record]
