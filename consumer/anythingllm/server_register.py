"""One of several AnythingLLMs as a whole: which workspaces it has, and which servers it knows of.

What it knows of is kept in the slugs of workspaces that hold nothing (`model.server_marks`). Only
here are workspaces made where there are several servers: an upload that made one would make it
beside the one that holds its documents.
"""

from __future__ import annotations

from contextlib import suppress

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import AnythingLLMNotFoundError
from consumer.anythingllm.transport import NewErrand
from consumer.anythingllm.unit_listings import UnitListings
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.marker import StoredUnit
from consumer.model.names import Slug
from consumer.model.server_marks import Mark, ServerSurvey, is_mark_slug, read_mark
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)


class ServerRegister:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        creator: makes workspaces.
        group: the consumer group whose marks are read and made.
        timeout: seconds for a request.
    """

    def __init__(
        self,
        api: Api,
        creator: Workspaces,
        listings: UnitListings,
        *,
        group: str,
        errand: NewErrand,
        timeout: float,
    ) -> None:
        self._api = api
        self._creator = creator
        self._listings = listings
        self._group = group
        self._errand = errand
        self._timeout = timeout

    async def survey(self) -> ServerSurvey:
        """All workspaces by their slugs, and the marks of our group."""
        every = await self._api.workspaces(self._errand(self._timeout, None))
        oldest_first = sorted(every, key=lambda each: each.id)
        marks = [read_mark(each.slug, self._group) for each in oldest_first]
        slugs = frozenset(each.slug for each in every if not is_mark_slug(each.slug))
        return ServerSurvey(slugs, tuple(each for each in marks if each is not None))

    async def make_mark(self, mark: Mark) -> None:
        """Make sure that it has this mark."""
        slug = mark.slug(self._group)
        _, is_new = await self._creator.ensure(self._errand(self._timeout, None), slug)
        if is_new:
            log.info("server.marked", mark=slug)

    async def remove_mark(self, mark: Mark) -> None:
        """Remove a mark; no error where it is not there."""
        with suppress(AnythingLLMNotFoundError):
            slug = mark.slug(self._group)
            await self._api.delete_workspace(self._errand(self._timeout, None), slug)

    async def create(self, slug: Slug) -> None:
        """Make sure that there is a workspace of this slug."""
        await self._creator.ensure(self._errand(self._timeout, None), slug)

    async def holds_ours(self, slug: Slug) -> bool:
        """Whether documents with our markers are in a workspace; all of it is listed."""
        ours = False

        def take(unit: StoredUnit) -> None:
            nonlocal ours
            ours = True

        await self._listings.scan(slug, take)
        return ours
