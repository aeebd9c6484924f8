"""What the rooms tell of the work they do, so that one trace shows an event's whole way.

`NO_TRACING` is what they have unless an operator asks for more (TRACING_ENABLED): it costs a few
function calls a request and knows no library. `consumer.telemetry.otel` makes real spans of the
same calls; nothing imports it but `consumer.wiring.tracing`, and that only where it is asked for.

What is always true: no span has document text, a secret or the body of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Final, Protocol

from consumer.model.names import TraceId
from consumer.model.record import Record
from consumer.telemetry.instrumentation import join_trace


class HttpCall(Protocol):
    """A request, as a trace shows it."""

    @property
    def method(self) -> str:
        """HTTP method."""
        ...

    @property
    def path(self) -> str:
        """What is appended to the server's address."""
        ...

    @property
    def route(self) -> str:
        """The path with names in place of the values in it, so that there are few."""
        ...


class TraceSpan(Protocol):
    """One piece of work in a trace, from entering it to leaving it."""

    @property
    def carried(self) -> Mapping[str, str]:
        """Headers for what it sends; empty where nothing is traced."""
        ...

    def answered(self, status: int) -> None:
        """Note the status of an HTTP answer; from 400 on it counts as failed."""
        ...


class Tracing(Protocol):
    """Notes pieces of work. Nothing of it raises, and no work depends on it."""

    def process(self, record: Record, trace_id: TraceId) -> AbstractContextManager[TraceSpan]:
        """The work on a record, until it is settled or dropped.

        What is noted inside, in this task and those it starts, belongs to it.

        Args:
            record: its ``traceparent`` is the parent if it is of this trace.
            trace_id: of the event.
        """
        ...

    def settled(self, status: str, reason: str | None) -> None:
        """Note how the event ended that is being processed.

        Args:
            status: of its result.
            reason: of its dead letter, where it has one.
        """
        ...

    def request(
        self, call: HttpCall, base_url: str, trace_id: str | None, resent: int
    ) -> AbstractContextManager[TraceSpan]:
        """One HTTP request and its answer.

        Args:
            call: what is sent.
            base_url: where to; without a user, a password or a query.
            trace_id: of the event it is for; without one it is in no trace.
            resent: how often the same was sent before.
        """
        ...

    def send(
        self, topic: str, key: bytes | None, value: bytes | None
    ) -> AbstractContextManager[TraceSpan]:
        """A record that is published, until Kafka has acknowledged it."""
        ...

    def wait(self, reason: str) -> AbstractContextManager[TraceSpan]:
        """A wait of the event that is being processed: for what."""
        ...

    async def close(self) -> None:
        """Hand over what was noted, within a few seconds; what can't be is lost."""
        ...


class _NoSpan:
    """Nothing; it has no state, so one serves all."""

    carried: Final[Mapping[str, str]] = MappingProxyType({})

    def __enter__(self) -> _NoSpan:
        return self

    def __exit__(self, *failure: object) -> None:
        """Let everything pass."""

    def answered(self, status: int) -> None:
        """See `TraceSpan.answered`."""


NO_SPAN: Final = _NoSpan()


class _NoTracing:
    """Notes nothing; under ``opentelemetry-instrument`` that one's spans join the event's trace."""

    def process(self, record: Record, trace_id: TraceId) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.process`."""
        join_trace(record.headers, trace_id)
        return NO_SPAN

    def settled(self, status: str, reason: str | None) -> None:
        """See `Tracing.settled`."""

    def request(
        self, call: HttpCall, base_url: str, trace_id: str | None, resent: int
    ) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.request`."""
        return NO_SPAN

    def send(
        self, topic: str, key: bytes | None, value: bytes | None
    ) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.send`."""
        return NO_SPAN

    def wait(self, reason: str) -> AbstractContextManager[TraceSpan]:
        """See `Tracing.wait`."""
        return NO_SPAN

    async def close(self) -> None:
        """See `Tracing.close`."""


NO_TRACING: Final[Tracing] = _NoTracing()
