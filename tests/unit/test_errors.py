"""The class tree in the docstring of shared.errors shows every error class below its base class."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import api
import deploy
import shared
import worker
from shared import errors
from shared.errors import AttachmentsError

NO_FAILURES = {"api.problems.Problem"}
"""Exceptions that become answers to clients; they are not failures."""


@pytest.fixture(scope="module")
def classes() -> list[type[BaseException]]:
    """Return all exception classes that the four packages define."""
    found = []
    for package in (api, deploy, shared, worker):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if each.name.endswith("__main__") or ".migrations." in each.name:
                continue
            module = import_module(each.name)
            found += [
                value
                for value in vars(module).values()
                if inspect.isclass(value)
                and issubclass(value, BaseException)
                and value.__module__ == module.__name__
            ]
    return found


def drawn() -> Iterator[tuple[str, str | None]]:
    """Read the tree in the docstring: the name of each class, and the name of its base class."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    (?P<lines>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: {2,}(?P<text>.+))?$", line)
        if match is None:
            continue
        depth = len(match["lines"]) // 4
        path[depth:] = [match["name"]]
        yield match["name"], path[depth - 1] if depth else None


def test_the_drawing_shows_every_class_under_its_parent(
    classes: list[type[BaseException]],
) -> None:
    real = {
        each.__name__: each.__bases__[0].__name__
        for each in classes
        if issubclass(each, AttachmentsError) and each is not AttachmentsError
    }
    shown = dict(drawn())
    assert shown.pop("AttachmentsError") is None
    assert shown == real
    assert len(list(drawn())) == len(real) + 1  # the tree shows no class twice


def test_no_public_exception_is_outside_the_tree(classes: list[type[BaseException]]) -> None:
    outside = {
        f"{each.__module__}.{each.__name__}"
        for each in classes
        if not issubclass(each, AttachmentsError) and not each.__name__.startswith("_")
    }
    assert outside == NO_FAILURES


def test_a_private_exception_is_named_in_its_own_module_only(
    classes: list[type[BaseException]],
) -> None:
    private = {each.__name__: each.__module__ for each in classes if each.__name__.startswith("_")}
    assert len(private) > 3
    naming = re.compile(rf"\b({'|'.join(private)})\b")
    for package in (api, deploy, shared, worker):
        for path in Path(package.__path__[0]).rglob("*.py"):
            module = ".".join((package.__name__, *path.relative_to(package.__path__[0]).parts))
            for name in naming.findall(path.read_text("utf-8")):
                assert module == f"{private[name]}.py", (module, name)


def test_a_class_has_one_parent_and_a_docstring(
    classes: list[type[BaseException]],
) -> None:
    for each in classes:
        if issubclass(each, AttachmentsError):
            assert len(each.__bases__) == 1
            assert each.__doc__
