"""The sweep: it removes what uploads left behind that no document waited for.

The former owner of our partitions may have died with uploads under way, and AnythingLLM goes on
with them for up to the ambiguity time. We upload the same chunks, and then the former owner's
copies arrive: doubles, and chunks of versions that are gone. So every workspace is listed once more
when that time has passed since the assignment. The same goes for a document of our own that a newer
version ended while its uploads were in doubt; then only its workspace is listed.

What is always true:
- Of a document that was carried out since then, the sweep removes everything that its newest
  version is stored without, by the same rule as in a plan. Of other documents it removes only what
  is there twice: uploaded for the same chunks of the same event.
- It touches only units whose event came from a partition of ours, never newer ones, and never what
  others have uploaded.
- It takes the documents' turns in their queues for deciding and removing. So no plan is made with a
  copy that is about to go, not even with one that a listing still shows. A document that is in work
  is looked at later.
- A workspace is done when all of it was in memory while it was looked at.
- A workspace that can't be mended now is looked at later; the others do not wait for it.
- What a revocation interrupts is forgotten: the next owner sweeps for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress

import structlog

from consumer.model.difference import ComparableUnit, cover, is_double
from consumer.model.fault import Failure
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.version import DocumentVersion
from consumer.pipeline.gates import Gates
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import StoredRow
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.ports import IsAssigned, IsOurs, Permits, RightToWork, Storage
from consumer.pipeline.removal import Remover
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.pipeline.sweep_memory import SweepMemory, WantedState
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 30.0  # between two looks at what is due
_AGAIN_SECONDS = 60.0  # until a workspace is looked at again of which a document was in work
_AFTER_FAILURE_SECONDS = 300.0  # until a workspace is looked at again that could not be mended
_TRIES = 3  # of one removal; documents wait for it
_BATCH = 50  # units removed with one waiting
_SLICE = 500  # documents looked at between two turns of the event loop
_NO_TRACE = TraceId("")  # it is about no single event
_NOBODYS_TARGET = Slug("*")  # no workspace's slug: its turns compete with no document's


class Sweep:
    """See the module's docstring.

    Args:
        queues: know which identities are in work.
        ambiguity: seconds in which an upload without an answer may still take effect.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        remover: Remover,
        gates: Gates,
        queues: KeyQueues,
        *,
        permits: Permits,
        is_assigned: IsAssigned,
        is_ours: IsOurs,
        ambiguity: float,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._index = index
        self._remover = remover
        self._gates = gates
        self._queues = queues
        self._permits = permits
        self._is_assigned = is_assigned
        self._is_ours = is_ours
        self._ambiguity = ambiguity
        self._clock = clock
        self._metrics = metrics
        self._begin()

    def _begin(self) -> None:
        self._assignment = Fence("assignment")
        self._memory = SweepMemory()
        self._due: float | None = None  # of all workspaces; None before there is an assignment
        self._knows_all = False  # whether `_left` has all workspaces that are to be looked at
        self._left: dict[Slug, float] = {}  # when each is due
        self._doubts: dict[Slug, float] = {}  # when the last upload in doubt in each is over

    def begin(self) -> None:
        """Our partitions went: forget, and sweep when the time has passed since the next ones."""
        self._assignment.close()
        self._begin()

    def applied(self, slug: Slug, identity: Identity, wanted: WantedState) -> None:
        """Note that a document was carried out in a workspace, and what should be there now."""
        if not self._knows_all or slug in self._left:
            self._memory.note(slug, identity, wanted)

    def deleted(
        self, identity: Identity, slug: Slug | None, may_go: Callable[[ComparableUnit], bool]
    ) -> None:
        """Note that a tombstone was carried out in a workspace, or (None) in all."""
        wanted = WantedState((), may_go)
        if slug is not None:
            self.applied(slug, identity, wanted)
        elif not self._knows_all or self._left:
            self._memory.note_everywhere(identity, wanted)

    def doubt(self, slug: Slug) -> None:
        """Note that uploads to a workspace may be under way that no document waits for any more."""
        over = self._doubts[slug] = self._clock() + self._ambiguity
        self._left.setdefault(slug, over)

    async def keep_looking(self) -> None:
        """Sweep when the time has come, and again what could not be swept then. For ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._due is None and self._is_assigned():
                # Not since the former partitions went: a former owner may go on until these came.
                self._due = self._clock() + self._ambiguity
            if self._is_due():
                with suppress(FenceClosedError):
                    await self._look(AssignmentRight(self._assignment))

    def _is_due(self) -> bool:
        if self._due is None or not self._is_assigned():
            return False
        now = self._clock()
        return (not self._knows_all and now >= self._due) or any(
            now >= due for due in self._left.values()
        )

    async def _look(self, right: RightToWork) -> None:
        if not self._knows_all and self._due is not None and self._clock() >= self._due:
            await self._gates.clear_of_outage(right)
            try:
                every = await self._storage.workspaces(trace_id=_NO_TRACE)
            except Failure as failure:
                log.info("second_look.failed", error=failure.message)
                return
            right.check()
            # Workspaces that are due later for a doubt are in it as well, and swept twice.
            self._left.update(dict.fromkeys(filter(self._permits, every), self._due))
            self._knows_all = True
            # Nothing more is noted of a workspace that is gone, so what was noted would grow stale.
            for slug in self._memory.by_slug.keys() - self._left.keys():
                self._memory.forget(slug)
        now = self._clock()
        for slug in sorted(slug for slug, due in self._left.items() if due <= now):
            await self._gates.clear_of_outage(right)
            begun = self._clock()
            try:
                is_done = await self._look_into(slug, right)
            except Failure as failure:
                log.info("second_look.failed", workspace=slug, error=failure.message)
                again: float | None = _AFTER_FAILURE_SECONDS
            else:
                again = None if is_done else _AGAIN_SECONDS
            right.check()
            if again is None:
                self._done(slug, begun)
            else:
                self._left[slug] = self._clock() + again

    def _done(self, slug: Slug, begun: float) -> None:
        if self._doubts.get(slug, begun) > begun:
            self._left[slug] = self._doubts[slug]
            return
        self._doubts.pop(slug, None)
        del self._left[slug]
        if self._knows_all:
            self._memory.forget(slug)
            if not self._left:
                self._memory.forget_everywhere()

    async def _look_into(self, slug: Slug, right: RightToWork) -> bool:
        """Sweep one workspace; whether all of it could be looked at."""
        await self._index.read_anew(slug, trace_id=_NO_TRACE)
        right.check()
        is_done = slug in self._index
        surplus: list[StoredRow] = []
        with ExitStack() as turns:
            for n, identity in enumerate(self._index.identities(slug), 1):
                if n % _SLICE == 0:
                    await asyncio.sleep(0)
                    right.check()
                is_done = is_done and slug in self._index
                if identity in self._queues:
                    is_done = False
                    continue
                found = self._surplus(slug, identity)
                if found:
                    self._take_turn(identity, found[0].version, turns)
                    surplus += found
                if len(surplus) >= _BATCH:
                    await self._remove(slug, surplus, right)
                    surplus = []
                    turns.close()
            if surplus:
                await self._remove(slug, surplus, right)
        return is_done

    def _take_turn(self, identity: Identity, version: DocumentVersion, turns: ExitStack) -> None:
        turn = self._queues.enter(identity, _NOBODYS_TARGET, version)
        turns.callback(turn.leave)
        turns.enter_context(turn.stalling())

    async def _remove(self, slug: Slug, units: list[StoredRow], right: RightToWork) -> None:
        try:
            removed = await self._remover.remove(
                slug, units, right, trace_id=_NO_TRACE, rounds=_TRIES
            )
        except Failure:
            self._index.forget(slug)  # it is not known which of them are gone
            raise
        self._metrics.chunks.labels("removed").inc(removed)
        log.warning("second_look.removed", workspace=slug, chunks=removed)

    def _surplus(self, slug: Slug, identity: Identity) -> list[StoredRow]:
        stored = self._index.known(slug, identity)
        wanted = self._memory.wanted(slug, identity)
        if wanted is not None:
            return [unit for unit in cover(wanted.digests, stored).left if wanted.may_go(unit)]
        seen: set[object] = set()
        in_order = sorted(stored, key=lambda each: each.location)
        doubles = [unit for unit in in_order if is_double(unit, seen)]
        return [unit for unit in doubles if self._is_ours(unit.version.partition)]
