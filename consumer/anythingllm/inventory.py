"""What AnythingLLM holds, and what puts it right: for people's upkeep, not for the service.

Rules:

1. A list that may not be whole is never given away as if it were. Pieces of a listing count only
   when it came to its end, and vectors only when the server had no reason to keep some back.
2. Nothing here passes a breaker that opens: upkeep ends with its first failure.
3. Ages are by the server's clock on both sides: rows say when they were made, and answers when
   they were given.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime

from consumer.anythingllm.api import FOLDER, Api
from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.database_look import another_answers
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.errors import AnythingLLMError, AnythingLLMServerError, is_sick
from consumer.anythingllm.hit_limit import HitLimit
from consumer.anythingllm.models import DocumentRow, StoredFile, VectorHit, Workspace
from consumer.anythingllm.proof import Sight, StorageProof
from consumer.anythingllm.readiness import Readiness
from consumer.anythingllm.removal_way import RemovalWay
from consumer.anythingllm.search_hits import text_of
from consumer.anythingllm.sentinel import is_sentinel
from consumer.anythingllm.transport import Errand, Transport
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.anythingllm.workspace_anew import WorkspaceAnew
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.listing import ListedFile, ListedRow, Listing
from consumer.model.marker import decode_marker
from consumer.model.names import Location, Slug, TraceId
from consumer.resilience.breaker import Breaker

PAGE = 1_000  # files a request; the most that AnythingLLM 1.16 gives
MOST_VECTORS = 100_000  # asked for at once, where that many are given; with more nothing is judged
NEAREST = 100  # vectors; a text that is in more documents than this may hide one of them
_NEVER = 2**31  # failures that open the breaker
_CONNECTIONS = 4
_QUERY = "ready"  # any text: all vectors are asked for, however far away they are


class SickWorkspace(Exception):
    """Searches in one workspace tell nothing although the embedder works."""


class Inventory:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        api: the endpoints.
        limit: how many hits a search may ask for, as far as was seen.
        database: which vector database it is.
        readiness: stores test documents.
        control: says whether the vector database removes anything.
        removal: removes documents.
        workspaces: know which ones share a collection.
        timeout: seconds for an ordinary call.
        long_timeout: seconds for one that grows with the workspace.
        removal_timeout: seconds for one that removes or embeds.
    """

    def __init__(
        self,
        api: Api,
        limit: HitLimit,
        database: DatabaseInUse,
        readiness: Readiness,
        control: DatabaseControl,
        removal: DocumentRemoval,
        workspaces: Workspaces,
        *,
        timeout: float,
        long_timeout: float,
        removal_timeout: float,
    ) -> None:
        self._api = api
        self._limit = limit
        self._database = database
        self._readiness = readiness
        self._control = control
        self._documents = removal
        self._timeout = timeout
        self._long = long_timeout
        self._removal = removal_timeout
        self.anew = WorkspaceAnew(api, workspaces, lambda: _errand(removal_timeout))
        """Deletes a workspace and makes it anew."""
        self._proof = StorageProof(
            api, limit, errand=lambda seconds, _: _errand(seconds), timeout=long_timeout
        )

    async def workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, whatever their slugs look like, marks of servers among them."""
        return tuple(await self._api.workspaces(_errand(self._timeout)))

    async def database(self) -> VectorDatabase:
        """What the vector database behind AnythingLLM is like."""
        return await self._database(_errand(self._timeout))

    async def visible_seconds(self) -> float:
        """How long a search may not find what is stored, by the database and by what was seen."""
        return self._database.visibility.seconds(await self.database())

    async def reranked(self) -> frozenset[Slug]:
        """Workspaces whose vectors can't be listed, because their searches are reranked."""
        return await self._api.reranked(_errand(self._timeout))

    async def row_counts(self) -> Mapping[Slug, int]:
        """How many rows each workspace has, by another source than the listings."""
        return await self._api.row_counts(_errand(self._timeout))

    async def listing(self, slug: Slug) -> Listing | None:
        """A workspace's rows; None where there is no workspace."""
        rows: list[DocumentRow] = []
        answer = await self._api.scan(_errand(self._long), slug, rows.append)
        if answer is None or answer.workspace is None:
            return None
        return Listing(slug, tuple(_row(row, answer.date) for row in rows), answer.date)

    async def scan(self, slug: Slug, take: Callable[[DocumentRow], None]) -> datetime | None:
        """Read a workspace's rows one by one, however many: none is kept here.

        Args:
            slug: the workspace.
            take: gets every row. Rows prove nothing before this has returned.

        Returns:
            The server's time of the listing; None where there is no workspace.
        """
        answer = await self._api.scan(_errand(self._long), slug, take)
        return answer.date if answer is not None and answer.workspace is not None else None

    async def near(self, slug: Slug, text: str) -> frozenset[str]:
        """The ``docSource`` of the units whose text is nearest to this one in a search.

        Vectors of zeros are near to nothing, and come first in every search of some databases.

        Raises:
            SickWorkspace: a search fails, and not because of the embedder.
        """
        try:
            found = await self._limit.nearest(self._api, _errand(self._long), slug, text, NEAREST)
        except AnythingLLMServerError as error:
            await self._api.check_embedder(_errand(self._timeout))
            raise SickWorkspace(error.message) from error
        return frozenset(hit.doc_source for hit in found.hits if not hit.tells_nothing)

    async def sight(
        self,
        slug: Slug,
        text: str,
        is_found: Callable[[], bool],
        saw: Callable[[VectorHit], None],
        *,
        top: int,
    ) -> Sight:
        """What searches say of something that a workspace lists.

        Args:
            slug: the workspace.
            text: of what is looked for, not blank.
            is_found: whether it was seen.
            saw: gets every hit.
            top: hits of the first search; further ones give more.

        Raises:
            SickWorkspace: they tell nothing. They fail, and not because of the embedder, or they
                find nothing at all where that may mean that the vector database is down.
        """
        database, hits = await self.database(), 0

        def count(hit: VectorHit) -> None:
            nonlocal hits
            hits += 1
            saw(hit)

        try:
            sight = await self._proof.near(
                slug, text, is_found, count,
                database=database, trace_id=None, top=top, is_exact=True,
            )  # fmt: skip
        except AnythingLLMServerError as error:
            await self._api.check_embedder(_errand(self._timeout))
            raise SickWorkspace(error.message) from error
        if not hits and database.is_empty_when_down and not await self._holds_vectors():
            raise SickWorkspace(
                f"they find nothing, and AnythingLLM counts no vectors: its vector database "
                f"({database.name}) is down, or all that it held is lost"
            )
        return sight

    async def _holds_vectors(self) -> bool:
        """Whether the vector database is known to have any vector, in whatever workspace."""
        return await self._api.vector_count(_errand(self._timeout)) > 0

    async def locations(self, slug: Slug) -> Counter[Location]:
        """How often a workspace lists each location; nothing where there is no workspace."""
        found: Counter[Location] = Counter()

        def take(row: DocumentRow) -> None:
            found[row.location] += 1

        await self._api.scan(_errand(self._long), slug, take)
        return found

    async def vectors(self, slug: Slug) -> Mapping[str, int] | None:
        """How many whole sets of vectors there are of each ``docSource`` that is ours.

        Returns:
            None where there are more than a search gives: then nothing is known of any.

        Raises:
            SickWorkspace: a search fails, and not because of the embedder.
        """
        try:
            found = await self._limit.nearest(
                self._api, _errand(self._long), slug, _QUERY, MOST_VECTORS
            )
        except AnythingLLMServerError as error:
            await self._api.check_embedder(_errand(self._timeout))
            raise SickWorkspace(error.message) from error
        if not found.is_all:
            return None
        # A unit of more than 1,000 characters has several vectors, each with another piece of it.
        pieces: Counter[tuple[str, int]] = Counter()
        if found.hits and all(hit.tells_nothing for hit in found.hits):
            await self._api.check_embedder(_errand(self._timeout))
        for hit in found.hits:
            if hit.tells_nothing:
                continue  # zeros: no search for its text finds it
            if is_sentinel(hit.doc_source) or decode_marker(hit.doc_source):
                pieces[hit.doc_source, hash(text_of(hit))] += 1
        sets: dict[str, int] = {}
        for (source, _), count in pieces.items():
            sets[source] = min(count, sets.get(source, count))
        return sets

    async def files(self) -> AsyncIterator[tuple[ListedFile, datetime]]:
        """Every file of ours, with the server's time when it was there."""
        offset, more = 0, True
        while more:
            page = await self._api.files(_errand(self._long), offset, PAGE)
            offset, more = offset + len(page.files), page.more and bool(page.files)
            for each in page.files:
                if page.date is not None and (file := _file(each)) is not None:
                    yield file, page.date

    async def now(self) -> datetime | None:
        """The server's time; None where it stores no files yet."""
        return (await self._api.files(_errand(self._timeout), 0, 1)).date

    async def is_unchanged(self, file: ListedFile) -> bool:
        """Whether a file is still there as it was."""
        now = await self._api.file(_errand(self._timeout), file.location)
        return now is not None and (now.doc_source, now.cached) == (file.source, file.embedded)

    async def file(self, location: Location, source: str) -> StoredFile | None:
        """The file of this ``docSource``; None where there is none."""
        file = await self._api.file(_errand(self._timeout), location)
        return file if file is not None and file.doc_source == source else None

    async def move(self, location: Location, to: Location, source: str) -> bool:
        """Give a file that no workspace lists another name; whether it has it afterwards."""
        with suppress(AnythingLLMServerError):  # it is not there
            await self._api.move(_errand(self._timeout), location, to)
        return await self.file(to, source) is not None

    async def store_test(self, slug: Slug) -> None:
        """Store a test document in a workspace, find it, and remove it."""
        try:
            await self._readiness.store_test(slug, None)
        except AnythingLLMError:
            await self._readiness.clear(slug, None)  # nobody looks for it again
            raise

    async def removals_work(self, slug: Slug) -> None:
        """Return when a removal would be answered truly, or a test shows that removals work.

        Raises:
            StillFoundError: what is removed is still found, and nothing can remove it any more.
        """
        if not (await self.database()).tells_removals:
            await self._control.removes(slug, None)

    async def relist(
        self, slug: Slug, *, adds: Sequence[Location] = (), deletes: Sequence[Location] = ()
    ) -> Counter[Location]:
        """Take rows out, then embed files into a workspace; how often each is listed then."""
        errand = _errand(self._removal)
        with _telling_doubt():
            return Counter(await self._api.relist(errand, slug, adds=adds, deletes=deletes))

    async def remove(self, locations: Sequence[Location], slug: Slug | None = None) -> bool:
        """Remove files with their rows and vectors in every workspace.

        Args:
            locations: of the files.
            slug: the workspace that lists them; None: none does.

        Returns:
            False where a proxy refuses that (`why_files_stay`): they were taken out of the
            workspace, and the files with their cached vectors stay.
        """
        with _telling_doubt():
            return await self._documents.remove(_errand(self._removal), slug, locations)

    @property
    def why_files_stay(self) -> str | None:
        """Why no file can be removed, for people; None where that is not known to be so."""
        return self._documents.refusal


