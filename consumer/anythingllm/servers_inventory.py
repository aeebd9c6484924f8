"""What several AnythingLLMs hold, as if it were one: for looking at all of it, not for upkeep.

A workspace that two servers have is read from both: what is stored twice is seen twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.inventory import Inventory, open_inventory
from consumer.anythingllm.models import DocumentRow, VectorHit, Workspace
from consumer.anythingllm.proof import Sight
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.names import ServerName, Slug


class ServersInventory:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        servers: an inventory of each.

    Attributes:
        holders: which servers have each workspace that was read.
    """

    def __init__(self, servers: Mapping[ServerName, Inventory]) -> None:
        self._servers = servers
        self.holders: dict[Slug, tuple[ServerName, ...]] = {}

    async def workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, each slug once."""
        found: dict[Slug, Workspace] = {}
        for server in self._servers.values():
            for each in await server.workspaces():
                found.setdefault(each.slug, each)
        return tuple(found.values())

    async def scan(self, slug: Slug, take: Callable[[DocumentRow], None]) -> datetime | None:
        """See `Inventory.scan`; the rows of all servers that have it, and the earliest time."""
        dates = {name: await server.scan(slug, take) for name, server in self._servers.items()}
        there = {name: date for name, date in dates.items() if date is not None}
        self.holders[slug] = tuple(there)
        return min(there.values(), default=None)

    async def database(self) -> VectorDatabase:
        """The database that takes longest to show what is stored."""
        every = [await server.database() for server in self._servers.values()]
        return max(every, key=lambda each: each.visible_seconds)

    async def reranked(self) -> frozenset[Slug]:
        """See `Inventory.reranked`."""
        every = [await server.reranked() for server in self._servers.values()]
        return frozenset[Slug]().union(*every)

    async def sight(
        self,
        slug: Slug,
        text: str,
        is_found: Callable[[], bool],
        saw: Callable[[VectorHit], None],
        *,
        top: int,
    ) -> Sight:
        """See `Inventory.sight`; found where any server that has the workspace finds it."""
        sight = Sight.MISSING
        for name in self.holders.get(slug, tuple(self._servers)):
            sight = await self._servers[name].sight(slug, text, is_found, saw, top=top)
            if sight is Sight.FOUND:
                break
        return sight


@asynccontextmanager
async def open_servers_inventory(
    configs: Mapping[ServerName, AnythingLLMConfig],
) -> AsyncIterator[ServersInventory]:
    """An inventory of several AnythingLLMs, on connections of its own."""
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(open_inventory(config))
            for name, config in configs.items()
        }
        yield ServersInventory(servers)
