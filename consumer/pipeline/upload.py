"""Upload: carry out a plan, and know each chunk's fate as a value.

What is always true:
- A chunk's turn holds a request slot only while a request runs; who waits holds none.
- Nothing stale is removed before everything missing is stored: text is never missing in between.
- An outage makes the document wait, for as long as it takes. A chunk is given up only when it is
  refused definitely, or when its failures are proven to be its own (`_is_given_up`).
- The first sign of an outage ends a document's round: asking once more for each of its 10,000
  chunks would only make 10,000 log lines.
- Before each round the document passes the gates; nothing is sent while they hold it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from consumer.model.fault import Failure, Fault
from consumer.model.marker import Unit
from consumer.model.outcome import Applied, FailedChunk, FailureReason
from consumer.pipeline.gates import Gates, Waits
from consumer.pipeline.index import Index
from consumer.pipeline.own_text import OwnTextTest, Verdict
from consumer.pipeline.plan import Plan
from consumer.pipeline.ports import Storage, UnitUpload
from consumer.pipeline.rows import AnyStored
from consumer.resilience.blame import Tally, is_blamed
from consumer.resilience.fence import Fence
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_AFTER_ASKED_SECONDS = 5.0  # at most so much later than asked, so that not all come at once

_AMBIGUOUS_ROUNDS = 2  # times the attempts; each took until it was certain that it came to nothing

_NOBODYS = frozenset({Fault.THEIRS, Fault.BUSY})


@dataclass(slots=True)
class _Pending:
    """A unit that is not stored yet, and what happened to it so far."""

    unit: Unit
    upload: UnitUpload
    attempts: int = 0
    last: Failure | None = None  # of this round
    acquitted_at: list[int] = field(default_factory=list)  # its attempts until then
    given_up: list[FailedChunk] = field(default_factory=list)

    @property
    def met_outage(self) -> bool:
        """Whether its siblings would fail in the same way; an ambiguous failure is its own."""
        last = self.last
        return last is not None and last.fault in _NOBODYS and not last.ambiguous


@dataclass(slots=True)
class _Work:
    """A plan being carried out: what is needed for it, and what has become of it so far."""

    plan: Plan
    waits: Waits
    fence: Fence
    trace_id: str
    pending: list[_Pending]
    uploaded: list[str] = field(default_factory=list)
    failed: list[FailedChunk] = field(default_factory=list)
    used_up: bool = False  # in this round

    @property
    def slug(self) -> str:
        """The workspace."""
        return self.plan.slug


class _GivenUp(Failure):
    """Not sent again: the unit's failures are its own, and its last upload did not take effect."""

    fault = Fault.DOCUMENT


class PlanOutdated(Exception):
    """What a plan was made from is not so any more: make it again."""


