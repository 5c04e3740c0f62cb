"""Build the service's own log lines without structlog's processors.

The reason is speed: each request writes a line, and the processors take longer than many requests.
The lines look the same as those of structlog.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict

from shared.log_lines import process_name
from shared.plain import escape

_JSON: Final = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

_QUOTED: Final = re.compile(r"[ \t=\r\n\"']")
"""If a text has one of these characters, the console renderer writes the text with quotes."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+~{}-]*", re.ASCII)
"""A text that the console renderer writes unchanged, and that cannot control a terminal."""

_SPECIAL: Final = frozenset({"exc_info", "stack", "exception", "timestamp", "level", "event"})
"""The fields for which the console renderer has a special place or form."""

_SIMPLE: Final = (bool, int, float, type(None))


def json_line(fields: EventDict, event: Any, level: str, logger: str, when: datetime) -> bytes:
    """Return a line as a JSON object, with its line end. Changes `fields`."""
    if "exc_info" in fields:
        fields = structlog.processors.format_exc_info(logger, level, fields)
    fields["event"] = event
    fields["level"] = level
    fields["logger"] = logger
    fields["process"] = process_name()
    fields["timestamp"] = when
    return json_of(fields)


def json_of(fields: EventDict) -> bytes:
    """Return fields as a JSON line of ASCII only, so that no character can control a terminal."""
    try:
        line = orjson.dumps(fields, repr, _JSON)
        if line.isascii():
            return line
    except TypeError:  # a lone surrogate, an integer of more than 64 bits, a key that is no text
        pass
    return f"{json.dumps(fields, default=_text_of)}\n".encode()


def console_line(
    fields: Mapping[str, Any], event: Any, level: str, logger: str, when: datetime
) -> bytes | None:
    """Return a line without colours for people, with its line end.

    Returns None for a line with a traceback, which structlog's renderer must build.
    """
    if not _SPECIAL.isdisjoint(fields):
        return None
    texts = [_text_of(when), _head(event, level, logger)]
    for name in sorted(fields):
        value = fields[name]
        if not isinstance(value, str) or _PLAIN.fullmatch(value) is None:
            value = _shown(value)
        texts.append(f"{name}={value}")
    return f"{' '.join(texts)}\n".encode(errors="backslashreplace")


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return repr(value) if isinstance(value, _SIMPLE) else escape(repr(value))
    text = escape(value)
    if text != value:
        return f"'{text}'"
    return repr(value) if _QUOTED.search(value) else value


@lru_cache(maxsize=1024)  # The service has fewer events than 1024.
def _head(event: Any, level: str, logger: str) -> str:
    return f"[{level:9}] {escape(str(event)):30} [{logger}]"


def _text_of(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else repr(value)
