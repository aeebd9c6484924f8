"""AnythingLLM as a store of units: what the journey needs, on the client's pool and breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from consumer.anythingllm.api import Api
from consumer.anythingllm.control_upload import ControlUpload
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMRejectedError,
    NoWorkspaceError,
    StillFoundError,
)
from consumer.anythingllm.health import PROBE_SECONDS, deep_probe, silent_database
from consumer.anythingllm.readiness import Readiness
from consumer.anythingllm.removal_looks import title_words
from consumer.anythingllm.sentinel import ABANDONED_AGE
from consumer.anythingllm.sole_server import SoleServer
from consumer.anythingllm.transport import Check, NewErrand, always
from consumer.anythingllm.under_way import UnderWay
from consumer.anythingllm.unit_listings import UnitListings
from consumer.anythingllm.unit_upload import RawTextUpload
from consumer.anythingllm.upload_body import pieces
from consumer.anythingllm.upload_ways import Ways
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.copies import ComparableUnit
from consumer.model.listing import FILE_STORE, Listed
from consumer.model.marker import Marker, StoredUnit, Unit
from consumer.model.names import Location, Slug, TraceId
from consumer.model.remains import Remains
from consumer.model.slug import is_slug
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

_MOST_TESTED = 5  # workspaces where a removal is tried before none is known to work
EMBEDDED_AT_ONCE = 100  # pieces a request of the poison probe: its answer has up to 80 kB each
REMOVED_AT_ONCE = 10  # locations a request: each takes 0.2 to 5 s on a large workspace
REMOVALS_IN_FLIGHT = 2  # they occupy the server's only thread; more would slow down uploads


class AnythingLLMStorage:
    """Prepares workspaces, lists, uploads and removes units. Every method may raise `Failure`.

    Args:
        sole: says whether it is one of several servers and nobody told us.
        probing: the endpoints, past the breaker.
        under_way: knows the requests of all of them.
        timeout: seconds for an ordinary call.
        removal_timeout: seconds for one removal request.

    Attributes:
        listings: what workspaces list.
    """

    def __init__(
        self,
        api: Api,
        readiness: Readiness,
        ways: Ways,
        sole: SoleServer,
        *,
        probing: Api,
        under_way: UnderWay,
        errand: NewErrand,
        timeout: float,
        removal_timeout: float,
    ) -> None:
        self._api = api
        self._probing = probing
        self._under_way = under_way
        self._readiness = readiness
        self._ways = ways
        self._sole = sole
        self._errand = errand
        self._timeout = timeout
        self._removal_timeout = removal_timeout
        # Slots of their own: a removal that takes minutes never keeps an upload waiting.
        self._removals = asyncio.Semaphore(REMOVALS_IN_FLIGHT)
        self.listings = UnitListings(
            api, readiness, errand=errand, timeout=timeout, clock=ways.clock
        )

    async def prepare(self, slug: Slug, *, trace_id: TraceId | None = None) -> None:
        """Make sure the workspace exists and takes concurrent uploads without losing any."""
        await self._readiness.prepare(slug, trace_id)

    def forget(self, slug: Slug) -> None:
        """Prepare the workspace anew next time: it turned out to be gone or changed."""
        self._readiness.forget(slug)

    def when_changed(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug when others have emptied or removed a workspace.

        It is called only for what is noticed before an upload, not for what a listing shows.
        """
        self._readiness.when_changed(listener)

    def when_sentinels_left(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug when `tidy` may find something there later."""
        self._readiness.when_left(listener)

    def distrust(self, slug: Slug) -> None:
        """Have the next `prepare` prove with a sentinel that the workspace takes uploads.

        Until a sentinel succeeds, every `prepare` does so: a workspace whose vectors have another
        dimension than the embedder, say, stores nothing although it is full of documents.
        """
        self._readiness.distrust(slug)

    async def probe(self, *, trace_id: TraceId | None = None) -> None:
        """The deep probe: key, collector, embedder, vector database; passes no breaker.

        A test document is stored where a control of the vector database has failed, and where
        nothing is found in workspaces that list documents.

        Raises:
            AnythingLLMError: theirs or busy; its message names what is not well.
        """
        seconds = min(self._timeout, PROBE_SECONDS)
        ways, errand = self._ways, self._errand(seconds, trace_id)
        look = await deep_probe(self._probing, ways.embedder, ways.database, errand)
        if not look.suspects:
            await self._ways.control.probe(trace_id)
            return
        try:
            await self._ways.control.passes(look.suspects[0], self._ways.clock(), trace_id)
        except NoWorkspaceError:
            return  # the workspace is gone, which says nothing of the database
        except AnythingLLMError as error:
            raise silent_database(look, error) from error
        log.warning(
            "vector_database.vectors_lost",
            seen=look.trouble,
            consequence="what these workspaces list is not found; new documents are stored",
            what_to_do="`workspaces verify` says more, `workspaces repair --yes` embeds it again",
        )

    async def embeds(self, text: str, *, trace_id: TraceId | None = None) -> None:
        """Have the embedder embed all of a text, in pieces as an upload would; nothing is stored.

        All pieces go in one request, or in several of `EMBEDDED_AT_ONCE` where there are more: what
        the embedder refuses may be anywhere in the text. Where a proxy lets no text through to the
        embedder nothing is known of this one, and storing it has to show that.

        Args:
            text: of a unit.
            trace_id: of the event.

        Raises:
            AnythingLLMRejectedError: a blank text; nothing was sent.
            AnythingLLMError: a piece was not embedded, or the time for an upload is over.
        """
        if not (every := pieces(text)):
            raise AnythingLLMRejectedError("blank text can't be embedded: nothing was sent")
        errand = self._errand(self._ways.upload_timeout, trace_id)
        for start in range(0, len(every), EMBEDDED_AT_ONCE):
            try:
                await self._api.embeddings(errand, every[start : start + EMBEDDED_AT_ONCE])
            except AnythingLLMError as error:
                if not self._ways.embedder.hides(error):
                    raise
                return

    async def store_control(
        self, slug: Slug, text: str, *, trace_id: TraceId | None = None, check: Check = always
    ) -> None:
        """Store a text as a chunk's would be stored, as a test document (`control_upload`).

        Args:
            slug: the workspace.
            text: not blank.
            trace_id: of the event.
            check: called before every upload; what it raises gets out.

        Raises:
            AnythingLLMError: it was not stored, or not embedded; never ambiguous.
        """
        control = ControlUpload(
            self._api,
            self._readiness.sentinels,
            self._ways.database,
            errand=self._errand,
            timeout=self._timeout,
        )
        await control.run(slug, text, trace_id, check)

    async def answers(self, *, trace_id: TraceId | None = None) -> None:
        """Whether anybody is there: the smallest request; it passes no breaker.

        Raises:
            AnythingLLMError: `Failure.not_there` says whether it is gone, or unwell.
        """
        await self._probing.check_key(self._errand(min(self._timeout, PROBE_SECONDS), trace_id))

    def answered_at(self) -> float:
        """When AnythingLLM last answered anything well, monotonic seconds."""
        return self._under_way.answered_at

    def begun_requests(self) -> int | None:
        """How many requests of ours were begun so far; None while one is under way."""
        return self._under_way.begun

    async def silent(self) -> None:
        """Return when no request of ours is under way."""
        await self._under_way.none()

    async def database(self, *, trace_id: TraceId | None = None) -> VectorDatabase:
        """What the vector database behind AnythingLLM is like."""
        return await self._ways.database(self._errand(self._timeout, trace_id))

    async def workspaces(self, *, trace_id: TraceId | None = None) -> Sequence[Slug]:
        """The slugs of all workspaces, marks of servers among them: a text may lie in each."""
        errand = self._errand(self._timeout, trace_id)
        every = [each.slug for each in await self._api.workspaces(errand)]
        await self._sole.check(trace_id, lacks=False)  # it has seen these
        return every

    async def is_sole(self, *, lacks: bool, trace_id: TraceId | None = None) -> None:
        """Return where no other server can have what this one lacks (`SoleServer`).

        Args:
            lacks: whether this one has nothing of what is looked for.
            trace_id: of the event.

        Raises:
            AnythingLLMError: it is one of several, or can't be asked.
        """
        await self._sole.check(trace_id, lacks=lacks)

    async def listing(
        self,
        slug: Slug,
        wanted: Callable[[Marker], bool] = lambda marker: True,
        *,
        trace_id: TraceId | None = None,
    ) -> Sequence[StoredUnit]:
        """The wanted units with our marker, one a location; empty where there is no workspace.

        Nothing is kept of the others: a workspace may hold a million.
        """
        units: list[StoredUnit] = []

        def take(unit: StoredUnit) -> None:
            if wanted(unit.marker):
                units.append(unit)

        await self.scan(slug, take, trace_id=trace_id)
        return units

    async def scan(
        self,
        slug: Slug,
        take: Callable[[StoredUnit], None],
        *,
        unless: str | None = None,
        trace_id: TraceId | None = None,
    ) -> Listed | None:
        """See `UnitListings.scan`."""
        return await self.listings.scan(slug, take, unless=unless, trace_id=trace_id)

    async def found(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        texts: Callable[[], Mapping[str, str]],
        *,
        trace_id: TraceId | None = None,
        check: Check = always,
    ) -> frozenset[Location]:
        """The locations of the listed rows that are stored, all where listings can be believed.

        On vector databases that refuse vectors without a word (`vouching`) a search has to find
        them, once in the life of a process.

        Args:
            slug: the workspace.
            rows: of one document.
            texts: of the document's chunks, by digest. Rows with other texts are not looked for.
            trace_id: of the event.
            check: called before every request; what it raises gets out.
        """
        return await self._ways.vouching.found(slug, rows, texts, trace_id, check)

    async def prove(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        *,
        trace_id: TraceId | None = None,
        check: Check = always,
    ) -> None:
        """Look for rows by the title of their document; `is_proven` tells afterwards.

        Args:
            slug: the workspace.
            rows: all that it lists of one document.
            trace_id: of the event.
            check: called before every request; what it raises gets out.
        """
        await self._ways.vouching.look(slug, rows, trace_id, check)

    async def rows_prove(self, *, trace_id: TraceId | None = None) -> bool:
        """Whether a listed row is stored, whoever looks at it."""
        return (await self.database(trace_id=trace_id)).cached_proves

    def is_proven(self, location: Location) -> bool:
        """Whether a listed row counts as stored, by all that was asked so far (`rows_prove`)."""
        database = self._ways.database.asked
        is_proof = database is not None and database.cached_proves
        return is_proof or location in self._ways.vouching

    async def row_counts(self, *, trace_id: TraceId | None = None) -> dict[Slug, int]:
        """How many documents each workspace lists, ours and others', without listing any."""
        return await self._api.row_counts(self._errand(self._timeout, trace_id))

    def upload(
        self,
        slug: Slug,
        unit: Unit,
        *,
        trace_id: TraceId | None = None,
        check: Check = always,
    ) -> RawTextUpload:
        """A unit's upload, not started yet.

        Args:
            slug: the workspace.
            unit: what to store.
            trace_id: of the event.
            check: called before every request that changes something; what it raises gets out.
        """
        return RawTextUpload(self._ways, slug, unit, trace_id, check)

    async def remove(
        self,
        slug: Slug,
        locations: Sequence[Location],
        *,
        trace_id: TraceId | None = None,
        check: Check = always,
    ) -> None:
        """Remove units from the server; those that are gone already are no error.

        Where a proxy refuses that, they are taken out of the workspace (`document_removal`).

        Args:
            slug: the workspace they were listed in; AnythingLLM removes them from every one.
            locations: as listed.
            trace_id: of the event.
            check: called before every request; what it raises gets out.

        Raises:
            AnythingLLMForbiddenError: AnythingLLM, or a proxy, does not let us now; ``left`` says
                what is still there.
            AnythingLLMError: anything else.
        """
        for start in range(0, len(locations), REMOVED_AT_ONCE):
            async with self._removals:
                check()
                await self._removals_work(slug, trace_id, check)
                check()
                errand = self._errand(self._removal_timeout, trace_id)
                try:
                    batch = locations[start : start + REMOVED_AT_ONCE]
                    await self._ways.removal.remove(errand, slug, batch, check)
                except AnythingLLMForbiddenError as error:
                    error.left = tuple(locations[start:])
                    raise

    async def why_files_stay(self) -> str | None:
        """Why a proxy lets no removal through, by one of a file that is not there; None: it does.

        Raises:
            AnythingLLMError: nobody can say now.
        """
        return await self._ways.removal.look(self._errand(self._timeout, None))

    async def erase(
        self,
        slug: Slug,
        units: Sequence[StoredUnit],
        is_gone: Callable[[Marker], bool] | None = None,
        texts: Sequence[str] = (),
        *,
        trace_id: TraceId | None = None,
    ) -> None:
        """Remove units, and look whether searches still find them.

        Args:
            slug: the workspace.
            units: as listed; none where all that is wanted is the look.
            is_gone: what is not to be found any more; None: the units.
            texts: what it may be near to, beside the title of the first unit.
            trace_id: of the event.

        Raises:
            StillFoundError: they do, and no request reaches them any more.
            AnythingLLMError: as `remove` does.
        """
        locations = [unit.location for unit in units]
        await self.remove(slug, locations, trace_id=trace_id)
        removed = {unit.marker for unit in units}
        is_gone = removed.__contains__ if is_gone is None else is_gone
        listed: set[Marker] = set()

        async def relist() -> None:
            there = await self.listing(slug, is_gone, trace_id=trace_id)
            listed.update(unit.marker for unit in there)

        remains = await self.remains(
            slug,
            lambda marker: is_gone(marker) and marker not in listed,
            locations[:1],
            texts,
            relist,
            trace_id=trace_id,
        )
        if remains is not None:
            raise StillFoundError(
                f"{len(remains.markers)} chunks that were removed are still found in workspace"
                f" {slug!r}, although they are listed no more: the vector database refused the"
                f" removal. To do: {remains.what_to_do}"
            )

    async def remains(
        self,
        slug: Slug,
        is_gone: Callable[[Marker], bool],
        locations: Sequence[Location],
        texts: Sequence[str],
        relist: Callable[[], Awaitable[None]],
        *,
        trace_id: TraceId | None = None,
        check: Check = always,
    ) -> Remains | None:
        """What searches still find of units that were removed (`removal_looks`).

        Args:
            slug: the workspace they were in.
            is_gone: whether a unit was removed and no other one has its marker.
            locations: where some of them were; their files' names show their titles.
            texts: what they may be near to as well.
            relist: reads a new listing for `is_gone`, before a further look.
            trace_id: of the event.
            check: called before every look; what it raises gets out.
        """
        wanted = (*(title_words(each) for each in locations), *texts)
        return await self._ways.removal_looks.remains(
            slug, is_gone, wanted, relist, trace_id=trace_id, check=check
        )

    async def _removals_work(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        """Return when a removal would be answered truly, or a test has shown that removals work."""
        errand = self._errand(min(self._timeout, self._removal_timeout), trace_id)
        database = await self._ways.database(errand)
        if slug != FILE_STORE:
            await self._ways.control.removals_work(slug, database, trace_id, check)
        elif not database.tells_removals:
            # It is no workspace; any other tells the same, but one that is sick by itself.
            there = await self.workspaces(trace_id=trace_id)
            slugs = list(filter(is_slug, there))[:_MOST_TESTED]
            await self._removals_work_in_any(slugs, database, trace_id, check)

    async def _removals_work_in_any(
        self,
        slugs: Sequence[Slug],
        database: VectorDatabase,
        trace_id: TraceId | None,
        check: Check,
    ) -> None:
        failure: AnythingLLMError | None = None
        for slug in slugs:
            try:
                await self._ways.control.removals_work(slug, database, trace_id, check)
            except AnythingLLMError as error:
                failure = failure or error
            else:
                return
        if failure is not None:
            raise failure

    async def tidy(self, slug: Slug, *, trace_id: TraceId | None = None) -> float | None:
        """Remove sentinels that are abandoned from a workspace, as `scan` saw it last.

        Returns:
            Seconds until it is worth trying again, None where none are left.
            All that are left count as abandoned by then.
        """
        left = self.listings.sentinels(slug)
        is_refused = False
        if left.abandoned:
            try:
                await self.remove(slug, left.abandoned, trace_id=trace_id)
            except AnythingLLMForbiddenError as error:
                # As its failure the look at the workspace would be made again, every five minutes.
                log.warning("workspace.sentinels_left", workspace=slug, error=error.message)
                is_refused = True
            else:
                log.info("workspace.sentinels_removed", workspace=slug, units=len(left.abandoned))
        return ABANDONED_AGE.total_seconds() if left.has_young or is_refused else None
