"""Log lines that are built without structlog's chain equal the lines that the chain builds."""

import io
import json
from contextlib import redirect_stderr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import configure_logging, get_logger
from shared.log_fields import Fields

TEXTS = st.text() | st.sampled_from(["", "a b", "a=b", "/api/{id}", "\x1b[0m", "ü", "\ud800", "'"])
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.integers(), max_size=2)
)
NAMES = st.sampled_from(["route", "status", "n", "stack", "timestamp", "request_id", "attachment"])
FIELDS = st.dictionaries(NAMES, VALUES, max_size=4)


pytestmark = pytest.mark.usefixtures("unchanged_logging")


@given(event=TEXTS, fields=FIELDS, outer=FIELDS)
def test_a_line_for_people_is_the_line_that_structlog_writes(
    event: str, fields: dict[str, Any], outer: dict[str, Any]
) -> None:
    quick, usual = both_lines("console", event, fields, outer)
    assert quick.partition(" ")[2] == usual.partition(" ")[2]


@given(event=TEXTS, fields=FIELDS, outer=FIELDS)
def test_a_json_line_has_the_fields_of_the_call_and_of_the_task(
    event: str, fields: dict[str, Any], outer: dict[str, Any]
) -> None:
    quick, _ = both_lines("json", event, fields, outer)
    assert quick.isascii()
    assert quick.endswith("\n")
    assert quick.count("\n") == 1
    found = json.loads(quick)
    wanted = json.loads(json.dumps({**outer, **fields, "event": event}))
    del found["timestamp"], found["process"]
    wanted.pop("timestamp", None)
    assert found == {**wanted, "level": "info", "logger": "a.b"}


def both_lines(
    form: str, event: str, fields: dict[str, Any], outer: dict[str, Any]
) -> tuple[str, str]:
    """Log an event twice: without structlog's chain, and through the chain. Return both lines."""
    written = []
    for quick in (True, False):
        with redirect_stderr(io.StringIO()) as stream:
            configure_logging("info", form)
            log = get_logger("a.b").bind()
            with Fields(**outer):
                if quick:
                    log.info(event, **fields)
                else:
                    super(type(log), log).info(event, **fields)
        written.append(stream.getvalue())
    return written[0], written[1]
