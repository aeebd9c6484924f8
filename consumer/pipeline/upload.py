"""Upload: carry out a plan, and know each chunk's fate as a value.

What is always true:
- A chunk holds a request slot only while a request runs; a waiting chunk holds no slot.
- Nothing stale is removed before everything missing is stored: text is never missing in between.
- In an outage the document waits, for as long as it takes. A chunk is given up only when it is
  refused definitely, or when its failures are proven to be its own (`giving_up`).
- The first sign of an outage ends a document's round: a request for each of its 10,000 chunks would
  only make 10,000 log lines.
- Before each round the document passes the gates. Nothing is sent while they hold it.
- A pack that is given up is split: from then on each of its chunks is a unit of its own, and is
  judged as such. Its last upload can't take effect any more by then, as that of any other unit.
- What a stale pack still holds is uploaded once more only when all that is stored nowhere is there.
- Where all is stored and only packed anew, a failure is nobody's: everything stays as it was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import structlog

from consumer.model.copies import content_of
from consumer.model.fault import Failure, Fault
from consumer.model.marker import StoredUnit, Unit, unit_of
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.outcome import Applied, FailedChunk, FailureReason
from consumer.model.precedence import Occurrence
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.culprits import Culprits
from consumer.pipeline.deathwatch import Deathwatch
from consumer.pipeline.documents_in_work import DocumentsInWork
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.erasure import Ending, Erased, Eraser
from consumer.pipeline.gates import Gates
from consumer.pipeline.giving_up import GivingUp, UnitStep
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import AnyStored
from consumer.pipeline.long_work import in_slices
from consumer.pipeline.plan import Plan
from consumer.pipeline.ports import RightToWork, Storage
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.upload_state import PendingUnit, UploadState
from consumer.pipeline.watched_unit import NotDue, to_wait_for, watched
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


_NOTHING = Erased()


class _GivenUp(Failure):
    """Not sent again: the unit's failures are its own, and its last upload did not take effect."""

    fault = Fault.DOCUMENT
    pending = True


class PlanOutdated(Exception):
    """What the plan was made from has changed: the plan has to be made again.

    Args:
        slug: the workspace.
        uploaded: ids of chunks that were stored all the same.
        erased: what was removed all the same, and what of it stays.
    """

    def __init__(self, slug: Slug, uploaded: Sequence[str] = (), erased: Erased = _NOTHING) -> None:
        super().__init__(slug)
        self.uploaded = tuple(uploaded)
        self.erased = erased


