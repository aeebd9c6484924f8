"""The journey: carries each record through the stations, a bounded number at a time.

What is always true:
- A record takes a place in the window and its bytes in the budget before it is worked on, and
  gives both back when it is settled or dropped. There is no other queue.
- Lanes are entered in the order of polling, synchronously, so order by identity is offset order.
- `Delivery.settled` is called in one place, after Kafka acknowledged everything there is to tell.
- Work whose fence closes is dropped without a word to Kafka: the next owner does it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from consumer.model.delivery import Record
from consumer.model.outcome import Outcome, Superseded
from consumer.pipeline.apply import Applier
from consumer.pipeline.lanes import Lanes, Turn
from consumer.pipeline.read import DocumentEvent, Event, TombstoneEvent
from consumer.pipeline.settle import Settler
from consumer.pipeline.upload import DocumentWaits
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.resilience.limits import Budget
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2


class Delivery(Protocol):
    """A record with the receipt that lets its offset be committed."""

    @property
    def record(self) -> Record:
        """The original bytes."""
        ...

    @property
    def fence(self) -> Fence:
        """Closed when the right to work on it ends."""
        ...

    @property
    def ended(self) -> bool:
        """True when somebody else may own it by now."""
        ...

    def carried_by(self, task: asyncio.Task[object]) -> None:
        """Who works on it."""
        ...

    def settled(self) -> None:
        """Let the offset be committed."""
        ...


Poll = Callable[[float], Awaitable[Delivery | None]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be in flight.

    Args:
        documents: records in the window.
        bytes: their sizes together; one larger record is admitted alone.
    """

    documents: int
    bytes: int


class Journey:
    """See the module's docstring.

    Args:
        poll: the next record, or None after so many seconds.
        read: bytes to event; never raises.
        applier: brings an event's state into AnythingLLM.
        settler: tells Kafka what became of it.
        bounds: the window.
        metrics: counts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        poll: Poll,
        read: Callable[[Record], Event],
        applier: Applier,
        settler: Settler,
        *,
        bounds: Bounds,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poll = poll
        self._read = read
        self._applier = applier
        self._settler = settler
        self._window = asyncio.Semaphore(bounds.documents)
        self._bytes = Budget(bounds.bytes)
        self._metrics = metrics
        self._clock = clock
        self._lanes = Lanes()
        self._stop = Fence("stop")
        self._polling_since: float | None = None

    async def run(self) -> None:
        """Work until `stop`, then until everything in flight is settled or dropped.

        A fault in the program, in whatever task, ends it with that exception.
        """
        async with asyncio.TaskGroup() as work:
            with suppress(FenceClosedError):
                await self._intake(work)

    def stop(self) -> None:
        """Take nothing more in; what waits for an outage to end is dropped, the rest goes on."""
        self._stop.close()

    @property
    def stopping(self) -> bool:
        """True from `stop` on."""
        return self._stop.closed

    @property
    def has_room(self) -> bool:
        """Whether another record would be taken in at once."""
        return not self._window.locked() and not self._bytes.waiting

    def polling_for(self) -> float:
        """Seconds that the current poll has taken; 0 while none is running. For the watchdog."""
        return 0.0 if self._polling_since is None else self._clock() - self._polling_since

    async def _intake(self, work: asyncio.TaskGroup) -> None:
        while True:
            stack = AsyncExitStack()
            async with self._stop.waiting():
                await self._window.acquire()
            stack.callback(self._window.release)
            async with stack:
                delivery = await self._next()
                if await self._admitted(delivery, stack):
                    self._start(work, delivery, stack.pop_all())

    async def _next(self) -> Delivery:
        """The next record. The poll itself is never cancelled (kafka/source.py says why)."""
        while True:
            self._stop.check()
            self._polling_since = self._clock()
            delivery = await self._poll(_POLL_SECONDS)
            self._polling_since = None
            if delivery is not None:
                return delivery

    async def _admitted(self, delivery: Delivery, stack: AsyncExitStack) -> bool:
        """Take the record's bytes out of the budget; False when it was lost meanwhile."""
        try:
            async with self._stop.waiting(), delivery.fence.waiting():
                await stack.enter_async_context(self._bytes.take(delivery.record.size))
        except FenceClosedError:
            self._stop.check()
            return False
        self._metrics.bytes_in_flight.inc(delivery.record.size)
        stack.callback(self._metrics.bytes_in_flight.dec, delivery.record.size)
        return True

    def _start(self, work: asyncio.TaskGroup, delivery: Delivery, stack: AsyncExitStack) -> None:
        event = self._read(delivery.record)
        turn = self._turn(event)
        if turn is not None:
            stack.callback(turn.leave)
        task = work.create_task(self._carry(delivery, event, turn, stack))
        delivery.carried_by(task)

    def _turn(self, event: Event) -> Turn | None:
        body = event.body
        if isinstance(body, DocumentEvent | TombstoneEvent):
            removes = isinstance(body, TombstoneEvent)
            return self._lanes.enter(body.identity, body.slug, body.version, removes=removes)
        return None

    async def _carry(
        self, delivery: Delivery, event: Event, turn: Turn | None, stack: AsyncExitStack
    ) -> None:
        at = event.record.at
        structlog.contextvars.bind_contextvars(
            trace_id=event.trace_id, topic=at.topic, partition=at.partition, offset=at.offset
        )
        started = self._clock()
        with self._metrics.documents_in_flight.track_inprogress():
            async with stack:
                try:
                    outcome = await self._outcome(delivery, event, turn)
                    await self._settler.settle(event, outcome, seconds=self._clock() - started)
                except FenceClosedError as closed:
                    log.info("document.dropped", because=str(closed))
                    return
                # The only call that lets an offset be committed.
                delivery.settled()

    async def _outcome(self, delivery: Delivery, event: Event, turn: Turn | None) -> Outcome:
        if turn is not None:
            async with delivery.fence.waiting():
                await turn.come()
            if turn.superseded:
                return Superseded(turn.target, turn.version)
        overtaken = turn.overtaken if turn is not None else Fence("never")
        waits = DocumentWaits(delivery.fence, self._stop, overtaken)
        try:
            outcome = await self._applier.apply(event, waits, delivery.fence)
        except FenceClosedError:
            if turn is None or delivery.fence.closed or not overtaken.closed:
                raise
            return Superseded(turn.target, turn.version)
        if delivery.ended:
            raise FenceClosedError("the partition was taken away")
        return outcome
