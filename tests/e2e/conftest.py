"""Fixtures of the end-to-end tests: processes of ours against a real Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from consumer.kafka.connection import KafkaConnection
from consumer.sandbox.kafka import LocalKafka
from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from tests.e2e.support import CANARY, Programs, Stage, settings_for, topics_of
from tests.programs_fixtures import programs as programs

PARTITIONS = 4


@pytest.fixture
async def simulated() -> AsyncIterator[Simulator]:
    """A simulated AnythingLLM whose key is looked for in everything that any process says."""
    async with running_simulator(api_key=CANARY) as server:
        yield server


@pytest.fixture
async def bare_stage(
    kafka: LocalKafka,
    unique_name: Callable[[str], str],
    simulated: Simulator,
    programs: Programs,
) -> Stage:
    """Settings and a simulated AnythingLLM, but no topics yet."""
    settings = settings_for(unique_name, kafka.bootstrap_servers, simulated)
    return Stage(settings, KafkaConnection(kafka.bootstrap_servers), simulated, programs)


@pytest.fixture
async def stage(bare_stage: Stage) -> AsyncIterator[Stage]:
    """Everything `run` needs."""
    async with topics_of(bare_stage.settings, PARTITIONS):
        yield bare_stage
        # A service whose topics vanish says so in its log, and that is no part of the test.
        await bare_stage.programs.close()


@pytest.fixture
async def own_stage(
    own_kafka: LocalKafka,
    unique_name: Callable[[str], str],
    simulated: Simulator,
    programs: Programs,
) -> AsyncIterator[Stage]:
    """As `stage`, on a Kafka that the test may stop and start again."""
    settings = settings_for(unique_name, own_kafka.bootstrap_servers, simulated)
    async with topics_of(settings, PARTITIONS):
        connection = KafkaConnection(own_kafka.bootstrap_servers)
        yield Stage(settings, connection, simulated, programs)
        await programs.close()
