"""Apply: bring the state of an event into AnythingLLM, however long an outage lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from typing import TypeVar

from consumer.model.copies import content_of
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.fault import Failure
from consumer.model.listing import FILE_STORE
from consumer.model.marker import digests_of
from consumer.model.names import Identity, Location, Slug, TraceId
from consumer.model.outcome import Applied, Deleted, Outcome, Refused, Superseded
from consumer.model.packing import Packing
from consumer.model.precedence import Occurrence
from consumer.model.slug import is_slug
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.carried_out import CarriedOut, Known
from consumer.pipeline.culprits import Culprits
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.due_looks import DueLooks
from consumer.pipeline.erasure import Ending, Erased, Eraser
from consumer.pipeline.first_of_runs import FirstOfRuns
from consumer.pipeline.gates import Gates
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import AnyStored, StoredRow
from consumer.pipeline.long_work import beside
from consumer.pipeline.plan import Plan, make_plan
from consumer.pipeline.ports import Permits, RightToWork, Storage
from consumer.pipeline.reminted_ids import RemintedIds
from consumer.pipeline.upload import PlanOutdated, Uploader

T = TypeVar("T")

_AFTER_FAILURE_SECONDS = 300.0  # until the sweep asks again whether a workspace can be listed


class Applier:
    """Carries out events.

    Args:
        carried_out: what is known beyond the markers.
        reminted: hears of documents that are stored under another identity.
        looks: hear of workspaces that can't be listed.
        doubts: know what a former owner's removals may still take.
        culprits: know which chunks are not packed.
        pack_size: how many chunks are packed.
        repack_size: how many where what is stored is packed anew.
        permits: asked before a tombstone looks into a workspace that it does not name.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        gates: Gates,
        uploader: Uploader,
        eraser: Eraser,
        backoff: Backoff,
        carried_out: CarriedOut,
        reminted: RemintedIds,
        looks: DueLooks,
        doubts: Doubts,
        *,
        permits: Permits,
        culprits: Culprits | None = None,
        pack_size: Callable[[], int] = lambda: 1,
        repack_size: int = 1,
    ) -> None:
        self._storage = storage
        self._index = index
        self._gates = gates
        self._uploader = uploader
        self._eraser = eraser
        self._backoff = backoff
        self._carried_out = carried_out
        self._reminted = reminted
        self._looks = looks
        self._doubts = doubts
        self._permits = permits
        self._culprits = culprits or Culprits()
        self._pack_size = pack_size
        self._first_of_runs = FirstOfRuns()
        self._repack_size = repack_size

    async def apply(self, event: Event, right: RightToWork) -> Outcome:
        """What became of the event.

        Raises:
            FenceClosedError: the right to go on ended; nothing may be settled.
        """
        match event.body:
            case Refused() as refused:
                return refused
            case DocumentEvent() as body:
                return await self._store(event, body, right)
            case TombstoneEvent() as body:
                return await self._delete(body, right, event.trace_id, is_replay=event.is_replay)

    def remember(self, event: Event, *, carried_out: bool = True) -> None:
        """Note an event that was settled before, by an owner who knew more than its markers.

        Of a document that was not carried out some chunks may be stored, and the former owner may
        have said so: what a version before it does not want may hold them.
        """
        match event.body:
            case DocumentEvent() as body if not carried_out:
                digests = digests_of(body.document)
                self._carried_out.partial(
                    body.slug, body.identity, body.version, digests, is_certain=False
                )
            case DocumentEvent() as body:
                self._note_stored(body, digests_of(body.document))
            case TombstoneEvent() as body if carried_out:
                self._carried_out.tombstone(body.slug, body.identity, body.version)

    async def _store(
        self, event: Event, body: DocumentEvent, right: RightToWork
    ) -> Applied | Superseded:
        trace_id = event.trace_id

        async def look() -> tuple[StoredRow, ...]:
            await self._look_for_run(event, body.slug)
            rows = await self._index.units(body.slug, body.identity, trace_id=trace_id)
            is_empty = not self._index.holds_any(body.slug)
            await self._storage.is_sole(lacks=is_empty, trace_id=trace_id)
            return await self._certain(body, rows, right, trace_id)

        async def prepare_and_look() -> tuple[StoredRow, ...]:
            await self._storage.prepare(body.slug, trace_id=trace_id)
            # Many documents come back from a pause at once, and the first may have failed again.
            self._gates.check(body.slug)
            return await look()

        uploaded: set[str] = set()
        erased = Erased()
        was_begun = self._doubts.begun_before(body)
        to_clear = event.is_rebuild
        while True:
            if body.document.chunks:
                stored = await self._in_workspace(body.slug, prepare_and_look, right)
            else:  # a document without chunks needs no workspace, so none is made for it
                stored = await self._backoff.retry(look, right)
            known = self._carried_out.known(body.slug, body.identity)
            if known.supersedes(body.version, stored):
                return Superseded(body.slug, body.version)
            if to_clear:
                to_clear = False
                erased += await self._clear(body, stored, right, trace_id)
                continue
            epoch = self._index.epoch(body.slug)
            stored = self._doubts.certain(body, stored)
            # What came late, after its tombstone, is about to go.
            stored = tuple(
                replace(row, digests=()) if known.has_ended(row.version) else row for row in stored
            )
            make = partial(
                make_plan,
                body.slug,
                body.document,
                body.version,
                stored,
                epoch=epoch,
                packing=Packing(
                    self._repack_size if event.is_repack else self._pack_size(),
                    self._culprits.__contains__,
                ),
                is_repack=event.is_repack,
                may_lend=_lending(known, stored, self._storage.is_proven),
            )
            plan = await beside(make, len(body.document.chunks) + len(stored))
            self._note_reminted(body, plan)
            try:
                applied = await self._uploader.carry_out(
                    plan,
                    body.identity,
                    right,
                    trace_id=trace_id,
                    is_replay=event.is_replay,
                    was_begun=was_begun,
                )
            except PlanOutdated as outdated:
                uploaded.update(outdated.uploaded)
                erased += outdated.erased
                continue
            if plan.is_repack and plan.stale and not applied.removed_chunks:
                # It stays as it was, so what was stored once more for it is to go.
                self._looks.after(body.slug, _AFTER_FAILURE_SECONDS)
            if applied.failed:
                refused = {each.chunk_id for each in applied.failed}
                chunks = zip(body.document.chunks, plan.digests, strict=True)
                held = [digest for chunk, digest in chunks if chunk.id not in refused]
                self._carried_out.partial(body.slug, body.identity, body.version, held)
            else:
                self._note_stored(body, plan.digests)
            return _with_former(applied, uploaded, erased)

    async def _clear(
        self,
        body: DocumentEvent,
        stored: Sequence[StoredRow],
        right: RightToWork,
        trace_id: TraceId,
    ) -> Erased:
        """Take a document out that is to be stored anew.

        It goes before it is uploaded, not afterwards as what is stale does: its new units have the
        markers of the former ones. Looked for after an upload without an answer, a former one would
        be taken for the new one, which may never come, and then be removed.
        """
        if not stored:
            return Erased()
        contents = {content_of(unit) for unit in stored}
        ending = Ending(
            body.identity,
            Occurrence(body.version),
            stored,
            lambda unit: content_of(unit) in contents,
            (body.document.title,),
        )
        return await self._eraser.erase(body.slug, ending, right, trace_id=trace_id)

    async def _look_for_run(self, event: Event, slug: Slug) -> None:
        run = event.origin.run
        if run is not None and self._first_of_runs.is_first(slug, run):
            await self._index.read_anew(slug, trace_id=event.trace_id)
            self._first_of_runs.looked(slug, run)

    async def _certain(
        self,
        body: DocumentEvent,
        rows: tuple[StoredRow, ...],
        right: RightToWork,
        trace_id: TraceId,
    ) -> tuple[StoredRow, ...]:
        """The same rows; those that are listed and not stored hold nothing."""

        def texts() -> Mapping[str, str]:
            contents = (chunk.content for chunk in body.document.chunks)
            return dict(zip(digests_of(body.document), contents, strict=True))

        found = await self._storage.found(
            body.slug, rows, texts, trace_id=trace_id, check=right.check
        )
        return tuple(row if row.location in found else replace(row, digests=()) for row in rows)

    def _note_reminted(self, body: DocumentEvent, plan: Plan) -> None:
        if plan.missing:
            source = body.document.source_url
            other = self._index.sharing_source(body.slug, source, body.identity)
            if other is not None:
                self._reminted.note(body.slug, body.document.id, other)

    def _note_stored(self, body: DocumentEvent, digests: Iterable[str]) -> None:
        self._carried_out.document(body.slug, body.identity, body.version, digests)

    async def _delete(
        self, body: TombstoneEvent, right: RightToWork, trace_id: TraceId, *, is_replay: bool
    ) -> Deleted | Superseded:
        async def slugs() -> tuple[Slug, ...]:
            if body.slug is not None:
                return (body.slug,)
            return tuple(filter(is_slug, await self._storage.workspaces(trace_id=trace_id)))

        await self._is_sole(right, trace_id, lacks=False)
        every = await self._backoff.retry(slugs, right)
        ours = [slug for slug in every if self._permits(slug)]
        # A file may be in workspaces of others as well, and those are none of ours.
        by_files = body.slug is None and len(ours) == len(every)
        # Of one that was carried out before the rows are gone, and the vectors may not be.
        looks = body.slug is not None or is_replay or self._doubts.begun_before(body)
        erased, newer = Erased(), False
        went: Sequence[AnyStored] = ()
        is_found = False
        for slug in ours:
            look = partial(self._find, slug, body.identity, trace_id, by_files=by_files)
            where, stored = await self._backoff.retry(look, right)
            ending = replace(_ending(body, stored), like=went)
            newer = newer or len(ending.units) < len(stored)
            is_found = is_found or bool(stored)
            if ending.units or looks:
                erased += await self._eraser.erase(where, ending, right, trace_id=trace_id)
            if where == FILE_STORE:
                # Files are removed from every workspace: no listing shows any more what went.
                went, looks = went or ending.units, looks or bool(ending.units)
                if looks:
                    ending = replace(ending, units=(), like=went, is_listed=False)
                    erased += await self._eraser.erase(slug, ending, right, trace_id=trace_id)
        lacks = body.slug is not None and not is_found  # else all workspaces were seen
        await self._is_sole(right, trace_id, lacks=lacks)
        if newer and erased == Erased():
            return Superseded(body.slug, body.version)
        self._carried_out.tombstone(body.slug, body.identity, body.version)
        return Deleted(body.slug, erased.chunks, erased.kept)

    async def _is_sole(self, right: RightToWork, trace_id: TraceId, *, lacks: bool) -> None:
        await self._backoff.retry(
            partial(self._storage.is_sole, lacks=lacks, trace_id=trace_id), right
        )

    async def _find(
        self, slug: Slug, identity: Identity, trace_id: TraceId, *, by_files: bool
    ) -> tuple[Slug, tuple[StoredRow, ...]]:
        """A document's units in a workspace, or in all of them where that one can't be listed."""
        if by_files and slug in self._index.unlisted:
            with suppress(Failure):
                rows = await self._index.units(FILE_STORE, identity, trace_id=trace_id)
                return FILE_STORE, rows
        try:
            return slug, await self._index.units(slug, identity, trace_id=trace_id)
        except Failure:
            self._looks.after(slug, _AFTER_FAILURE_SECONDS)  # that one says when it is well again
            raise

    async def _in_workspace(
        self, slug: Slug, ask: Callable[[], Awaitable[T]], right: RightToWork
    ) -> T:
        """Ask for what proves a workspace well, for as long as it takes."""
        while True:
            await self._gates.clear(slug, right)
            right.check()
            try:
                with self._gates.trying(slug):
                    return await ask()
            except Failure as failure:
                if failure.pending and failure.retry_after is not None:
                    # It takes minutes, perhaps; documents for other workspaces go on meanwhile.
                    async with right.aside():
                        await asyncio.sleep(failure.retry_after)


