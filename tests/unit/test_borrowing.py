"""Test modules import shared code only from tests.support and tests.data, never from test
modules.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def borrowed(code: str) -> Iterator[str]:
    """Yield what a file imports from a test module or from conftest.py."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            inside = f"{'tests.' * bool(node.level)}{node.module or ''}"
            names = [f"{inside}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [part for name in names if name.startswith("tests.") for part in name.split(".")]
        if any(part.startswith("test_") or part == "conftest" for part in parts):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "line",
    [
        "from tests.unit.test_plain import raw",
        "from tests.unit import rows, test_plain",
        "import tests.unit.test_plain as plain",
        "def test():\n    from tests.conftest import stack",
        "from .test_plain import raw",
        "from . import conftest",
    ],
)
def test_an_import_from_a_test_module_is_found(line: str) -> None:
    assert len(list(borrowed(line))) == 1


@pytest.mark.slow
def test_nothing_is_imported_from_a_test_module() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 200
    found = {str(path.relative_to(ROOT)): list(borrowed(path.read_text("utf-8"))) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}
