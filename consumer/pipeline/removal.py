"""Removing what is stored and not wanted: a removal is a request like an upload.

What is always true:
- The right to go on is asked right before every request, also within a removal of many.
- A request that was sent is followed to its known end, whatever overtakes its event: AnythingLLM
  says that the units are gone, or a listing that was read after the end of the doubt says what is
  left. Otherwise the next version would count as stored what is about to go. A few more tries come
  first, because they end most doubts sooner than time does.
- Only a lost partition, or rounds that are used up, leave a request in doubt. Then its units hold
  nothing for anybody until the doubt is over, and the sweep looks at the workspace after that.
- The index hears of every request before the next one is sent.
- A removal that is refused (401, 403, both ways by a proxy) is asked for again over minutes before
  its units count as left for good (`resilience.refusals`). Where all removals were refused lately,
  each that follows need not wait anew: with deletion protection every event would.
- It waits for AnythingLLM as a whole, not for a paused workspace: units can be removed from a
  workspace that takes none, and that proves nothing about taking any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from consumer.model.fault import Failure
from consumer.model.listing import FILE_STORE
from consumer.model.names import Slug, TraceId
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.gates import Gates
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import AnyStored
from consumer.pipeline.ports import RightToWork, Storage
from consumer.resilience.fence import FenceClosedError
from consumer.resilience.refusals import FOR_GOOD_SECONDS, Refusals

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of units that were to be removed.

    Args:
        chunks: how many those that are gone held.
        left: units whose removal is refused for good: they stay.
        why: the last answer and how often it came, where some are left.
        http_status: of it.
    """

    chunks: int
    left: tuple[AnyStored, ...] = ()
    why: str = ""
    http_status: int | None = None


AT_ONCE = 10  # units a request: each takes 0.2 to 5 s on a large workspace
_SOON = 3  # tries of a request in doubt that nothing overtakes


@dataclass(slots=True)
class _Batch:
    """What one request removes.

    Args:
        left: units that are not known to be gone.
        refusals: that it has met itself: a firewall may dislike one name, and let others through.
        on_sent: called before a request is sent.
        doubt_ends: when a request that was sent can take effect no more; None: none is in doubt.
    """

    slug: Slug
    left: Sequence[AnyStored]
    trace_id: TraceId
    refusals: Refusals
    on_sent: Callable[[], None]
    doubt_ends: float | None = None


