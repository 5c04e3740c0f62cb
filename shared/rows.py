"""Build records from database rows."""

from dataclasses import field, fields, make_dataclass
from operator import itemgetter
from typing import Any, ClassVar, Self

import asyncpg


class FromRow:
    """Base of dataclasses whose fields have the names of columns."""

    __slots__ = ()
    NOT_COLUMNS: ClassVar[frozenset[str]] = frozenset()
    """Fields without a column."""

    @classmethod
    def from_row(cls, row: asyncpg.Record, **given: Any) -> Self:
        """Build the record of a row; ignore other columns. Raises KeyError for a missing column.

        `given` are fields that no column holds as it is: a record made of several columns, or a
        column of another name or type.
        """
        names = columns_of(cls)
        if given:
            values = {name: row[name] for name in names if name not in given}
            return cls.made_of(**values, **given)
        return cls.made_of(**dict(zip(names, itemgetter(*names)(row), strict=True)))

    @classmethod
    def made_of(cls, **values: Any) -> Self:
        """Make a record of its fields, as the class does, but at a quarter of the cost.

        The constructor of a frozen dataclass calls `object.__setattr__` for each field. A request
        for one attachment would spend a tenth of its CPU time there.
        """
        made = _unfrozen(cls)(**values)
        made.__class__ = cls
        assert isinstance(made, cls)
        return made


_COLUMNS: dict[type[Any], tuple[str, ...]] = {}
_UNFROZEN: dict[type[Any], type[Any]] = {}


def columns_of(record: type[Any]) -> tuple[str, ...]:
    """Return the columns that `from_row` of a class reads: two or more."""
    if record not in _COLUMNS:
        names = (each.name for each in fields(record))
        _COLUMNS[record] = tuple(each for each in names if each not in record.NOT_COLUMNS)
    return _COLUMNS[record]


def _unfrozen(record: type[Any]) -> type[Any]:
    """Return a dataclass with the same fields that is not frozen.

    Its objects have the same slots, so they may become objects of the class `record`.
    """
    if record not in _UNFROZEN:
        same = [
            (each.name, object, field(default=each.default, default_factory=each.default_factory))
            for each in fields(record)
        ]
        _UNFROZEN[record] = make_dataclass(
            record.__name__, same, bases=record.__bases__, slots=True, kw_only=True
        )
    return _UNFROZEN[record]
