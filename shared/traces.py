"""The interface to traces. Spans are recorded only while `shared.trace_start.exported` is open.

A trace is a tree of spans: create request, wake-up, attempt, statements, webhook. To continue a
trace in another process, its context is stored in a message or in a row, as a `traceparent` (W3C
Trace Context). This module does not import OpenTelemetry; `shared.otel` does, and sets `recorder`.
Code that runs for every request or statement first checks whether `recorder` is None. So traces
cost nothing while they are off.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal, Protocol, Self

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Value = str | int | float | bool
Attributes = Mapping[str, Value | None]
"""The names are those of OpenTelemetry's semantic conventions, or begin with `attachments.`. An
attribute with the value None is not recorded.

No value may hold a secret, a file name, a query string, or a text that a client chooses freely.
"""

NOTHING: Final[AbstractContextManager[Any]] = nullcontext()
"""A context manager that records no span."""

NO_ATTRIBUTES: Final[Attributes] = {}


class Span(Protocol):
    """One span. In a `with` block it is the current span, and it ends with the block.

    If an exception leaves the block, the exception's class is recorded, but not its message.
    Without a `with` block, call `end`.
    """

    @property
    def traceparent(self) -> str:
        """The context of this span, to be stored in a header, a message or a row."""

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes to the span."""

    def rename(self, name: str) -> None:
        """Change the name of the span, before the span ends."""

    def fail(self, error: str) -> None:
        """Mark the span as failed. `error` is the name of a class, or a code."""

    def end(self) -> None:
        """End a span that is not used as a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


class Recorder(Protocol):
    """Makes spans. The only implementation is in `shared.otel`."""

    def serve(self, name: str, attributes: Attributes, headers: Mapping[str, str]) -> Span:
        """Begin the span of a request, in the trace of its `traceparent` header if it has one."""

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        parent: str | None = None,
        link: str | None = None,
    ) -> Span:
        """Begin a span below the one with the context `parent`, or else in a new trace.

        `link` is the context of another span that caused this one. Contexts that are not valid are
        ignored.
        """

    def inside(self, name: str) -> AbstractContextManager[Any]:
        """Begin a span below the current span. Return NOTHING if there is no current span."""

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Any]:
        """Begin the span of a call to a server, below the current span.

        Returns NOTHING if there is no current span. The new span does not become the current one.
        So if a statement stores the current context in a row, that is the request's context.
        """

    def past(self, name: str, seconds: float) -> None:
        """Record a span below the current span. It began `seconds` ago and ends now."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes to the current span."""

    @property
    def current(self) -> str | None:
        """The context of the current span, or None if there is no current span."""

    @property
    def given(self) -> str | None:
        """The context of the current span if its request had a valid `traceparent`, else None."""


recorder: Recorder | None = None
"""Makes the spans of this process; None if traces are off."""


def note(attributes: Attributes) -> None:
    """Add attributes to the current span, if there is one."""
    if recorder is not None:
        recorder.note(attributes)


def statement(function: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Begin the span of a function that executes SQL. It is named after the function.

    Call it only if traces are on.
    """
    assert recorder is not None
    called = getattr(function, "func", function)  # unwraps a `functools.partial`
    module, name = called.__module__, called.__name__
    summary = f"{module.rpartition('.')[2]}.{name}"
    return recorder.call(
        summary,
        {
            "db.system.name": "postgresql",
            "db.query.summary": summary,
            "code.function.name": f"{module}.{name}",
        },
    )


def current() -> str | None:
    """Return the context of the current span, or None if there is no span or traces are off."""
    return None if recorder is None else recorder.current


def given() -> str | None:
    """Return the context of the current span if its request had a valid `traceparent`, or None."""
    return None if recorder is None else recorder.given
