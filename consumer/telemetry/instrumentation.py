"""What OpenTelemetry has to know where an operator runs the service under its instrumentation.

The service does not depend on it. Where it is loaded (``opentelemetry-instrument``), its packages
for aiokafka and aiohttp note every request and every result. Unless they are told which record
these belong to, each of them begins a trace of its own, and nobody's trace leads from an event to
its result.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress

from consumer.model.names import TraceId
from consumer.model.record import Headers
from consumer.telemetry.trace import traceparent, traceparent_of

_LOADED = "opentelemetry.context"
_W3C = "opentelemetry.trace.propagation.tracecontext"


def join_trace(headers: Headers, trace_id: TraceId) -> None:
    """Have all that is noted from here on, in this task and those it starts, join a record's trace.

    Nothing happens where OpenTelemetry is not loaded.

    Args:
        headers: of the record; its ``traceparent`` is the parent if it is of this trace.
        trace_id: of the event.
    """
    context = sys.modules.get(_LOADED)
    if context is None:
        return
    # Where no span of the publisher is known, half of the trace id stands for one.
    parent = traceparent_of(headers, trace_id) or traceparent(trace_id, _span_of(trace_id))
    # Whatever version of it is there: telling a trace must not cost an event.
    with suppress(Exception):
        propagator = importlib.import_module(_W3C).TraceContextTextMapPropagator()
        context.attach(propagator.extract({"traceparent": parent}))


def _span_of(trace_id: TraceId) -> str:
    """Half of a trace id that is not only zeros."""
    return trace_id[16:] if trace_id[16:].strip("0") else trace_id[:16]
