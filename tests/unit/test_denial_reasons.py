"""The reasons that the API logs for 401 and 403 answers come from a fixed set."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from api.noise import DenialReason

API = Path(__file__).parents[2] / "api"


def reasons(tree: ast.AST) -> Iterator[str]:
    """Yield each reason that a module gives: its text, or its source code if it is no literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "unauthenticated":
                given = node.args[0]
            elif node.func.id == "access_denied":
                given = next(each.value for each in node.keywords if each.arg == "reason")
            else:
                continue
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "reason":
            given = node.value or ast.Constant("")
        else:
            continue
        parts = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
        yield from (
            str(each.value) if isinstance(each, ast.Constant) else ast.unparse(each)
            for each in parts
        )


def test_every_reason_is_listed_and_only_the_text_of_sns_is_open() -> None:
    found = {
        reason
        for path in API.glob("*.py")
        for reason in reasons(ast.parse(path.read_text("utf-8")))
    }
    assert found == {*get_args(DenialReason), "reason", "SnsReason(f'SNS: {error}')"}
