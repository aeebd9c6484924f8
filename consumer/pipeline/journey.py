"""The journey: carries each record through the stations, a bounded number at a time.

What is always true:
- A record takes a place in flight before it is worked on, and gives it back when it is settled or
  dropped, or stands aside (`consumer.pipeline.in_flight`). Records wait nowhere else.
- A record enters the queue of its key synchronously, in the order of polling, so the order by
  identity is offset order.
- `Delivery.settled` is called after Kafka acknowledged result and dead letter; later, where an
  overtaken upload may still come (`consumer.pipeline.doubts`).
- Work whose fence closes is dropped, and nothing of it is published: the next owner does it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import structlog

from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.outcome import Outcome, Superseded, was_carried_out
from consumer.model.record import Record
from consumer.pipeline.apply import Applier
from consumer.pipeline.deathwatch import Deathwatch
from consumer.pipeline.documents_in_work import DocumentInWork, DocumentsInWork, Station
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit, Place
from consumer.pipeline.key_queues import KeyQueues, Turn
from consumer.pipeline.ports import Delivery, Poll, RightToWork
from consumer.pipeline.right_to_work import DocumentRight
from consumer.pipeline.servers import ServersApplier, ServersDeathwatch, ServersDoubts
from consumer.pipeline.settle import Settler
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import NO_TRACING, Tracing

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2


class Journey:
    """See the module's docstring.

    Args:
        read: bytes to event, without holding the loop; never raises.
        queues: keep the order of each identity.
        bounds: how much may be in flight.
        clock: monotonic seconds.
        in_work: is told of every event that is in work.
        tracing: notes the work on each record.
    """

    def __init__(
        self,
        poll: Poll,
        read: Callable[[Record], Awaitable[Event]],
        applier: Applier | ServersApplier,
        settler: Settler,
        doubts: Doubts | ServersDoubts,
        deathwatch: Deathwatch | ServersDeathwatch,
        *,
        queues: KeyQueues,
        bounds: InFlightBounds,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        in_work: DocumentsInWork | None = None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._in_work = DocumentsInWork() if in_work is None else in_work
        self._poll = poll
        self._read = read
        self._applier = applier
        self._settler = settler
        self._doubts = doubts
        self._deathwatch = deathwatch
        self._in_flight = InFlightLimit(bounds, metrics)
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        self._queues = queues
        self._stop = Fence("stop")
        self._polling_since: float | None = None

    async def run(self) -> None:
        """Work until `stop`, then until everything in flight is settled or dropped.

        A fault in the program, in whichever task, ends the run with that exception.
        """
        async with asyncio.TaskGroup() as work:
            with suppress(FenceClosedError):
                await self._intake(work)

    def stop(self) -> None:
        """Take no more records in. Work that waits for an outage is dropped, the rest goes on."""
        self._stop.close()

    @property
    def stopping(self) -> bool:
        """True from `stop` on."""
        return self._stop.closed

    @property
    def has_room(self) -> bool:
        """Whether another record would be taken in at once."""
        return self._in_flight.has_room

    @property
    def taken(self) -> float:
        """Share of the places in flight that are taken, 0 to 1."""
        return self._in_flight.taken

    def polling_for(self) -> float:
        """Seconds that the current poll has taken; 0 while none is running. For the watchdog."""
        return 0.0 if self._polling_since is None else self._clock() - self._polling_since

    async def _intake(self, work: asyncio.TaskGroup) -> None:
        while True:
            async with self._stop.waiting():
                place = await self._in_flight.place()
            async with AsyncExitStack() as unless_started:
                unless_started.push_async_callback(place.leave)
                delivery = await self._next()
                # A poll that finds a record in memory does not wait: events that were settled
                # before would pass in a row, with no heartbeat between them.
                await asyncio.sleep(0)
                event = await self._admitted(delivery, place)
                if event is None:
                    continue
                if delivery.settled_before:
                    self._skip(delivery, event)
                else:
                    self._start(work, delivery, event, place)
                    unless_started.pop_all()

    async def _next(self) -> Delivery:
        """The next record. The poll is never cancelled (kafka/source.py says why)."""
        while True:
            self._stop.check()
            self._polling_since = self._clock()
            delivery = await self._poll(_POLL_SECONDS)
            self._polling_since = None
            if delivery is not None:
                return delivery

    async def _admitted(self, delivery: Delivery, place: Place) -> Event | None:
        """Take the record's bytes out of the budget, and read it.

        None when its partition went meanwhile. The next record waits for it: only so do events
        enter their queues in the order of polling.
        """
        try:
            async with self._stop.waiting(), delivery.fence.waiting():
                if not delivery.settled_before:
                    await place.fill(delivery.record.size)
                return await self._read(delivery.record)
        except FenceClosedError:
            self._stop.check()
            return None

    def _skip(self, delivery: Delivery, event: Event) -> None:
        """Pass a record whose result Kafka has; older versions of its document stay superseded."""
        self._applier.remember(event, carried_out=delivery.carried_out_before)
        self._doubts.settled_before(delivery, event)
        self._metrics.skipped_records.inc()
        log.info("document.skipped", at=str(event.record.at), identity=event.identity)

    def _start(
        self, work: asyncio.TaskGroup, delivery: Delivery, event: Event, place: Place
    ) -> None:
        self._doubts.received(delivery, event)
        turn = self._turn(event)
        task = work.create_task(self._carry(delivery, event, turn, place))
        delivery.carried_by(task)

    def _turn(self, event: Event) -> Turn | None:
        body = event.body
        if isinstance(body, DocumentEvent | TombstoneEvent):
            removes = isinstance(body, TombstoneEvent)
            return self._queues.enter(body.identity, body.slug, body.version, removes=removes)
        return None

    async def _carry(
        self, delivery: Delivery, event: Event, turn: Turn | None, place: Place
    ) -> None:
        at = event.record.at
        structlog.contextvars.bind_contextvars(
            trace_id=event.trace_id, topic=at.topic, partition=at.partition, offset=at.offset
        )
        if event.identity is not None:
            structlog.contextvars.bind_contextvars(identity=event.identity)
        started = self._clock()
        document = self._in_work.enter(event, place, started)
        with (
            self._tracing.process(event.record, event.trace_id),
            self._metrics.documents_in_flight.track_inprogress(),
        ):
            try:
                outcome = await self._outcome(delivery, document, turn)
                document.station = Station.SETTLE
                await self._settler.settle(event, outcome, seconds=self._clock() - started)
                # With that of `_skip` the only call that lets an offset be committed.
                self._doubts.settled(delivery, event, carried_out=was_carried_out(outcome))
            except FenceClosedError as closed:
                self._doubts.dropped(delivery, event)
                if turn is not None and self._stop.closed:
                    turn.drop_those_behind()
                log.info("document.dropped", because=str(closed))
            finally:
                self._in_work.leave(document)
                if turn is not None:
                    turn.leave()
                await place.leave()

    async def _outcome(
        self, delivery: Delivery, document: DocumentInWork, turn: Turn | None
    ) -> Outcome:
        event, place = document.event, document.place
        right = DocumentRight(delivery.fence, self._stop, Fence("never"), place)
        if turn is not None:
            right = DocumentRight(delivery.fence, self._stop, turn.overtaken, place, turn.stalling)
        try:
            if turn is not None and not await _comes(turn, right):
                return Superseded(turn.target, turn.occurrence.version)
            document.station = Station.PLAN
            with self._deathwatch.carrying(event.identity, delivery):
                outcome = await self._applier.apply(event, right)
        except FenceClosedError:
            if turn is None or right.closed or not turn.overtaken.closed:
                raise
            return Superseded(turn.target, turn.occurrence.version)
        if delivery.ended:
            raise FenceClosedError("the partition was taken away")
        return outcome


async def _comes(turn: Turn, right: RightToWork) -> bool:
    """Wait for the turn; false where it was superseded."""
    async with right.short():
        has_come = await turn.come_or_stall()
    if not has_come:
        async with right.aside():
            await turn.come()
    if turn.dropped:
        raise FenceClosedError("an earlier event of its document was dropped")
    return not turn.superseded
