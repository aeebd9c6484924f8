"""What is stored, as AnythingLLM's own listings say, kept current with our own writes.

AnythingLLM is the only source of truth: a database of ours could disagree with it. A workspace's
listing is read on its first document, again when it is older than `max_age`, and forgotten when
partitions change hands (somebody else writes then) or the workspace turns out to have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Marker, StoredUnit
from consumer.pipeline.ports import Storage


class _Workspace:
    """One workspace's units by identity and location."""

    def __init__(self, read_at: float) -> None:
        self.read_at = read_at
        self.units: dict[str, dict[str, StoredUnit]] = {}


class Index:
    """See the module's docstring.

    Args:
        storage: where listings come from.
        identity: which markers speak of the same document.
        max_age: seconds a listing is believed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        identity: IdentityTemplate,
        *,
        max_age: float,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._identity = identity
        self._max_age = max_age
        self._clock = clock
        self._workspaces: dict[str, _Workspace] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        self._meanwhile: dict[str, list[Callable[[_Workspace], None]]] = {}
        self._generation = 0

    async def units(self, slug: str, identity: str, *, trace_id: str) -> tuple[StoredUnit, ...]:
        """The stored units of one identity in one workspace.

        Raises:
            Failure: the listing can't be had.
        """
        async with self._reading.setdefault(slug, asyncio.Lock()):
            workspace = self._workspaces.get(slug)
            if workspace is None or self._clock() - workspace.read_at > self._max_age:
                workspace = await self._read(slug, trace_id)
        return tuple(workspace.units.get(identity, {}).values())

    async def _read(self, slug: str, trace_id: str) -> _Workspace:
        workspace = _Workspace(self._clock())
        generation = self._generation
        meanwhile = self._meanwhile[slug] = []
        try:
            for unit in await self._storage.listing(slug, trace_id=trace_id):
                self._put(workspace, unit)
        finally:
            del self._meanwhile[slug]
        for write in meanwhile:
            write(workspace)
        if generation == self._generation:
            self._workspaces[slug] = workspace
        return workspace

    def stored(self, slug: str, unit: StoredUnit) -> None:
        """Note a unit that was just stored."""
        self._write(slug, lambda workspace: self._put(workspace, unit))

    def removed(self, slug: str, units: Sequence[StoredUnit]) -> None:
        """Note units that were just removed."""
        self._write(slug, lambda workspace: self._take(workspace, units))

    def _write(self, slug: str, write: Callable[[_Workspace], None]) -> None:
        if (workspace := self._workspaces.get(slug)) is not None:
            write(workspace)
        # A listing under way may have been answered before this write: it is done to it as well.
        if (meanwhile := self._meanwhile.get(slug)) is not None:
            meanwhile.append(write)

    def forget(self, slug: str | None = None) -> None:
        """Read the listing anew next time: of one workspace, or of all."""
        # A listing under way is not kept either: it may be older than the reason to forget.
        self._generation += 1
        if slug is None:
            self._workspaces.clear()
        else:
            self._workspaces.pop(slug, None)

    def _put(self, workspace: _Workspace, unit: StoredUnit) -> None:
        workspace.units.setdefault(self._of(unit.marker), {})[unit.location] = unit

    def _take(self, workspace: _Workspace, units: Sequence[StoredUnit]) -> None:
        for unit in units:
            identity = self._of(unit.marker)
            mine = workspace.units.get(identity, {})
            mine.pop(unit.location, None)
            if not mine:
                workspace.units.pop(identity, None)

    def _of(self, marker: Marker) -> str:
        return self._identity.of_fields(marker.document_id, marker.source_url, marker.technology)
