"""Erasure: what an event ends is removed and found no more; or it is told that it stays.

Two things can keep it, and no attempt of ours changes either: AnythingLLM forbids the removal, or
its vector database has refused it without a word, and the text is found although its row is gone.
The event then fails with a dead letter that names the cure. Neither is taken for done.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from consumer.model.copies import content_of
from consumer.model.fault import Failure, Fault
from consumer.model.listing import FILE_STORE
from consumer.model.marker import ChunkMark, Marker, StoredUnit
from consumer.model.names import Identity, Location, Slug, TraceId
from consumer.model.outcome import FailedChunk, FailureReason
from consumer.model.precedence import Occurrence
from consumer.model.remains import Remains
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import AnyStored
from consumer.pipeline.long_work import in_slices
from consumer.pipeline.ports import RightToWork, Storage
from consumer.pipeline.removal import Remover
from consumer.resilience.fence import FenceClosedError

log = structlog.get_logger(__name__)

_NOWHERE = Location("")
_ROUNDS_UNLISTED = 3  # looks in a workspace that can't be listed
_MOST_REMEMBERED = 10_000  # documents of which something stays, about 2 MB


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of what an event ends.

    Args:
        chunks: how many were removed.
        kept: those that stay, with why.
    """

    chunks: int = 0
    kept: tuple[FailedChunk, ...] = ()

    def __add__(self, other: Erased) -> Erased:
        """In two workspaces; a chunk that stays in both is named once."""
        kept = {each.chunk_id: each for each in (*other.kept, *self.kept)}
        return Erased(self.chunks + other.chunks, tuple(kept.values()))


@dataclass(frozen=True, slots=True)
class Ending:
    """What an event ends.

    Args:
        identity: of its document.
        event: itself.
        units: what is listed of it and goes.
        ends: whether a unit of the document is among what goes; also one that is not listed.
        texts: what its vectors may be near to, beside its title.
        like: what went of it from elsewhere; the names of files show its title.
        is_listed: whether the workspace can be listed. Where it can't, its files are gone by the
            list of files, and nothing waits for a workspace that may be sick for ever.
        wanted: the digests of its chunks, which are stored: a former pack that stays with some of
            them is told for the others.
    """

    identity: Identity
    event: Occurrence
    units: Sequence[AnyStored]
    ends: Callable[[AnyStored], bool]
    texts: Sequence[str] = ()
    like: Sequence[AnyStored] = ()
    is_listed: bool = True
    wanted: Collection[str] = ()


