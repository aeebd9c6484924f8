"""The permissions that deploy/THREATS.md gives the service are enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from consumer.app import Service
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.sandbox.simulator import Simulator
from consumer.settings import load_settings
from tests.integration.test_dlq_permissions import (
    GROUP,
    LETTERS,
    READ,
    TOPICS,
    WRITE,
    GuardedKafka,
)
from tests.integration.test_dlq_permissions import guarded as guarded
from tests.staging import QUICK, document, eventually, lived_in

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

RESULTS = TOPICS["KAFKA_RESULTS_TOPIC"]
INPUTS = [TOPICS["KAFKA_DOCUMENTS_TOPIC"], TOPICS["KAFKA_REPLAY_TOPIC"]]
SERVICE = "test-service"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with lived_in("docs") as server:
        yield server


async def _answered(connection: KafkaConnection, topic: str) -> int:
    return len([record async for record in read_topic(connection, topic)])


async def test_the_permissions_of_the_service_are_enough(
    guarded: GuardedKafka, simulator: Simulator
) -> None:
    """Reading and its group, results and dead letters: nothing of it is refused."""
    await guarded.allow(READ, INPUTS)
    await guarded.allow(WRITE, [RESULTS, LETTERS])
    await guarded.allow(READ, [SERVICE], GROUP)
    connection = KafkaConnection(guarded.bootstrap_servers)
    service = Service(
        load_settings(
            QUICK
            | guarded.settings
            | {
                "KAFKA_GROUP_ID": SERVICE,
                "ANYTHINGLLM_ENDPOINT": simulator.endpoint,
                "ANYTHINGLLM_API_KEY": simulator.api_key,
            }
        )
    )
    publisher = Publisher(connection, give_up=True)
    await publisher.start()
    for value in (orjson.dumps(document("good", ["one"])), b"no event"):
        await publisher.publish(OutgoingRecord(INPUTS[0], b"good", value))
    await publisher.stop()
    with capture_logs() as logs:
        running = asyncio.create_task(service.run())
        await eventually(lambda: running.done() or _settled(logs) == 3)
        service.stop()
        await running

    assert await _answered(connection, RESULTS) >= 1
    assert await _answered(connection, LETTERS) == 3  # the fixture's, its replay, and this one
    assert [line for line in logs if line["event"] == "library.message"] == []
    assert [line for line in logs if "uthoriz" in str(line)] == []


def _settled(logs: list[MutableMapping[str, Any]]) -> int:
    return sum(line["event"] == "document.settled" for line in logs)
