from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from consumer.model.names import TraceId
from consumer.telemetry.instrumentation import join_trace

TRACE = TraceId("4bf92f3577b34da6a3ce929d0e0e4736")
PARENT = f"00-{TRACE}-00f067aa0ba902b7-00"


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parents that a loaded OpenTelemetry was told of."""
    told: list[str] = []
    context = SimpleNamespace(attach=told.append)
    propagator = SimpleNamespace(extract=lambda carrier: carrier["traceparent"])
    module = SimpleNamespace(TraceContextTextMapPropagator=lambda: propagator)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", context)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace.propagation.tracecontext", module)
    return told


def test_the_publisher_s_span_is_the_parent(joined: list[str]) -> None:
    """Its sampling flag too: what it does not record nobody records."""
    join_trace((("trace_id", b"x"), ("traceparent", PARENT.encode())), TRACE)

    assert joined == [PARENT]


@pytest.mark.parametrize(
    "headers",
    [(), (("traceparent", b"\xff"),), (("traceparent", PARENT.replace("4b", "4c").encode()),)],
    ids=["none", "no text", "of another trace"],
)
def test_without_a_span_of_the_publisher_the_trace_is_the_event_s(
    joined: list[str], headers: tuple[tuple[str, bytes], ...]
) -> None:
    """Its trace id came from another header, from the body, or from nobody."""
    join_trace(headers, TRACE)

    assert joined == [f"00-{TRACE}-{TRACE[16:]}-01"]


def test_a_trace_whose_second_half_is_empty_has_a_span_all_the_same(joined: list[str]) -> None:
    """A span of nothing but zeros is none, and the trace would be lost."""
    join_trace((), TraceId(TRACE[:16] + "0" * 16))

    assert joined == [f"00-{TRACE[:16]}{'0' * 16}-{TRACE[:16]}-01"]


def test_an_event_is_not_lost_to_a_version_of_opentelemetry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it raises: a trace that is not told costs nothing else."""
    monkeypatch.setitem(sys.modules, "opentelemetry.context", SimpleNamespace())
    monkeypatch.setitem(
        sys.modules, "opentelemetry.trace.propagation.tracecontext", SimpleNamespace()
    )

    join_trace((), TRACE)
