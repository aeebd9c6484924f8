"""What a workspace, or the list of files, says that it holds of ours; sentinels are told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMServerError,
)
from consumer.anythingllm.file_store import FileStore
from consumer.anythingllm.models import DocumentRow
from consumer.anythingllm.readiness import Readiness, is_abandoned
from consumer.anythingllm.sentinel import is_sentinel
from consumer.anythingllm.stored_documents import stored_unit
from consumer.anythingllm.transport import NewErrand
from consumer.model.listing import FILE_STORE, LONGEST_LISTING, Listed
from consumer.model.marker import StoredUnit
from consumer.model.names import Location, Slug, TraceId

# Rows of 1,100 bytes, as our units have, in the longest string that the server can build.
MOST_ROWS = LONGEST_LISTING // 1_100


@dataclass(frozen=True, slots=True)
class ListedSentinels:
    """Test documents that a workspace listed.

    Args:
        abandoned: where those are that belong to a process that is gone.
        has_young: whether others will be abandoned later. One without a date never is, and looking
            for it again would change nothing.
    """

    abandoned: Sequence[Location] = ()
    has_young: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """Sentinels in a listing: the server's time of it, and ours, monotonic seconds."""

    rows: Sequence[DocumentRow]
    date: datetime
    at: float


class UnitListings:
    """Reads listings, and remembers which sentinels the last one of a workspace showed.

    Args:
        readiness: hears what a listing says of its workspace.
        timeout: seconds for a listing.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: Api,
        readiness: Readiness,
        *,
        errand: NewErrand,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._readiness = readiness
        self._errand = errand
        self._timeout = timeout
        self._clock = clock
        self._files = FileStore(api, errand=errand, timeout=timeout)
        self._sentinels: dict[Slug, _Seen] = {}

    async def scan(
        self,
        slug: Slug,
        take: Callable[[StoredUnit], None],
        *,
        unless: str | None = None,
        trace_id: TraceId | None = None,
    ) -> Listed | None:
        """Give away all units with our marker, one a location, while the listing arrives.

        They prove nothing before this has returned: the listing may turn out to be cut short.

        Args:
            slug: the workspace, or FILE_STORE for the files of all.
            take: gets the units.
            unless: the ETag of a listing that was read before.
            trace_id: of the event.

        Returns:
            What was listed; None, and no unit was given away, where the ETag is still the same.
        """
        if slug == FILE_STORE:
            return await self._files.scan(take, trace_id)
        errand = self._errand(self._timeout, trace_id)
        once = _Once(slug, take)
        try:
            found = await self._api.scan(errand, slug, once, unless=unless)
        except AnythingLLMServerError as error:
            await self._explain(slug, error, trace_id)
            raise
        if found is None:
            return None
        self._sentinels.pop(slug, None)
        if once.sentinels:
            self._sentinels[slug] = _Seen(once.sentinels, found.date, self._clock())
        if found.workspace is None:
            self._readiness.forget(slug)
            return Listed(None, found.rows, found.etag)
        self._readiness.compare(found.workspace, empty=not found.rows)
        return Listed(found.workspace.id, found.rows, found.etag, found.size)

    def sentinels(self, slug: Slug) -> ListedSentinels:
        """Those that the last listing of a workspace showed."""
        seen = self._sentinels.get(slug)
        if seen is None:
            return ListedSentinels()
        now = seen.date + timedelta(seconds=self._clock() - seen.at)
        dated = [row for row in seen.rows if row.created_at is not None]
        abandoned = [row.location for row in dated if is_abandoned(row, now)]
        return ListedSentinels(abandoned, has_young=len(abandoned) < len(dated))

    async def _explain(
        self, slug: Slug, error: AnythingLLMServerError, trace_id: TraceId | None
    ) -> None:
        """Say it where a workspace can't be listed because it is too large for that."""
        with suppress(AnythingLLMError):
            rows = (await self._api.row_counts(self._errand(self._timeout, trace_id))).get(slug, 0)
            if rows >= MOST_ROWS // 2:
                error.message += (
                    f". The workspace lists {rows:,} documents, and AnythingLLM can't put more than"
                    f" about {MOST_ROWS:,} into one answer: send new ones to further workspaces"
                    " (ROUTING_WORKSPACE), and remove or move some of these"
                )


class _Once:
    """Passes on the units among a listing's rows, each location once.

    AnythingLLM lists a document twice that was embedded twice. If the second row were taken for a
    double, both would be removed.
    """

    def __init__(self, slug: Slug, take: Callable[[StoredUnit], None]) -> None:
        self._slug = slug
        self._take = take
        self._seen: dict[Location, int] = {}
        self.sentinels: list[DocumentRow] = []

    def __call__(self, row: DocumentRow) -> None:
        unit = stored_unit(row)
        if unit is None:
            if is_sentinel(row.doc_source):
                self.sentinels.append(row)
            return
        holds, before = hash(row.doc_source), self._seen.get(row.location)
        if before is None:
            self._seen[row.location] = holds
            self._take(unit)
        elif before != holds:
            # Believing either could remove the other.
            raise AnythingLLMProtocolError(
                f"AnythingLLM lists {row.location} in workspace {self._slug} as two different ones",
                http_status=200,
            )
