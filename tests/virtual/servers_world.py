"""As `tests.virtual.world`, with several simulated AnythingLLMs, each with its own key."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig
from consumer.app.assembly import Pipeline
from consumer.app.open_servers import OpenServers, open_servers
from consumer.app.servers import ServersPipeline
from consumer.model.marker import decode_marker
from consumer.model.names import ServerName
from consumer.model.server_marks import Mark, is_mark_slug
from consumer.sandbox.simulator import Options, Simulator
from tests.virtual.loop import VirtualLoop
from tests.virtual.world import EPOCH, Json, World


class ServersWorld(World):
    """See the module's docstring. Make it with `servers_world`.

    Args:
        sims: by their names, also those that are not listed.
        keys: a folder for the files of keys.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        sims: Mapping[str, Simulator],
        keys: Path,
        environment: Json,
        *,
        listed: Sequence[str],
        seed: int = 1,
    ) -> None:
        self.sims = sims
        self._keys = keys
        self._environment = environment
        super().__init__(
            loop,
            next(iter(sims.values())),
            seed,
            {
                **environment,
                "ANYTHINGLLM_ENDPOINTS": self._list(listed),
                "ANYTHINGLLM_ENDPOINTS_TRIAL": "true",
            },
        )

    def beside(self, *listed: str, **environment: str) -> ServersWorld:
        """Another instance with its own list, not started; its records are its own as well."""
        return ServersWorld(
            self.loop,
            self.sims,
            self._keys,
            {**self._environment, **environment},
            listed=listed,
            seed=self._seed + 100,
        )

    @asynccontextmanager
    async def another(self, *listed: str, **environment: str) -> AsyncIterator[ServersWorld]:
        """Another instance, running, as `beside` makes it."""
        made = self.beside(*listed, **environment)
        await made.start()
        try:
            yield made
        finally:
            await made.crash(commit=False)

    async def relist(self, *listed: str, **environment: str) -> None:
        """The process ends, and begins anew with another list; a name may be ``name:server``."""
        await self.crash()
        self.settings = self.beside(*listed, **environment).settings
        await self.start()

    @property
    def several(self) -> ServersPipeline:
        """The stations of all servers."""
        return cast(ServersPipeline, self.pipeline)

    @property
    def homeless(self) -> Mapping[str, str]:
        """Why each workspace has no home that has none."""
        return cast(Mapping[str, str], self.several.homes.homeless)

    def at(self, server: str, slug: str = "docs") -> Counter[str]:
        """The chunk ids that can be found in a workspace of one server, with their copies."""
        found: Counter[str] = Counter()
        sim = self.sims[server]
        if slug not in sim.state.workspaces:
            return found
        for source, _, copies in sim.chunks(slug):
            marker = decode_marker(source)
            if marker is not None and copies:
                found.update(chunk.id for chunk in marker.chunks)
        return found

    def slugs(self, server: str) -> set[str]:
        """The workspaces of one server, without marks."""
        every = self.sims[server].state.workspaces
        return {slug for slug in every if not is_mark_slug(slug)}  # type: ignore[arg-type]

    def mark(self, server: str, mark: Mark) -> None:
        """Have a server keep a mark for our group, as a command does."""
        slug = mark.slug(self.settings.kafka.group_id)
        self.sims[server].state.create_workspace(slug, {})

    def _list(self, listed: Sequence[str]) -> str:
        rows: list[str] = []
        for each in listed:
            name, _, server = each.partition(":")
            sim = self.sims[server or name]
            key = self._keys / name
            key.write_text(sim.api_key, encoding="utf-8")
            url = sim.endpoint
            if url in " ".join(rows):  # two names of one server
                url = url.replace("127.0.0.1", "localhost")
            rows.append(f"{name} {url} {key}")
        return ",".join(rows)

    def _new_client(self) -> AnythingLLMClient:
        def new(config: AnythingLLMConfig) -> AnythingLLMClient:
            return AnythingLLMClient(
                config,
                calls_feed_breaker=False,
                clock=self.loop.time,
                rng=random.Random(self._seed),
            )

        # It is opened and closed as one client is.
        return cast(AnythingLLMClient, open_servers(self.settings, random.Random(self._seed), new))

    def _new_pipeline(self, client: AnythingLLMClient) -> Pipeline:
        servers = cast(OpenServers, client)
        self.metrics = servers.metrics
        return cast(Pipeline, servers.new_pipeline(self._rooms(servers.clients[0])))


@asynccontextmanager
async def servers_world(
    *names: str,
    listed: Sequence[str] | None = None,
    options: Options | None = None,
    **environment: str,
) -> AsyncIterator[ServersWorld]:
    """A running world of several servers; call it on a virtual loop.

    Args:
        names: of the simulated servers.
        listed: those in the settings; all where None.
        options: of each of them.
        environment: settings by their names.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    start = EPOCH.timestamp() + 30 * 86_400
    sims = {
        name: Simulator(
            replace(options or Options(), seed=n, api_key=f"key-of-{name}"),
            clock=lambda: start + loop.now,
        )
        for n, name in enumerate(names)
    }
    for sim in sims.values():
        await sim.start()
    with tempfile.TemporaryDirectory() as keys:
        world = ServersWorld(
            loop, sims, Path(keys), environment, listed=listed or list(map(ServerName, names))
        )
        try:
            await world.start()
            yield world
        finally:
            await world.crash(commit=False)
            for sim in sims.values():
                sim.faults.clear()
                await sim.close()


@asynccontextmanager
async def alone(w: ServersWorld, environment: dict[str, str]) -> AsyncIterator[World]:
    """A running world whose settings know a single one of the servers."""
    single = World(w.loop, w.sim, 7, environment)
    await single.start()
    try:
        yield single
    finally:
        await single.crash(commit=False)


@asynccontextmanager
async def intruder(w: ServersWorld, server: str) -> AsyncIterator[World]:
    """A running world of another consumer group, which knows a single server and none of our marks.

    Only so do documents get where ours never put them.
    """
    async with alone(w, {**single(w, server), "KAFKA_GROUP_ID": "others"}) as other:
        yield other


def single(w: ServersWorld, server: str) -> dict[str, str]:
    """Settings that know a single one of the servers."""
    sim = w.sims[server]
    one = {"ANYTHINGLLM_ENDPOINT": sim.endpoint, "ANYTHINGLLM_API_KEY": sim.api_key}
    return one | {"ANYTHINGLLM_ENDPOINTS_TRIAL": "true"}
