"""SQL statements name only states and reasons that exist.

The type checker does not read SQL, so these tests compare the words in SQL with the types.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from shared.due import Duty
from shared.reasons import REASONS
from shared.states import END_STATES, MEASURED, SETTLED, STATES, UNDER_WAY, EndState
from shared.webhooks.kinds import Deactivation, DeliveryFault, DeliveryState

ROOT = Path(__file__).parents[2]
DELIVERY_WORDS = {
    word
    for group in (DeliveryState, DeliveryFault, Deactivation)
    for each in get_args(group)
    for word in (get_args(each) or (each,))
}
"""The states of a delivery, the faults of a delivery, and the reasons that deactivate a webhook."""

OTHER_WORDS = {"second", "state"}
"""Quoted words in the SQL statements that are neither states nor reasons."""


def statements() -> Iterator[tuple[str, str]]:
    """Yield the strings in the code that contain the column `state` and a quoted word."""
    for package in ("api", "worker", "shared", "deploy"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    text = "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = node.value
                else:
                    continue
                if re.search(r"\bstate\b(?! of)", text) and re.search(r"'[a-z_]+'", text):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


@pytest.mark.slow
def test_statements_name_only_states_and_reasons_that_exist() -> None:
    known = {*STATES, *REASONS, *Duty, *DELIVERY_WORDS, *OTHER_WORDS}
    found = list(statements())
    assert len(found) > 10
    assert [
        f"{place} {word}"
        for place, text in found
        for word in re.findall(r"'([a-z_]+)'", text)
        if word not in known
    ] == []


def test_the_table_allows_the_states_that_the_code_knows() -> None:
    first = next((ROOT / "shared/migrations/versions").glob("0001_*.py")).read_text("utf-8")
    allowed = re.search(r"CHECK \(state IN\s*\(([^)]*)\)", first)
    assert allowed is not None
    assert tuple(re.findall(r"'(\w+)'", allowed[1])) == STATES


@pytest.mark.parametrize("group", [UNDER_WAY, MEASURED, END_STATES, SETTLED])
def test_a_group_of_states_has_no_word_of_its_own(group: tuple[str, ...]) -> None:
    assert set(group) < set(STATES)


def test_processing_ends_in_a_settled_state() -> None:
    assert set(MEASURED) < set(get_args(EndState)) < set(SETTLED)
    assert not set(UNDER_WAY) & set(SETTLED)
