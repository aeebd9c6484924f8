"""Apply: bring the state that an event tells into AnythingLLM, however long an outage lasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from consumer.model.fault import Failure
from consumer.model.marker import StoredUnit
from consumer.model.outcome import Applied, Deleted, Outcome, Refused, Superseded
from consumer.pipeline.index import Index
from consumer.pipeline.plan import is_superseded, make_plan
from consumer.pipeline.ports import Storage
from consumer.pipeline.read import DocumentEvent, Event, TombstoneEvent
from consumer.pipeline.settled import Settled
from consumer.pipeline.upload import PlanOutdated, Uploader, Waits
from consumer.resilience.fence import Fence

T = TypeVar("T")


class Applier:
    """Carries out events.

    Args:
        storage: AnythingLLM.
        index: what is stored.
        uploader: carries out plans.
        settled: what is known beyond the markers.
        permits: whether a workspace may be touched; asked before a tombstone looks into it.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        uploader: Uploader,
        settled: Settled,
        *,
        permits: Callable[[str], bool],
    ) -> None:
        self._storage = storage
        self._index = index
        self._uploader = uploader
        self._settled = settled
        self._permits = permits

    async def apply(self, event: Event, waits: Waits, fence: Fence) -> Outcome:
        """What became of the event.

        Raises:
            FenceClosedError: the right to go on ended; nothing may be settled.
        """
        match event.body:
            case Refused() as refused:
                return refused
            case DocumentEvent() as body:
                return await self._store(body, waits, fence, event.trace_id)
            case TombstoneEvent() as body:
                return await self._delete(body, waits, fence, event.trace_id)

    async def _store(
        self, body: DocumentEvent, waits: Waits, fence: Fence, trace_id: str
    ) -> Applied | Superseded:
        async def look() -> tuple[StoredUnit, ...]:
            # A document without content needs no workspace: none is made for it.
            if body.document.chunks:
                await self._storage.prepare(body.slug, trace_id=trace_id)
            return await self._index.units(body.slug, body.identity, trace_id=trace_id)

        while True:
            stored = await self._patiently(look, waits, fence)
            if self._is_superseded(body, stored):
                return Superseded(body.slug, body.version)
            plan = make_plan(body.slug, body.document, body.version, stored)
            try:
                applied = await self._uploader.carry_out(plan, waits, fence, trace_id=trace_id)
            except PlanOutdated:
                continue
            if not applied.uploaded and not applied.failed:
                self._settled.document(body.identity, body.slug, body.version)
            return applied

    def _is_superseded(self, body: DocumentEvent, stored: tuple[StoredUnit, ...]) -> bool:
        known = self._settled.supersedes(body.identity, body.slug, body.version)
        return known or is_superseded(body.version, stored)

    async def _delete(
        self, body: TombstoneEvent, waits: Waits, fence: Fence, trace_id: str
    ) -> Deleted | Superseded:
        async def slugs() -> tuple[str, ...]:
            if body.slug is not None:
                return (body.slug,)
            # Others' workspaces are none of ours, and may have slugs that no path can carry.
            every = await self._storage.workspaces(trace_id=trace_id)
            return tuple(slug for slug in every if self._permits(slug))

        removed = 0
        newer = False
        for slug in await self._patiently(slugs, waits, fence):

            async def look(slug: str = slug) -> tuple[StoredUnit, ...]:
                return await self._index.units(slug, body.identity, trace_id=trace_id)

            stored = await self._patiently(look, waits, fence)
            outlived = [unit for unit in stored if _ends(body, unit)]
            newer = newer or len(outlived) < len(stored)
            if outlived:
                removed += await self._uploader.remove(
                    slug, outlived, waits, fence, trace_id=trace_id
                )
        if newer and not removed:
            return Superseded(body.slug, body.version)
        self._settled.tombstone(body.identity, body.slug, body.version)
        return Deleted(body.slug, removed)

    async def _patiently(self, ask: Callable[[], Awaitable[T]], waits: Waits, fence: Fence) -> T:
        rounds = 0
        while True:
            fence.check()
            try:
                return await ask()
            except Failure as failure:
                rounds += 1
                await self._uploader.wait_out(rounds, failure, waits)


def _ends(tombstone: TombstoneEvent, unit: StoredUnit) -> bool:
    """Whether the tombstone came after what is stored.

    A later offset in the same partition says so for certain: dates alone would let a publisher
    whose clock runs ahead write documents that can't be deleted. An earlier one does not deny it:
    offsets begin again when a topic is made anew, and those documents could never be deleted.
    """
    ours, theirs = tombstone.version, unit.marker.version
    same_partition = ours.partition is not None and ours.partition == theirs.partition
    came_later = same_partition and (ours.offset or 0) > (theirs.offset or 0)
    return came_later or not theirs.newer_than(ours)
