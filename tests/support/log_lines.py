"""Functions that read the log lines of the service's processes as JSON objects."""

import json
from typing import Any

Line = dict[str, Any]


def objects(text: str) -> list[Line]:
    """Parse every line of a log as a JSON object; fail if a line is not a JSON object."""
    lines = text.splitlines()
    assert lines, "nothing was logged"
    found = []
    for line in lines:
        try:
            read = json.loads(line)
        except ValueError:
            raise AssertionError(f"this line is not JSON: {line[:500]}") from None
        assert isinstance(read, dict), line
        assert read["event"] or read["process"], line
        assert read["level"] in ("debug", "info", "warning", "error", "critical"), line
        assert read["timestamp"].endswith("Z"), line
        found.append(read)
    return found


def named(text: str, event: str) -> list[Line]:
    """Return the log lines whose `event` is this name."""
    return [line for line in objects(text) if line["event"] == event]
