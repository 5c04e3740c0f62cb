"""Bad events: counts of an answer, and each dialect as a case of a row."""

import pytest

from tests.support.dialects import DIALECTS, Dialect

IGNORED = {"recorded": 0, "no_effect": 0, "ignored": 1, "unreadable": 0}


def every(
    row: int, dialects: tuple[Dialect, ...] = DIALECTS, name: str = "dialect"
) -> pytest.MarkDecorator:
    """Try each dialect for a row of the matrix."""
    return pytest.mark.parametrize(
        name, dialects, ids=[f"row{row}-{dialect.name}" for dialect in dialects]
    )
