"""The start of a process: garbage is collected only after the imports."""

import gc
from collections.abc import Iterator

import pytest

from shared.beginning import pause_collection, resume_collection


class Node:
    """An object that refers to itself, so that only a garbage collection frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Enable garbage collection after the test."""
    yield
    gc.enable()


def test_garbage_is_collected_once_the_imports_are_over() -> None:
    pause_collection()
    assert not gc.isenabled()
    resume_collection()
    assert gc.isenabled()


def test_objects_that_exist_after_the_imports_are_not_searched_again() -> None:
    old = Node()
    assert any(each is old for each in gc.get_objects())
    resume_collection()
    new = Node()
    searched = gc.get_objects()
    assert any(each is new for each in searched)
    assert not any(each is old for each in searched)