class Uploader:
    """Carries out plans.

    Args:
        storage: AnythingLLM.
        index: told of everything stored and removed.
        gates: where documents wait.
        own_text: tells a poison text from a sick server.
        slots: request slots shared by all documents.
        per_document: chunks of one document in flight at once.
        policy: attempts a round, and the pauses between attempts and rounds.
        rng: for jitter.
        metrics: counts.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        gates: Gates,
        own_text: OwnTextTest,
        *,
        slots: asyncio.Semaphore,
        per_document: int,
        policy: RetryPolicy,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._index = index
        self._gates = gates
        self._own_text = own_text
        self._slots = slots
        self._per_document = per_document
        self._policy = policy
        self._rng = rng
        self._metrics = metrics

    async def carry_out(
        self, plan: Plan, waits: Waits, fence: Fence, *, trace_id: str, is_replay: bool = False
    ) -> Applied:
        """Store what is missing, then remove what is stale.

        Args:
            plan: what to do.
            waits: how to wait.
            fence: asked before every request; closed, nothing new is sent.
            trace_id: sent to AnythingLLM.
            is_replay: whether the fuse ignores how it goes: who replays knows that it failed.

        Raises:
            FenceClosedError: the right to go on ended; the document is dropped unsettled.
            PlanOutdated: the workspace vanished: what was stored there is not any more.
        """
        work = _Work(plan, waits, fence, trace_id, self._pending(plan, fence, trace_id))
        if work.pending:
            await self._upload(work, is_replay=is_replay)
        removed = 0
        if plan.stale and not work.failed:
            removed = await self.remove(plan.slug, plan.stale, waits, fence, trace_id=trace_id)
        return Applied(
            slug=plan.slug,
            version=plan.version,
            uploaded=tuple(work.uploaded),
            unchanged=plan.unchanged,
            failed=tuple(work.failed),
            removed_chunks=removed,
        )

    def _pending(self, plan: Plan, fence: Fence, trace_id: str) -> list[_Pending]:
        def pending(unit: Unit) -> _Pending:
            def check() -> None:
                fence.check()
                if made.given_up:
                    raise _GivenUp(made.given_up[0].message)

            upload = self._storage.upload(plan.slug, unit, trace_id=trace_id, check=check)
            made = _Pending(unit, upload)
            return made

        return [pending(unit) for unit in plan.missing]

    async def _upload(self, work: _Work, *, is_replay: bool) -> None:
        """Round after round, until every chunk's fate is known."""
        rounds, told = 0, False
        while True:
            is_trial = await self._gates.enter(work.slug, work.waits)
            await self._round(work)
            done = not work.pending
            if (done or work.used_up) and (is_trial or not told) and not is_replay:
                self._gates.document_done(used_up=work.used_up, is_trial=is_trial)
                told = True
            if done:
                return
            rounds += 1
            failures = [pending.last for pending in work.pending if pending.last]
            await self._pause(rounds, failures, work.waits, work.slug)
            if any(failure.workspace_gone for failure in failures):
                self._index.forget(work.slug)
                raise PlanOutdated(work.slug)

    async def remove(
        self,
        slug: str,
        units: Sequence[AnyStored],
        waits: Waits,
        fence: Fence,
        *,
        trace_id: str,
    ) -> int:
        """Remove stored units, for as long as it takes; the number of chunks they held."""
        rounds = 0
        locations = [unit.location for unit in units]
        while True:
            await self._gates.clear(slug, waits)
            fence.check()
            try:
                await self._storage.remove(slug, locations, trace_id=trace_id)
                break
            except Failure as failure:
                if failure.left:  # AnythingLLM lets nobody remove these: they stay for good
                    units = [unit for unit in units if unit.location not in failure.left]
                    break
                self._gates.note(failure)
                rounds += 1
                await self._pause(rounds, [failure], waits, slug)
        self._gates.note(None)
        self._index.removed(slug, units)
        return sum(len(unit.digests) for unit in units)

    async def _pause(
        self, rounds: int, failures: Sequence[Failure], waits: Waits, slug: str
    ) -> None:
        """Wait between rounds: growing, jittered, and never shorter than somebody asked for."""
        if self._gates.holds(slug):
            return  # it is waited there, and no longer than need be
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

    async def _round(self, work: _Work) -> None:
        """Give every pending unit its attempts, a bounded number at once."""
        work.used_up = False
        for pending in work.pending:
            # What somebody asked for a round ago is over.
            pending.last = None
        queue = list(reversed(work.pending))
        left: list[_Pending] = []

        async def worker() -> None:
            while queue:
                pending = queue.pop()
                if not await self._attempts(pending, work):
                    left.append(pending)
                    if pending.met_outage:
                        left.extend(reversed(queue))
                        queue.clear()

        workers = min(self._per_document, len(queue))
        results = await asyncio.gather(*(worker() for _ in range(workers)), return_exceptions=True)
        # Gathered whole before anything is raised: a request in the middle is never abandoned
        # because its sibling found the fence closed.
        for result in results:
            if isinstance(result, BaseException):
                raise result
        work.pending = left

    async def _attempts(self, pending: _Pending, work: _Work) -> bool:
        """One round of attempts; True when the unit's fate is known."""
        failure: Failure | None = None
        for attempt in range(1, self._policy.attempts + 1):
            if attempt > 1:
                async with work.waits.short():
                    await asyncio.sleep(self._policy.delay(attempt - 1, self._rng))
            failure = await self._attempt(pending, work)
            if failure is None:
                return True
            if failure.fault is Fault.DOCUMENT:
                refused = _failed(pending, failure, FailureReason.REJECTED)
                work.failed.extend(pending.given_up or refused)
                return True
            if failure.fault is not Fault.UNCLEAR:
                return False
            if failure.ambiguous:
                break  # asked again at once it would only be looked for
        if failure is None or not await self._is_given_up(pending, failure, work):
            return False
        if failure.ambiguous:
            return False  # its last upload may still be stored: that is looked for once more
        await pending.upload.abandon()
        work.failed.extend(pending.given_up)
        return True

    async def _is_given_up(self, pending: _Pending, failure: Failure, work: _Work) -> bool:
        """Whether the unit's failures are its own; they are in ``given_up`` then.

        An ambiguous failure may be none: only a long row of them is looked into. While the fuse is
        blown nobody is given up. A text that the embedder takes is acquitted, and the workspace has
        to prove itself: if it does, and this unit alone fails on and on, the unit is at fault in a
        way that its text does not show.
        """
        if failure.ambiguous and pending.attempts < _AMBIGUOUS_ROUNDS * self._policy.attempts:
            return False
        if self._gates.fuse.blown:
            work.used_up = True
            return False
        evidence = await self._own_text.judge(
            work.slug, pending.unit.text, work.waits, work.fence, trace_id=work.trace_id
        )
        log.info(
            "chunk.judged",
            chunk_ids=[chunk.id for chunk in pending.unit.chunks],
            workspace=work.slug,
            verdict=evidence.verdict.name.lower(),
            attempts=pending.attempts,
            evidence=str(evidence),
        )
        told = str(evidence)
        if evidence.verdict is Verdict.ACQUITTED:
            pending.acquitted_at.append(pending.attempts)
            proofs = len(pending.acquitted_at) - 1
            if not is_blamed(pending.attempts - pending.acquitted_at[0], Tally(proofs)):
                self._storage.distrust(work.slug)
                return False
            told = f"its text can be embedded and the workspace took {proofs} test documents"
        work.used_up = True
        if evidence.verdict is Verdict.UNDECIDED:
            return False
        message = f"{failure.message}; failed {pending.attempts} times; {told}"
        pending.given_up = _failed(pending, failure, FailureReason.EXHAUSTED, message)
        return True

    async def _attempt(self, pending: _Pending, work: _Work) -> Failure | None:
        failure = await self._prepared(work) or await self._sent(pending, work)
        if failure is None:
            return None
        pending.last = failure
        if failure.pending:
            return failure
        if failure.fault in {Fault.UNCLEAR, Fault.DOCUMENT}:
            pending.attempts += 1
        self._metrics.upload_failures.labels(failure.fault.value).inc()
        log.info(
            "chunk.attempt_failed",
            chunk_ids=[chunk.id for chunk in pending.unit.chunks],
            workspace=work.slug,
            fault=failure.fault,
            ambiguous=failure.ambiguous,
            http_status=failure.http_status,
            attempts=pending.attempts,
            error=failure.message,
        )
        return failure

    async def _prepared(self, work: _Work) -> Failure | None:
        """Prepare the workspace, holding no slot: one that takes minutes must not hold them all."""
        work.fence.check()
        try:
            await self._storage.prepare(work.slug, trace_id=work.trace_id)
        except Failure as failure:
            self._gates.note_workspace(work.slug, failure)
            return failure
        self._gates.pauses.well(work.slug)
        return None

    async def _sent(self, pending: _Pending, work: _Work) -> Failure | None:
        async with work.waits.short():
            await self._slots.acquire()
        try:
            work.fence.check()
            self._gates.check(work.slug)
            with (
                self._metrics.chunks_in_flight.track_inprogress(),
                self._metrics.upload_seconds.time(),
            ):
                stored = await pending.upload.attempt()
        except Failure as failure:
            self._gates.note(failure)
            return failure
        finally:
            self._slots.release()
        self._gates.note(None)
        self._index.stored(work.slug, stored)
        work.uploaded.extend(chunk.id for chunk in pending.unit.chunks)
        return None


def pause_of(policy: RetryPolicy, rounds: int, asked: Sequence[float], rng: random.Random) -> float:
    """Seconds between two rounds: growing and jittered, or what was asked for and little more.

    Who says when to come again is asked then: a backoff that has grown over a long outage would
    keep work waiting after its end.
    """
    delay = policy.delay(rounds, rng)
    return max(asked) + min(delay, _AFTER_ASKED_SECONDS) if asked else delay


def _failed(
    pending: _Pending, failure: Failure, reason: FailureReason, message: str | None = None
) -> list[FailedChunk]:
    return [
        FailedChunk(
            chunk_id=chunk.id,
            reason=reason,
            message=message or failure.message,
            http_status=failure.http_status,
            attempts=pending.attempts,
            fault=failure.fault,
        )
        for chunk in pending.unit.chunks
    ]
