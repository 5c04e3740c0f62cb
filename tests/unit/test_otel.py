"""Spans of traces have the right parents, and contain no message of an exception."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import traces
from shared.otel import OtelRecorder

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recorded:
    """An active recorder of spans, which keeps the ended spans in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.recorder = OtelRecorder(provider.get_tracer("test"))

    def named(self, name: str) -> ReadableSpan:
        """Return the only ended span with this name."""
        (found,) = [each for each in self.ended if each.name == name]
        return found

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        """Return the spans that have ended."""
        return self._exporter.get_finished_spans()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Switch traces on, and keep their spans in memory."""
    made = Recorded()
    monkeypatch.setattr(traces, "recorder", made.recorder)
    yield made
    assert traces.current() is None


def statement_of_a_module() -> None:
    """Do nothing. A span gets the name of this function, as if the function executed SQL."""


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def test_outside_of_a_trace_calls_and_stages_record_nothing(recorded: Recorded) -> None:
    with traces.statement(statement_of_a_module), recorded.recorder.inside("read"):
        traces.note({"attachments.id": 1})
        recorded.recorder.past("queued", 2.0)
    assert recorded.ended == ()


def test_a_statement_has_the_name_of_its_function_and_is_not_the_current_span(
    recorded: Recorded,
) -> None:
    with (
        recorded.recorder.begin("attempt", "internal") as attempt,
        traces.statement(partial(statement_of_a_module)),
    ):
        assert traces.current() == attempt.traceparent
    found = recorded.named("test_otel.statement_of_a_module")
    assert parent_of(found) == attempt.traceparent.split("-")[2]
    assert found.attributes is not None
    assert found.attributes["db.system.name"] == "postgresql"


def test_a_valid_traceparent_is_continued_and_another_one_is_not(recorded: Recorded) -> None:
    with recorded.recorder.serve("GET", {}, {"traceparent": PARENT}) as span:
        assert span.trace_id == PARENT.split("-")[1]
        assert traces.given() == traces.current() == span.traceparent
        with recorded.recorder.inside("inner"):
            assert traces.given() == traces.current() != span.traceparent
    for other in ({}, {"traceparent": ""}, {"traceparent": PARENT.replace("0af7", "XXXX")}):
        with recorded.recorder.serve("GET", {}, other) as span:
            assert span.trace_id != PARENT.split("-")[1]
            assert traces.given() is None


def test_a_new_span_is_not_below_the_current_one_unless_it_is_named(recorded: Recorded) -> None:
    with recorded.recorder.begin("first", "internal") as first:
        with recorded.recorder.begin("second", "internal", link=first.traceparent) as second:
            assert second.trace_id != first.trace_id
        with recorded.recorder.begin("third", "internal", parent=PARENT) as third:
            assert third.trace_id == PARENT.split("-")[1]
        assert traces.current() == first.traceparent
    (link,) = recorded.named("second").links
    assert f"{link.context.span_id:016x}" == first.traceparent.split("-")[2]
    assert list(recorded.named("third").links) == []


def test_an_exception_is_recorded_by_its_class_alone(recorded: Recorded) -> None:
    with (
        pytest.raises(ValueError, match="secret"),
        recorded.recorder.begin("attempt", "internal"),
        recorded.recorder.call("call", {}),
    ):
        raise ValueError("secret")
    for name in ("attempt", "call"):
        span = recorded.named(name)
        assert span.attributes is not None
        assert span.attributes["error.type"] == "ValueError"
        assert not span.status.is_ok
        assert span.status.description is None
        assert list(span.events) == []


def test_what_is_not_known_is_left_out(recorded: Recorded) -> None:
    with recorded.recorder.begin("attempt", "internal", {"attachments.reason": None}):
        traces.note({"attachments.size": None, "attachments.state": "ready"})
    assert recorded.named("attempt").attributes == {"attachments.state": "ready"}


def test_a_span_of_the_past_ends_now(recorded: Recorded) -> None:
    with recorded.recorder.begin("attempt", "internal"):
        recorded.recorder.past("queued", 60.0)
    attempt, queued = recorded.named("attempt"), recorded.named("queued")
    assert queued.start_time is not None
    assert queued.end_time is not None
    assert attempt.start_time is not None
    assert queued.end_time - queued.start_time == 60 * 10**9
    assert queued.end_time >= attempt.start_time


async def test_tasks_of_two_requests_do_not_mix(recorded: Recorded) -> None:
    async def serve(name: str) -> str:
        with recorded.recorder.serve(name, {}, {}) as span:
            await asyncio.sleep(0)
            with recorded.recorder.inside(f"{name} inner"):
                await asyncio.sleep(0)
        return span.trace_id

    ids = await asyncio.gather(*(asyncio.create_task(serve(name)) for name in ("a", "b")))
    for name, trace_id in zip(("a", "b"), ids, strict=True):
        context = recorded.named(f"{name} inner").context
        assert context is not None
        assert f"{context.trace_id:032x}" == trace_id
