"""Residences: what was found out of where workspaces live, and kept until something else is.

When a home ends, its fence is closed: documents in work send nothing more to it, and ask anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog

from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless
from consumer.resilience.fence import Fence

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Residence:
    """A workspace's home, for as long as the fence is open."""

    server: ServerName
    fence: Fence


class Residences:
    """See the module's docstring.

    Args:
        servers: all of the list.
        forget: forgets what is remembered of a workspace on a server: it may be old.
    """

    def __init__(
        self, servers: Collection[ServerName], forget: Callable[[ServerName, Slug], None]
    ) -> None:
        self._servers = servers
        self._forget = forget
        self._every: dict[Slug, Residence] = {}
        self._homeless: dict[Slug, Homeless] = {}

    @property
    def every(self) -> Mapping[Slug, Residence]:
        """Those that last."""
        return self._every

    @property
    def homeless(self) -> Mapping[Slug, Homeless]:
        """Why nothing is stored in each workspace that has no home now."""
        return self._homeless

    def of(self, slug: Slug) -> Residence | None:
        """The home of a workspace where it is known now."""
        return self._every.get(slug)

    def holders(self, slug: Slug) -> tuple[ServerName, ...]:
        """The servers that have documents of ours in a homeless workspace, as seen last."""
        homeless = self._homeless.get(slug)
        return () if homeless is None else homeless.servers

    def end_all(self) -> None:
        """Have every home found out anew."""
        for residence in self._every.values():
            residence.fence.close()
        self._every.clear()

    def end_unless(self, slug: Slug, placement: Home | Homeless) -> None:
        """End the home of a workspace, unless it was found to live there still."""
        before = self._every.get(slug)
        if before is not None and placement != Home(before.server):
            del self._every[slug]
            before.fence.close()

    def found(self, slug: Slug, server: ServerName) -> None:
        """A workspace lives on a server."""
        if self.end_trouble(slug):
            log.info("workspace.home_found", workspace=slug, server=server)
        if slug not in self._every:
            for name in self._servers:
                self._forget(name, slug)
            self._every[slug] = Residence(server, Fence(f"the home of {slug}"))

    def tell(self, slug: Slug, homeless: Homeless) -> None:
        """Nothing may be stored in a workspace, which an operator has to know."""
        if self._homeless.get(slug) != homeless:
            log.error(
                "workspace.homeless",
                workspace=slug,
                error=homeless.reason,
                consequence="its documents wait, the others go on; it is looked for again",
            )
        self._homeless[slug] = homeless

    def end_trouble(self, slug: Slug) -> bool:
        """Nothing is wrong with a workspace; whether something was."""
        return self._homeless.pop(slug, None) is not None
