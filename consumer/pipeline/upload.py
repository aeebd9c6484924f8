"""Upload: carry out a plan, and know each chunk's fate as a value.

What is always true:
- A chunk's turn holds a request slot only while a request runs; who waits holds none.
- Nothing stale is removed before everything missing is stored: text is never missing in between.
- An outage and an unclear failure make the document wait, with growing pauses, for as long as it
  takes. Only a definite refusal of a chunk is a reason to give that chunk up.
- The first sign of an outage ends a document's round: asking once more for each of its 10,000
  chunks would only make 10,000 log lines.
- Who is asked to come back later comes back later with everything: no upload starts meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from consumer.model.fault import Failure, Fault
from consumer.model.marker import StoredUnit, Unit
from consumer.model.outcome import Applied, FailedChunk, FailureReason
from consumer.pipeline.index import Index
from consumer.pipeline.plan import Plan
from consumer.pipeline.ports import Storage, UnitUpload
from consumer.resilience.fence import Fence
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_AFTER_ASKED_SECONDS = 5.0  # at most so much later than asked, so that not all come at once

_NOBODYS = frozenset({Fault.THEIRS, Fault.BUSY})


class Waits(Protocol):
    """How a document waits: `short` between attempts, `long` while nothing can be done."""

    def short(self) -> AbstractAsyncContextManager[None]:
        """A wait that a revocation ends."""
        ...

    def long(self) -> AbstractAsyncContextManager[None]:
        """A wait that a revocation, a stop or a newer event ends."""
        ...


@dataclass(frozen=True, slots=True)
class DocumentWaits:
    """`Waits` behind the fences of one document.

    Args:
        assignment: closed when the partition goes.
        stop: closed when the process stops: waiting on would only use up the drain.
        overtaken: closed when a newer event makes this one pointless.
    """

    assignment: Fence
    stop: Fence
    overtaken: Fence

    def short(self) -> AbstractAsyncContextManager[None]:
        """See `Waits`."""
        return self.assignment.waiting()

    @asynccontextmanager
    async def long(self) -> AsyncIterator[None]:
        """See `Waits`."""
        async with self.stop.waiting(), self.assignment.waiting(), self.overtaken.waiting():
            yield


class _Resting(Failure):
    """Nothing was sent, because somebody asked us for a rest."""


@dataclass(slots=True)
class _Pending:
    """A unit that is not stored yet, and what happened to it so far."""

    unit: Unit
    upload: UnitUpload
    attempts: int = 0
    last: Failure | None = None  # of this round

    @property
    def met_outage(self) -> bool:
        """Whether its siblings would fail in the same way; an ambiguous failure is its own."""
        last = self.last
        return last is not None and last.fault in _NOBODYS and not last.ambiguous


@dataclass(slots=True)
class _Progress:
    """What has become of a plan so far."""

    trace_id: str
    pending: list[_Pending]
    uploaded: list[str] = field(default_factory=list)
    failed: list[FailedChunk] = field(default_factory=list)


class PlanOutdated(Exception):
    """What a plan was made from is not so any more: make it again."""


class Uploader:
    """Carries out plans.

    Args:
        storage: AnythingLLM.
        index: told of everything stored and removed.
        slots: request slots shared by all documents.
        per_document: chunks of one document in flight at once.
        policy: attempts a round, and the pauses between attempts and rounds.
        rng: for jitter.
        metrics: counts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        *,
        slots: asyncio.Semaphore,
        per_document: int,
        policy: RetryPolicy,
        rng: random.Random,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._index = index
        self._slots = slots
        self._per_document = per_document
        self._policy = policy
        self._rng = rng
        self._metrics = metrics
        self._clock = clock
        self._busy_until = float("-inf")

    async def carry_out(self, plan: Plan, waits: Waits, fence: Fence, *, trace_id: str) -> Applied:
        """Store what is missing, then remove what is stale.

        Args:
            plan: what to do.
            waits: how to wait.
            fence: asked before every request; closed, nothing new is sent.
            trace_id: sent to AnythingLLM.

        Raises:
            FenceClosedError: the right to go on ended; the document is dropped unsettled.
            PlanOutdated: the workspace vanished: what was stored there is not any more.
        """
        progress = _Progress(
            trace_id,
            [
                _Pending(
                    unit,
                    self._storage.upload(plan.slug, unit, trace_id=trace_id, check=fence.check),
                )
                for unit in plan.missing
            ],
        )
        rounds = 0
        while progress.pending:
            await self._round(plan, progress, waits, fence)
            if progress.pending:
                rounds += 1
                failures = [p.last for p in progress.pending if p.last]
                await self._pause(rounds, failures, waits)
                if any(failure.workspace_gone for failure in failures):
                    self._index.forget(plan.slug)
                    raise PlanOutdated(plan.slug)
        removed = 0
        if plan.stale and not progress.failed:
            removed = await self.remove(plan.slug, plan.stale, waits, fence, trace_id=trace_id)
        return Applied(
            slug=plan.slug,
            version=plan.version,
            uploaded=tuple(progress.uploaded),
            unchanged=plan.unchanged,
            failed=tuple(progress.failed),
            removed_chunks=removed,
        )

    async def remove(
        self,
        slug: str,
        units: Sequence[StoredUnit],
        waits: Waits,
        fence: Fence,
        *,
        trace_id: str,
    ) -> int:
        """Remove stored units, for as long as it takes; the number of chunks they held."""
        rounds = 0
        locations = [unit.location for unit in units]
        while True:
            fence.check()
            try:
                await self._storage.remove(slug, locations, trace_id=trace_id)
                break
            except Failure as failure:
                rounds += 1
                await self.wait_out(rounds, failure, waits)
        self._index.removed(slug, units)
        return sum(len(unit.marker.chunks) for unit in units)

    async def wait_out(self, rounds: int, failure: Failure, waits: Waits) -> None:
        """Wait after a request that has just failed and is to be repeated."""
        self._note_busy(failure)
        await self._pause(rounds, [failure], waits)

    async def _pause(self, rounds: int, failures: Sequence[Failure], waits: Waits) -> None:
        """Wait between rounds: growing, jittered, and never shorter than somebody asked for."""
        asked = [f.retry_after for f in failures if f.retry_after is not None]
        delay = pause_of(self._policy, rounds, asked, self._rng)
        worst = failures[-1] if failures else None
        log.warning(
            "document.waiting",
            round=rounds,
            chunks=len(failures),
            seconds=round(delay, 3),
            fault=worst.fault if worst else None,
            error=worst.message if worst else None,
        )
        with self._metrics.documents_waiting.track_inprogress():
            async with waits.long():
                await asyncio.sleep(delay)

    async def _round(self, plan: Plan, progress: _Progress, waits: Waits, fence: Fence) -> None:
        """Give every pending unit its attempts, a bounded number at once."""
        for pending in progress.pending:
            # What somebody asked for a round ago is over.
            pending.last = None
        queue = list(reversed(progress.pending))
        left: list[_Pending] = []

        async def work() -> None:
            while queue:
                pending = queue.pop()
                if not await self._attempts(plan.slug, pending, progress, waits, fence):
                    left.append(pending)
                    if pending.met_outage:
                        left.extend(reversed(queue))
                        queue.clear()

        workers = min(self._per_document, len(queue))
        results = await asyncio.gather(*(work() for _ in range(workers)), return_exceptions=True)
        # Gathered whole before anything is raised: a request in the middle is never abandoned
        # because its sibling found the fence closed.
        for result in results:
            if isinstance(result, BaseException):
                raise result
        progress.pending = left

    async def _attempts(
        self,
        slug: str,
        pending: _Pending,
        progress: _Progress,
        waits: Waits,
        fence: Fence,
    ) -> bool:
        """One round of attempts; True when the unit's fate is known."""
        for attempt in range(1, self._policy.attempts + 1):
            if attempt > 1:
                async with waits.short():
                    await asyncio.sleep(self._policy.delay(attempt - 1, self._rng))
            failure = await self._attempt(slug, pending, progress, waits, fence)
            if failure is None:
                return True
            if failure.fault is Fault.DOCUMENT:
                progress.failed.extend(_failed(pending, failure))
                return True
            if failure.fault is not Fault.UNCLEAR:
                return False
        return False

    async def _attempt(
        self,
        slug: str,
        pending: _Pending,
        progress: _Progress,
        waits: Waits,
        fence: Fence,
    ) -> Failure | None:
        fence.check()
        try:
            # Before a slot is taken: one workspace that does not get ready must not hold them all.
            await self._storage.prepare(slug, trace_id=progress.trace_id)
            async with waits.short():
                await self._slots.acquire()
            try:
                fence.check()
                self._check_busy()
                with (
                    self._metrics.chunks_in_flight.track_inprogress(),
                    self._metrics.upload_seconds.time(),
                ):
                    stored = await pending.upload.attempt()
            finally:
                self._slots.release()
        except Failure as failure:
            pending.last = failure
            self._note_busy(failure)
            if failure.fault in {Fault.UNCLEAR, Fault.DOCUMENT}:
                pending.attempts += 1
            self._metrics.upload_failures.labels(failure.fault.value).inc()
            log.info(
                "chunk.attempt_failed",
                chunk_ids=[chunk.id for chunk in pending.unit.chunks],
                workspace=slug,
                fault=failure.fault,
                ambiguous=failure.ambiguous,
                http_status=failure.http_status,
                attempts=pending.attempts,
                error=failure.message,
            )
            return failure
        self._index.stored(slug, stored)
        progress.uploaded.extend(chunk.id for chunk in pending.unit.chunks)
        return None

    def _note_busy(self, failure: Failure) -> None:
        if isinstance(failure, _Resting):
            return  # nobody asked anew
        if failure.fault is Fault.BUSY and failure.retry_after is not None:
            self._busy_until = max(self._busy_until, self._clock() + failure.retry_after)

    def _check_busy(self) -> None:
        left = self._busy_until - self._clock()
        if left > 0:
            message = f"not sent, AnythingLLM asked for {left:.1f} s of rest"
            raise _Resting(message, fault=Fault.BUSY, retry_after=left)


def pause_of(policy: RetryPolicy, rounds: int, asked: Sequence[float], rng: random.Random) -> float:
    """Seconds between two rounds: growing and jittered, or what was asked for and little more.

    Who says when to come again is asked then: a backoff that has grown over a long outage would
    keep work waiting after its end.
    """
    delay = policy.delay(rounds, rng)
    return max(asked) + min(delay, _AFTER_ASKED_SECONDS) if asked else delay


def _failed(pending: _Pending, failure: Failure) -> list[FailedChunk]:
    return [
        FailedChunk(
            chunk_id=chunk.id,
            reason=FailureReason.REJECTED,
            message=failure.message,
            http_status=failure.http_status,
            attempts=pending.attempts,
            fault=failure.fault,
        )
        for chunk in pending.unit.chunks
    ]
