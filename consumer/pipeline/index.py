"""What is stored, as AnythingLLM's own listings say, kept current with our own writes.

AnythingLLM is the only source of truth: a database of ours could disagree with it. So:

1. A workspace's listing is read on its first document, and again when it is older than `max_age`,
   because people reset workspaces in AnythingLLM's pages. It is forgotten when partitions change
   hands, because others write then.
2. All callers that ask for a workspace at once share one reading, and its failure: if each of them
   asked a server that is down, each would only fail in the same way. No caller gets an answer from
   a reading that began before its reason to look anew. Each `forget` begins an epoch, and what was
   planned in a former one has to be planned again.
3. What was written while a listing was on its way is written into it as well, because the listing
   may be older. If the workspace turns out to be another one, or emptied, this is not possible, and
   it is read again.
4. A listing is asked for by its ETag only while nothing was written since. Afterwards "unchanged"
   would mean that our own writes are gone.
5. Workspaces that do not fit into the memory budget are dropped, the longest unused first, and are
   read again when they are asked for. A workspace that alone is larger than the budget is kept:
   without it every chunk of its documents would be uploaded again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog

from consumer.model.fault import Failure
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import FILE_STORE, LONGEST_LISTING, Listed
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Location, Slug, TraceId
from consumer.pipeline.index_rows import AnyStored, IndexedRows, StoredRow
from consumer.pipeline.long_work import in_slices
from consumer.pipeline.lost_documents import LostDocuments
from consumer.pipeline.ports import IsOurs, Storage
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_Write = Callable[[IndexedRows], None]


@dataclass(slots=True)
class _ListedWorkspace:
    """One workspace as it was listed.

    Args:
        rows: its units, with everything written since.
        begun: the number of the reading it comes from.
        read_at: monotonic seconds at which that reading began.
        workspace_id: AnythingLLM's number; None where there was no workspace.
        etag: names the listing that the rows are; None where there is none, or they changed since.
    """

    rows: IndexedRows
    begun: int
    read_at: float
    workspace_id: int | None = None
    etag: str | None = None


@dataclass(slots=True)
class _ListingRead:
    """A listing on its way: the epoch in which it began, and what was written meanwhile."""

    epoch: int
    writes: list[_Write] = field(default_factory=list)


class Index:
    """See the module's docstring.

    Args:
        storage: where listings come from.
        identity: which markers speak of the same document.
        max_age: seconds for which a listing is believed.
        max_bytes: memory for all workspaces, as estimated by `IndexedRows.size`.
        clock: monotonic seconds.
        is_ours: of the documents of others nobody here knows whether they were removed rightly.
    """

    def __init__(
        self,
        storage: Storage,
        identity: IdentityTemplate,
        *,
        max_age: float,
        max_bytes: int,
        clock: Callable[[], float],
        metrics: Metrics,
        is_ours: IsOurs = lambda _: True,
    ) -> None:
        self._storage = storage
        self._identity = identity
        self._max_age = max_age
        self._max_bytes = max_bytes
        self._clock = clock
        self._metrics = metrics
        self._is_ours = is_ours
        # The longest unused first.
        self._workspaces: OrderedDict[Slug, _ListedWorkspace] = OrderedDict()
        self._readings: dict[Slug, _ListingRead] = {}
        self._locks: WeakValueDictionary[Slug, asyncio.Lock] = WeakValueDictionary()
        self._failed: dict[Slug, Failure] = {}  # of the last reading, where it failed
        self._begun = 0
        self._epochs: Counter[Slug | None] = Counter()  # None: of all of them
        self._bytes = 0
        self._warned = False
        self._large: set[Slug] = set()  # workspaces that were warned of
        self._lost = LostDocuments(clock)

    async def units(
        self, slug: Slug, identity: Identity, *, trace_id: TraceId
    ) -> tuple[StoredRow, ...]:
        """The stored units of one identity in one workspace.

        Raises:
            Failure: the listing can't be had.
        """
        failed_before = self._failed.get(slug)
        async with self._lock(slug):
            while True:
                workspace = self._workspaces.get(slug)
                if workspace is None or self._clock() - workspace.read_at > self._max_age:
                    failed = self._failed.get(slug)
                    if failed is not None and failed is not failed_before:
                        raise failed.without_past()
                    workspace = await self._read(slug, trace_id)
                else:
                    self._workspaces.move_to_end(slug)
                epoch = self.epoch(slug)
                rows = await in_slices(workspace.rows.each(identity))
                if epoch == self.epoch(slug):
                    self._lost.worked(slug, identity)
                    return tuple(rows)

    async def read_anew(self, slug: Slug, *, trace_id: TraceId) -> None:
        """Read the listing now, whatever its age. `units` then answers from this or a later one.

        Raises:
            Failure: the listing can't be had; the former one stays as it was.
        """
        await self._read_anew(slug, trace_id)

    async def listed_anew(
        self, slug: Slug, units: Iterable[AnyStored], *, trace_id: TraceId
    ) -> tuple[AnyStored, ...]:
        """Those of the units that a listing still shows which is read now.

        Raises:
            Failure: the listing can't be had.
        """
        asked = tuple(units)
        rows = (await self._read_anew(slug, trace_id)).rows
        there = {
            each.location
            for identity in {self.identity_of(unit) for unit in asked}
            for each in rows.of(identity)
        }
        return tuple(unit for unit in asked if unit.location in there)

    def epoch(self, slug: Slug) -> int:
        """A number that is another one whenever the knowledge of a workspace proved wrong.

        A plan of another epoch has to be made again: what it took for stored may be gone.
        """
        return self._epochs[slug] + self._epochs[None]

    def known(self, slug: Slug, identity: Identity) -> tuple[StoredRow, ...]:
        """What is in memory of one identity; empty where the workspace is not in memory."""
        return tuple(self.each_known(slug, identity))

    def each_known(self, slug: Slug, identity: Identity) -> Iterator[StoredRow]:
        """As `known`, one by one: all as they are when the first one is asked for."""
        workspace = self._workspaces.get(slug)
        return iter(()) if workspace is None else workspace.rows.each(identity)

    def __contains__(self, slug: Slug) -> bool:
        """Whether a workspace is in memory. If not, `known` and `identities` say nothing of it."""
        return slug in self._workspaces

    def holds_any(self, slug: Slug) -> bool:
        """Whether a workspace is in memory, and has anything of ours."""
        workspace = self._workspaces.get(slug)
        return workspace is not None and bool(workspace.rows)

    def identities(self, slug: Slug) -> tuple[Identity, ...]:
        """All identities in memory of one workspace."""
        workspace = self._workspaces.get(slug)
        return workspace.rows.identities if workspace else ()

    @property
    def unlisted(self) -> dict[Slug, str]:
        """Why each workspace can't be listed whose last listing failed."""
        return {slug: each.message for slug, each in self._failed.items() if slug != FILE_STORE}

    @property
    def lost(self) -> dict[Slug, int]:
        """How many documents of ours each workspace lost that others emptied or made anew."""
        return self._lost.counts

    def sharing_source(self, slug: Slug, source_url: str, identity: Identity) -> Identity | None:
        """Another identity that a document of this source is stored under in this workspace.

        To be asked before the document is uploaded, for the hint that publishers make new ids for
        the same page. None where the workspace is not in memory, and always where identities are
        made of the source.
        """
        workspace = self._workspaces.get(slug)
        return workspace.rows.sharing(source_url, identity) if workspace else None

    def stored(self, slug: Slug, unit: StoredUnit) -> None:
        """Note a unit that was just stored."""
        for each in (slug, FILE_STORE):
            self._write(each, lambda rows: rows.put(unit))

    def removed(self, units: Iterable[AnyStored]) -> None:
        """Note units that were just removed: AnythingLLM removes them from every workspace."""
        gone: dict[Identity, set[Location]] = {}
        for unit in units:
            gone.setdefault(self.identity_of(unit), set()).add(unit.location)
        if not gone:
            return  # else every workspace would count as written, and be listed whole next time

        def take(rows: IndexedRows) -> None:
            for identity, locations in gone.items():
                rows.take(identity, locations)

        for each in self._workspaces.keys() | self._readings.keys():
            self._write(each, take)

    def forget(self, slug: Slug | None = None) -> None:
        """Read the listing anew next time: of one workspace, or of all."""
        self._epochs[slug] += 1
        for each in list(self._workspaces) if slug is None else [slug]:
            self._drop(each)

    def changed(self, slug: Slug) -> None:
        """Read the listing anew: others emptied the workspace, removed it, or made it anew."""
        if (workspace := self._workspaces.get(slug)) is not None:
            self._suspect(slug, workspace)
        self.forget(slug)

    def identity_of(self, unit: AnyStored) -> Identity:
        """Of which document a unit is."""
        if isinstance(unit, StoredRow):
            return unit.identity
        return self._identity.of_marker(unit.marker)

    def _suspect(self, slug: Slug, former: _ListedWorkspace) -> None:
        if slug == FILE_STORE:
            return  # of what was there each workspace tells itself
        partitions = former.rows.partitions
        ours = {each for each in set(partitions.values()) if each is None or self._is_ours(each)}
        self._lost.suspect(slug, (name for name, each in partitions.items() if each in ours))

    def _lock(self, slug: Slug) -> asyncio.Lock:
        # Weak: a lock lives while a task holds or awaits it, not as long as the process.
        return self._locks.setdefault(slug, asyncio.Lock())

    async def _read_anew(self, slug: Slug, trace_id: TraceId) -> _ListedWorkspace:
        asked = self._begun
        async with self._lock(slug):
            workspace = self._workspaces.get(slug)
            if workspace is None or workspace.begun <= asked:
                workspace = await self._read(slug, trace_id)
            return workspace

    async def _read(self, slug: Slug, trace_id: TraceId) -> _ListedWorkspace:
        while True:
            former = self._workspaces.get(slug)
            reading = self._readings[slug] = _ListingRead(self.epoch(slug))
            self._begun += 1
            fresh = _ListedWorkspace(IndexedRows(self._identity), self._begun, self._clock())
            etag = former.etag if former else None
            try:
                listed = await self._storage.scan(
                    slug, fresh.rows.put, unless=etag, trace_id=trace_id
                )
            except Failure as failure:
                self._failed[slug] = failure.without_past()
                raise
            else:
                self._failed.pop(slug, None)
            finally:
                del self._readings[slug]
                self._metrics.workspaces_unlisted.set(len(self.unlisted))
            self._metrics.index_listings.labels("unchanged" if listed is None else "read").inc()
            if reading.epoch != self.epoch(slug):
                continue  # it may be older than the reason to look anew
            is_another = listed is not None and _is_another(former, listed)
            self._epochs[slug] += is_another
            if former is not None and is_another:
                self._suspect(slug, former)
            if listed is None:
                if former is not None and self._workspaces.get(slug) is former:
                    return self._renew(slug, former, fresh)
            elif reading.writes and is_another:
                self._drop(slug)
            else:
                return self._keep(slug, fresh, listed, reading)

    def _renew(
        self, slug: Slug, former: _ListedWorkspace, fresh: _ListedWorkspace
    ) -> _ListedWorkspace:
        former.begun, former.read_at = fresh.begun, fresh.read_at
        self._workspaces.move_to_end(slug)
        return former

    def _keep(
        self, slug: Slug, fresh: _ListedWorkspace, listed: Listed, reading: _ListingRead
    ) -> _ListedWorkspace:
        self._warn_of_size(slug, listed)
        for write in reading.writes:
            write(fresh.rows)
        fresh.workspace_id = listed.workspace_id
        fresh.etag = None if reading.writes else listed.etag
        self._drop(slug)
        self._workspaces[slug] = fresh
        self._tell_lost(slug, fresh)
        self._grown(slug, fresh.rows.size)
        return fresh

    def _tell_lost(self, slug: Slug, fresh: _ListedWorkspace) -> None:
        if documents := self._lost.listed(slug, fresh.rows.identities):
            log.error(
                "workspace.lost",
                workspace=slug,
                documents=documents,
                consequence="they are found no more, and no event comes for them by itself",
                what_to_do=f"`audit --republish --workspace {slug}` brings them back",
            )

    def _warn_of_size(self, slug: Slug, listed: Listed) -> None:
        if listed.size <= LONGEST_LISTING // 2 or slug in self._large:
            return
        self._large.add(slug)
        log.warning(
            "workspace.large",
            workspace=slug,
            documents=listed.rows,
            bytes=listed.size,
            longest=LONGEST_LISTING,
            consequence="beyond that AnythingLLM can't list it, and its documents wait",
            what_to_do="send new documents to further workspaces (ROUTING_WORKSPACE)",
        )

    def _write(self, slug: Slug, write: _Write) -> None:
        if (workspace := self._workspaces.get(slug)) is not None:
            before = workspace.rows.size
            write(workspace.rows)
            workspace.etag = None
            self._grown(slug, workspace.rows.size - before)
        if (reading := self._readings.get(slug)) is not None:
            reading.writes.append(write)

    def _grown(self, slug: Slug, size: int) -> None:
        """Count what a workspace has grown by, and make room for it at the cost of the others."""
        self._bytes += size
        self._show()
        if self._bytes <= self._max_bytes:
            return
        # A workspace that is being read stays, or "unchanged" would have nothing to refer to.
        others = self._workspaces.keys() - self._readings.keys() - {slug}
        for other in [each for each in self._workspaces if each in others]:
            self._drop(other)
            self._metrics.index_evictions.inc()
            if self._bytes <= self._max_bytes:
                return
        self._warn_once(slug)

    def _warn_once(self, slug: Slug) -> None:
        size = self._workspaces[slug].rows.size
        if self._warned or size <= self._max_bytes:
            return
        self._warned = True
        log.warning(
            "index.over_budget",
            workspace=slug,
            bytes=size,
            budget=self._max_bytes,
            consequence="it is kept all the same; other workspaces are listed again and again",
            what_to_do="raise INDEX_MAX_BYTES, and the memory limit of the process with it",
        )

    def _drop(self, slug: Slug) -> None:
        if (workspace := self._workspaces.pop(slug, None)) is not None:
            self._bytes -= workspace.rows.size
            self._show()

    def _show(self) -> None:
        self._metrics.index_bytes.set(self._bytes)
        self._metrics.index_workspaces.set(len(self._workspaces))


def _is_another(former: _ListedWorkspace | None, listed: Listed) -> bool:
    """Whether a workspace was made anew or emptied since it was listed before."""
    if former is None:
        return False
    emptied = bool(former.rows) and not listed.rows
    return emptied or former.workspace_id != listed.workspace_id
