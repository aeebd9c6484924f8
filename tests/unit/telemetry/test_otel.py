"""Spans by OpenTelemetry: whose child they are, what they carry, and how they get away."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler

from consumer import __version__
from consumer.anythingllm.calls import Call
from consumer.model.names import TraceId
from consumer.model.record import Coordinates, Headers, Record
from consumer.telemetry import otel
from consumer.telemetry.otel import EXPORTER, OtelTracing, open_tracing, resource

TRACE = TraceId("4bf92f3577b34da6a3ce929d0e0e4736")
OTHER = TraceId("5" * 32)
BASE = "https://anything.example/llm/api"
CALL = Call("GET", "/v1/document/a-file.json")

needs_exporter = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.exporter") is None,
    reason=f"{EXPORTER} is not installed: make setup",
)


class Seen:
    """A tracing whose spans stay in memory."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = OtelTracing(provider, group="g", closes=True)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def attributes(self) -> dict[str, object]:
        """Of the only span."""
        (span,) = self.spans
        return dict(span.attributes or {})


def record(
    *, headers: Headers = (), key: bytes | None = b"k", value: bytes | None = b"v"
) -> Record:
    return Record(Coordinates("in", 3, 7), 1, key, value, headers)


def traceparent(flags: str, trace_id: str = TRACE) -> Headers:
    return (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-{flags}".encode()),)


def test_a_publisher_that_is_not_sampled_has_no_spans_and_its_trace_goes_on() -> None:
    """Whoever comes after us must decide as it did."""
    seen = Seen()
    with (
        seen.tracing.process(record(headers=traceparent("00")), TRACE),
        seen.tracing.request(CALL, BASE, TRACE, 0) as span,
    ):
        carried = span.carried

    assert seen.spans == ()
    assert carried["traceparent"].startswith(f"00-{TRACE}-")
    assert carried["traceparent"].endswith("-00")


def test_sampling_decides_where_no_publisher_did() -> None:
    """A made-up parent would count as one that was sampled, and a share of the traces as all."""
    seen = Seen(ParentBased(ALWAYS_OFF))
    with seen.tracing.process(record(), TRACE), seen.tracing.send("out", b"k", b"v") as span:
        assert span.carried["traceparent"].startswith(f"00-{TRACE}-")

    assert seen.spans == ()


def test_the_trace_state_of_others_goes_on() -> None:
    headers = (*traceparent("01"), ("tracestate", b"vendor=1"))
    seen = Seen()
    with (
        seen.tracing.process(record(headers=headers), TRACE),
        seen.tracing.request(CALL, BASE, TRACE, 0) as span,
    ):
        assert span.carried["tracestate"] == "vendor=1"


@pytest.mark.parametrize(
    "headers",
    [
        (*traceparent("01"), ("tracestate", b"\xff")),
        (*traceparent("01"), ("tracestate", b"=,=\x00;")),
        traceparent("01", OTHER),
        (("traceparent", b"\xff"),),
        (("tracestate", b"a=1"),),
    ],
)
def test_junk_in_headers_ends_no_work(headers: Headers) -> None:
    """Anybody writes them; the trace is the event's all the same."""
    seen = Seen()
    with seen.tracing.process(record(headers=headers), TRACE):
        pass

    (span,) = seen.spans
    assert span.context is not None
    assert trace.format_trace_id(span.context.trace_id) == TRACE


async def test_a_request_of_a_task_that_serves_many_finds_its_event() -> None:
    """A look for chunks of several documents is made by the task of one of them."""
    seen = Seen()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with seen.tracing.process(record(), TRACE):
            asked.set()
            await answered.wait()

    task = asyncio.create_task(work())
    await asked.wait()
    with seen.tracing.process(record(), OTHER), seen.tracing.request(CALL, BASE, TRACE, 0):
        pass
    answered.set()
    await task

    request, other, event = seen.spans
    assert request.parent is not None
    assert request.parent == event.context
    assert request.parent != other.context


def test_a_request_of_an_event_that_has_ended_is_in_its_trace() -> None:
    """What comes late is looked for after the result is out."""
    seen = Seen()
    with seen.tracing.request(CALL, BASE, TRACE, 0):
        pass

    (span,) = seen.spans
    assert span.context is not None
    assert (trace.format_trace_id(span.context.trace_id), span.parent) == (TRACE, None)


@pytest.mark.parametrize("trace_id", [None, "", "0" * 32, "x" * 32, "1" * 31])
def test_a_request_of_no_event_is_in_no_trace(trace_id: str | None) -> None:
    """Probes go on for as long as an outage lasts."""
    seen = Seen()
    with seen.tracing.request(CALL, BASE, trace_id, 0) as span:
        assert span.carried == {}

    assert seen.spans == ()


def test_a_request_is_told_by_the_conventions() -> None:
    """Names that dashboards know; the name of a span has no value in it, or each would be one."""
    seen = Seen()
    with seen.tracing.request(CALL, BASE, TRACE, 2) as span:
        span.answered(404)

    assert seen.spans[0].name == "GET /v1/document/{document}"
    assert seen.attributes() == {
        "http.request.method": "GET",
        "url.full": f"{BASE}/v1/document/a-file.json",
        "url.template": "/v1/document/{document}",
        "server.address": "anything.example",
        "server.port": 443,
        "http.request.resend_count": 2,
        "http.response.status_code": 404,
        "error.type": "404",
    }


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/workspace/docs", "/v1/workspace/{workspace}"),
        ("/v1/workspace/new", "/v1/workspace/new"),
        ("/v1/workspace/new-things/vector-search", "/v1/workspace/{workspace}/vector-search"),
        ("/v1/document/raw-text", "/v1/document/raw-text"),
        ("/v1/document/raw-text-2.json", "/v1/document/{document}"),
        ("/v1/documents/folder/x?offset=1&limit=2", "/v1/documents/folder/x"),
    ],
)
def test_a_route_has_no_values(path: str, route: str) -> None:
    assert Call("GET", path).route == route


