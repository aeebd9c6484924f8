"""What proves that a document is stored and embedded: never the answer to its upload.

``200 success:true`` of AnythingLLM 1.16 proves nothing. A document is known by its ``docSource``
(a unit's marker, a sentinel's source), and these are the proofs of it, the only ones there are:

1. By its file: ``GET /v1/document/{name}`` shows the source and says ``cached: true``. It proves
   that the text was embedded, for the caller who knows the location.
2. By a listing of the workspace that shows the source. A row is made after the vectors are.
3. By a search in the workspace that finds the source. It alone proves that the vectors are there
   now: another process that creates the table may have overwritten them (`readiness`).

A unit is stored by 1, or by 2 where an upload got no complete answer (`unit_upload`). A workspace
is ready when a sentinel is proven by 1 and, twice, by 3 (`readiness`).
"""

from __future__ import annotations

from collections.abc import Collection

from consumer.anythingllm.api import Api
from consumer.anythingllm.models import DocumentRow
from consumer.anythingllm.transport import NewErrand
from consumer.model.names import Location, Slug, TraceId


class StorageProof:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        api: the endpoints.
        errand: makes an errand of so many seconds.
        timeout: seconds for one proof.
    """

    def __init__(self, api: Api, *, errand: NewErrand, timeout: float) -> None:
        self._api = api
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
        self, slug: Slug, source: str, *, text: str, trace_id: TraceId | None, nearest: int
    ) -> bool:
        """Whether a search for its text finds the source.

        Args:
            slug: the workspace.
            source: what is looked for.
            text: what is searched for.
            trace_id: of the event.
            nearest: so many vectors are looked at; more may be as near as the one that is meant.
        """
        errand = self._errand(self._timeout, trace_id)
        vectors = await self._api.search(errand, slug, text, nearest)
        return any(vector.doc_source == source for vector in vectors)
