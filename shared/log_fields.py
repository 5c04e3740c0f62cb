"""Fields that every log line of a request or of an attempt has: `request_id`, `attachment`, …

A task inherits the fields of the task that creates it. A task that belongs to no request and to no
attempt must be created with a context of its own: `create_task(…, context=Context())`.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final

from structlog.typing import EventDict

_NONE: Final[Mapping[str, Any]] = {}

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log fields", default=_NONE)
"""One variable for all fields: structlog's own `contextvars` has one variable for each field, and
copies the whole context for each line, which costs a request about 20 µs. A single variable costs 2
µs."""


class Fields:
    """Adds fields to all log lines inside a `with` block, also to those of tasks created there."""

    __slots__ = ("_more", "_token")

    def __init__(self, **more: Any) -> None:
        self._more = more
        self._token: Token[Mapping[str, Any]] | None = None

    def __enter__(self) -> None:
        self._token = _fields.set({**_fields.get(), **self._more})

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        assert self._token is not None
        _fields.reset(self._token)


def add_fields(**more: Any) -> None:
    """Add fields until the end of the surrounding `with Fields(…)`, or of the task."""
    _fields.set({**_fields.get(), **more})


def field(name: str) -> Any:
    """Return the value of a field in the current task, or None."""
    return _fields.get().get(name)


def merge_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add the fields of the current task to a log line; the line's own fields win."""
    fields = _fields.get()
    if fields:
        for name, value in fields.items():
            if name not in event:
                event[name] = value
    return event
