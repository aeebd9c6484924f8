"""AnythingLLM as a store of units: what the journey needs, on the client's pool and breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from consumer.anythingllm.api import Api
from consumer.anythingllm.readiness import NewErrand, Readiness
from consumer.anythingllm.unit_upload import UnitUpload, Ways
from consumer.anythingllm.views import stored_unit
from consumer.model.marker import StoredUnit, Unit

REMOVED_AT_ONCE = 10  # locations a request: each takes 0.2 to 5 s on a large workspace
REMOVALS_IN_FLIGHT = 2  # they occupy the server's only thread; more would slow down uploads

_SLICE = 1_000  # markers decoded between two turns of the event loop, about 5 ms


def _always() -> None:
    """Going on is always right for who has no partition to lose."""


class AnythingLLMStorage:
    """Prepares workspaces, lists, uploads and removes units. Every method may raise `Failure`.

    Args:
        api: the endpoints.
        readiness: makes workspaces ready.
        ways: what all uploads share.
        errand: makes an errand of so many seconds.
        timeout: seconds for an ordinary call.
        removal_timeout: seconds for one removal request.
    """

    def __init__(
        self,
        api: Api,
        readiness: Readiness,
        ways: Ways,
        *,
        errand: NewErrand,
        timeout: float,
        removal_timeout: float,
    ) -> None:
        self._api = api
        self._readiness = readiness
        self._ways = ways
        self._errand = errand
        self._timeout = timeout
        self._removal_timeout = removal_timeout
        # A lane of its own: a removal that takes minutes never keeps an upload waiting.
        self._removals = asyncio.Semaphore(REMOVALS_IN_FLIGHT)

    async def prepare(self, slug: str, *, trace_id: str | None = None) -> None:
        """Make sure the workspace exists and takes concurrent uploads without losing any."""
        await self._readiness.prepare(slug, trace_id)

    def forget(self, slug: str) -> None:
        """Prepare the workspace anew next time: it turned out to be gone or changed."""
        self._readiness.forget(slug)

    async def workspaces(self, *, trace_id: str | None = None) -> Sequence[str]:
        """The slugs of all workspaces."""
        errand = self._errand(self._timeout, trace_id)
        return [each.slug for each in await self._api.workspaces(errand)]

    async def listing(self, slug: str, *, trace_id: str | None = None) -> Sequence[StoredUnit]:
        """All units with our marker, one a location; empty where there is no workspace."""
        listing = await self._api.workspace(self._errand(self._timeout, trace_id), slug)
        if listing is None:
            self.forget(slug)
            return []
        self._readiness.compare(listing)
        # By location: AnythingLLM lists a document twice that was embedded twice, and who took the
        # second row for a double would remove both.
        units: dict[str, StoredUnit] = {}
        for start in range(0, len(listing.rows), _SLICE):
            for row in listing.rows[start : start + _SLICE]:
                if (unit := stored_unit(row)) is not None:
                    units[unit.location] = unit
            await asyncio.sleep(0)
        return list(units.values())

    def upload(
        self,
        slug: str,
        unit: Unit,
        *,
        trace_id: str | None = None,
        check: Callable[[], None] = _always,
    ) -> UnitUpload:
        """A unit's upload, not started yet.

        Args:
            slug: the workspace.
            unit: what to store.
            trace_id: of the event.
            check: asked before every request that changes something; what it raises gets out.
        """
        return UnitUpload(self._ways, slug, unit, trace_id, check)

    async def remove(
        self, slug: str, locations: Sequence[str], *, trace_id: str | None = None
    ) -> None:
        """Remove units from the server; those that are gone already are no error.

        Args:
            slug: the workspace they were listed in; AnythingLLM removes them from every one.
            locations: as listed.
            trace_id: of the event.
        """
        for start in range(0, len(locations), REMOVED_AT_ONCE):
            async with self._removals:
                errand = self._errand(self._removal_timeout, trace_id)
                await self._api.remove(errand, locations[start : start + REMOVED_AT_ONCE])
