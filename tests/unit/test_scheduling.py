"""The order of the tests in a run of several processes."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import scheduling
from tests.support.scheduling import SECONDS, TOGETHER, in_order, unit_of

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Item:
    """A collected test."""

    nodeid: str


@pytest.mark.parametrize("path", [*TOGETHER, *SECONDS])
def test_each_file_and_folder_of_the_tables_exists(path: str) -> None:
    assert (ROOT / path).exists()
    assert unit_of(f"{path}::test_a") == path


def test_a_shared_folder_is_one_unit_and_each_other_file_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduling, "TOGETHER", ("tests/a/b/",))
    assert unit_of("tests/a/b/test_c.py::test_d[1::2]") == "tests/a/b/"
    assert unit_of("tests/a/b/test_e.py::TestF::test_g") == "tests/a/b/"
    assert unit_of("tests/a/test_c.py::test_d[1::2]") == "tests/a/test_c.py"


@pytest.mark.soak
def test_long_units_come_first_among_those_that_wait_and_those_that_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"tests/faults/test_b.py": 9, "tests/unit/test_e.py": 5, "tests/unit/test_f.py": 7}
    monkeypatch.setattr(scheduling, "SECONDS", seconds)
    names = ("unit/test_c", "unit/test_d", "unit/test_e", "unit/test_f", "faults/test_a")
    items = [
        Item(f"tests/{name}.py::test_{number}")
        for name in (*names, "faults/test_b")
        for number in range(2)
    ]
    found = [each.nodeid for each in in_order(items)]
    assert sorted(found) == sorted(each.nodeid for each in items)
    assert [nodeid.partition(".")[0] for nodeid in found[::2]] == [
        "tests/faults/test_b",
        "tests/unit/test_f",
        "tests/unit/test_e",
        "tests/faults/test_a",
        "tests/unit/test_c",
        "tests/unit/test_d",
    ]
    assert [nodeid[-1] for nodeid in found] == ["0", "1"] * len(found[::2])
