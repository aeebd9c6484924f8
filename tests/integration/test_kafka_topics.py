"""Topics that change under a group that reads them: grown, deleted, made anew, cut at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from consumer.kafka.connection import KafkaConnection
from consumer.sandbox.kafka import LocalKafka
from tests.conftest import MakeTopic
from tests.integration.kafka_support import (
    SECONDS,
    Reading,
    commit,
    create,
    delete,
    delete_records,
    grow,
    publish,
    reading,
)

SETTINGS = pytest.mark.parametrize("setting", ["earliest", "latest"])


@pytest.fixture
def connection(kafka: LocalKafka) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap_servers)


@pytest.fixture
def group(unique_name: Callable[[str], str]) -> str:
    return unique_name("group")


@SETTINGS
async def test_new_partitions_are_read_from_their_start(
    connection: KafkaConnection, make_topic: MakeTopic, group: str, setting: str
) -> None:
    """Noticed without a restart; what was published there before that is not skipped."""
    topic = await make_topic(partitions=1)
    async with reading(connection, group, topic, setting=setting) as one:
        await one.until_position()
        await publish(connection, topic, "old")
        await one.until("old")
        await grow(connection, topic, 3)
        for partition in (1, 2):
            await publish(connection, topic, f"new {partition}", partition=partition)
        await one.until("new 1", "new 2")

        assert sorted(one.values) == ["new 1", "new 2", "old"]


@SETTINGS
async def test_partitions_that_came_while_nobody_read_are_read_from_their_start(
    connection: KafkaConnection, make_topic: MakeTopic, group: str, setting: str
) -> None:
    """A restart between growing and noticing changes nothing: the group knows what it has seen."""
    topic = await make_topic(partitions=1)
    async with reading(connection, group, topic, setting=setting) as one:
        await one.until_position()
    await grow(connection, topic, 2)
    await publish(connection, topic, "new", partition=1)
    async with reading(connection, group, topic, setting=setting) as one:
        await one.until("new")


async def test_who_begins_at_the_end_skips_nothing_afterwards(
    connection: KafkaConnection, make_topic: MakeTopic, group: str
) -> None:
    """`latest` leaves out what was there when the group began, in every partition, and no more."""
    topic = await make_topic(partitions=2)
    for partition in (0, 1):
        await publish(connection, topic, "history", partition=partition)
    with capture_logs() as logs:
        async with reading(connection, group, topic, setting="latest") as one:
            await one.until_position()
    for partition in (0, 1):
        await publish(connection, topic, f"while away {partition}", partition=partition)
    async with reading(connection, group, topic, setting="latest") as one:
        await one.until("while away 0", "while away 1")

        assert "history" not in one.values
    begun = [entry for entry in logs if entry["event"] == "topic.begun_at_its_end"]
    assert [(entry["topic"], entry["partitions"]) for entry in begun] == [(topic, 2)]


@SETTINGS
async def test_a_topic_made_anew_is_read_from_its_start(
    connection: KafkaConnection, make_topic: MakeTopic, group: str, setting: str
) -> None:
    """Told while it is gone; once it is there, all of its records are new."""
    topic = await make_topic(partitions=2)
    other = await make_topic()
    with capture_logs() as logs:
        async with reading(connection, group, topic, other, setting=setting) as one:
            await one.until_position()
            await publish(connection, topic, *(f"old {n}" for n in range(5)))
            await one.until("old 4")
            await delete(connection, topic)
            await _until_trouble(one, f"there is no topic {topic}")
            await publish(connection, other, "other")
            await one.until("other")
            await create(connection, topic, 2)
            await publish(connection, topic, "new 0", "new 1")
            await one.until("new 0", "new 1")
            await one.until_position()

            assert one.values == [*(f"old {n}" for n in range(5)), "other", "new 0", "new 1"]
    told = [entry["event"] for entry in logs if entry.get("topic") == topic]
    assert [event for event in told if event.startswith("topic.")][-2:] == [
        "topic.gone",
        "topic.back",
    ]


async def _until_trouble(one: Reading, text: str) -> None:
    async with asyncio.timeout(SECONDS):
        while text not in (one.trouble or ""):
            await one.poll()


@pytest.mark.parametrize(
    ("setting", "received", "skipped"), [("earliest", ["3", "4"], 0), ("latest", [], 2)]
)
async def test_an_offset_that_retention_deleted_is_told(
    connection: KafkaConnection,
    make_topic: MakeTopic,
    group: str,
    setting: str,
    received: list[str],
    skipped: int,
) -> None:
    """The setting says where it goes on; how many records are lost or skipped is told."""
    topic = await make_topic()
    async with reading(connection, group, topic, setting=setting) as one:
        await one.until_position()
        await publish(connection, topic, "0")
        await one.until("0")
    await publish(connection, topic, "1", "2", "3", "4")
    await delete_records(connection, topic, {0: 3})
    with capture_logs() as logs:
        async with reading(connection, group, topic, setting=setting) as one:
            await one.until_out_of_range()
            await publish(connection, topic, "last")
            await one.until("last")

            assert one.values == [*received, "last"]
            assert one.metric("offsets_out_of_range") == 1
    (told,) = [entry for entry in logs if entry["event"] == "offset.out_of_range"]
    assert (told["topic"], told["partition"], told["offset"]) == (topic, 0, 1)
    assert (told["goes_on_at"], told["lost"], told["skipped"]) == (3 + skipped, 2, skipped)


async def test_a_topic_made_anew_while_nobody_read_is_read_from_its_start(
    connection: KafkaConnection, make_topic: MakeTopic, group: str
) -> None:
    """Committed offsets of the old one don't count: Kafka forgets them with the topic."""
    topic = await make_topic()
    async with reading(connection, group, topic) as one:
        await publish(connection, topic, "old 0", "old 1", "old 2")
        await one.until("old 2")
    await delete(connection, topic)
    await create(connection, topic)
    await publish(connection, topic, "new")
    async with reading(connection, group, topic) as one:
        await one.until("new")


@pytest.mark.parametrize(("setting", "received"), [("earliest", ["0", "1"]), ("latest", [])])
async def test_an_offset_beyond_the_end_is_told(
    connection: KafkaConnection,
    make_topic: MakeTopic,
    group: str,
    setting: str,
    received: list[str],
) -> None:
    """The log was cut at its end, or somebody set the group's offset: the setting decides."""
    topic = await make_topic()
    await publish(connection, topic, "0", "1")
    await commit(connection, group, topic, 100)
    with capture_logs() as logs:
        async with reading(connection, group, topic, setting=setting) as one:
            await one.until_out_of_range()
            await publish(connection, topic, "last")
            await one.until("last")

            assert one.values == [*received, "last"]
    (told,) = [entry for entry in logs if entry["event"] == "offset.out_of_range"]
    assert (told["offset"], told["end"], told["lost"]) == (100, 2, 0)
    assert told["skipped"] == 2 - len(received)
    async with reading(connection, group, topic, setting=setting) as one:
        await one.until_position()
        assert one.metric("offsets_out_of_range") == 0