class Remover:
    """See the module's docstring.

    Args:
        doubts: hear of removals that were left in doubt.
        ambiguity: seconds in which a request without an answer may still take effect.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        gates: Gates,
        backoff: Backoff,
        doubts: Doubts,
        *,
        ambiguity: float,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._index = index
        self._gates = gates
        self._backoff = backoff
        self._doubts = doubts
        self._ambiguity = ambiguity
        self._clock = clock
        self._refusals = Refusals(clock)  # of all removals

    async def remove(
        self,
        slug: Slug,
        units: Sequence[AnyStored],
        right: RightToWork,
        *,
        trace_id: TraceId,
        rounds: int | None = None,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Removed:
        """Remove stored units.

        Args:
            slug: the workspace.
            units: what goes.
            right: checked before every request.
            trace_id: sent to AnythingLLM.
            rounds: tries of one request at most; None: for as long as it takes.
            on_sent: called before each request is sent.

        Raises:
            FenceClosedError: the right to go on ended.
            Failure: the rounds are used up.
        """
        removed = 0
        for start in range(0, len(units), AT_ONCE):
            some = units[start : start + AT_ONCE]
            batch = _Batch(slug, some, trace_id, Refusals(self._clock), on_sent)
            held = sum(len(unit.digests) for unit in batch.left)
            try:
                refused = await self._carry_out(batch, right, rounds)
            finally:
                self._leave_in_doubt(batch)
            removed += held - sum(len(unit.digests) for unit in batch.left)
            if refused is not None:  # nor would it let us remove the others
                left = (*batch.left, *units[start + AT_ONCE :])
                return self._left(batch, removed, left, refused)
        return Removed(removed)

    def _left(
        self, batch: _Batch, removed: int, left: tuple[AnyStored, ...], refused: Failure
    ) -> Removed:
        evidence = batch.refusals if batch.refusals.is_for_good else self._refusals
        log.error(
            "removal.forbidden",
            workspace=batch.slug,
            units=len(left),
            error=refused.message,
            evidence=str(evidence),
            consequence="they stay, and the event that ends them fails with a dead letter",
            what_to_do="allow it, then replay the dead letters of the stage `remove`",
        )
        return Removed(removed, left, f"{refused.message}; {evidence}", refused.http_status)

    async def _carry_out(
        self, batch: _Batch, right: RightToWork, rounds: int | None
    ) -> Failure | None:
        """Remove a batch; the failure that leaves some of it for good."""
        tried, failure = 0, None
        try:
            while batch.left:
                is_urgent = batch.doubt_ends is not None and tried < _SOON
                waits = right.following() if is_urgent else right
                if failure is not None:
                    await self._backoff.pause(tried, [failure], waits, None)
                await self._gates.clear_of_outage(waits)
                failure = await self._send(batch, right)
                if failure is None:
                    return None
                if failure.left and batch.left and self._is_for_good(batch, failure):
                    return failure
                tried += 1
                if tried == rounds:
                    raise failure
        except FenceClosedError:
            if not right.closed:
                await self._follow(batch, right.following())
            raise
        return None

    def _is_for_good(self, batch: _Batch, failure: Failure) -> bool:
        for row in (batch.refusals, self._refusals):
            row.refused()
        if self._refusals.is_first:
            log.warning(
                "removal.refused",
                workspace=batch.slug,
                units=len(batch.left),
                error=failure.message,
                consequence="it is asked for again; refused for"
                f" {FOR_GOOD_SECONDS:.0f} s its event fails, with a dead letter",
                what_to_do="see what stands before AnythingLLM, and its deletion protection",
            )
        return batch.refusals.is_for_good or self._refusals.is_for_good

    async def _send(self, batch: _Batch, right: RightToWork) -> Failure | None:
        before = batch.doubt_ends

        def check() -> None:
            right.check()
            batch.on_sent()
            batch.doubt_ends = math.inf

        locations = [unit.location for unit in batch.left]
        try:
            await self._storage.remove(batch.slug, locations, trace_id=batch.trace_id, check=check)
        except Failure as failure:
            self._gates.note(failure)
            batch.doubt_ends = before
            if failure.ambiguous or (failure.unproven and not failure.left):
                batch.doubt_ends = self._clock() + self._ambiguity
                await self._look(batch)
            elif failure.unproven:
                await self._look(batch)  # what was done may have been refused on its way back
            return failure
        self._gates.note(None)
        self._refusals.passed()
        self._gone(batch, ())
        return None

    async def _follow(self, batch: _Batch, right: RightToWork) -> None:
        """Return when it is known what became of a request in doubt."""
        looks = 0
        while batch.left and batch.doubt_ends is not None:
            looks += 1
            await self._backoff.pause(looks, (), right, None)
            await self._gates.clear_of_outage(right)
            is_over = self._clock() >= batch.doubt_ends
            if await self._look(batch) and is_over:
                batch.doubt_ends = None

    async def _look(self, batch: _Batch) -> bool:
        """Take out what a new listing shows to be gone; whether there is one.

        The list of files shows nothing of that: AnythingLLM removes the file first, and where it
        then fails (500) the row is still listed. Only the answer to a removal ends one there.
        """
        if batch.slug == FILE_STORE:
            return True
        try:
            there = await self._index.listed_anew(batch.slug, batch.left, trace_id=batch.trace_id)
        except Failure as failure:
            self._gates.note(failure)
            return False
        self._gone(batch, there)
        return True

    def _gone(self, batch: _Batch, there: Sequence[AnyStored]) -> None:
        self._index.removed([unit for unit in batch.left if unit not in there])
        batch.left = there
        if not there:
            batch.doubt_ends = None

    def _leave_in_doubt(self, batch: _Batch) -> None:
        if batch.doubt_ends is None:
            return
        # The list of files is no workspace: what goes there goes from all of them.
        where = None if batch.slug == FILE_STORE else batch.slug
        for unit in batch.left:
            identity = self._index.identity_of(unit)
            self._doubts.note_removal(where, identity, [unit.location])
