"""One of several AnythingLLMs as a whole: which workspaces it has, and which servers it knows of.

What it knows of is kept as the name of a workspace that holds nothing (`model.server_list`). Only
here are workspaces made where there are several servers: an upload that made one would make it
beside the one that holds its documents.
"""

from __future__ import annotations

import structlog

from consumer.anythingllm.api import Api
from consumer.anythingllm.transport import NewErrand
from consumer.anythingllm.unit_listings import UnitListings
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.marker import StoredUnit
from consumer.model.names import Slug
from consumer.model.server_list import ServerList, ServerSurvey, is_list_slug, list_slug, read_list

log = structlog.get_logger(__name__)


class ServerRegister:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        creator: makes workspaces.
        group: the consumer group whose list of servers is kept.
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
        self._list = list_slug(group)
        self._errand = errand
        self._timeout = timeout

    async def survey(self) -> ServerSurvey:
        """All workspaces by their slugs, and the list of servers that is kept here."""
        every = await self._api.workspaces(self._errand(self._timeout, None))
        kept = [read_list(each.name) for each in every if each.slug == self._list]
        slugs = frozenset(each.slug for each in every if not is_list_slug(each.slug))
        return ServerSurvey(slugs, kept[0] if kept else None)

    async def keep(self, servers: ServerList) -> None:
        """Keep this list of servers, instead of the one that is kept now."""
        errand = self._errand(self._timeout, None)
        await self._creator.ensure(errand, self._list)
        await self._api.rename_workspace(errand, self._list, str(servers))
        log.info("servers.kept", server=servers.own, servers=sorted(servers.every))

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
