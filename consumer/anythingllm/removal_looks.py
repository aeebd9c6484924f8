"""Is what was removed still found? Looked for where a removal that failed is answered as one.

On some vector databases (`vector_databases`) row and file go and the vectors stay: they are found
for ever, and no request reaches them any more. A test before a removal (`database_control`) sees
that nothing can be removed at the time; this sees what it did not.

All vectors of a workspace can't be looked at. The ones nearest to the document's title and to the
texts that its event holds are: `MOST_HITS` a search, at most `_MOST_SEARCHES`. How many were looked
at is logged (``removal.looked_for``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from consumer.anythingllm.api import Api
from consumer.anythingllm.blocked_search import AGAIN_SECONDS, LATELY, BlockedSearches
from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMServerError,
    NoWorkspaceError,
    is_refusal,
    not_searched,
)
from consumer.anythingllm.hit_limit import HitLimit, Nearest
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.proof import query_of
from consumer.anythingllm.transport import Check, NewErrand
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.marker import Marker, decode_marker
from consumer.model.names import Location, Slug, TraceId
from consumer.model.remains import Remains
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

MOST_HITS = 300  # of one search: about 500 kB
_MOST_SEARCHES = 3
_LOOK_SECONDS = 5.0  # between two looks at what is still found
_SURE_SECONDS = 20.0  # for which it is looked at again: a row may come after its vectors
_NAME = re.compile(r"raw-(.*)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json$")


class RemovalLooks:
    """See the module's docstring.

    Args:
        limit: how many hits a search may ask for, as far as was seen.
        timeout: seconds for one request.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: Api,
        limit: HitLimit,
        database: DatabaseInUse,
        control: DatabaseControl,
        *,
        errand: NewErrand,
        timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._api = api
        self._limit = limit
        self._database = database
        self._control = control
        self._errand = errand
        self._timeout = timeout
        self._clock = clock
        self._blocked = BlockedSearches[str](clock)
        self._sleep = sleep

    async def remains(
        self,
        slug: Slug,
        is_gone: Callable[[Marker], bool],
        texts: Sequence[str],
        relist: Callable[[], Awaitable[None]],
        *,
        trace_id: TraceId | None,
        check: Check,
    ) -> Remains | None:
        """What is found of units that were removed; None where nothing is, or none is looked for.

        Args:
            slug: the workspace they were in.
            is_gone: whether a unit was removed and no other one has its marker.
            texts: what to search for, the likeliest first.
            relist: reads a new listing for `is_gone`, after something was found.
            trace_id: of the event.
            check: called before every look; what it raises gets out.

        Raises:
            AnythingLLMError: nobody can say.
        """
        database = await self._database(self._errand(self._timeout, trace_id))
        queries = list(dict.fromkeys(query for text in texts if (query := query_of(text))))
        if database.tells_removals or not queries:
            return None
        visible = self._database.visibility.seconds(database)
        until = self._clock() + max(visible, _SURE_SECONDS)
        while True:
            check()
            began = self._clock()
            try:
                hits = await self._hits(slug, queries[:_MOST_SEARCHES], database, trace_id, check)
            except NoWorkspaceError as error:
                errand = self._errand(self._timeout, trace_id)
                if await self._api.survey(errand, slug) is None:
                    return None  # nor is the workspace there any more
                raise not_searched(slug, error) from error
            found = {each.doc_source: decode_marker(each.doc_source) for each in hits}
            left = [each for each in found.values() if each is not None and is_gone(each)]
            if not left:
                return None
            is_last = began >= until  # while a query is blocked, what others found grows old
            if not is_last:
                await self._sleep(_LOOK_SECONDS)
            check()
            await relist()  # the row of a late upload may have come since the last listing
            left = [each for each in left if is_gone(each)]
            if is_last or not left:
                return Remains(tuple(left), _what_to_do(slug, database)) if left else None

    async def _hits(
        self,
        slug: Slug,
        queries: Sequence[str],
        database: VectorDatabase,
        trace_id: TraceId | None,
        check: Check,
    ) -> list[VectorHit]:
        found: list[VectorHit] = []
        is_all = False
        left = deque(queries)
        while left:
            query = left.popleft()
            check()
            try:
                nearest = await self._search(slug, query, database, trace_id)
            except AnythingLLMError as error:
                is_blocked = self._blocked.failed(query, error)
                # Where others are answered it says no more.
                await self._control.passes(slug, self._clock() - LATELY, trace_id, check)
                if not is_blocked:
                    await self._sleep(AGAIN_SECONDS)
                    left.append(query)
                    continue
                log.warning("removal.not_looked_for", workspace=slug, error=error.message)
                continue
            self._blocked.passed(query)
            if not nearest.hits and database.is_empty_when_down:
                await self._is_there(slug, trace_id, check)
                nearest = await self._search(slug, query, database, trace_id)
            found += nearest.hits
            is_all = database.reaches_all and nearest.is_all
            if is_all:
                break
        line = log.debug if is_all else log.info
        line("removal.looked_for", workspace=slug, vectors=len(found), is_all=is_all)
        return found

    async def _is_there(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        """Nothing is found: return when that is not because the database is away.

        A test document has to be found now. Where many look at once, one is enough for all.
        """
        await self._control.passes(slug, self._clock(), trace_id, check)

    async def _search(
        self, slug: Slug, query: str, database: VectorDatabase, trace_id: TraceId | None
    ) -> Nearest:
        errand = self._errand(self._timeout, trace_id)
        top = min(MOST_HITS, database.most_hits)
        try:
            return await self._limit.nearest(self._api, errand, slug, query, top)
        except AnythingLLMServerError:
            if database.finds_in_fresh or await self._lists_any(slug, trace_id):
                raise
            return Nearest((), top)

    async def _lists_any(self, slug: Slug, trace_id: TraceId | None) -> bool:
        """Whether the workspace lists a document; by all of its listing where that has to be."""
        try:
            counts = await self._api.row_counts(self._errand(self._timeout, trace_id))
        except AnythingLLMError as error:
            if not is_refusal(error):
                raise
        else:
            return bool(counts.get(slug))
        found = await self._api.survey(self._errand(self._timeout, trace_id), slug)
        return found is not None and found.rows > 0


def title_words(location: Location) -> str:
    """The title of a stored document, as far as its file's name shows it."""
    found = _NAME.search(location)
    return found[1].replace("-", " ") if found else ""


def _what_to_do(slug: Slug, database: VectorDatabase) -> str:
    cure = f"remove these vectors from the vector database ({database.name}) itself"
    if database.may_share:  # another workspace may have the same collection
        return cure
    return (
        f"{cure}, or delete workspace {slug!r} in AnythingLLM once its database deletes again, and"
        " publish its documents anew"
    )
