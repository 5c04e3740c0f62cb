"""Fields of every log line that belongs to a request or an attempt: `request_id`, `attachment`, …

A task inherits the fields of the task that creates it. A task that belongs to no request and to no
attempt must get an empty context: `create_task(…, context=Context())`.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final

from structlog.typing import EventDict

_NONE: Final[Mapping[str, Any]] = {}

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log fields", default=_NONE)
"""One context variable for all fields. structlog's own `contextvars` uses one variable for each
field, and copies the whole context for each line: that takes 20 µs per request, this way takes 2
µs."""


class Fields:
    """Adds fields to all log lines inside a `with` block, also in tasks that are created there."""

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


class RequestFields(dict[str, Any]):
    """The fields of one request. `add_fields` changes them in place."""


begin_fields = _fields.set
"""Replace all fields of the current task by a RequestFields. Returns a token for `end_fields`.

Each request calls this function, because `with Fields(…)` would make four more Python calls.
"""

end_fields = _fields.reset
"""Restore the fields that `begin_fields` replaced."""

fields_now = _fields.get
"""Return all fields of the current task. The caller must not change them."""


def add_fields(**more: Any) -> None:
    """Add fields to later lines, until the surrounding `with Fields(…)` or the task ends.

    The fields of a request are shared by all of its tasks.
    """
    fields = _fields.get()
    if isinstance(fields, RequestFields):
        fields.update(more)
    else:
        _fields.set({**fields, **more})


def field(name: str) -> Any:
    """Return the value of a field of the current task, or None."""
    return _fields.get().get(name)


def merge_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add the current task's fields to a log line, without replacing the line's own fields."""
    fields = _fields.get()
    if fields:
        for name, value in fields.items():
            if name not in event:
                event[name] = value
    return event
