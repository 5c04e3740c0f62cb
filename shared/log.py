"""Format log records as one line each: for people at a terminal, or as JSON for programs."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from shared.log_fields import fields_now, merge_fields
from shared.log_lines import as_object, name_process, process_name
from shared.log_streams import take_over_streams
from shared.log_writer import LineHandler, writer_of
from shared.plain import escape, escape_lines
from shared.quick_lines import console_line, json_line, json_of

_WORDS = ("event", "level", "logger", "logger_name", "timestamp")
"""The fields whose values the console renderer writes without quotes."""


def configure_logging(level: str, form: str, *, serving: bool = False, process: str = "") -> None:
    """Write the log of the service and of all libraries to standard error, in one format.

    `form` is `console` or `json`. Characters that could control a terminal or forge a line are
    escaped. A `serving` process never waits for the reader of its standard error or output: see
    `shared.log_writer`. If `form` is `json`, texts that other code writes to standard error or
    output become JSON objects too. `process` is the value of the field `process`.

    The service's own lines do not pass through `logging`, which would take three times as long.
    """
    if process:
        name_process(process)
    if serving:
        take_over_streams(partial(as_object, logger="output") if form == "json" else str)
    shared, last = _processors(form)
    emit, hurry = _write_to_stderr, _do_nothing
    if serving:
        emit, hurry = writer_of(2).write_line, writer_of(2).hurry
    structlog.configure(
        processors=[_json_line] if form == "json" else [*shared, *last],
        wrapper_class=_logger_class(level, form, serving=serving),
        logger_factory=partial(_Logger, emit, hurry),
        cache_logger_on_first_use=True,
    )
    handler = LineHandler(writer_of(2)) if serving else logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler.setFormatter(formatter)
    if serving:
        writer_of(2).note_with(partial(_dropped_line, formatter))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for noisy in ("botocore", "aiobotocore", "asyncio", "kombu", "celery", "PIL"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
    # These loggers log a warning with a traceback, which contains the output of the program that
    # prints credentials. `shared.credentials` logs such a failure without that output.
    for noisy in ("botocore.credentials", "aiobotocore.credentials"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if serving:
        _log_uncaught()


def _processors(form: str) -> tuple[list[Processor], list[Processor]]:
    """Return the processors that collect a record's fields, and those that build the line."""
    collect: list[Processor] = [
        merge_fields,
        structlog.stdlib.add_log_level,
        _add_logger,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        return collect, [structlog.processors.format_exc_info, _add_process, _render_json]
    renderer = structlog.dev.ConsoleRenderer(
        colors=_coloured(), exception_formatter=_write_traceback
    )
    return collect, [_escape_values, renderer]


class _Logger:
    """Writes finished lines. structlog calls this the wrapped logger."""

    def __init__(
        self, emit: Callable[[bytes], None], hurry: Callable[[], None], name: str = "root"
    ) -> None:
        self.name, self.emit, self._hurry = name, emit, hurry
        self.debug = self.info = self._write
        self.warning = self.error = self.critical = self._write_now

    def _write(self, line: str | bytes) -> None:
        if isinstance(line, str):
            line = f"{line}\n".encode(errors="backslashreplace")
        self.emit(line)

    def _write_now(self, line: str | bytes) -> None:
        """Write a line at once, because the process may end soon after a warning or an error."""
        self._write(line)
        self._hurry()


def _logger_class(level: str, form: str, *, serving: bool) -> type[Any]:
    """Return a class of structlog's loggers for a level. Its `info` is faster; it also has `later`.

    structlog calls four functions for each line before the first processor. This class avoids these
    calls, because each request writes a line. Lines with colours still use structlog's way.
    """
    number = logging.getLevelName(level.upper())
    usual: Any = structlog.make_filtering_bound_logger(number)

    class WithLater(usual):  # type: ignore[misc]  # its base class is made for the level
        def later(self, event: str, **fields: Any) -> None:
            """Do the same as `info`."""
            self.info(event, **fields)

    if number > logging.INFO or (form != "json" and _coloured()):
        return WithLater
    build = json_line if form == "json" else console_line

    class QuickLogger(WithLater):
        def __init__(self, logger: _Logger, *rest: Any, **more: Any) -> None:
            super().__init__(logger, *rest, **more)
            self.emit, self.logger_name = logger.emit, logger.name

        def info(self, event: str, **fields: Any) -> None:
            merged = {**fields_now(), **fields}
            line = build(merged, event, "info", self.logger_name, datetime.now(UTC))
            if line is None:
                super().info(event, **fields)
            else:
                self.emit(line)

    if not serving:
        return QuickLogger
    queue = writer_of(2).queue

    def build_later(
        outer: Mapping[str, Any], fields: EventDict, event: str, logger: str, when: float
    ) -> bytes | None:
        moment = datetime.fromtimestamp(when, UTC)
        return build({**outer, **fields}, event, "info", logger, moment)

    class ServingLogger(QuickLogger):
        def later(self, event: str, **fields: Any) -> None:
            """Do the same as `info`, but let the writer's thread build the line.

            The values must be immutable, and none may be an exception. The thread builds many
            lines one after another, which takes less time than to build each within a request.
            """
            queue(build_later, (fields_now(), fields, event, self.logger_name, time.time()))

    return ServingLogger


def _coloured() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _write_to_stderr(line: bytes) -> None:
    sys.stderr.write(line.decode())
    sys.stderr.flush()


def _do_nothing() -> None:
    pass


def _add_logger(logger: Any, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = logger.name if record is None else record.name
    return event


def _add_process(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event["process"] = process_name()
    return event


def _json_line(logger: Any, method: str, event: EventDict) -> bytes:
    """Replace the whole chain of processors for `json`: the same line in half the time."""
    name = event.pop("event", None)
    return json_line({**fields_now(), **event}, name, method, logger.name, datetime.now(UTC))


def _render_json(_logger: Any, _method: str, event: EventDict) -> str:
    return json_of(event)[:-1].decode()


def _log_uncaught() -> None:
    """Log exceptions that no code catches, in the main thread, other threads and destructors."""
    log = get_logger("uncaught")

    def in_main(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("unexpected error", exc_info=(kind, error, trace))

    def in_thread(found: threading.ExceptHookArgs) -> None:
        error = found.exc_value
        if error is not None:
            name = found.thread.name if found.thread else None
            log.error("unexpected error", thread=name, exc_info=error)

    def in_destructor(found: "sys.UnraisableHookArgs") -> None:
        log.error("unexpected error", where=found.err_msg, exc_info=found.exc_value)

    sys.excepthook = in_main
    threading.excepthook = in_thread
    sys.unraisablehook = in_destructor


def _dropped_line(formatter: logging.Formatter, count: int) -> bytes:
    record = logging.LogRecord(
        __name__, logging.WARNING, "", 0, "lines of the log were dropped: %d", (count,), None
    )
    return f"{formatter.format(record)}\n".encode(errors="backslashreplace")


class _Shown:
    """A text that the console renderer writes unchanged, because it quotes only strings."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _escape_values(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Escape the event and its values, before the renderer adds escape sequences for colours."""
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
    """Return the logger of a module. Call it as `log.info("event", field=value)`."""
    return structlog.get_logger(name)