@contextmanager
def _telling_doubt() -> Iterator[None]:
    """Say what to do where a request may still take effect: nobody looks for it any more."""
    try:
        yield
    except AnythingLLMError as error:
        if error.ambiguous:
            error.message += (
                "; it may still take effect: run this again in ten minutes, which mends what it"
                " left, or what is there twice by then"
            )
        raise


def _row(row: DocumentRow, now: datetime) -> ListedRow:
    created = row.created_at
    return ListedRow(
        location=row.location,
        source=row.doc_source,
        age=(now - created).total_seconds() if created else None,
        marker=decode_marker(row.doc_source),
        sentinel=is_sentinel(row.doc_source),
    )


def _file(file: StoredFile) -> ListedFile | None:
    """A file, if it is ours and where we put it."""
    marker, sentinel = decode_marker(file.doc_source), is_sentinel(file.doc_source)
    if marker is None and not sentinel:
        return None
    if not file.location.endswith(".json") or "/" in file.location.removeprefix(FOLDER):
        return None
    return ListedFile(file.location, file.doc_source, marker, sentinel, file.cached is True)


def _errand(seconds: float, trace_id: TraceId | None = None) -> Errand:
    return Errand(_now() + seconds, _now, trace_id)


def _now() -> float:
    """Monotonic seconds, as whoever sleeps counts them."""
    return asyncio.get_running_loop().time()


