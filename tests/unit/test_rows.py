"""All record classes build their records from database rows by the same rules."""

import ast
import pkgutil
from copy import copy
from dataclasses import FrozenInstanceError, dataclass, is_dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import shared
from shared.attachments import COLUMNS, Attachment
from shared.dead_letters import SUMMARY, DeadLetter
from shared.rows import FromRow, columns_of

ROOT = Path(__file__).parents[2]

BY_HAND = {
    # Each field of `Quotas` depends on a column and on a setting, so `from_row` cannot build it.
    "shared/quotas.py",
}
"""Modules that may build a record from a row without `from_row`."""

for module in pkgutil.walk_packages(shared.__path__, "shared."):
    if ".migrations." not in module.name:
        import_module(module.name)  # the module may define subclasses of FromRow


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


def test_a_given_field_takes_the_place_of_its_column() -> None:
    nothing: Any = {}
    row: Any = {"first": "a"}
    both: Any = {"first": "a", "second": 1}
    for each in (row, both):
        assert Pair.from_row(each, second=2) == Pair(first="a", second=2)
    with pytest.raises(KeyError, match="first"):
        Pair.from_row(nothing, second=2)


def built_by_hand(tree: ast.AST) -> list[int]:
    """Return the numbers of the lines that call a class with columns of a row as arguments."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id[0].isupper()
        and any(has_column(each.value) for each in node.keywords)
    ]


def has_column(node: ast.AST) -> bool:
    """Return True if an expression reads a column of one row. Loops over many rows do not count."""
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return False
    return is_column(node, str) or any(map(has_column, ast.iter_child_nodes(node)))


def is_column(node: ast.AST, kind: type[str] | type[int]) -> bool:
    """Return True if the node reads a column of a row, by its name (str) or by its number (int)."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("row", "found" if kind is str else "row")
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, kind)
    )


def taken_apart(tree: ast.AST) -> list[int]:
    """Return the numbers of the lines that make a tuple of a row's columns, read by number."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and sum(is_column(each, int) for each in node.elts) > 1
    ]


@pytest.mark.slow
def test_every_record_of_a_row_is_made_by_the_one_method() -> None:
    assert built_by_hand(ast.parse('Pair(first=row["a"], second=2)')) == [1]
    assert built_by_hand(ast.parse('Pair(first=str(row["a"]), second=2)')) == [1]
    assert taken_apart(ast.parse("a = row[0], row[1]")) == [1]
    own, by_hand = [], []
    for package in ("api", "worker", "shared", "deploy"):
        for path in (ROOT / package).rglob("*.py"):
            tree, name = ast.parse(path.read_text("utf-8")), path.relative_to(ROOT).as_posix()
            lines = (*built_by_hand(tree), *taken_apart(tree))
            by_hand += [name if name in BY_HAND else f"{name}:{line}" for line in lines]
            own += [
                name
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.name == "from_row"
            ]
    assert own == ["shared/rows.py"]
    assert by_hand == sorted(BY_HAND)


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


# `dataclass(slots=True)` makes a copy of a class. Both are subclasses of FromRow, but only the copy
# has `__slots__`, and only the copy is tested.
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
