"""The AnythingLLMs of a running service: one, or several by their names, opened alike.

With one nothing has a name, neither in logs nor in metrics.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

import structlog

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig, AnythingLLMError
from consumer.app.anythingllm_watch import AnythingLLMWatch
from consumer.app.assembly import Pipeline, Rooms
from consumer.app.condition import ServerCondition
from consumer.app.errors import StartFailedError
from consumer.app.servers import ServersPipeline
from consumer.model.names import ServerName
from consumer.pipeline.homes import Homes
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.servers_metrics import ServersMetrics
from consumer.telemetry.tracing import NO_TRACING, Tracing
from consumer.wiring.anythingllm import anythingllm_config, server_configs


@dataclass(frozen=True, slots=True)
class OpenServer:
    """One AnythingLLM.

    Args:
        name: None where there is one only.
        metrics: of what is its own.
    """

    name: ServerName | None
    client: AnythingLLMClient
    watch: AnythingLLMWatch
    metrics: Metrics


class OpenServers:
    """See the module's docstring; made by `open_servers`.

    Attributes:
        metrics: the page of the process.
    """

    def __init__(self, settings: Settings, servers: Sequence[OpenServer], metrics: Metrics) -> None:
        self._settings = settings
        self._servers = servers
        self.metrics = metrics

    @property
    def clients(self) -> Sequence[AnythingLLMClient]:
        """Of all of them."""
        return [each.client for each in self._servers]

    @property
    def every_metrics(self) -> Sequence[Metrics]:
        """All that count: those of the process, and of each server where there are several."""
        of_servers = [each.metrics for each in self._servers if each.metrics is not self.metrics]
        return [self.metrics, *of_servers]

    async def connect(self) -> None:
        """Make the connection pools; nothing is sent.

        Raises:
            StartFailedError: a file of settings can't be used; no waiting mends that.
        """
        for each in self._servers:
            try:
                await each.client.connect()
            except AnythingLLMError as error:
                raise StartFailedError(error.message) from error

    async def disconnect(self) -> None:
        """Close every connection."""
        for each in self._servers:
            await each.client.disconnect()

    async def look(self, *, fail_fast: bool = False) -> None:
        """See `AnythingLLMWatch.look`."""
        looks = (_named(each, each.watch.look(fail_fast=fail_fast)) for each in self._servers)
        await asyncio.gather(*looks)

    async def look_until_well(self) -> None:
        """See `AnythingLLMWatch.look_until_well`."""
        await asyncio.gather(
            *(_named(each, each.watch.look_until_well()) for each in self._servers)
        )

    def new_pipeline(self, rooms: Rooms) -> Pipeline | ServersPipeline:
        """The stations.

        Args:
            rooms: of the first of them; the others have their own storage, breaker and metrics.
        """
        named = {each.name: each for each in self._servers if each.name is not None}
        if not named:
            return Pipeline(self._settings, rooms)
        every = {
            name: replace(
                rooms,
                storage=each.client.storage,
                breaker=each.client.circuit_breaker,
                metrics=each.metrics,
            )
            for name, each in named.items()
        }
        group = self._settings.kafka.group_id
        registers = {name: each.client.register(group) for name, each in named.items()}
        pipeline = ServersPipeline(self._settings, every, registers, self.metrics)
        if isinstance(self.metrics, ServersMetrics):
            self.metrics.workspaces_homeless.set_function(lambda: len(pipeline.homes.homeless))
        return pipeline

    def conditions(self, pipeline: Pipeline | ServersPipeline) -> Sequence[ServerCondition]:
        """What the probes ask about each of them."""
        every = pipeline.pipelines if isinstance(pipeline, ServersPipeline) else {None: pipeline}
        by_name = {each.name: each for each in self._servers}
        return [
            ServerCondition(name, by_name[name].client, by_name[name].watch, each.gates, each.index)
            for name, each in every.items()
        ]


def client_of(config: AnythingLLMConfig, tracing: Tracing = NO_TRACING) -> AnythingLLMClient:
    """A client whose breaker is fed by the journey, which knows more than single calls do."""
    return AnythingLLMClient(config, calls_feed_breaker=False, tracing=tracing)


def open_servers(
    settings: Settings,
    rng: random.Random,
    new_client: Callable[[AnythingLLMConfig], AnythingLLMClient] = client_of,
) -> OpenServers:
    """Clients by the settings, not connected yet."""

    def opened(name: ServerName | None, config: AnythingLLMConfig, metrics: Metrics) -> OpenServer:
        client = new_client(config)
        client.on_breaker_change(lambda _, state: metrics.set_breaker(state))
        return OpenServer(name, client, AnythingLLMWatch(client, rng=rng), metrics)

    configs = server_configs(settings)
    if not configs:
        metrics = Metrics()
        one = opened(None, anythingllm_config(settings), metrics)
        return OpenServers(settings, [one], metrics)
    page = ServersMetrics(configs)
    several = [opened(name, config, page.of[name]) for name, config in configs.items()]
    return OpenServers(settings, several, page)


def homes_of(pipeline: Pipeline | ServersPipeline) -> Homes | None:
    """Where workspaces live, if there are several servers."""
    return pipeline.homes if isinstance(pipeline, ServersPipeline) else None


async def _named(server: OpenServer, look: Coroutine[object, object, None]) -> None:
    """Have every line of its log name the server, where there are several."""
    if server.name is not None:
        structlog.contextvars.bind_contextvars(server=server.name)
    await look