def _readiness(
    config: AnythingLLMConfig,
    api: Api,
    limit: HitLimit,
    database: DatabaseInUse,
    removal: DocumentRemoval,
) -> Readiness:
    embedder = EmbedderInUse(api, errand=_errand, timeout=config.timeout, clock=_now)
    return Readiness(
        api,
        Workspaces(api, database, None),
        StorageProof(api, limit, errand=_errand, timeout=config.timeout),
        database,
        removal,
        embedder,
        errand=_errand,
        timeout=config.timeout,
        upload_timeout=config.upload_timeout,
        pause=config.sentinel_pause,
        clock=_now,
        sleep=asyncio.sleep,
    )


@asynccontextmanager
async def open_inventory(config: AnythingLLMConfig) -> AsyncIterator[Inventory]:
    """An inventory of one AnythingLLM, on connections of its own."""
    breaker = Breaker(
        failure_threshold=_NEVER,
        recovery_timeout=config.circuit_breaker.recovery_timeout,
        is_failure=is_sick,
        clock=_now,
    )
    transport = Transport(
        config,
        breaker,
        clock=_now,
        now=lambda: datetime.now(UTC),
        rng=random.Random(),
        connections=_CONNECTIONS,
    )
    await transport.open()
    try:
        api, limit = Api(transport), HitLimit()
        database = DatabaseInUse(api, configured=config.vector_db, clock=_now)
        removal = DocumentRemoval(api, RemovalWay(_now))
        readiness = _readiness(config, api, limit, database, removal)
        control = DatabaseControl(
            readiness.store_test,
            readiness.removal_test,
            new_dimension=lambda: database.known.new_dimension,
            another_answers=lambda slug, _: another_answers(api, slug, _errand(config.timeout)),
            clock=_now,
        )
        yield Inventory(
            api,
            limit,
            database,
            readiness,
            control,
            removal,
            Workspaces(api, database, None),
            timeout=config.timeout,
            long_timeout=max(config.timeout, config.upload_timeout),
            removal_timeout=config.removal_timeout,
        )
    finally:
        await transport.close()
