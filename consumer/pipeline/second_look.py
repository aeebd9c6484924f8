"""The second look: what a former owner's uploads left behind is removed when they are over.

Whoever had our partitions before may have died with uploads under way, and AnythingLLM goes on with
them for up to the ambiguity time. We upload the same chunks, and then the former owner's copies
arrive: doubles, and chunks of versions that are gone. So every workspace is listed once more when
that time has passed since the assignment. What is always true:

- Of a document that was changed since then, everything goes that its newest version is stored
  without, by the same rule as in a plan. Of the others only what is there twice: uploaded for the
  same chunks of the same event.
- Only units whose event came from a partition of ours are touched; never newer ones, never what
  others have uploaded.
- Deciding and noting it in the index is one synchronous step, and not done while a document is in
  a lane: nobody plans with a copy that is about to go.
- What a revocation interrupts is forgotten: the next owner looks for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

import structlog

from consumer.model.difference import Stored, cover
from consumer.model.fault import Failure
from consumer.model.version import DocumentVersion
from consumer.pipeline.gates import EVERY_WORKSPACE, Gates
from consumer.pipeline.index import Index
from consumer.pipeline.lanes import Lanes
from consumer.pipeline.ports import Storage
from consumer.pipeline.rows import StoredRow
from consumer.pipeline.upload import Uploader
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_MOST_DIGESTS = 200_000  # remembered for it, about 20 MB: ten times what 600 s of uploads make
_AGAIN_SECONDS = 30.0  # until a workspace is looked at again of which a document was in work
_SLICE = 500  # documents looked at between two turns of the event loop
_NO_TRACE = ""  # it is about no single event


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be stored of a document.

    Args:
        digests: of its chunks.
        may_go: whether a unit that is not wanted is older.
    """

    digests: tuple[str, ...]
    may_go: Callable[[Stored], bool]


def of_version(version: DocumentVersion, digests: Iterable[str]) -> Wanted:
    """What a document of this version wants."""
    return Wanted(tuple(digests), lambda unit: not unit.version.newer_than(version))


class SecondLook:
    """See the module's docstring.

    Args:
        storage: knows the workspaces.
        index: what is stored.
        uploader: removes.
        gates: where it waits.
        lanes: which identities are in work.
        permits: whether a workspace may be touched.
        is_ours: whether a partition of the documents topic is ours.
        ambiguity: seconds in which an upload without an answer may still take effect.
        clock: monotonic seconds.
        metrics: counts.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        uploader: Uploader,
        gates: Gates,
        lanes: Lanes,
        *,
        permits: Callable[[str], bool],
        is_ours: Callable[[int | None], bool],
        ambiguity: float,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._index = index
        self._uploader = uploader
        self._gates = gates
        self._lanes = lanes
        self._permits = permits
        self._is_ours = is_ours
        self._ambiguity = ambiguity
        self._clock = clock
        self._metrics = metrics
        self._due = clock() + ambiguity
        self._changed: dict[str, dict[str, Wanted]] = {}
        self._digests = 0
        self._looked = False  # whether it is known which workspaces there are
        self._left: set[str] = set()
        self._tenure = Fence("assignment")

    def begin(self) -> None:
        """Our partitions were dealt out anew: forget, and look when the time has passed again."""
        self._tenure.close()
        self._tenure = Fence("assignment")
        self._changed.clear()
        self._digests = 0
        self._looked = False
        self._left.clear()
        self._due = self._clock() + self._ambiguity

    def changed(self, slug: str, identity: str, wanted: Wanted) -> None:
        """A document was changed in a workspace, and this is what should be there now."""
        former = self._changed.get(slug, {}).get(identity)
        too_late = self._clock() >= self._due or self._digests > _MOST_DIGESTS
        if former is None and too_late:
            return
        self._changed.setdefault(slug, {})[identity] = wanted
        self._digests += len(wanted.digests) - (len(former.digests) if former else 0)

    def deleted(self, identity: str, slug: str | None, may_go: Callable[[Stored], bool]) -> None:
        """A tombstone was carried out in a workspace, or (None) in all."""
        for name in [slug] if slug is not None else list(self._changed):
            if slug is not None or identity in self._changed[name]:
                self.changed(name, identity, Wanted((), may_go))

    async def keep_looking(self) -> None:
        """Look when the time has come, and again at what could not be seen to then. For ever."""
        while True:
            await asyncio.sleep(max(self._due - self._clock(), _AGAIN_SECONDS))
            if self._clock() < self._due or (not self._left and self._looked):
                continue
            with suppress(FenceClosedError):
                await self._look(self._tenure)

    async def _look(self, tenure: Fence) -> None:
        waits = _Waits(tenure)
        await self._gates.clear(EVERY_WORKSPACE, waits)
        try:
            if not self._looked:
                every = await self._storage.workspaces(trace_id=_NO_TRACE)
                tenure.check()
                self._left = {slug for slug in every if self._permits(slug)}
                self._looked = True
        except Failure as failure:
            log.info("second_look.failed", error=failure.message)
            return
        for slug in sorted(self._left):
            if self._gates.pauses.troubled(slug):
                continue  # what is there twice is searchable all the same: it can wait
            await self._gates.clear(EVERY_WORKSPACE, waits)
            try:
                await self._look_into(slug, tenure)
            except Failure as failure:
                log.info("second_look.failed", workspace=slug, error=failure.message)

    async def _look_into(self, slug: str, tenure: Fence) -> None:
        await self._index.read_anew(slug, trace_id=_NO_TRACE)
        tenure.check()
        left: list[StoredRow] = []
        in_work = False
        for n, identity in enumerate(self._index.identities(slug)):
            if n % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
                tenure.check()
            if identity in self._lanes:
                in_work = True
                continue
            surplus = self._surplus(slug, identity)
            self._index.removed(slug, surplus)
            left += surplus
        if left:
            waits = _Waits(tenure)
            removed = await self._uploader.remove(slug, left, waits, tenure, trace_id=_NO_TRACE)
            self._metrics.chunks.labels("removed").inc(removed)
            log.warning("second_look.removed", workspace=slug, chunks=removed)
        if not in_work:
            self._left.discard(slug)
            self._changed.pop(slug, None)

    def _surplus(self, slug: str, identity: str) -> list[StoredRow]:
        stored = self._index.known(slug, identity)
        wanted = self._changed.get(slug, {}).get(identity)
        if wanted is not None:
            return [unit for unit in cover(wanted.digests, stored).left if wanted.may_go(unit)]
        first: dict[object, str] = {}
        for unit in sorted(stored, key=lambda each: each.location):
            first.setdefault(unit.content, unit.location)
        return [
            unit
            for unit in stored
            if first[unit.content] != unit.location and self._is_ours(unit.version.partition)
        ]


@dataclass(frozen=True, slots=True)
class _Waits:
    """Waits that the end of the assignment ends (`consumer.pipeline.gates.Waits`)."""

    tenure: Fence

    def short(self) -> AbstractAsyncContextManager[None]:
        return self.tenure.waiting()

    def long(self) -> AbstractAsyncContextManager[None]:
        return self.tenure.waiting()

    def aside(self) -> AbstractAsyncContextManager[None]:
        return self.tenure.waiting()
