"""One trace shows an event's whole way: its publisher, the work on it, each attempt, the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from consumer.telemetry.otel import OtelTracing
from tests.virtual.loop import virtually
from tests.virtual.world import TOPIC, World, event, world

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PUBLISHER = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{PUBLISHER}-01"
CANARY = "CANARY text of a chunk"


class Traced:
    """A provider whose spans stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = OtelTracing(provider, group="the group", closes=True)

    def world(self) -> AbstractAsyncContextManager[World]:
        return world(tracing=self.tracing)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, start: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith(start)]


@pytest.fixture
def traced() -> Traced:
    return Traced()


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format_trace_id(span.context.trace_id)


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format_span_id(span.context.span_id)


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format_span_id(span.parent.span_id)


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def headers_of(w: World, number: int) -> list[tuple[str, str]]:
    """Of a record that was published: what names traces."""
    found = [(name, value.decode()) for name, value in w.sent[number].headers]
    return [(name, value) for name, value in found if "trace" in name]


@virtually
async def test_one_trace_leads_from_the_publisher_to_the_result(traced: Traced) -> None:
    """An upload fails once: each attempt is a span, below the one of the work on the event."""
    async with traced.world() as w:
        w.sim.faults.add("status", status=500, path="*/raw-text", contains="two", times=1)
        w.publish(event("a", ["one", "two"]), traceparent=PARENT)
        await w.settled()

    (process,) = traced.named("process ")
    assert (process.name, process.kind) == (f"process {TOPIC}", SpanKind.CONSUMER)
    assert parent_of(process) == PUBLISHER
    assert attributes_of(process) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": TOPIC,
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
        "messaging.kafka.message.key": "a",
        "messaging.message.body.size": len(w.records[0].value or b""),
        "messaging.consumer.group.name": "the group",
        "anythingllm_consumer.status": "succeeded",
    }
    uploads = [attributes_of(span) for span in traced.named("POST /v1/document/raw-text")]
    told = ("http.response.status_code", "error.type", "http.request.resend_count")
    assert Counter(tuple(each.get(name) for name in told) for each in uploads) == {
        (200, None, None): 2,  # "one", and the test document of a fresh workspace
        (500, "500", None): 1,
        (200, None, 1): 1,
    }
    requests = [span for span in traced.spans if span.kind is SpanKind.CLIENT]
    assert {parent_of(span) for span in requests} == {id_of(process)}
    (send,) = traced.named("send ")
    assert (send.kind, parent_of(send)) == (SpanKind.PRODUCER, id_of(process))
    assert attributes_of(send)["messaging.operation.type"] == "send"
    assert headers_of(w, 0) == [
        ("trace_id", TRACE),
        ("traceparent", f"00-{TRACE}-{id_of(send)}-01"),
    ]
    assert not w.sent[0].open
    assert {trace_of(span) for span in traced.spans} == {TRACE}
    assert w.results[0]["trace_id"] == TRACE


@virtually
async def test_without_a_publisher_s_span_the_work_is_the_root_of_the_event_s_trace(
    traced: Traced,
) -> None:
    """No parent that nobody ever sees; sampling decides as for any root."""
    async with traced.world() as w:
        w.publish({**event("a", ["one"]), "trace_id": TRACE})
        await w.settled()

    (process,) = traced.named("process ")
    assert (trace_of(process), process.parent) == (TRACE, None)
    assert {trace_of(span) for span in traced.spans} == {TRACE}
    assert w.results[0]["trace_id"] == TRACE


@virtually
async def test_a_dead_letter_keeps_the_publisher_s_headers_and_names_its_own_span(
    traced: Traced,
) -> None:
    """Two headers of one name would give the replayed event another trace than the original."""
    async with traced.world() as w:
        w.sim.faults.add("status", status=422, path="*/raw-text", contains="refused")
        w.publish(event("a", ["refused"]), traceparent=PARENT)
        await w.settled()

    letter, result = traced.named("send ")
    assert headers_of(w, 0) == [
        ("traceparent", PARENT),
        ("dlq.trace-id", TRACE),
        ("dlq.traceparent", f"00-{TRACE}-{id_of(letter)}-01"),
    ]
    assert headers_of(w, 1)[1] == ("traceparent", f"00-{TRACE}-{id_of(result)}-01")
    (process,) = traced.named("process ")
    found = attributes_of(process)
    assert (found["anythingllm_consumer.status"], found["error.type"]) == ("failed", "rejected")
    assert not process.status.is_ok


@virtually
async def test_waits_are_spans_of_the_event_that_waits(traced: Traced) -> None:
    """What took an hour of an event's time is seen at a glance."""
    async with traced.world() as w:
        w.publish(event("warm", ["up"]))
        await w.settled()
        w.sim.faults.add("status", status=503, path="*")
        w.publish(event("a", ["one"]), traceparent=PARENT)
        await w.idle(600)
        w.sim.faults.clear()
        await w.settled()

    waits = traced.named("wait for ")
    assert {trace_of(span) for span in waits} == {TRACE}
    assert "outage" in {attributes_of(span)["anythingllm_consumer.waits_for"] for span in waits}
    assert all(span.status.is_ok or not span.status.description for span in waits)


@virtually
async def test_no_span_has_text_or_the_key(traced: Traced) -> None:
    """Traces go to places that documents and secrets must not reach; failures among them."""
    async with traced.world() as w:
        w.sim.faults.add("status", status=500, body=CANARY, path="*/raw-text", every=3)
        w.sim.faults.add("status", status=422, path="*/raw-text", contains="refused")
        for n in range(6):
            w.publish(event(f"d{n}", [f"{CANARY} {n}", f"{CANARY} refused {n}"]))
        w.publish(None, key="d0")
        await w.settled()

    told = "".join(span.to_json() for span in traced.spans)
    assert traced.named("process ")
    assert traced.named("POST ")
    assert CANARY not in told
    assert w.sim.api_key not in told


@virtually
async def test_tracing_changes_nothing_else(traced: Traced) -> None:
    """The same events have the same results, and are stored the same."""

    async def run(is_traced: bool) -> tuple[object, object]:
        async with traced.world() if is_traced else world() as w:
            w.sim.faults.add("status", status=500, path="*/raw-text", every=4)
            for n in range(10):
                w.publish(event(f"d{n}", [f"text {n}", f"text {n + 1}"]))
            w.publish(None, key="d3")
            await w.settled()
            return w.statuses(), w.stored()

    assert await run(True) == await run(False)
