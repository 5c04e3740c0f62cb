"""The interface to traces: it records spans only while `shared.trace_start.exported` is open.

A trace is a tree of spans: create request, wake-up, attempt, statements, webhook. Between processes
its context is a `traceparent` (W3C Trace Context), in a message's header and in the row. This
module imports no OpenTelemetry; `shared.otel` does, and sets `recorder`. Code that runs for every
request or statement compares `recorder` with None itself, so that traces cost nothing when off.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal, Protocol, Self

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Value = str | int | float | bool
Attributes = Mapping[str, Value | None]
"""Names by OpenTelemetry's semantic conventions, or below `attachments.`. A value None is left out.

No value may hold a secret, a file name, a query string, or a text that a client chooses freely.
"""

NOTHING: Final[AbstractContextManager[Any]] = nullcontext()
"""A block without a span."""

NO_ATTRIBUTES: Final[Attributes] = {}


class Span(Protocol):
    """One span. In a `with` block it is the current span, and ends with the block.

    An exception that leaves the block is recorded by its class, never by its message. Outside of a
    block, call `end`.
    """

    @property
    def traceparent(self) -> str:
        """The context of this span, for a header, a message or a row."""

    @property
    def trace_id(self) -> str:
        """The id of the trace: 32 hexadecimal digits."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def rename(self, name: str) -> None:
        """Change the name, before the span ends."""

    def fail(self, error: str) -> None:
        """Mark the span as failed; `error` is a class or a code."""

    def end(self) -> None:
        """End a span that is not used as a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


class Recorder(Protocol):
    """Makes spans; `shared.otel` has the only one."""

    def serve(self, name: str, attributes: Attributes, headers: Mapping[str, str]) -> Span:
        """Begin the span of a request; it continues the trace of a valid header `traceparent`."""

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        parent: str | None = None,
        link: str | None = None,
    ) -> Span:
        """Begin a span whose parent has the context `parent`; without `parent`, begin a trace.

        `link` is the context of another span that caused this one. Contexts that are not valid are
        ignored.
        """

    def inside(self, name: str) -> AbstractContextManager[Any]:
        """Begin a span below the current one; return NOTHING outside of a trace."""

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Any]:
        """Do the same as `inside` for a call to a server; its span never becomes the current one.

        So the context that a statement writes into a row is that of the request.
        """

    def past(self, name: str, seconds: float) -> None:
        """Record a span below the current one that began `seconds` ago and ends now."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes to the current span."""

    @property
    def current(self) -> str | None:
        """The context of the current span; None outside of a trace."""

    @property
    def given(self) -> str | None:
        """The context of the current span if its request had a valid `traceparent`; else None."""


recorder: Recorder | None = None
"""None while traces are off."""


def note(attributes: Attributes) -> None:
    """Add attributes to the current span, if there is one."""
    if recorder is not None:
        recorder.note(attributes)


def statement(function: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Begin the span of a function that executes SQL; its name is the function's, without values.

    Traces must be on.
    """
    assert recorder is not None
    called = getattr(function, "func", function)  # of a `functools.partial`
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
    """Return the context of the current span; None outside of a trace, or with traces off."""
    return None if recorder is None else recorder.current


def given() -> str | None:
    """Return the context of the current span if the caller's request named a trace, else None."""
    return None if recorder is None else recorder.given
