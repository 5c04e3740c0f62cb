"""The answer to an ignored event, and a decorator that runs a test for every dialect."""

import pytest

from tests.support.dialects import DIALECTS, Dialect

IGNORED = {"recorded": 0, "no_effect": 0, "ignored": 1, "unreadable": 0}


def every(
    row: int, dialects: tuple[Dialect, ...] = DIALECTS, name: str = "dialect"
) -> pytest.MarkDecorator:
    """Return a decorator that runs a test once for every dialect.

    `row` is the number of a row of the table in limits.md. It is part of each case's id.
    """
    return pytest.mark.parametrize(
        name, dialects, ids=[f"row{row}-{dialect.name}" for dialect in dialects]
    )
