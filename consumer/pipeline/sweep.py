"""The sweep: it removes what uploads left behind that no document waited for.

The former owner of our partitions may have died with uploads under way, and AnythingLLM goes on
with them for up to the ambiguity time. We upload the same chunks, and then the former owner's
copies arrive: doubles, and chunks of versions that are gone. So every workspace is listed once more
when that time has passed since the assignment. The same goes for whatever of our own was in doubt
when nobody waited for it any more (`consumer.pipeline.due_looks`); then only its workspace is
listed. A process that begins looks soon at what others left, because it may not live that long.

What is always true:
- Of a document that was carried out since the assignment, the sweep removes everything that its
  newest version is stored without, by the same rule as in a plan. Of other documents it removes
  only what is there twice: uploaded for the same chunks with the same texts, also where these are
  in a pack here and on their own there.
- Where rows prove nothing (`Storage.rows_prove`) the copy that stays depends on what a process has
  seen. So after an owner that died nothing is removed there before its last removal is over: it may
  be about to take the other copy. And of copies of which nobody has seen any, none is removed: they
  are looked for, and stay both where a search does not show both.
- It touches only units whose event came from a partition of ours, never newer ones, and never what
  others have uploaded. Test documents of processes that are gone go, too.
- It takes the documents' turns in their queues for deciding and removing. So no plan is made with a
  copy that is about to go, not even with one that a listing still shows. A document that is in work
  is looked at later, by the same listing.
- A workspace is done when all of it was in memory while it was looked at.
- A workspace that can't be mended now is looked at later; the others do not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import structlog

from consumer.model.copies import chosen_blindly, superfluous_in
from consumer.model.fault import Failure
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.version import DocumentVersion
from consumer.pipeline.carried_out import CarriedOut
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.due_looks import DueLooks
from consumer.pipeline.gates import Gates
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import StoredRow
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.ports import (
    IsAssigned,
    IsOurs,
    Permits,
    RightToWork,
    Storage,
    TakenOverAt,
)
from consumer.pipeline.removal import Remover
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_FIRST_SECONDS = 60.0  # from the first assignment of this process to its first look
_AGAIN_SECONDS = 60.0  # until a workspace is looked at again that was not all in memory
_AFTER_FAILURE_SECONDS = 300.0  # until a workspace is looked at again that could not be mended
_TRIES = 3  # of one removal; documents wait for it
_BATCH = 50  # units removed with one waiting
_MOST_NAMED = 10  # documents, in a line of the log
_MOST_PROVEN = 50  # documents whose copies are searched for at a time: other workspaces wait
_SLICE = 500  # documents looked at between two turns of the event loop
_NO_TRACE = TraceId("")  # it is about no single event
_NOBODYS_TARGET = Slug("*")  # no workspace's slug: its turns compete with no document's


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at a workspace.

    Args:
        begun: when its listing was read.
        identities: of the documents that are left to look at.
        proven: of those whose copies were looked for.
    """

    begun: float
    identities: Sequence[Identity]
    proven: frozenset[Identity] = frozenset()