class Eraser:
    """See the module's docstring. It remembers where something stays, for as long as it lives."""

    def __init__(
        self, remover: Remover, storage: Storage, index: Index, backoff: Backoff, doubts: Doubts
    ) -> None:
        self._remover = remover
        self._storage = storage
        self._index = index
        self._backoff = backoff
        self._doubts = doubts
        self._remaining: OrderedDict[tuple[Slug, Identity], None] = OrderedDict()

    def leaves_something(self, slug: Slug, identity: Identity) -> bool:
        """Whether a former event of the document failed for what stays: the next one looks again.

        Otherwise publishing it once more would say that all is well.
        """
        return (slug, identity) in self._remaining

    async def erase(
        self, slug: Slug, ending: Ending, right: RightToWork, *, trace_id: TraceId
    ) -> Erased:
        """Remove the units, and look whether searches still find what went.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        sent: list[Slug] = [] if ending.units else [slug]
        try:
            return await self._erase(slug, ending, right, trace_id, sent)
        except FenceClosedError:
            if not sent:
                raise
            # Whoever goes on finds no rows any more, and has to know that it should look.
            where = None if slug == FILE_STORE else slug
            self._doubts.note_begun(where, ending.identity, ending.event)
            raise

    async def _erase(
        self, slug: Slug, ending: Ending, right: RightToWork, trace_id: TraceId, sent: list[Slug]
    ) -> Erased:
        removed = await self._remover.remove(
            slug, ending.units, right, trace_id=trace_id, on_sent=lambda: sent.append(slug)
        )
        # What was removed is looked for whatever overtakes the event: nobody else would.
        following = right.following()
        erased = Erased(removed.chunks)
        if removed.left:
            there = {unit.location for unit in removed.left}
            markers = await self._markers(slug, there, following, trace_id)
            why = f"its former text stays: {removed.why}"
            erased += Erased(0, _kept(markers, why, removed.http_status, ending.wanted))
        if slug == FILE_STORE:
            return erased
        remains = await self._remains(slug, ending, following, trace_id)
        self._remaining.pop((slug, ending.identity), None)
        if remains is None:
            return erased
        self._remaining[slug, ending.identity] = None
        if len(self._remaining) > _MOST_REMEMBERED:
            self._remaining.popitem(last=False)
        _log_remains(slug, ending, remains)
        why = (
            f"its former text is still found in workspace {slug} although its row is gone:"
            f" the vector database refused the removal. {remains.what_to_do}"
        )
        return erased + Erased(0, _kept(remains.markers, why))

    async def _markers(
        self, slug: Slug, wanted: Collection[Location], right: RightToWork, trace_id: TraceId
    ) -> list[Marker]:
        async def look() -> list[Marker]:
            found: list[Marker] = []

            def take(unit: StoredUnit) -> None:
                if unit.location in wanted:
                    found.append(unit.marker)

            await self._storage.scan(slug, take, trace_id=trace_id)
            return found

        return await self._backoff.retry(look, right)

    async def _remains(
        self, slug: Slug, ending: Ending, right: RightToWork, trace_id: TraceId
    ) -> Remains | None:
        known = await in_slices(self._index.each_known(slug, ending.identity))
        listed = {content_of(each) for each in known}

        def is_gone(marker: Marker) -> bool:
            unit = StoredUnit(_NOWHERE, marker)
            is_same = self._index.identity_of(unit) == ending.identity
            return is_same and ending.ends(unit) and content_of(unit) not in listed

        async def relist() -> None:
            try:
                await self._index.read_anew(slug, trace_id=trace_id)
            except Failure:
                if ending.is_listed:
                    raise
                return
            rows = await self._index.units(slug, ending.identity, trace_id=trace_id)
            listed.update(content_of(each) for each in rows)

        async def look() -> Remains | None:
            return await self._storage.remains(
                slug,
                is_gone,
                [unit.location for unit in (*ending.units, *ending.like)[:1]],
                ending.texts,
                relist,
                trace_id=trace_id,
                check=right.check,
            )

        if ending.is_listed:
            return await self._backoff.retry(look, right)
        try:
            return await self._backoff.retry(look, right, rounds=_ROUNDS_UNLISTED)
        except Failure as failure:
            log.warning(
                "removal.not_looked_for",
                workspace=slug,
                identity=ending.identity,
                error=failure.message,
                consequence="whether its vectors stay there is not known",
                what_to_do="once the workspace can be listed and searched, publish the tombstone"
                " again",
            )
            return None


def _log_remains(slug: Slug, ending: Ending, remains: Remains) -> None:
    log.error(
        "removal.still_found",
        workspace=slug,
        identity=ending.identity,
        units=len(remains.markers),
        consequence="the text is found for ever; the event fails with a dead letter",
        what_to_do=remains.what_to_do,
    )


def _kept(
    markers: Sequence[Marker],
    message: str,
    http_status: int | None = None,
    wanted: Collection[str] = (),
) -> tuple[FailedChunk, ...]:
    return tuple(
        FailedChunk(
            chunk_id=chunk.id,
            reason=FailureReason.EXHAUSTED,
            message=message,
            http_status=http_status,
            attempts=1,
            fault=Fault.THEIRS,
        )
        for marker in markers
        for chunk in _former(marker, wanted)
    )


def _former(marker: Marker, wanted: Collection[str]) -> Sequence[ChunkMark]:
    """The chunks of a unit that stays which are not as they should be; all, of a mere double."""
    former = [chunk for chunk in marker.chunks if chunk.digest not in wanted]
    return former or marker.chunks
