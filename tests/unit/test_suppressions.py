"""Each comment that disables a rule of ruff or mypy has its reason on the same line."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = r"[A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*"
KINDS = r"[a-z-]+(?:, ?[a-z-]+)*"
SWITCH = re.compile(r"#\s*(noqa|type:\s*ignore|ruff:|mypy:|pragma|fmt:)")
EXPLAINED = re.compile(
    rf"#\s*noqa: {RULES} - \S.*|#\s*type: ignore\[{KINDS}\]  # \S.*"
    rf"|#\s*type: ignore\[{KINDS}\]  # noqa: {RULES} - \S.*"
)


def suppressions() -> Iterator[tuple[str, str]]:
    """Yield the comments that disable a rule."""
    for package in ("api", "worker", "shared", "deploy", "tests"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text("utf-8")
            if not SWITCH.search(text):  # a search is far quicker than the tokens of the file
                continue
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.COMMENT and SWITCH.match(token.string):
                    yield f"{path.relative_to(ROOT)}:{token.start[0]}", token.string


@pytest.mark.slow
def test_each_rule_that_is_switched_off_has_its_reason() -> None:
    found = list(suppressions())
    assert len(found) > 20
    assert [f"{place} {text}" for place, text in found if not EXPLAINED.fullmatch(text)] == []
