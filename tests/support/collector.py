"""A trace collector: an HTTP server that accepts OTLP in protobuf, as OpenTelemetry's Collector
does.
"""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.service import until

OK = 200


@dataclass(frozen=True, kw_only=True)
class SeenSpan:
    """A span that a process exported; ids are hexadecimal, times are in nanoseconds."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: list[str]
    attributes: dict[str, Any]
    failed: bool
    message: str
    events: int
    started_at: int
    ended_at: int


@dataclass(kw_only=True)
class Collector:
    """A trace collector on loopback. It answers every export with `status`.

    `headers` are the header fields of the last request. `raw` is the bytes of all requests after
    decompression.
    """

    url: str = ""
    status: int = OK
    spans: list[SeenSpan] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    requests: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Store the spans of one export request."""
        self.requests += 1
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        if self.status != OK:
            return web.Response(status=self.status)
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        if body[:2] == b"\x1f\x8b":  # the HTTP server may not have decompressed the body
            body = gzip.decompress(body)
        self.raw += body
        self.spans += _read(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    def of(self, trace_id: str) -> list[SeenSpan]:
        """Return the spans of a trace in the order in which they began."""
        found = (each for each in self.spans if each.trace_id == trace_id)
        return sorted(found, key=lambda each: each.started_at)

    async def wait_for(
        self, wanted: Callable[[SeenSpan], bool], *, within_s: float = 20
    ) -> SeenSpan:
        """Wait until a span arrives for which `wanted` returns true, and return this span."""

        async def found() -> SeenSpan | None:
            return next((each for each in self.spans if wanted(each)), None)

        span: SeenSpan = await until(found, within_s=within_s)
        return span


def _read(request: ExportTraceServiceRequest) -> list[SeenSpan]:
    return [
        _seen(_attributes(list(group.resource.attributes))["service.name"], span)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _seen(service: str, span: trace_pb2.Span) -> SeenSpan:
    return SeenSpan(
        service=service,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=[link.span_id.hex() for link in span.links],
        attributes=_attributes(list(span.attributes)),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        message=span.status.message,
        events=len(span.events),
        started_at=span.start_time_unix_nano,
        ended_at=span.end_time_unix_nano,
    )


def _attributes(found: list[KeyValue]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in found}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


@asynccontextmanager
async def running_collector(*, port: int = 0) -> AsyncIterator[Collector]:
    """Run a collector on a free port, or on `port`."""
    collector = Collector()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/traces", collector.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()
