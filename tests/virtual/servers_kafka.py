"""Moving a workspace in virtual time, by the records of one or more worlds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import cast
from weakref import WeakKeyDictionary

from consumer.anythingllm import AnythingLLMClient
from consumer.kafka.batches import UNFOLD_LIMIT
from consumer.kafka.group_lock import LockConfig, TakenError
from consumer.kafka.groups import Member
from consumer.kafka.reader import FETCH_BYTES, OffsetRange, OffsetRanges, Records
from consumer.model.names import ServerName, Slug
from consumer.model.record import Coordinates, Record
from consumer.operations.moving.moving import WorkspaceMove
from consumer.operations.moving.report import MoveReport
from consumer.operations.ports import KafkaAccess, Waiting
from consumer.operations.progress import StageProgress, silent
from consumer.wiring.anythingllm import server_configs
from tests.virtual.loop import VirtualLoop
from tests.virtual.servers_world import ServersWorld
from tests.virtual.world import TOPIC, World

_LOCKS: WeakKeyDictionary[VirtualLoop, set[str]] = WeakKeyDictionary()


class WorldsKafka:
    """The records of some worlds, a partition each, as a command sees them.

    Args:
        running: how many members the group has.
        held: locks.
    """

    def __init__(self, worlds: Sequence[World], running: Callable[[], int], held: set[str]) -> None:
        self._worlds = worlds
        self._running = running
        self.held = held

    @asynccontextmanager
    async def reader(
        self, *, unfold_limit: int = UNFOLD_LIMIT, fetch_bytes: int = FETCH_BYTES
    ) -> AsyncIterator[WorldsKafka]:
        await asyncio.sleep(0.05)
        yield self

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[WorldsKafka]:
        await asyncio.sleep(0.01)
        yield self

    @asynccontextmanager
    async def lock(
        self, config: LockConfig, *, waiting: Waiting, rng: random.Random
    ) -> AsyncIterator[WorldsKafka]:
        if config.group in self.held:
            raise TakenError(())
        self.held.add(config.group)
        try:
            yield self
        finally:
            self.held.remove(config.group)

    async def confirm(self) -> None:
        pass

    async def members(self, group: str) -> Sequence[Member]:
        return [Member("anythingllm-consumer-several", "here")] * self._running()

    async def offset_ranges(self, topic: str) -> OffsetRanges | None:
        if topic != TOPIC:
            return None
        return {n: OffsetRange(0, len(each.records)) for n, each in enumerate(self._worlds)}

    async def records(self, topic: str, ranges: OffsetRanges) -> Records:
        for partition, each in ranges.items():
            for record in self._worlds[partition].records[each.start : each.end]:
                yield replace(record, at=Coordinates(topic, partition, record.at.offset))

    async def record(self, at: Coordinates) -> Record | None:
        return replace(self._worlds[at.partition].records[at.offset], at=at)


async def move(
    worlds: Sequence[ServersWorld],
    slug: str,
    to: str,
    *,
    listed: ServersWorld | None = None,
    running: Callable[[], int] = lambda: 0,
    progress: StageProgress = silent,
) -> MoveReport:
    """``workspaces move SLUG --to SERVER --yes``.

    Args:
        worlds: whose records Kafka has.
        slug: the workspace.
        to: the server.
        listed: whose settings the command has; the first one's where None.
        running: how many members the group has.
        progress: called now and then.
    """
    held = _LOCKS.setdefault(worlds[0].loop, set())
    settings, loop = (listed or worlds[0]).settings, worlds[0].loop
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                AnythingLLMClient(config, clock=loop.time, rng=random.Random(1))
            )
            for name, config in server_configs(settings).items()
        }
        moving = WorkspaceMove(
            settings,
            cast(KafkaAccess, WorldsKafka(worlds, running, held)),
            clients,
            Slug(slug),
            ServerName(to),
            progress=progress,
            clock=loop.time,
        )
        return await moving.run(do=True)