def _ending(body: TombstoneEvent, stored: Iterable[StoredRow]) -> Ending:
    end = Occurrence(body.version, removes=True)

    def ends(unit: AnyStored) -> bool:
        return not Occurrence(unit.version).supersedes(end)

    return Ending(body.identity, end, tuple(filter(ends, stored)), ends, (body.identity,))


def _lending(
    known: Known, stored: Sequence[StoredRow], is_proven: Callable[[Location], bool]
) -> Callable[[AnyStored], bool]:
    """Which units stay for what only they hold: those that are there, and that no sweep takes.

    The text of a pack that is not proven was not looked for.
    """

    @cache
    def goes() -> frozenset[Location]:
        return frozenset(unit.location for unit in known.left_over(stored, is_proven))

    return lambda unit: is_proven(unit.location) and unit.location not in goes()


def _with_former(applied: Applied, before: Collection[str], erased: Erased) -> Applied:
    """Count what earlier plans of the same event uploaded and removed."""
    erased += Erased(applied.removed_chunks, applied.kept)
    return replace(
        applied,
        removed_chunks=erased.chunks,
        kept=erased.kept,
        uploaded=(*(each for each in applied.unchanged if each in before), *applied.uploaded),
        unchanged=tuple(each for each in applied.unchanged if each not in before),
    )