class Uploader:
    """Carries out plans.

    Args:
        doubts: hear of uploads that nobody waits for, and that may still take effect.
        deathwatch: sees what AnythingLLM dies of.
        culprits: hear which chunks were given up: they are not packed again.
        slots: shared by all documents.
        per_document: requests about one document in flight at once.
        policy: attempts a round, and the pauses between them.
        in_work: is told of every upload.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        gates: Gates,
        giving_up: GivingUp,
        backoff: Backoff,
        eraser: Eraser,
        doubts: Doubts,
        deathwatch: Deathwatch,
        culprits: Culprits,
        *,
        slots: RequestSlots,
        per_document: int,
        policy: RetryPolicy,
        rng: random.Random,
        metrics: Metrics,
        in_work: DocumentsInWork | None = None,
    ) -> None:
        self._in_work = DocumentsInWork() if in_work is None else in_work
        self._storage = storage
        self._index = index
        self._gates = gates
        self._giving_up = giving_up
        self._backoff = backoff
        self._eraser = eraser
        self._doubts = doubts
        self._deathwatch = deathwatch
        self._culprits = culprits
        self._slots = slots
        self._per_document = per_document
        self._policy = policy
        self._rng = rng
        self._metrics = metrics

    async def carry_out(
        self,
        plan: Plan,
        identity: Identity,
        right: RightToWork,
        *,
        trace_id: TraceId,
        is_replay: bool = False,
        was_begun: bool = False,
    ) -> Applied:
        """Store what is missing, then remove what is stale.

        Args:
            plan: what to do.
            identity: of its document.
            right: checked before every request; once it has ended nothing new is sent.
            trace_id: sent to AnythingLLM.
            was_begun: by somebody before, who may have removed what no row leads to any more.
            is_replay: the fuse ignores a replay's failures, which are no news.

        Raises:
            FenceClosedError: the right to go on ended; the document is dropped unsettled.
            PlanOutdated: the workspace vanished, or others may have changed it while it did not
                work, so what was stored there may be gone.
        """
        work = UploadState(plan, identity, right, trace_id)
        self._in_work.uploading(work)
        try:
            if plan.missing or plan.moved:
                with self._deathwatch.watching(work.watched):
                    await self._store(work, is_replay=is_replay)
        finally:
            self._in_work.uploaded(work)
            self._giving_up.over(work)
            uploads = [each.upload for each in work.every]
            if any(upload.may_still_come for upload in uploads):
                self._doubts.note(plan.slug, identity, plan.version)
            if going := [location for upload in uploads for location in upload.going]:
                self._doubts.note_removal(plan.slug, identity, going)
        self._check(work)
        if plan.is_repack and work.failed:
            return _as_it_was(work)
        erased = _NOTHING
        leaves_something = self._eraser.leaves_something(plan.slug, identity)
        again = is_replay or was_begun or leaves_something
        if (plan.stale or again) and not work.failed:
            ending = _stale(plan, identity, again=again)
            erased = await self._eraser.erase(plan.slug, ending, right, trace_id=trace_id)
            self._check(work, erased)
        return Applied(
            slug=plan.slug,
            version=plan.version,
            uploaded=tuple(work.uploaded),
            unchanged=_unchanged(work),
            failed=tuple(work.failed),
            removed_chunks=erased.chunks,
            kept=erased.kept,
        )

    def _check(self, work: UploadState, erased: Erased = _NOTHING) -> None:
        if self._index.epoch(work.slug) != work.plan.epoch:
            raise PlanOutdated(work.slug, work.uploaded, erased)

    async def _store(self, work: UploadState, *, is_replay: bool) -> None:
        for units in (work.plan.missing, work.plan.moved):
            if units and not work.failed:
                work.pending = await self._pending(work, units)
                await self._upload(work, is_replay=is_replay)
                self._check(work)

    async def _pending(self, work: UploadState, units: Sequence[Unit]) -> list[PendingUnit]:
        apart = (part for unit in units for part in self._apart(unit, work))
        return await in_slices(self._pending_unit(part, work) for part in apart)

    def _pending_unit(self, unit: Unit, work: UploadState) -> PendingUnit:
        def check() -> None:
            work.right.check()
            if made.given_up:
                raise _GivenUp(made.given_up[0].message)
            self._deathwatch.check(made.watched)

        upload = self._storage.upload(work.slug, unit, trace_id=work.trace_id, check=check)
        made = PendingUnit(unit, upload, watched(unit, work.identity, work.slug))
        self._deathwatch.add(made.watched)
        work.every.append(made)
        work.watched.append(made.watched)
        return made

    def _apart(self, unit: Unit, work: UploadState) -> Sequence[Unit]:
        """A unit as it is sent: chunks that AnythingLLM may have died of are not packed again."""
        if not unit.is_pack:
            return (unit,)
        singles = _singles(unit, work)
        is_known = any(
            self._deathwatch.is_known(watched(each, work.identity, work.slug)) for each in singles
        )
        return singles if is_known else (unit,)

    async def _upload(self, work: UploadState, *, is_replay: bool) -> None:
        """Round after round, until every chunk's fate is known."""
        rounds = 0
        while True:
            is_trial = await self._gates.enter(work.slug, work.right)
            await self._round(work)
            done = not work.pending
            if _counts_for_fuse(work, is_trial=is_trial, is_replay=is_replay):
                self._gates.document_done(used_up=work.used_up, is_trial=is_trial)
                work.is_noted = True
            if done:
                return
            rounds += 1
            self._ask_again_when_due(work)
            failures = [pending.last for pending in work.pending if pending.last]
            due = self._giving_up.due_in(work)
            tried_again = [each.last for each in self._giving_up.not_held(work) if each.last]
            pause_for = to_wait_for(tried_again)
            await self._backoff.pause(rounds, pause_for, work.right, work.slug, due=due)
            if any(failure.workspace_gone for failure in failures):
                self._index.changed(work.slug)
                # If only uploads say so, the workspace would be found and tried for ever.
                self._storage.distrust(work.slug)
                raise PlanOutdated(work.slug)

    def _ask_again_when_due(self, work: UploadState) -> None:
        """How long suspects wait may have changed since they were asked about, minutes ago."""
        for pending in work.pending:
            if isinstance(pending.last, NotDue):
                pending.last.retry_after = self._deathwatch.due_in(pending.watched)

    async def _round(self, work: UploadState) -> None:
        """Give every pending unit its attempts, a bounded number at once."""
        work.used_up = False
        # What the server may die of comes last: the siblings are stored before.
        work.pending.sort(key=lambda pending: self._deathwatch.deaths_seen(pending.watched))
        for pending in work.pending:
            self._let_fall(pending, work, pending.last)
            # A rest that was asked for a round ago is over.
            pending.last = None
        new = [pending for pending in work.pending if not pending.is_uploaded]
        before = [pending for pending in work.pending if pending.is_uploaded]
        left = await self._work_off(new, work, at_once=self._per_document)
        uploaded = [*before, *(pending for pending in left if pending.is_uploaded)]
        failed = [pending for pending in left if not pending.is_uploaded]
        # One after the other: what one search shows, the next ones need not look for.
        work.pending = [*failed, *await self._work_off(uploaded, work, at_once=1)]

    async def _work_off(
        self, units: Sequence[PendingUnit], work: UploadState, *, at_once: int
    ) -> list[PendingUnit]:
        """Give all of them their attempts, until one meets an outage; those that are left."""
        queue = list(reversed(units))
        left: list[PendingUnit] = []

        async def worker() -> None:
            while queue:
                pending = queue.pop()
                is_known = await self._attempts(pending, work)
                queue.extend(reversed(work.parts))
                work.parts.clear()
                if not is_known:
                    left.append(pending)
                    if pending.met_outage:
                        left.extend(reversed(queue))
                        queue.clear()

        if at_once == 1 or len(queue) == 1:
            await worker()
            return left
        workers = (worker() for _ in range(min(at_once, len(queue))))
        results = await asyncio.gather(*workers, return_exceptions=True)
        # All workers end before anything is raised: a request in the middle is never abandoned
        # because its sibling found the fence closed.
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return left

    async def _attempts(self, pending: PendingUnit, work: UploadState) -> bool:
        """One round of attempts; whether the unit's fate is known."""
        if self._is_proven(pending, work):
            return True
        step = await self._step(pending, work)
        if step is UnitStep.GIVE_UP and not pending.is_pack:
            return await self._given_up(pending, work)
        # A pack is looked for first, which sends nothing (`_pending_unit`): what is in doubt may
        # come, and its chunks would be there twice.
        if step is UnitStep.WAIT:
            return False
        failure = await self._failure_of_round(pending, work)
        if failure is None:
            return not pending.is_uploaded
        if failure.fault is Fault.DOCUMENT:
            refused = pending.failed(failure, FailureReason.REJECTED)
            await self._give_up(pending, work, pending.given_up or refused)
            return True
        is_looked_for = failure.pending and pending.is_blocked
        if not failure.may_be_its_texts and not is_looked_for:
            return False
        if self._deathwatch.suspects(pending.watched):
            return False  # the poison probe would only kill the server once more
        if not await self._giving_up.after(pending, failure, work):
            return False
        return await self._given_up(pending, work)

    async def _step(self, pending: PendingUnit, work: UploadState) -> UnitStep:
        """What comes next for a unit; what the server may die of is not compared (see below)."""
        if pending.comparison is not None and self._deathwatch.suspects(pending.watched):
            return UnitStep.TRY
        return await self._giving_up.before(pending, work)

    async def _failure_of_round(self, pending: PendingUnit, work: UploadState) -> Failure | None:
        """What the last attempt of a round met; None: nothing."""
        failure: Failure | None = None
        for attempt in range(1, self._giving_up.attempts_of(pending) + 1):
            if attempt > 1:
                async with work.right.short():
                    await asyncio.sleep(self._policy.delay(attempt - 1, self._rng))
            failure = await self._attempt(pending, work)
            if failure is None or failure.fault is not Fault.UNCLEAR:
                return failure
            if failure.ambiguous:
                break  # another attempt at once would only look for this one
        return failure

    async def _given_up(self, pending: PendingUnit, work: UploadState) -> bool:
        """Give a unit up for good, unless its last upload may still take effect."""
        failure = pending.failure
        if failure is not None and (failure.ambiguous or failure.by_intermediary):
            return False  # it is looked for once more
        await self._give_up(pending, work, pending.given_up)
        return True

    def _let_fall(self, pending: PendingUnit, work: UploadState, failure: Failure | None) -> None:
        """Give a unit up that is proven to kill the server; it is only looked for once more."""
        if pending.given_up:
            return
        if pending.is_pack:
            if self._deathwatch.breaks_up(pending.watched):
                self._giving_up.split(pending, "AnythingLLM may have died of it")
            return
        why = self._deathwatch.why_it_falls(pending.watched)
        if why is not None:
            work.used_up = True
            failure = failure or Failure(why)
            pending.given_up = pending.failed(failure, FailureReason.EXHAUSTED, why)
            log.error("chunk.kills_server", chunk_ids=pending.watched.chunk_ids, evidence=why)

    async def _give_up(
        self, pending: PendingUnit, work: UploadState, failed: Sequence[FailedChunk]
    ) -> None:
        work.right.check()
        stored = await pending.upload.abandon()
        self._index.removed(pending.upload.removed)
        if stored is not None:
            self._note_stored(pending, work, stored)
        elif pending.is_pack:
            self._split(pending, work, failed[0].message)
        else:
            self._culprits.note(pending.unit.chunks[0].content)
            work.failed.extend(failed)

    def _split(self, pending: PendingUnit, work: UploadState, why: str) -> None:
        """Have each chunk of a pack uploaded on its own, in the same round."""
        self._deathwatch.replaced(pending.watched)
        for unit in _singles(pending.unit, work):
            part = self._pending_unit(unit, work)
            part.blocked_since = pending.failing_since
            work.parts.append(part)
        self._metrics.packs_split.inc()
        log.info(
            "pack.split",
            workspace=work.slug,
            chunk_ids=pending.watched.chunk_ids,
            attempts=pending.attempts,
            error=why,
            consequence="each of its chunks is uploaded on its own; none is given up for this",
        )

    async def _attempt(self, pending: PendingUnit, work: UploadState) -> Failure | None:
        try:
            await self._prepare(work)
            send = partial(self._send, pending, work)
            await self._deathwatch.attempt(pending.watched, send, work.right, work.trace_id)
        except Failure as failure:
            self._note_failed(pending, work, failure)
            return failure
        return None

    def _note_failed(self, pending: PendingUnit, work: UploadState, failure: Failure) -> None:
        pending.last = failure
        if failure.pending:
            return
        if failure.may_be_its_texts:
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

    async def _prepare(self, work: UploadState) -> None:
        """Prepare the workspace without a slot: one that takes minutes must not hold all slots."""
        work.right.check()
        with self._gates.trying(work.slug):
            self._gates.check(work.slug)
            await self._storage.prepare(work.slug, trace_id=work.trace_id)

    async def _send(self, pending: PendingUnit, work: UploadState) -> None:
        async def attempt() -> StoredUnit | None:
            self._giving_up.sends(pending)
            with self._counted(pending):
                try:
                    return await pending.upload.attempt()
                finally:
                    # A row that is still believed would be taken for the copy that stays.
                    self._index.removed(pending.upload.removed)

        stored = await self._slots.send(work.slug, attempt, work.right, proves=pending.is_uploaded)
        pending.is_uploaded = stored is None
        if stored is not None:
            self._note_stored(pending, work, stored)

    def _is_proven(self, pending: PendingUnit, work: UploadState) -> bool:
        """Whether a unit that was uploaded is proven by what was asked for its siblings."""
        if not pending.is_uploaded or self._deathwatch.suspects(pending.watched):
            return False  # the watch has to see a suspect get through
        if (stored := pending.upload.proven()) is None:
            return False
        work.right.check()
        self._note_stored(pending, work, stored)
        return True

    def _note_stored(self, pending: PendingUnit, work: UploadState, stored: StoredUnit) -> None:
        self._giving_up.stored(pending)
        self._index.stored(work.slug, stored)
        work.uploaded.extend(chunk.id for chunk in pending.unit.chunks)

    def _counted(self, pending: PendingUnit) -> AbstractContextManager[None]:
        """Count and time an attempt, unless it proves what was uploaded: it has other slots."""
        if pending.is_uploaded:
            return nullcontext()
        return self._metrics.uploading(len(pending.unit.chunks))


