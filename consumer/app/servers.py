"""The stations of several AnythingLLMs put together: a pipeline each, and one journey over them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from functools import partial

import structlog

from consumer.app.assembly import Pipeline, Rooms, new_journey
from consumer.model.names import ServerName, Slug
from consumer.pipeline.homes import Homes, PlacementRules
from consumer.pipeline.journey import Journey
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.ports import Server
from consumer.pipeline.servers import ServersApplier, ServersDeathwatch, ServersDoubts
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics


class ServersPipeline:
    """As `Pipeline`, for several servers.

    Args:
        rooms: of each server: they differ in their storage, breaker and metrics only.
        registers: of each server.
        metrics: of what is no single server's.

    Attributes:
        pipelines: of each server.
        homes: know which server a workspace lives on.
    """

    def __init__(
        self,
        settings: Settings,
        rooms: Mapping[ServerName, Rooms],
        registers: Mapping[ServerName, Server],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._rooms = replace(next(iter(rooms.values())), metrics=metrics)
        self._queues = KeyQueues()
        self.pipelines = {
            name: Pipeline(settings, room, queues=self._queues, servers=len(rooms))
            for name, room in rooms.items()
        }
        self.homes = Homes(
            registers,
            placement_rules(settings),
            may_begin=self._rooms.may_begin,
            clock=self._rooms.clock,
            rng=self._rooms.rng,
            note=lambda name, failure: self.pipelines[name].gates.note(failure),
            forget=self._forget,
        )
        for pipeline in self.pipelines.values():
            pipeline.gates.pauses.when_paused(partial(self._paused, pipeline))

    def journey(self, cluster_id: str) -> Journey:
        """See `Pipeline.journey`."""
        places = max(1, self._settings.intake.max_documents_in_flight // len(self.pipelines))
        stations = {
            name: each.stations(places, lambda: journey.taken)
            for name, each in self.pipelines.items()
        }
        journey = new_journey(
            self._settings,
            self._rooms,
            cluster_id,
            ServersApplier(stations, self.homes),
            ServersDoubts([each.doubts for each in stations.values()]),
            ServersDeathwatch([each.deathwatch for each in stations.values()]),
            queues=self._queues,
        )
        return journey

    def watchers(self) -> Mapping[str, Coroutine[object, object, None]]:
        """See `Pipeline.watchers`."""
        every = {
            f"{what} of {name}": _as_of(name, watcher)
            for name, pipeline in self.pipelines.items()
            for what, watcher in pipeline.watchers().items()
        }
        return {**every, "homes": self.homes.watch()}

    async def end_sweeping(self) -> bool:
        """See `Pipeline.end_sweeping`."""
        ended = await asyncio.gather(*(each.end_sweeping() for each in self.pipelines.values()))
        return all(ended)

    def forget(self) -> None:
        """See `Pipeline.forget`."""
        self.homes.forget()
        for each in self.pipelines.values():
            each.forget()

    def _forget(self, name: ServerName, slug: Slug | None) -> None:
        """Whoever moved a workspace has written where we know nothing of it."""
        self.pipelines[name].index.forget(slug)

    def _paused(self, pipeline: Pipeline, slug: Slug) -> None:
        pipeline.index.forget(slug)
        self.homes.doubt(slug)


def placement_rules(settings: Settings) -> PlacementRules:
    """What the settings say about where workspaces live."""
    ours = settings.anythingllm
    return PlacementRules(
        group=settings.kafka.group_id,
        pins=ours.pins or {},
        may_create=settings.routing.create_workspaces,
        patience=ours.timeout_seconds / 3,  # the others wait for that long, for a silent one
        every=settings.breaker.recovery_seconds,
    )


async def _as_of(name: ServerName, watcher: Coroutine[object, object, None]) -> None:
    """Run a watcher so that every line of its log names the server."""
    structlog.contextvars.bind_contextvars(server=name)
    await watcher
