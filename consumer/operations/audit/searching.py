"""Are the chunks that AnythingLLM lists found by searches? A listing alone does not say that.

Some vector databases refuse vectors and AnythingLLM lists the chunk all the same
(`consumer.anythingllm.vector_databases`); and vectors can be lost afterwards. Rules:

1. A chunk is looked for by its own text, as its event has it, and is known by its marker.
2. One search proves all the chunks of a document that it happens to find.
3. What is not found is looked for again: later than the vector database takes to show what is new,
   and only if it is still listed and nothing of its document waits. Only what is not found both
   times is missing.
4. Where more texts are as near as a search gives hits, or where AnythingLLM reranks hits and so
   tells of 50 at most, nobody can tell. The same where searches fail, or find nothing at all where
   the vector database may be down: no more searches are sent to that workspace.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice

from consumer.anythingllm.errors import AnythingLLMError, AnythingLLMNotFoundError
from consumer.anythingllm.inventory import Inventory, SickWorkspace
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.proof import Sight
from consumer.anythingllm.servers_inventory import ServersInventory
from consumer.anythingllm.visibility import SURE_SECONDS
from consumer.model.blank import is_blank
from consumer.model.event import DocumentEvent
from consumer.model.marker import digests_of
from consumer.model.names import Location, Slug
from consumer.model.packing import pack_text
from consumer.operations.audit.judgement import KeptUnit, WantedDocument
from consumer.operations.audit.register import Entry, Register
from consumer.operations.audit.sampling import picks
from consumer.operations.audit.sights import hash_of_source
from consumer.operations.ports import RecordReader
from consumer.operations.progress import StageProgress
from consumer.settings import Settings
from consumer.wiring.events import event_reader

SAMPLE_DOCUMENTS = 20  # with the chunks below 200 searches at most, 8 s on a small server
SAMPLE_CHUNKS = 10  # of a document
_MOST_PICKED = 3 * SAMPLE_DOCUMENTS  # of some nothing is stored, or an event waits
_HITS_EACH = 3  # asked for at first for each chunk that is looked for
_MOST_AT_ONCE = 300  # hits of a first search
_STAGE = "searching"
_MOST_NAMED = 3  # workspaces

Holders = Callable[[Entry], Sequence[KeptUnit]]
"""The units that hold a document's chunks; none where it can't be judged now."""


class SearchScope(StrEnum):
    """How much an audit looks for."""

    NONE = "none"
    SAMPLE = "sample"
    ALL = "all"


class Searching:
    """See the module's docstring.

    Args:
        settings: of the service.
        inventory: of AnythingLLM.
        reader: of the topics; gives the texts.
        register: has the documents, and gets what searches say.
        scope: how much is looked for.
        rng: chooses the sample.
        progress: called now and then.
    """

    def __init__(
        self,
        settings: Settings,
        inventory: Inventory | ServersInventory,
        reader: RecordReader,
        register: Register,
        *,
        scope: SearchScope,
        rng: random.Random,
        progress: StageProgress,
    ) -> None:
        self._inventory = inventory
        self._reader = reader
        self._register = register
        self._scope = scope
        self._rng = rng
        self._progress = progress
        self._events = event_reader(settings)
        self._reranked: frozenset[Slug] = frozenset()
        self._stopped = ""
        self.silent: dict[Slug, str] = {}
        """Workspaces whose searches tell nothing, with the reason."""

    async def look(self, holders: Holders, workspace: Slug | None) -> None:
        """Look for the chunks of all documents, or of a sample.

        Args:
            holders: see there.
            workspace: its slug; the others are left out.
        """
        if self._scope is SearchScope.NONE:
            return
        self._reranked = await self._inventory.reranked()
        for entry, units in self._chosen(holders, workspace):
            await self._look_for(entry, units)

    async def look_again(self, holders: Holders) -> None:
        """Look again for what was not found, where it is still listed."""
        missing = self._register.sights.with_missing()
        for number, (slug, identity) in enumerate(missing):
            self._progress("searching again", number, len(missing))
            before = self._register.sights.of(slug, identity)
            lost = [location for location, sight in before.items() if sight is Sight.MISSING]
            self._register.sights.forget(slug, identity, lost)
            entry = self._register.entry(slug, identity)
            units = [unit for unit in holders(entry) if unit.location in lost]
            if units:
                await self._look_for(entry, units)

    async def seconds_until_visible(self, listed: Mapping[Slug, datetime]) -> float:
        """How long a search may not find what is missing because it is too new.

        Args:
            listed: the server's time of each workspace's listing.
        """
        missing = self._register.sights.with_missing()
        visible = (await self._inventory.database()).visible_seconds if missing else 0.0
        # How late it is here nobody knows: it is the audit's first look.
        seconds = max(visible, SURE_SECONDS) if missing else 0.0
        longest = 0.0
        for slug, identity in missing if seconds else ():
            sights = self._register.sights.of(slug, identity)
            for unit in self._register.entry(slug, identity).kept:
                if sights.get(unit.location) is Sight.MISSING:
                    now = listed[slug].timestamp()
                    longest = max(longest, seconds - max(0.0, now - (unit.created or now)))
        return longest

    def notices(self) -> Iterator[str]:
        """For people: where nothing could be told, and why."""
        reasons: dict[str, list[Slug]] = {}
        for slug, reason in sorted(self.silent.items()):
            reasons.setdefault(reason, []).append(slug)
        for reason, slugs in reasons.items():
            named = ", ".join(slugs[:_MOST_NAMED])
            more = f" and {len(slugs) - _MOST_NAMED} more" if len(slugs) > _MOST_NAMED else ""
            yield (
                f"searches tell nothing in {named}{more}: {reason}. Whether what is listed there "
                "is found could not be told; run it again once they work"
            )

    # -- which -------------------------------------------------------------------------------------

    def _chosen(
        self, holders: Holders, workspace: Slug | None
    ) -> Iterator[tuple[Entry, Sequence[KeptUnit]]]:
        if self._scope is SearchScope.ALL:
            total = self._register.count_wanted(workspace).total()
            for number, entry in enumerate(self._register.in_order_of_events(workspace)):
                self._progress(_STAGE, number, total)
                if units := holders(entry):
                    yield entry, units
            return
        counts = self._register.count_wanted(workspace)
        chosen = self._register.picked(picks(counts, _MOST_PICKED, self._rng), workspace)
        stored = ((entry, units) for entry in chosen if (units := holders(entry)))
        for number, (entry, units) in enumerate(islice(stored, SAMPLE_DOCUMENTS)):
            self._progress(_STAGE, number, SAMPLE_DOCUMENTS)
            yield entry, self._rng.sample(units, min(len(units), SAMPLE_CHUNKS))

    # -- looking -----------------------------------------------------------------------------------

    async def _look_for(self, entry: Entry, units: Sequence[KeptUnit]) -> None:
        texts = await self._texts(entry.wanted) if entry.wanted else {}
        sought = {unit.location: text for unit in units if (text := _text(unit, texts))}
        units = [unit for unit in units if unit.location in sought]
        sights = await self._sights(entry.slug, units, sought)
        self._register.sights.note(entry.slug, entry.identity, sights)

    async def _texts(self, wanted: WantedDocument) -> Mapping[str, str]:
        """The texts of a document's chunks by digest; none where its event is gone meanwhile."""
        record = await self._reader.record(wanted.read_at)
        body = self._events.read(record).body if record is not None else None
        if not isinstance(body, DocumentEvent):
            return {}
        chunks = body.document.chunks
        return dict(zip(digests_of(body.document), (each.content for each in chunks), strict=True))

    async def _sights(
        self, slug: Slug, units: Sequence[KeptUnit], texts: Mapping[Location, str]
    ) -> dict[Location, Sight]:
        """What searches say of each unit; HIDDEN where they tell nothing."""
        sights = dict.fromkeys((unit.location for unit in units), Sight.HIDDEN)
        if self._stopped or slug in self.silent:
            self.silent.setdefault(slug, self._stopped)
            return sights
        try:
            await self._search(slug, units, texts, sights)
        except (SickWorkspace, AnythingLLMNotFoundError) as error:
            self.silent[slug] = str(error)
        except AnythingLLMError as error:  # no workspace's own trouble: the next would have it too
            self.silent[slug] = self._stopped = error.message
        return sights

    async def _search(
        self,
        slug: Slug,
        units: Sequence[KeptUnit],
        texts: Mapping[Location, str],
        sights: dict[Location, Sight],
    ) -> None:
        left = {unit.source: unit for unit in units}

        def saw(hit: VectorHit) -> None:
            if (unit := left.pop(hash_of_source(hit.doc_source), None)) is not None:
                sights[unit.location] = Sight.FOUND

        for source, unit in list(left.items()):
            if source not in left:
                continue
            top = min(_HITS_EACH * len(left), _MOST_AT_ONCE)
            text = texts[unit.location]
            gone = partial(_is_gone, left, source)
            sight = await self._inventory.sight(slug, text, gone, saw, top=top)
            if sight is not Sight.FOUND:
                del left[source]
                sights[unit.location] = Sight.HIDDEN if slug in self._reranked else sight


def _is_gone(left: Mapping[str, KeptUnit], source: str) -> bool:
    return source not in left


def _text(unit: KeptUnit, texts: Mapping[str, str]) -> str:
    """What a unit is looked for by; blank where nothing of it is known.

    Of a pack that has to go not all texts are known, only what is wanted of it. AnythingLLM cuts
    packs between their chunks, so each chunk's text is near to a vector of the pack.
    """
    known = [texts[digest] for digest in unit.digests if digest in texts]
    text = pack_text(known if len(known) == len(unit.digests) else known[:1])
    return "" if is_blank(text) else text
