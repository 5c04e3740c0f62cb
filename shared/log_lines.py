"""Log lines as JSON objects, built without a logger. They are for faults that occur before the
logger is configured, and for texts that libraries write.

This module imports little, because every command imports it.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

Level = Literal["debug", "info", "warning", "error", "critical"]

_process = "attachments"


def name_process(name: str) -> None:
    """Set the field `process` of all later lines of this process, such as `api` or `worker`."""
    global _process
    _process = name


def process_name() -> str:
    """Return the value of the field `process` in this process's lines."""
    return _process


def wants_json() -> bool:
    """Return whether the environment chooses the log format `json`.

    This is for faults that occur before the settings are read. The variable's name may be written
    in lower case.
    """
    for name, value in os.environ.items():
        if name.upper() == "ATTACHMENTS_LOG_FORMAT":
            return value == "json"
    return False


def line(event: str, *, level: Level, logger: str, **fields: Any) -> str:
    """Return a log line as a JSON object in ASCII, without its line end."""
    return _dump(
        {
            "event": event,
            "process": _process,
            **fields,
            "level": level,
            "logger": logger,
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
    )


def fault_line(fault: str) -> str:
    """Return the line for a fault that ends a process: as JSON if `wants_json`, else as text.

    In JSON, the first line of `fault` is the event, and the other lines are a list.
    """
    if not wants_json():
        return fault
    first, *rest = fault.splitlines() or [""]
    more = {"faults": [each.strip() for each in rest]} if rest else {}
    return line(first, level="error", logger="attachments", **more)


def as_object(text: str, *, logger: str, **fields: Any) -> str:
    """Return `text` if it is a JSON object, else a JSON line with `text` as its `event`."""
    if text.startswith("{"):
        try:
            if isinstance(json.loads(text), dict):
                return text
        except (ValueError, RecursionError):
            pass
    return line(text, level="info", logger=logger, **fields)


def _dump(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, default=repr)