def _singles(unit: Unit, work: UploadState) -> list[Unit]:
    plan = work.plan
    return [unit_of((chunk,), plan.document, plan.version) for chunk in unit.chunks]


def _unchanged(work: UploadState) -> tuple[str, ...]:
    """Where something failed, what stale packs hold stays stored there."""
    done = {*work.uploaded, *(each.chunk_id for each in work.failed)}
    moved = (chunk.id for unit in work.plan.moved for chunk in unit.chunks)
    return (*work.plan.unchanged, *(each for each in moved if each not in done))


def _as_it_was(work: UploadState) -> Applied:
    """A text was refused in its new pack: it is stored in its old one, with all the others."""
    plan = work.plan
    log.warning(
        "repack.left",
        workspace=work.slug,
        document_id=plan.document.id,
        chunk_ids=[each.chunk_id for each in work.failed],
        error=work.failed[0].message,
        consequence="it stays packed as it was; what was stored once more meanwhile is removed",
    )
    work.failed.clear()
    uploaded = tuple(work.uploaded)
    return Applied(plan.slug, plan.version, uploaded, _unchanged(work), failed=(), removed_chunks=0)


def _stale(plan: Plan, identity: Identity, *, again: bool) -> Ending:
    contents = {content_of(unit) for unit in plan.stale}

    def ends(unit: AnyStored) -> bool:
        # An event may have failed for what no row leads to any more.
        is_former = again and plan.version.newer_than(unit.version)
        # What a removal may take holds nothing by the plan, and its text is not known.
        unknown = unit.version, (), unit.chunk_ids
        return is_former or content_of(unit) in contents or unknown in contents

    texts = [plan.document.title, *(chunk.content for chunk in plan.document.chunks[:1])]
    wanted = frozenset(plan.digests)
    return Ending(identity, Occurrence(plan.version), plan.stale, ends, texts, wanted=wanted)


def _counts_for_fuse(work: UploadState, *, is_trial: bool, is_replay: bool) -> bool:
    """Whether the fuse notes this round.

    It notes a document once, and every trial. Of a replay it notes only a trial that went well: a
    replay failed before, so its failure is no news.
    """
    if is_replay:
        return is_trial and not work.pending and not work.used_up
    return (not work.pending or work.used_up) and (is_trial or not work.is_noted)
