"""Spans by OpenTelemetry, named as its conventions have it (messaging and HTTP client, 1.44).

Imported only where TRACING_ENABLED asks for it (`consumer.wiring.tracing`): nothing else needs the
extra ``otel``. Where to, how many and under which name is set by the standard ``OTEL_`` variables,
which the SDK itself reads.

- An event's trace id is that of `consumer.telemetry.trace`. Where its publisher sent a
  ``traceparent`` of it, that is the parent; else the work on it is the root of that trace, and
  sampling decides as for any root.
- Under ``opentelemetry-instrument`` the spans go where that one's go. What would note the same
  once more is told to be silent: the one for aiohttp while a request of ours runs, the one for
  aiokafka by `OutgoingRecord.open`.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from consumer import __version__
from consumer.model.names import TraceId
from consumer.model.record import Headers, Record
from consumer.telemetry.trace import traceparent_of
from consumer.telemetry.tracing import NO_SPAN, HttpCall, TraceSpan

SCOPE = "anythingllm-consumer"
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

_STATUS = "anythingllm_consumer.status"  # of the result
_WAITS_FOR = "anythingllm_consumer.waits_for"
_ERROR = "error.type"
_KEY_SHOWN = 200  # characters; a longer key names nothing that a person would look for
_FAILED = 400  # HTTP
_CLOSING_SECONDS = 5.0
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_W3C = TraceContextTextMapPropagator()


class OtelTracing:
    """See the module's docstring, and `consumer.telemetry.tracing.Tracing`.

    Args:
        provider: where spans go.
        group: the consumer group.
        closes: whether the provider is ours alone, and ends with us.
    """

    def __init__(self, provider: trace.TracerProvider, *, group: str, closes: bool) -> None:
        self._provider = provider
        self._group = group
        self._closes = closes
        self._tracer = provider.get_tracer(SCOPE, __version__)
        self._ids: _EventIds | None = None
        if isinstance(self._tracer, SdkTracer):
            self._ids = _EventIds(self._tracer.id_generator)
            self._tracer.id_generator = self._ids
        self._open: dict[str, Context] = {}
        self._servers: dict[str, Mapping[str, AttributeValue]] = {}

    def process(self, record: Record, trace_id: TraceId) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.process`."""
        attributes = _messaging("process", record.at.topic, record.key, record.value) | {
            "messaging.destination.partition.id": str(record.at.partition),
            "messaging.kafka.offset": record.at.offset,
            "messaging.consumer.group.name": self._group,
        }
        if record.value is None and record.unreadable is None:
            attributes["messaging.kafka.message.tombstone"] = True
        span = self._started(
            f"process {record.at.topic}",
            SpanKind.CONSUMER,
            attributes,
            self._parent_of(record.headers, trace_id),
            trace_id,
        )
        return _ProcessSpan(span, self._open, trace_id)

    def settled(self, status: str, reason: str | None) -> None:
        """See `Tracing.settled`."""
        span = trace.get_current_span()
        span.set_attribute(_STATUS, status)
        if reason is not None:
            _fail(span, reason)

    def request(
        self, call: HttpCall, base_url: str, trace_id: str | None, resent: int
    ) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.request`."""
        if trace_id is None or not _is_trace_id(trace_id):
            return NO_SPAN
        route = call.route
        attributes: dict[str, AttributeValue] = {
            "http.request.method": call.method,
            "url.full": base_url + call.path,
            "url.template": route,
            **self._server_of(base_url),
        }
        if resent:
            attributes["http.request.resend_count"] = resent
        span = self._started(
            f"{call.method} {route}",
            SpanKind.CLIENT,
            attributes,
            self._context_in(trace_id),
            trace_id,
        )
        return _OtelSpan(span, contexts.set_value(_SILENT_HTTP, True))

    def send(
        self, topic: str, key: bytes | None, value: bytes | None
    ) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.send`."""
        attributes = _messaging("send", topic, key, value)
        return _OtelSpan(
            self._tracer.start_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes)
        )

    def wait(self, reason: str) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.wait`."""
        if not trace.get_current_span().get_span_context().is_valid:
            return NO_SPAN
        return _OtelSpan(
            self._tracer.start_span(f"wait for {reason}", attributes={_WAITS_FOR: reason}),
            is_wait=True,
        )

    async def close(self) -> None:
        """See `Tracing.close`."""
        provider = self._provider
        if not self._closes or not isinstance(provider, TracerProvider):
            return
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut_down() -> None:
            provider.shutdown()
            with suppress(RuntimeError):  # the loop has gone: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        # A collector that takes connections and says nothing would hold up a stop for 10 s.
        threading.Thread(target=shut_down, name="tracing-close", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await done.wait()

    def _server_of(self, base_url: str) -> Mapping[str, AttributeValue]:
        if base_url not in self._servers:
            parts = urlsplit(base_url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            self._servers[base_url] = {
                "server.address": parts.hostname or "",
                "server.port": port,
            }
        return self._servers[base_url]

    def _started(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue],
        parent: Context | None,
        trace_id: str,
    ) -> Span:
        """A span below the parent; without one, a root of this trace."""
        if parent is None:
            parent = Context()
            if self._ids is not None:
                self._ids.next = _number(trace_id)
        return self._tracer.start_span(name, parent, kind, attributes)

    def _parent_of(self, headers: Headers, trace_id: TraceId) -> Context | None:
        parent = traceparent_of(headers, trace_id)
        if parent is None:
            return None
        carrier = {"traceparent": parent}
        for name, value in headers:
            if name.lower() == "tracestate" and value and value.isascii():
                carrier.setdefault("tracestate", value.decode())
        return _W3C.extract(carrier, Context())

    def _context_in(self, trace_id: str) -> Context | None:
        """Where a request of this trace belongs: some are sent by tasks that serve many events."""
        here = trace.get_current_span().get_span_context()
        if here.is_valid and here.trace_id == _number(trace_id):
            return contexts.get_current()
        return self._open.get(trace_id)


class _OtelSpan:
    """A span while it lasts, and the present one meanwhile."""

    def __init__(
        self, span: Span, context: Context | None = None, *, is_wait: bool = False
    ) -> None:
        self._span = span
        self._context = trace.set_span_in_context(span, context)
        self._is_wait = is_wait
        self._has_failed = False

    def __enter__(self) -> _OtelSpan:
        self._token = contexts.attach(self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        contexts.detach(self._token)
        # By its class alone: what an exception says may be of others. A wait ends in any way.
        if kind is not None and not (self._is_wait or self._has_failed):
            _fail(self._span, kind.__qualname__)
        self._span.end()

    @property
    def carried(self) -> Mapping[str, str]:
        """See `TraceSpan.carried`."""
        found: dict[str, str] = {}
        _W3C.inject(found, self._context)
        return found

    def answered(self, status: int) -> None:
        """See `TraceSpan.answered`."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= _FAILED:
            self._has_failed = True
            _fail(self._span, str(status))


class _ProcessSpan(_OtelSpan):
    """The work on one event; requests for it find it by its trace."""

    def __init__(self, span: Span, known: dict[str, Context], trace_id: TraceId) -> None:
        super().__init__(span)
        self._known = known
        self._trace_id = trace_id

    def __enter__(self) -> _ProcessSpan:
        self._known[self._trace_id] = self._context
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # Several events may have one trace: the entry is that of the last one.
        if self._known.get(self._trace_id) is self._context:
            del self._known[self._trace_id]
        super().__exit__(kind, *rest)


class _EventIds(IdGenerator):
    """Span ids as the SDK makes them, and for the next root the trace id of an event."""

    def __init__(self, others: IdGenerator) -> None:
        self._others = others
        self.next: int | None = None

    def generate_span_id(self) -> int:
        return self._others.generate_span_id()

    def generate_trace_id(self) -> int:
        given, self.next = self.next, None
        return given or self._others.generate_trace_id()


def is_instrumented() -> bool:
    """Whether ``opentelemetry-instrument``, or who else made us, says where spans go."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def open_tracing(group: str) -> OtelTracing:
    """Spans to where ``opentelemetry-instrument`` sends them, else by OTLP over HTTP.

    Raises:
        ImportError: the extra ``otel`` is not installed.
    """
    if is_instrumented():
        return OtelTracing(trace.get_tracer_provider(), group=group, closes=False)
    exporter = importlib.import_module(EXPORTER).OTLPSpanExporter()
    # Not at the interpreter's exit: that would wait for a collector that is away.
    provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracing(provider, group=group, closes=True)


def resource() -> Resource:
    """What all spans are of; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` win."""
    given = Resource.create()
    named = str(given.attributes.get(SERVICE_NAME, ""))
    ours = {} if SERVICE_VERSION in given.attributes else {SERVICE_VERSION: __version__}
    if not named or named.startswith("unknown_service"):
        ours[SERVICE_NAME] = SCOPE
    return given.merge(Resource(ours))


def _messaging(
    operation: str, topic: str, key: bytes | None, value: bytes | None
) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }
    if value is not None:
        found["messaging.message.body.size"] = len(value)
    if key is not None and len(key) <= _KEY_SHOWN:
        with suppress(UnicodeDecodeError):
            found["messaging.kafka.message.key"] = key.decode()
    return found


def _fail(span: Span, why: str) -> None:
    span.set_attribute(_ERROR, why)
    span.set_status(StatusCode.ERROR)


def _is_trace_id(text: str) -> bool:
    return _TRACE_ID.fullmatch(text) is not None


def _number(trace_id: str) -> int:
    """A trace id as the SDK has it."""
    return int(trace_id, 16)


_SILENT_HTTP: str = getattr(
    contexts, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation"
)
"""Under this key instrumentation of HTTP clients looks whether it is to be silent."""

__all__ = ["EXPORTER", "OtelTracing", "is_instrumented", "open_tracing", "resource"]
