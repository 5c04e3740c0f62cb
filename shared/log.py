"""Format log records, one line each: for people on a terminal, or as JSON for machines."""

import logging
import sys
from functools import partial
from io import StringIO
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from shared.log_writer import LineHandler, take_over_streams, writer_of
from shared.plain import escape, escape_lines

_WORDS = ("event", "level", "logger", "logger_name", "timestamp")
"""The fields that the console renderer writes unchanged."""


def configure_logging(level: str, form: str, *, serving: bool = False) -> None:
    """Send the log of the service and of all libraries through one formatter to standard error.

    `form` is `console` or `json`. Characters that could control a terminal or forge a line are
    escaped. A `serving` process never waits for the reader of its standard error or output: see
    `shared.log_writer`.
    """
    coloured = sys.stderr is not None and sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
        shared.append(structlog.processors.format_exc_info)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=coloured, exception_formatter=_write_traceback
        )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _serving_handler() if serving else logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([] if form == "json" else [_escape_values]),  # JSON is written in ASCII only
            renderer,
        ],
    )
    handler.setFormatter(formatter)
    if isinstance(handler, LineHandler):
        writer_of(2).note_with(partial(_dropped_line, formatter))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("botocore", "aiobotocore", "asyncio", "kombu", "celery", "PIL"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
    # These loggers log a warning with a traceback, which contains the output of a credential
    # process. `shared.credentials` logs the failure itself.
    for noisy in ("botocore.credentials", "aiobotocore.credentials"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _serving_handler() -> logging.Handler:
    take_over_streams()
    return LineHandler(writer_of(2))


def _dropped_line(formatter: logging.Formatter, count: int) -> bytes:
    record = logging.LogRecord(
        __name__, logging.WARNING, "", 0, "lines of the log were dropped: %d", (count,), None
    )
    return f"{formatter.format(record)}\n".encode(errors="backslashreplace")


class _Shown:
    """A value that the console renderer writes unchanged: it quotes only strings."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _escape_values(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Escape the event and its values before the renderer adds its own colours."""
    for name, value in event.items():
        if name in ("exc_info", "_record"):
            continue
        if name in ("stack", "exception"):
            event[name] = escape_lines(str(value))
        elif name in _WORDS:
            event[name] = escape(str(value))
        elif isinstance(value, str):
            if (text := escape(value)) != value:
                event[name] = _Shown(f"'{text}'")
        elif not isinstance(value, (bool, int, float)) and value is not None:
            event[name] = _Shown(escape(repr(value)))
    return event


def _write_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    written = StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    stream.write(escape_lines(written.getvalue()))


def get_logger(name: str) -> Any:
    """Return the logger of a module; call as `log.info("event", field=value)`."""
    return structlog.get_logger(name)
