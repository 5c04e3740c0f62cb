"""All record classes read rows of the database by the same rules."""

from copy import copy
from dataclasses import FrozenInstanceError, dataclass, is_dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.attachments import COLUMNS, Attachment
from shared.dead_letters import SUMMARY, DeadLetter
from shared.rows import FromRow, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(FromRow):
    """A record with two columns."""

    second: int
    first: str


def test_columns_are_read_by_name_and_others_are_ignored() -> None:
    row: Any = {"first": "a", "more": None, "second": 2}
    assert Pair.from_row(row) == Pair(first="a", second=2)


def test_a_column_that_is_missing_is_an_error() -> None:
    row: Any = {"first": "a"}
    with pytest.raises(KeyError, match="second"):
        Pair.from_row(row)


def test_a_record_has_no_dictionary_of_its_own() -> None:
    assert not hasattr(Pair(first="a", second=2), "__dict__")


def test_every_record_is_a_dataclass_of_several_columns() -> None:
    for record in FromRow.__subclasses__():
        assert is_dataclass(record)
        assert len(columns_of(record)) >= 2


@pytest.mark.parametrize(
    ("selected", "record"), [(COLUMNS, Attachment), (SUMMARY, DeadLetter)], ids=["rows", "letters"]
)
def test_a_list_of_columns_has_those_of_its_record(selected: str, record: type[FromRow]) -> None:
    depth, names, start = 0, [], 0
    for place, letter in enumerate(f"{selected},"):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            names.append(selected[start:place].split()[-1].removeprefix("a.").removeprefix("d."))
            start = place + 1
    assert tuple(names) == columns_of(record)


# `dataclass(slots=True)` makes a copy of the class, and only the copy has `__slots__`. The original
# class is still a subclass of FromRow, so the list omits the original class.
RECORDS = [each for each in FromRow.__subclasses__() if "__slots__" in vars(each)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_made_of_a_row_is_the_same_as_one_of_its_constructor(record: Any) -> None:
    values = {name: object() for name in columns_of(record)}
    made, same = record.from_row(values), record(**values)
    assert type(made) is record
    assert made == same
    assert {name: getattr(made, name) for name in columns_of(record)} == values
    with pytest.raises(FrozenInstanceError):
        setattr(made, columns_of(record)[0], None)
    assert copy(made) == made


def test_a_record_takes_its_defaults_and_refuses_unknown_fields() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {"id": 1, "organization_id": 2, "bucket": "b", "name": "n"}
    given |= {"file_name": "n", "created_at": now, "policy_expires_at": now}
    made = Attachment.made_of(**given)
    assert made == Attachment(**given)
    assert (made.state, made.resized, made.age_s) == ("pending", False, 0.0)
    assert made.read_at > 0
    with pytest.raises(TypeError, match="colour"):
        Attachment.made_of(**given, colour="red")
    with pytest.raises(TypeError, match="bucket"):
        Attachment.made_of(**{name: value for name, value in given.items() if name != "bucket"})