class Sweep:
    """See the module's docstring.

    Args:
        queues: know which identities are in work.
        carried_out: knows what documents want.
        looks: when they are due.
        doubts: hear when a look is complete.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        remover: Remover,
        gates: Gates,
        queues: KeyQueues,
        carried_out: CarriedOut,
        looks: DueLooks,
        doubts: Doubts,
        *,
        permits: Permits,
        is_assigned: IsAssigned,
        is_ours: IsOurs,
        taken_over_at: TakenOverAt,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._index = index
        self._remover = remover
        self._gates = gates
        self._queues = queues
        self._carried_out = carried_out
        self._looks = looks
        self._doubts = doubts
        self._permits = permits
        self._is_assigned = is_assigned
        self._is_ours = is_ours
        self._taken_over_at = taken_over_at
        self._clock = clock
        self._metrics = metrics
        self._assignment = Fence("assignment")
        self._removing = asyncio.Lock()
        self._is_first = self._is_new = True
        self._unfinished: dict[Slug, _Look] = {}

    async def end(self) -> bool:
        """Our partitions are going: send nothing more, and wait for the removal under way.

        The next owner would count as stored what is about to go.

        Returns:
            Whether it is known what became of all removals.
        """
        self._assignment.close()
        async with self._removing:
            return not self._doubts.any_going

    def begin(self) -> None:
        """Our partitions went: stop, and look when the time has passed since the next ones."""
        self._assignment.close()
        self._assignment = Fence("assignment")
        self._is_new = True
        for slug in self._unfinished:
            self._looks.after(slug, 0.0)
        self._unfinished.clear()

    async def keep_looking(self) -> None:
        """Sweep when the time has come, and again what could not be swept then. For ever."""
        while True:
            await asyncio.sleep(self._looks.grid)
            if not self._is_assigned():
                continue
            if self._is_new:
                self._note_assignment()
            right = AssignmentRight(self._assignment)
            with suppress(FenceClosedError):
                for slug in self._looks.due():
                    await self._gates.clear_of_outage(right)
                    await self._try(slug, self._look(slug, right))
                for slug in list(self._unfinished):
                    await self._try(slug, self._sweep(slug, right))

    def _note_assignment(self) -> None:
        # A former owner may have gone on until now.
        self._looks.doubt(None)
        if self._is_first:
            self._looks.after(None, _FIRST_SECONDS)
        self._is_first = self._is_new = False

    async def _try(self, slug: Slug | None, looking: Awaitable[None]) -> None:
        try:
            await looking
        except Failure as failure:
            log.info("second_look.failed", workspace=slug, error=failure.message)
            if slug is not None:
                self._unfinished.pop(slug, None)
                self._looks.again(slug, _AFTER_FAILURE_SECONDS)

    async def _look(self, slug: Slug | None, right: RightToWork) -> None:
        right.check()
        begun = self._clock()
        if slug is None:
            every = await self._storage.workspaces(trace_id=_NO_TRACE)
            right.check()
            ours = list(filter(self._permits, every))
            self._looks.every(ours, begun)
            self._doubts.every(ours, begun)
            return
        await self._index.read_anew(slug, trace_id=_NO_TRACE)
        right.check()
        self._looks.looked(slug, begun)
        if (uncertain := await self._uncertain_for()) > 0:
            self._looks.after(slug, uncertain)
        else:
            self._unfinished[slug] = _Look(begun, self._index.identities(slug))
            await self._sweep(slug, right)
        right.check()
        seconds = await self._storage.tidy(slug, trace_id=_NO_TRACE)
        if seconds is not None:
            self._looks.after(slug, seconds)

    async def _uncertain_for(self) -> float:
        """Seconds in which nobody knows which copy a former owner that died is removing."""
        rows_prove = await self._storage.rows_prove(trace_id=_NO_TRACE)  # `is_proven` goes by it
        taken_over_at = self._taken_over_at()
        if taken_over_at is None or rows_prove:
            return 0.0
        return taken_over_at + self._looks.ambiguity - self._clock()

    async def _sweep(self, slug: Slug, right: RightToWork) -> None:
        """Remove what the documents that are left of a workspace are stored without."""
        look = self._unfinished[slug]
        found = await self._swept(slug, look, right)
        # Its last removal may have outlived the assignment, and what is unfinished is the next
        # one's by then.
        right.check()
        self._unfinished.pop(slug, None)
        if found is None:
            self._looks.after(slug, _AGAIN_SECONDS)
            return
        self._doubts.looked(slug, look.begun, but=frozenset(found.identities))
        if found.identities:
            self._unfinished[slug] = found

    async def _swept(self, slug: Slug, look: _Look, right: RightToWork) -> _Look | None:
        """What is left to look at: documents in work, and copies that were only looked for now.

        None where not all of the workspace was in memory.
        """
        is_known, in_work, unseen = True, list[Identity](), list[Identity]()
        surplus, whose = list[StoredRow](), list[Identity]()
        with ExitStack() as turns:
            for n, identity in enumerate(look.identities, 1):
                if n % _SLICE == 0:
                    await asyncio.sleep(0)
                    right.check()
                is_known = is_known and slug in self._index
                if identity in self._queues:
                    in_work.append(identity)
                    continue
                found, is_blind = self._surplus(slug, identity)
                if found:
                    self._take_turn(identity, found[0].version, turns)
                    surplus += found
                    whose.append(identity)
                if is_blind and identity not in look.proven:
                    unseen.append(identity)
                if len(surplus) >= _BATCH:
                    await self._remove(slug, surplus, whose, right)
                    surplus, whose = [], []
                    turns.close()
            if surplus:
                await self._remove(slug, surplus, whose, right)
        if not is_known:
            return None
        some = unseen[:_MOST_PROVEN]
        await self._prove(slug, some, right)
        return _Look(look.begun, [*in_work, *unseen], look.proven.union(some))

    async def _prove(self, slug: Slug, identities: Sequence[Identity], right: RightToWork) -> None:
        """Look for copies that nobody has seen; where that fails both stay."""
        failed = 0
        for identity in identities:
            rows = self._index.known(slug, identity)
            try:
                with structlog.contextvars.bound_contextvars(identity=identity):
                    await self._storage.prove(slug, rows, trace_id=_NO_TRACE, check=right.check)
            except Failure as failure:
                right.check()
                log.info(
                    "second_look.not_proven",
                    workspace=slug,
                    identity=identity,
                    error=failure.message,
                    consequence="of its copies none is removed before the next look",
                )
                failed += 1
                if failed == _TRIES:
                    return

    def _take_turn(self, identity: Identity, version: DocumentVersion, turns: ExitStack) -> None:
        turn = self._queues.enter(identity, _NOBODYS_TARGET, version)
        turns.callback(turn.leave)
        turns.enter_context(turn.stalling())

    async def _remove(
        self, slug: Slug, units: list[StoredRow], whose: list[Identity], right: RightToWork
    ) -> None:
        # Whatever is logged of it names whose chunks they are: no document's task does this.
        with structlog.contextvars.bound_contextvars(identities=whose[:_MOST_NAMED]):
            async with self._removing:
                removed = await self._remover.remove(
                    slug, units, right, trace_id=_NO_TRACE, rounds=_TRIES
                )
            self._metrics.chunks.labels("removed").inc(removed.chunks)
            if removed.chunks:
                log.warning("second_look.removed", workspace=slug, chunks=removed.chunks)

    def _surplus(self, slug: Slug, identity: Identity) -> tuple[list[StoredRow], bool]:
        """What goes of a document, and whether some stays because nobody has seen its copies."""
        going = self._doubts.going(slug, identity)  # those are no copies that stay
        known = self._index.known(slug, identity)
        stored = sorted(
            (unit for unit in known if unit.location not in going), key=lambda unit: unit.location
        )
        is_proven = self._storage.is_proven
        left_over = self._carried_out.known(slug, identity).left_over(stored, is_proven)
        # Only then: the copy that stays must not be one that goes for another reason.
        goes = {unit.location for unit in left_over}
        rest = [unit for unit in stored if unit.location not in goes]
        superfluous, is_blind = superfluous_in(rest, is_proven)
        surplus = [
            *left_over,
            *(u for u in rest if u.location in superfluous and self._is_ours(u.version.partition)),
        ]
        goes = {unit.location for unit in surplus}
        stays = [unit for unit in stored if unit.location not in goes]
        blind = chosen_blindly(surplus, stays, is_proven)
        return [unit for unit in surplus if unit not in blind], is_blind or bool(blind)
