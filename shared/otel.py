"""Spans of OpenTelemetry, exported by OTLP over HTTP. Imported only if traces are on.

No call here waits for the collector. Ended spans wait in a queue, and a thread exports them in
batches. If the queue is full, spans are dropped.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final, Self
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation import tracecontext

from shared import traces
from shared.log import get_logger
from shared.otlp import make_exporter
from shared.trace_settings import TraceSettings
from shared.traces import NO_ATTRIBUTES, NOTHING, Attributes, Kind
from shared.version import VERSION

QUEUED_SPANS: Final = 4096
"""At most this many spans wait for their export. Each takes about a kilobyte. If there are more,
the oldest are dropped."""

BATCH_SPANS: Final = 512

EXPORT_EVERY_S: Final = 2.0
"""The longest time, in seconds, from the end of a span to its export. A full batch is exported
earlier."""

FLUSH_S: Final = 2.0
"""Seconds that a stopping process waits for the export of the last spans. Before that, the API may
need 8 s for its requests, and it must end within 10 s in all."""

_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}

_propagator: Final = tracecontext.TraceContextTextMapPropagator()

log = get_logger(__name__)


class OpenSpan:
    """A span of OpenTelemetry; its methods are described in `shared.traces.Span`."""

    __slots__ = ("_given", "_span", "_token")

    def __init__(self, span: trace.Span, *, given: bool = False) -> None:
        self._span = span
        self._given = given
        self._token: Token[OpenSpan | None] | None = None

    @property
    def traceparent(self) -> str:
        """The context of this span as a `traceparent`."""
        return _traceparent_of(self._span)

    @property
    def trace_id(self) -> str:
        """The id of this span's trace, 32 hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def inner(self) -> trace.Span:
        """The span as an object of OpenTelemetry."""
        return self._span

    @property
    def given(self) -> bool:
        """True if the caller of the API began the trace."""
        return self._given

    def set(self, attributes: Attributes) -> None:
        """Add attributes to the span. Those that are None are left out."""
        self._span.set_attributes(_known(attributes))

    def rename(self, name: str) -> None:
        """Change the name of the span."""
        self._span.update_name(name)

    def fail(self, error: str) -> None:
        """Mark the span as failed; `error` becomes its `error.type`."""
        self._span.set_attribute("error.type", error)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """End the span."""
        self._span.end()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        assert self._token is not None
        _current.reset(self._token)
        if kind is not None:
            self.fail(kind.__name__)
        self._span.end()


class Call(OpenSpan):
    """A span that ends with its `with` block, but is not the current span inside the block."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


_current: ContextVar[OpenSpan | None] = ContextVar("span", default=None)


class OtelRecorder:
    """Makes the spans of one tracer; its methods are described in `shared.traces.Recorder`."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def serve(self, name: str, attributes: Attributes, headers: Mapping[str, str]) -> OpenSpan:
        """Begin the span of a request, in the trace that the request's headers name, if any."""
        named = {each: headers[each] for each in _propagator.fields if each in headers}
        context = _propagator.extract(named, Context()) if named else Context()
        return OpenSpan(
            self._tracer.start_span(
                name, context, kind=SpanKind.SERVER, attributes=_known(attributes)
            ),
            given=trace.get_current_span(context).get_span_context().is_valid,
        )

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        parent: str | None = None,
        link: str | None = None,
    ) -> OpenSpan:
        """Begin a span in the trace of `parent`, or in a new trace."""
        linked = trace.get_current_span(_context_of(link)).get_span_context()
        span = self._tracer.start_span(
            name,
            _context_of(parent),
            kind=_KINDS[kind],
            attributes=_known(attributes),
            links=[Link(linked)] if linked.is_valid else None,
        )
        return OpenSpan(span)

    def inside(self, name: str) -> AbstractContextManager[Any]:
        """Begin a span below the current span. Return NOTHING if there is no current span."""
        if (above := _current.get()) is None:
            return NOTHING
        context = trace.set_span_in_context(above.inner, Context())
        return OpenSpan(self._tracer.start_span(name, context), given=above.given)

    def call(self, name: str, attributes: Attributes) -> AbstractContextManager[Any]:
        """Begin the span of a call below the current span. Return NOTHING if no span is current."""
        if (above := _current.get()) is None:
            return NOTHING
        context = trace.set_span_in_context(above.inner, Context())
        kind = SpanKind.CLIENT
        return Call(self._tracer.start_span(name, context, kind, _known(attributes)))

    def past(self, name: str, seconds: float) -> None:
        """Record a span that lasted `seconds` and ends now. Does nothing if no span is current."""
        if (above := _current.get()) is not None:
            context = trace.set_span_in_context(above.inner, Context())
            now = time.time_ns()
            self._tracer.start_span(name, context, start_time=now - int(seconds * 1e9)).end(now)

    def note(self, attributes: Attributes) -> None:
        """Add attributes to the current span, if there is one."""
        if (span := _current.get()) is not None:
            span.set(attributes)

    @property
    def current(self) -> str | None:
        """The context of the current span as a `traceparent`, or None."""
        span = _current.get()
        return None if span is None else span.traceparent

    @property
    def given(self) -> str | None:
        """The context of the current span if the caller of the API began its trace, else None."""
        span = _current.get()
        return span.traceparent if span is not None and span.given else None


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _context_of(traceparent: str | None) -> Context:
    """Return the context that a `traceparent` names; an empty one if the text is not valid."""
    carried = {} if traceparent is None else {"traceparent": traceparent}
    return _propagator.extract(carried, Context())


def _traceparent_of(span: trace.Span) -> str:
    """Return the context of a span as a `traceparent` (W3C Trace Context, section 3.2)."""
    context = span.get_span_context()
    return (
        f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
        f"-{int(context.trace_flags):02x}"
    )


@contextmanager
def recording(settings: TraceSettings, process: str) -> Iterator[None]:
    """Record and export the spans of this process during the block, and the last ones after it.

    The export after the block takes at most FLUSH_S, even if the collector does not answer.
    """
    # `shared.outages` logs failures. The library would log each failure with its traceback.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    resource = Resource.create(
        {
            "service.name": f"attachments-{process}",
            "service.version": VERSION,
            "service.instance.id": str(uuid4()),
            "host.name": socket.gethostname(),
        }
    )
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.traces_ratio),
        resource=resource,
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_span_attribute_length=256),
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            make_exporter(settings),
            max_queue_size=QUEUED_SPANS,
            schedule_delay_millis=EXPORT_EVERY_S * 1000,
            max_export_batch_size=BATCH_SPANS,
        )
    )
    traces.recorder = OtelRecorder(provider.get_tracer("attachments", VERSION))
    try:
        yield
    finally:
        traces.recorder = None
        ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(FLUSH_S)
        if ending.is_alive():
            log.warning("stopped before the last spans were exported")