def test_what_an_exception_says_is_not_told() -> None:
    """It may quote an answer; its class is enough."""
    seen = Seen()
    with pytest.raises(OSError, match="CANARY"), seen.tracing.request(CALL, BASE, TRACE, 0):
        raise OSError("CANARY")

    assert seen.attributes()["error.type"] == "OSError"
    assert "CANARY" not in seen.spans[0].to_json()


@pytest.mark.parametrize(
    ("key", "told"), [(b"id", "id"), (b"\xff", None), (None, None), (b"k" * 201, None)]
)
def test_a_key_is_told_where_a_person_could_read_it(key: bytes | None, told: str | None) -> None:
    seen = Seen()
    with seen.tracing.process(record(key=key, value=None), TRACE):
        pass

    found = seen.attributes()
    assert found.get("messaging.kafka.message.key") == told
    assert found["messaging.kafka.message.tombstone"] is True


def test_instrumentation_of_the_client_is_silent_during_our_request() -> None:
    """Each request would have two spans, and two `traceparent` headers to choose from."""
    seen = Seen()
    with seen.tracing.process(record(), TRACE):
        with seen.tracing.request(CALL, BASE, TRACE, 0):
            assert not is_http_instrumentation_enabled()
        assert is_http_instrumentation_enabled()


def test_a_wait_of_nobody_is_no_span() -> None:
    seen = Seen()
    with seen.tracing.wait("outage"):
        pass

    assert seen.spans == ()


async def test_where_the_sdk_is_disabled_nothing_is_carried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request then gets the `traceparent` that it has without tracing."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    seen = Seen()
    with seen.tracing.process(record(), TRACE):
        with seen.tracing.request(CALL, BASE, TRACE, 0) as span:
            assert span.carried == {}
        seen.tracing.settled("succeeded", None)
    await seen.tracing.close()

    assert seen.spans == ()


def test_the_operator_s_names_win(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = resource().attributes
    assert (ours[SERVICE_NAME], ours[SERVICE_VERSION]) == ("anythingllm-consumer", __version__)

    monkeypatch.setenv("OTEL_SERVICE_NAME", "feeder")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=7,deployment.environment=test")
    theirs = resource().attributes
    assert (theirs[SERVICE_NAME], theirs[SERVICE_VERSION]) == ("feeder", "7")
    assert theirs["deployment.environment"] == "test"


@contextmanager
def instrumented(provider: trace.TracerProvider) -> Iterator[None]:
    """As ``opentelemetry-instrument`` leaves a process behind."""
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    try:
        yield
    finally:
        trace._TRACER_PROVIDER = before


async def test_under_instrumentation_spans_go_where_its_spans_go() -> None:
    """And its provider lives on when we end: it is not ours."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with instrumented(provider):
        tracing = open_tracing("g")
    await tracing.close()
    with tracing.process(record(), TRACE):
        pass
    with provider.get_tracer("another").start_as_current_span("of others"):
        pass

    ours, others = exporter.get_finished_spans()
    assert ours.context is not None
    assert others.context is not None
    assert trace.format_trace_id(ours.context.trace_id) == TRACE
    assert trace.format_trace_id(others.context.trace_id) != TRACE


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[bytes]]:
    """What a collector was sent."""
    got: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{host}:{port}")
    yield got
    await runner.cleanup()


@needs_exporter
async def test_what_was_noted_is_handed_over_at_the_end(collector: list[bytes]) -> None:
    """By OTLP, to where the standard variables say."""
    tracing = open_tracing("the group")
    with tracing.process(record(), TRACE):
        pass
    await tracing.close()

    (sent,) = collector
    assert bytes.fromhex(TRACE) in sent
    assert b"the group" in sent


async def test_a_collector_that_does_not_answer_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The orchestrator's grace period is for documents."""
    monkeypatch.setattr(otel, "_CLOSING_SECONDS", 0.05)
    answers, is_over = threading.Event(), threading.Event()

    class Stuck(TracerProvider):
        def shutdown(self) -> None:
            answers.wait()
            is_over.set()

    tracing = OtelTracing(Stuck(shutdown_on_exit=False), group="g", closes=True)
    await tracing.close()
    assert not is_over.is_set()

    answers.set()
    assert await asyncio.to_thread(is_over.wait, 10)
