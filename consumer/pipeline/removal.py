"""Removing what is stored and not wanted: for as long as it takes, or for a few rounds."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.model.fault import Failure
from consumer.model.names import Slug, TraceId
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.gates import Gates
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import AnyStored
from consumer.pipeline.ports import RightToWork, Storage


class Remover:
    """Removes units from AnythingLLM and from the index.

    It waits for AnythingLLM as a whole, not for a paused workspace: units can be removed from a
    workspace that takes none, and that proves nothing about taking any.
    """

    def __init__(self, storage: Storage, index: Index, gates: Gates, backoff: Backoff) -> None:
        self._storage = storage
        self._index = index
        self._gates = gates
        self._backoff = backoff

    async def remove(
        self,
        slug: Slug,
        units: Sequence[AnyStored],
        right: RightToWork,
        *,
        trace_id: TraceId,
        rounds: int | None = None,
    ) -> int:
        """Remove stored units; the number of chunks they held.

        Args:
            slug: the workspace.
            units: what goes.
            right: checked before every request.
            trace_id: sent to AnythingLLM.
            rounds: tries at most; None: for as long as it takes.

        Raises:
            FenceClosedError: the right to go on ended.
            Failure: the rounds are used up; some of the units may be gone.
        """

        async def once() -> int:
            return await self._once(slug, units, trace_id)

        return await self._backoff.retry(once, right, rounds=rounds)

    async def _once(self, slug: Slug, units: Sequence[AnyStored], trace_id: TraceId) -> int:
        try:
            await self._storage.remove(slug, [unit.location for unit in units], trace_id=trace_id)
        except Failure as failure:
            if not failure.left:
                raise
            # AnythingLLM does not let us remove these: they stay for good.
            units = [unit for unit in units if unit.location not in failure.left]
        self._gates.note(None)
        self._index.removed(slug, units)
        return sum(len(unit.digests) for unit in units)
