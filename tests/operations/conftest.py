"""Fixtures of the operators' tests: a service, its Kafka in memory, and somebody with commands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest

from consumer.settings import Settings
from tests.commands import Commands, Ended
from tests.doubles.kafka_clients import MemoryClients
from tests.doubles.stage import MemoryStage, open_stage
from tests.staging import Json


class MakeStage(Protocol):
    async def __call__(self, settings: Mapping[str, str] = ..., **options: Any) -> MemoryStage: ...


@pytest.fixture
async def make_stage() -> AsyncIterator[MakeStage]:
    """Makes stages with settings of their own, each with a Kafka of its own."""
    async with AsyncExitStack() as stack:

        async def make(settings: Mapping[str, str] = {}, **options: Any) -> MemoryStage:
            return await stack.enter_async_context(open_stage(settings, **options))

        yield make


@pytest.fixture
async def stage(make_stage: MakeStage) -> MemoryStage:
    """A stage with the usual settings and the used workspace ``docs``."""
    return await make_stage()


class Operator:
    """Somebody at a shell with the stage's settings.

    Args:
        stage: whose Kafka and AnythingLLM he reaches.
        commands: what he calls.
    """

    def __init__(self, stage: MemoryStage, commands: Commands) -> None:
        self.stage = stage
        self.commands = commands
        self._next = MemoryClients(stage.kafka)
        commands.kafka = self._kafka

    def next_process(self) -> MemoryClients:
        """What the next command will reach Kafka by: its line can be cut beforehand."""
        self._next = MemoryClients(self.stage.kafka)
        return self._next

    def _kafka(self, settings: Settings) -> MemoryClients:
        given, self._next = self._next, MemoryClients(self.stage.kafka)
        return given

    async def run(self, *words: str, **settings: str) -> Ended:
        """A command to its end; further settings win."""
        return await self.commands.run(*words, settings={**self.stage.env, **settings})

    async def dlq(self, *words: str, **settings: str) -> Ended:
        """A `dlq` command to its end."""
        return await self.run("dlq", *words, **settings)

    async def listed(self, *options: str) -> list[Json]:
        """What ``dlq list --json`` says."""
        ended = await self.dlq("list", "--json", *options)
        assert (ended.code, ended.err) == (0, "")
        return [json.loads(line) for line in ended.lines]


@pytest.fixture
def operator(stage: MemoryStage, commands: Commands) -> Operator:
    """An operator of the stage."""
    return Operator(stage, commands)
