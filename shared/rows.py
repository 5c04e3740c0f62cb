"""Build records, which are frozen dataclasses, from database rows."""

from dataclasses import field, fields, make_dataclass
from operator import itemgetter
from typing import Any, ClassVar, Self

import asyncpg


class FromRow:
    """Base class of dataclasses whose fields have the names of columns."""

    __slots__ = ()
    NOT_COLUMNS: ClassVar[frozenset[str]] = frozenset()
    """The names of the fields that have no column."""

    @classmethod
    def from_row(cls, row: asyncpg.Record, **given: Any) -> Self:
        """Build a record from a row. Columns without a field are ignored.

        `given` are fields that no column holds in that form, such as a record made of several
        columns. Raises KeyError if the row lacks the column of a field.
        """
        names = columns_of(cls)
        if given:
            values = {name: row[name] for name in names if name not in given}
            return cls.made_of(**values, **given)
        return cls.made_of(**dict(zip(names, itemgetter(*names)(row), strict=True)))

    @classmethod
    def made_of(cls, **values: Any) -> Self:
        """Build a record from its fields, in a quarter of the time that the constructor takes.

        The constructor of a frozen dataclass calls `object.__setattr__` for each field. That would
        be a tenth of the CPU time of a request for one attachment.
        """
        made = _unfrozen(cls)(**values)
        made.__class__ = cls
        assert isinstance(made, cls)
        return made


_COLUMNS: dict[type[Any], tuple[str, ...]] = {}
_UNFROZEN: dict[type[Any], type[Any]] = {}


def columns_of(record: type[Any]) -> tuple[str, ...]:
    """Return the names of the columns that `from_row` of a class reads, at least two."""
    if record not in _COLUMNS:
        names = (each.name for each in fields(record))
        _COLUMNS[record] = tuple(each for each in names if each not in record.NOT_COLUMNS)
    return _COLUMNS[record]


def _unfrozen(record: type[Any]) -> type[Any]:
    """Return a dataclass with the same fields as `record`, but not frozen.

    Its objects have the same slots, so their `__class__` may be changed to `record`.
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
