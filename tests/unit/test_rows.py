"""Records of rows: each class that is read from the database does it in the same way."""

from dataclasses import dataclass, is_dataclass
from typing import Any

import pytest

from shared.attachments import COLUMNS, Attachment
from shared.dead_letters import SUMMARY, DeadLetter
from shared.rows import FromRow, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(FromRow):
    """A record of two columns."""

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
