"""What packing anew would do: what is stored, against how today's setting would pack it.

The texts come from the newest events that Kafka has, in one reading of both topics. A document of
which the newest event does not tell all that is stored is left: nobody could cut its texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.anythingllm.inventory import Inventory
from consumer.model.difference import difference
from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.listing import by_identity
from consumer.model.marker import StoredUnit, digests_of, hash_of_ids
from consumer.model.names import Identity, Slug
from consumer.model.packing import AUTO_CHUNKS, Packing, packs
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates
from consumer.model.repacking import repacked
from consumer.model.slug import is_slug
from consumer.operations.estimate import upload_seconds
from consumer.operations.newest_events import NO_EVENT_LEFT, STORED_IS_NEWER, NewestEvents
from consumer.operations.ports import RecordReader
from consumer.operations.progress import StageProgress
from consumer.settings import Settings

_DELETED = "its newest event is a tombstone, which is not carried out yet"
_INCOMPLETE = "not all of it is stored: it is in work, or some of it was given up (`dlq list`)"


class RepackRefused(Exception):
    """It can't be begun; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Recut:
    """A document that is packed in another way than today.

    Args:
        read_at: of its newest event.
        uploads: how many packs of it are stored anew.
        chunks: what these hold.
        removals: how many AnythingLLM documents go for it.
    """

    slug: Slug
    identity: Identity
    read_at: Coordinates
    uploads: int
    chunks: int
    removals: int


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """What packing anew would do.

    Args:
        documents: how many were looked at.
        recuts: those that are packed in another way, by workspace and identity.
        left: those that can't be packed anew now, with why.
    """

    documents: int
    recuts: tuple[Recut, ...]
    left: tuple[tuple[Slug, Identity, str], ...] = ()

    @property
    def uploads(self) -> int:
        """How many packs are stored anew."""
        return sum(each.uploads for each in self.recuts)

    @property
    def removals(self) -> int:
        """How many AnythingLLM documents go."""
        return sum(each.removals for each in self.recuts)

    @property
    def seconds(self) -> float:
        """About how long the uploads take. Removals come on top (README, Packs)."""
        return upload_seconds(self.uploads, sum(each.chunks for each in self.recuts))


@dataclass(slots=True)
class _LookedAt:
    """A document as it is stored, and what its newest event so far says of it."""

    units: Sequence[StoredUnit]
    newest: Occurrence | None = None
    says: Recut | str | None = field(default=NO_EVENT_LEFT)


_Stored = Mapping[Slug, Mapping[Identity, _LookedAt]]


class RepackPlanner:
    """See the module's docstring; may raise `AnythingLLMError` and `KafkaUnavailableError`.

    Args:
        inventory: of AnythingLLM.
        progress: called now and then.
    """

    def __init__(
        self, settings: Settings, inventory: Inventory, *, progress: StageProgress
    ) -> None:
        self._inventory = inventory
        self._progress = progress
        self._identity = settings.document.identity
        self._events = NewestEvents(settings)
        size = settings.upload.chunks_per_pack
        self._packing = Packing(AUTO_CHUNKS if size is None else size)

    async def plan(self, reader: RecordReader, slugs: Sequence[Slug]) -> RepackPlan:
        """What would be done; changes nothing.

        Args:
            reader: reads the topics.
            slugs: only these workspaces; all without.

        Raises:
            RepackRefused: one of them is not there.
        """
        stored = await self._stored(slugs)
        async for record, body in self._events.each(reader, stored, progress=self._progress):
            for found in _about(body, stored):
                self._take(found, body, record.at)
        every = [
            (slug, identity, found.says)
            for slug, documents in sorted(stored.items())
            for identity, found in sorted(documents.items())
        ]
        return RepackPlan(
            len(every),
            tuple(says for _, _, says in every if isinstance(says, Recut)),
            tuple((slug, name, says) for slug, name, says in every if isinstance(says, str)),
        )

    async def _stored(self, slugs: Sequence[Slug]) -> _Stored:
        there = [each.slug for each in await self._inventory.workspaces()]
        if missing := [slug for slug in slugs if slug not in there]:
            raise RepackRefused(
                f"AnythingLLM has no workspace {', '.join(missing)};"
                " `workspaces list` shows those it has"
            )
        found: defaultdict[Slug, dict[Identity, _LookedAt]] = defaultdict(dict)
        for slug in filter(is_slug, dict.fromkeys(slugs or there)):
            listing = await self._inventory.listing(slug)
            for name, rows in by_identity(listing.rows if listing else (), self._identity).items():
                units = [StoredUnit(row.location, row.marker) for row in rows if row.marker]
                found[slug][name] = _LookedAt(units)
        return found

    def _take(
        self, found: _LookedAt, body: DocumentEvent | TombstoneEvent, at: Coordinates
    ) -> None:
        """Note what an event says of a document, unless a newer one was read before."""
        removes = isinstance(body, TombstoneEvent)
        event = Occurrence(body.version, removes=removes)
        if found.newest is None or not found.newest.supersedes(event):
            found.newest = event
            found.says = (
                self._says(body, at, found.units) if isinstance(body, DocumentEvent) else _DELETED
            )

    def _says(
        self, body: DocumentEvent, at: Coordinates, stored: Sequence[StoredUnit]
    ) -> Recut | str | None:
        """What is to be done about it; a text: why nothing can be, None: it is as it would be."""
        event = Occurrence(body.version)
        if any(Occurrence(unit.version).supersedes(event) for unit in stored):
            return STORED_IS_NEWER
        wanted = digests_of(body.document)
        ids = [hash_of_ids((chunk.id,)) for chunk in body.document.chunks]
        found = difference(wanted, stored, body.version, ids=ids)
        if found.missing:
            return _INCOMPLETE
        contents = [chunk.content for chunk in body.document.chunks]
        today = packs(contents, wanted, range(len(wanted)), self._packing)
        anew = repacked(found, today, body.version, wanted=wanted, ids=ids)
        if not anew.missing:
            return None
        uploads = len(packs(contents, wanted, anew.missing, self._packing))
        return Recut(body.slug, body.identity, at, uploads, len(anew.missing), len(anew.stale))


def _about(body: DocumentEvent | TombstoneEvent, stored: _Stored) -> Iterator[_LookedAt]:
    """The stored documents that an event is about: in its workspace, or in all of them."""
    for slug in stored if body.slug is None else (body.slug,):
        found = stored.get(slug, {}).get(body.identity)
        if found is not None:
            yield found
