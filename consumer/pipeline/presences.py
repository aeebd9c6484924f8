"""Presences: what each of several AnythingLLMs has of a workspace, by all that is known of it.

That is the census, what a look into the workspace found, and what was stored there since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from consumer.model.fault import Failure
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Presence
from consumer.pipeline.census import Census
from consumer.pipeline.namesakes import Namesakes
from consumer.pipeline.ports import Server
from consumer.pipeline.residences import Residences


class Presences:
    """See the module's docstring.

    Args:
        servers: all of the list.
        turns: of each server: the right to one call that may take long.
        note: hears of servers that do not answer well.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        servers: Mapping[ServerName, Server],
        turns: Mapping[ServerName, AbstractAsyncContextManager[None]],
        census: Census,
        residences: Residences,
        *,
        note: Callable[[ServerName, Failure], None],
        clock: Callable[[], float],
    ) -> None:
        self._servers = servers
        self._turns = turns
        self._census = census
        self._residences = residences
        self._note = note
        self._clock = clock
        self._namesakes = Namesakes(clock)

    def of(self, slug: Slug, looked: Mapping[ServerName, Presence]) -> dict[ServerName, Presence]:
        """What each server has.

        Args:
            slug: the workspace.
            looked: what looks found just now.
        """
        return {name: self._on(name, slug, looked.get(name)) for name in self._servers}

    async def look(self, name: ServerName, slug: Slug) -> Presence:
        """Look into a workspace on a server; it may be a large one."""
        begun = self._clock()
        ours = await self._holds_ours(name, slug)
        if ours is None:  # of this workspace only: the server may be well
            return Presence.SILENT
        if ours:
            return Presence.OURS
        self._namesakes.note(name, slug, begun, is_lived_in=await self._is_lived_in(slug))
        return Presence.STRANGE

    async def _is_lived_in(self, slug: Slug) -> bool:
        """Whether a workspace has a home with documents of ours in it."""
        home = self._residences.of(slug)
        return home is not None and bool(await self._holds_ours(home.server, slug))

    async def _holds_ours(self, name: ServerName, slug: Slug) -> bool | None:
        try:
            async with self._turns[name]:
                return await self._servers[name].holds_ours(slug)
        except Failure as failure:
            self._note(name, failure)
            return None

    def _on(self, name: ServerName, slug: Slug, looked: Presence | None) -> Presence:
        known, has_it = self._residences.of(slug), self._census.has(name, slug)
        is_home = known is not None and known.server == name
        if has_it is None:
            is_ours = is_home or name in self._residences.holders(slug)
            return Presence.OURS if is_ours else Presence.SILENT
        if not has_it:
            self._namesakes.drop(name, slug)
            return Presence.ABSENT
        if is_home:
            return Presence.OURS  # documents were sent there since anybody looked
        if looked is None and known is not None:
            # Whoever marked it as split has seen more than we remember.
            is_known = self._namesakes.is_known(name, slug) and not self._census.views.split(slug)
            return Presence.STRANGE if is_known else Presence.THERE
        return looked or Presence.THERE
