"""The list of all files, as a listing: what is stored of ours, in whatever workspace it is.

A file that is removed goes from every workspace. So this list serves where a workspace can't be
listed and something has to be removed all the same. It is given out in pages, in the order of
names, and files come and go meanwhile. A file that goes moves all behind it into an earlier page,
where they would be missed. So each page is asked for from a little before the end of the last one,
and has to show one of the names that were there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from consumer.anythingllm.api import FOLDER, Api
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.models import StoredFile
from consumer.anythingllm.transport import NewErrand
from consumer.model.listing import Listed
from consumer.model.marker import StoredUnit, decode_marker
from consumer.model.names import Location, Slug, TraceId

PAGE = 1_000  # files a request; the most that AnythingLLM 1.16 gives
_OVERLAP = 50  # files asked for once more: so many may go while a page is on its way
_TRIES = 3
FILES_REST = 10.0  # times that a look for single files took: 100 ms of its thread per 1,000 files


class FileStore:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        api: the endpoints.
        errand: makes an errand of so many seconds.
        timeout: seconds for a page.
    """

    def __init__(self, api: Api, *, errand: NewErrand, timeout: float) -> None:
        self._api = api
        self._errand = errand
        self._timeout = timeout

    async def scan(self, take: Callable[[StoredUnit], None], trace_id: TraceId | None) -> Listed:
        """Give away all units with our marker, each location at least once.

        They prove nothing before this has returned.
        """
        for _ in range(_TRIES):
            if (files := await self._whole(take, trace_id)) is not None:
                return Listed(None, files, None)
        raise AnythingLLMError("AnythingLLM's files change too fast: no list of them is whole")

    async def by_files(
        self, slug: Slug, sources: Collection[str], trace_id: TraceId | None
    ) -> dict[str, Location]:
        """The locations of those of the sources that have a file, whatever the slug."""
        found: dict[str, Location] = {}

        def take(unit: StoredUnit) -> None:
            if (source := unit.marker.encode()) in sources:
                found[source] = unit.location

        await self.scan(take, trace_id)
        return found

    async def _whole(
        self, take: Callable[[StoredUnit], None], trace_id: TraceId | None
    ) -> int | None:
        """How many files there are; None where some may have been missed."""
        seen, last, more = 0, frozenset[str](), True
        while more:
            start = max(seen - _OVERLAP, 0)
            errand = self._errand(self._timeout, trace_id)
            page = await self._api.files(errand, start, PAGE)
            names = [file.location for file in page.files]
            if last and last.isdisjoint(names):
                return None
            for file in page.files:
                if (unit := _unit(file)) is not None:
                    take(unit)
            seen, more = start + len(names), page.more and start + len(names) > seen
            last = frozenset(names[-_OVERLAP:])
        return seen


def _unit(file: StoredFile) -> StoredUnit | None:
    """The unit in a file, if it is ours and where we put it."""
    marker, name = decode_marker(file.doc_source), file.location.removeprefix(FOLDER)
    if marker is None or not name.endswith(".json") or "/" in name:
        return None
    return StoredUnit(file.location, marker)
