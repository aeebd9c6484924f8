"""What proves that a document is stored and embedded: never the answer to its upload.

``200 success:true`` of AnythingLLM 1.16 proves nothing. A document is known by its ``docSource``
(a unit's marker, a sentinel's source), and these are the proofs of it, the only ones there are:

1. By its file: ``GET /v1/document/{name}`` shows the source and says ``cached: true``. It proves
   that the text was embedded, for the caller who knows the location.
2. By a listing of the workspace that shows the source. A row is made after the vectors are.
3. By a search in the workspace that finds the source with a distance or a score: vectors of zeros
   have neither, and come first or last whatever is searched for. It alone proves that the vectors
   are there now: another process that creates the table may have overwritten them (`readiness`),
   and some vector databases refuse vectors without AnythingLLM saying so (`vector_databases`).

A unit is stored by 1, or by 2 where an upload got no complete answer, or no look at its file any;
on databases whose refusals are not told by 3 as well (`unit_upload`). A workspace is ready when a
sentinel is proven by 1 and, twice, by 3 (`readiness`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import SearchTellsNothingError
from consumer.anythingllm.hit_limit import HitLimit
from consumer.anythingllm.models import DocumentRow, VectorHit
from consumer.anythingllm.transport import NewErrand
from consumer.anythingllm.upload_body import with_blanks
from consumer.anythingllm.vector_databases import VectorDatabase, distances
from consumer.model.blank import trimmed
from consumer.model.names import Location, Slug, TraceId

_FIRST_TOP = 10  # hits of the first search; each further one asks for ten times as many
_GROWTH = 10
_CLEARLY_WORSE = 0.2  # of the distance: the lines before a text change it by less
_FAR = 1.0  # a distance at which texts have nothing in common
_MOST_HITS = 5_000  # of one search: an answer of more would take tens of MB
_LONGEST_QUERY = 1_000  # UTF-16 units, as AnythingLLM counts them


class Sight(Enum):
    """What searches for a document's own text say.

    FOUND    its vectors are there.
    MISSING  they are not, or not yet: everything that is as near was looked at.
    HIDDEN   nobody can say: more texts are as near as a search gives hits.
    """

    FOUND = "found"
    MISSING = "missing"
    HIDDEN = "hidden"


class StorageProof:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        api: the endpoints.
        limit: how many hits a search may ask for, as far as was seen.
        errand: makes an errand of so many seconds.
        timeout: seconds for one proof.
    """

    def __init__(self, api: Api, limit: HitLimit, *, errand: NewErrand, timeout: float) -> None:
        self._api = api
        self._limit = limit
        self._errand = errand
        self._timeout = timeout

    async def by_file(
        self, location: Location, source: str, trace_id: TraceId | None
    ) -> bool | None:
        """Whether it is embedded; None where there is no file of this source at the location."""
        file = await self._api.file(self._errand(self._timeout, trace_id), location)
        return file.cached is True if file and file.doc_source == source else None

    async def by_listing(
        self, slug: Slug, sources: Collection[str], trace_id: TraceId | None
    ) -> dict[str, Location]:
        """The locations of those of the sources that the workspace lists."""
        found: dict[str, Location] = {}

        def take(row: DocumentRow) -> None:
            if row.doc_source in sources:
                found[row.doc_source] = row.location

        await self._api.scan(self._errand(self._timeout, trace_id), slug, take)
        return found

    async def by_search(
        self, slug: Slug, *, text: str, trace_id: TraceId | None, nearest: int
    ) -> tuple[VectorHit, ...]:
        """What a search for a text finds.

        Args:
            slug: the workspace.
            text: what is searched for.
            trace_id: of the event.
            nearest: so many vectors are looked at; more may be as near as the one that is meant.
        """
        while True:
            errand = self._errand(self._timeout, trace_id)
            found = await self._limit.nearest(self._api, errand, slug, text, nearest)
            near = tuple(vector for vector in found.hits if not vector.tells_nothing)
            is_last = found.is_all or found.asked < nearest or nearest >= _MOST_HITS
            if near or is_last:
                return near
            nearest = min(nearest * _GROWTH, _MOST_HITS)

    async def near(
        self,
        slug: Slug,
        text: str,
        is_found: Callable[[], bool],
        saw: Callable[[VectorHit], None],
        *,
        database: VectorDatabase,
        trace_id: TraceId | None,
        top: int = _FIRST_TOP,
        is_exact: bool = False,
    ) -> Sight:
        """Search for a text, each time among more vectors, until that is conclusive.

        Args:
            slug: the workspace.
            text: not blank.
            is_found: whether what is looked for was seen.
            saw: gets every hit.
            database: knows how many hits there can be, and what they are worth.
            trace_id: of the event.
            top: hits of the first search, at least ten.
            is_exact: whether as many hits as can be are looked at before it is called missing. The
                lines that AnythingLLM puts before a text may make it less like itself than others.
        """
        most = min(database.most_hits, _MOST_HITS)
        for query in dict.fromkeys((query_of(text), query_of(with_blanks(text)))):
            sight = await self._near(
                slug,
                query,
                is_found,
                saw,
                database=database,
                trace_id=trace_id,
                tops=(min(max(top, _FIRST_TOP), most), most),
                is_exact=is_exact,
            )
            if sight is not Sight.MISSING:
                break
        return sight

    async def _near(
        self,
        slug: Slug,
        query: str,
        is_found: Callable[[], bool],
        saw: Callable[[VectorHit], None],
        *,
        database: VectorDatabase,
        trace_id: TraceId | None,
        tops: tuple[int, int],
        is_exact: bool,
    ) -> Sight:
        top, most = tops
        while True:
            errand = self._errand(self._timeout, trace_id)
            found = await self._limit.nearest(self._api, errand, slug, query, top)
            near = [hit for hit in found.hits if not hit.tells_nothing]
            for hit in near:
                saw(hit)
            if is_found():
                return Sight.FOUND
            is_last = top >= most or found.asked < top
            if found.hits and not near and (found.is_all or is_last):
                raise SearchTellsNothingError(
                    f"a search in workspace {slug!r} tells nothing: none of its {len(found.hits)}"
                    " hits has a distance or a score"
                )
            ends_far = not found.is_all and bool(near) and _ends_far(near, database)
            if found.is_all or (ends_far and (is_last or not is_exact)):
                return Sight.MISSING
            if is_last:
                return Sight.HIDDEN
            top = min(top * _GROWTH, most)


def query_of(text: str) -> str:
    """The beginning of a text, as long as a piece that AnythingLLM embeds at once."""
    kept = trimmed(text).encode("utf-16-le", "surrogatepass")[: 2 * _LONGEST_QUERY]
    return kept.decode("utf-16-le", "ignore")


def _ends_far(hits: Sequence[VectorHit], database: VectorDatabase) -> bool:
    """Whether the last of many hits is clearly worse than the first: none as near was left out."""
    told = [hit for hit in hits if hit.score is not None or hit.distance is not None]
    if not told:
        return False
    found = distances([(hit.distance, hit.score) for hit in told], database)
    first, last = found[0], found[-1]
    if first is None and last is None:
        # Nobody knows what the scores mean, but that they fall.
        scores = [hit.score for hit in (told[0], told[-1]) if hit.score is not None]
        return len(scores) == 2 and scores[0] - scores[1] > _CLEARLY_WORSE
    if last is None and database.hides_far and told[-1].score is not None:
        last = _FAR
    return first is not None and last is not None and last - first > _CLEARLY_WORSE
