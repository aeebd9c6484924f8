"""Reading topics without a group: whole or not at all, partition by partition, by place."""

from __future__ import annotations

import asyncio

import pytest

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.reader import open_reader, read_topic
from consumer.model.record import Coordinates
from consumer.sandbox.kafka import LocalKafka
from tests.conftest import MakeTopic
from tests.integration.kafka_proxy import proxy_to
from tests.integration.kafka_support import delete_records, publish


@pytest.fixture
def connection(kafka: LocalKafka) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap_servers)


async def test_every_record_comes_once_in_order(
    connection: KafkaConnection, make_topic: MakeTopic
) -> None:
    """Partition by partition; empty partitions and empty topics end at once."""
    topic, empty = await make_topic(partitions=5), await make_topic()
    for partition in (0, 2, 4):
        values = [f"{partition}-{number}" for number in range(450)]
        await publish(connection, topic, *values, partition=partition)
    records = [record async for record in read_topic(connection, topic)]

    assert [(record.at.partition, record.at.offset) for record in records] == [
        (partition, number) for partition in (0, 2, 4) for number in range(450)
    ]
    assert records[460].value == b"2-10"
    assert [record async for record in read_topic(connection, empty)] == []


async def test_what_is_published_meanwhile_is_not_waited_for(
    connection: KafkaConnection, make_topic: MakeTopic
) -> None:
    """A topic that is written to all the time ends where it ended at the start."""
    topic = await make_topic()
    await publish(connection, topic, "a", "b")
    heard = []
    async for record in read_topic(connection, topic):
        heard.append(record.value)
        await publish(connection, topic, "later")

    assert heard == [b"a", b"b"]


async def test_what_retention_took_is_not_missed(
    connection: KafkaConnection, make_topic: MakeTopic
) -> None:
    """Also when it takes it between the look and the reading."""
    topic = await make_topic()
    await publish(connection, topic, *"abcdef")
    await delete_records(connection, topic, {0: 2})
    async with open_reader(connection) as reader:
        ranges = await reader.offset_ranges(topic)
        assert ranges is not None
        assert (ranges[0].start, ranges[0].end) == (2, 6)
        await delete_records(connection, topic, {0: 4})
        async with asyncio.timeout(20):
            found = [record.value async for record in reader.records(topic, ranges)]

    assert found == [b"e", b"f"]


async def test_a_record_is_found_by_its_place(
    connection: KafkaConnection, make_topic: MakeTopic
) -> None:
    """Near or far, forwards or backwards, in any partition; None where there is none."""
    topic = await make_topic(partitions=2)
    await publish(connection, topic, *map(str, range(300)), partition=1)
    await delete_records(connection, topic, {1: 5})
    async with open_reader(connection) as reader:
        for offset in (7, 8, 9, 60, 61, 299, 5, 298, 5):
            record = await reader.record(Coordinates(topic, 1, offset))
            assert record is not None
            assert (record.at.offset, record.value) == (offset, str(offset).encode())
        for place in ((1, 4), (1, 300), (0, 0), (7, 0)):
            assert await reader.record(Coordinates(topic, *place)) is None
        assert await reader.record(Coordinates(f"{topic}-not-there", 0, 0)) is None
        await publish(connection, topic, "late", partition=0)
        late = await reader.record(Coordinates(topic, 0, 0))

    assert late is not None
    assert late.value == b"late"


async def test_a_topic_that_is_not_there_is_told(connection: KafkaConnection) -> None:
    """At once, and it is not made by looking."""
    for _ in range(2):
        with pytest.raises(KafkaUnavailableError, match="there is no topic test-nowhere"):
            _ = [record async for record in read_topic(connection, "test-nowhere")]


async def test_a_reader_that_reads_nothing_closes(connection: KafkaConnection) -> None:
    """Stopped before its tasks have begun, aiokafka 0.14 raises CancelledError."""
    for _ in range(3):
        async with open_reader(connection):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("silently", [True, False])
async def test_a_kafka_that_goes_away_is_no_end(
    connection: KafkaConnection, make_topic: MakeTopic, silently: bool
) -> None:
    """Half of the results would make resolved letters look open: it is an error, and soon."""
    topic = await make_topic(partitions=2)
    await publish(connection, topic, *"abc", partition=0)
    await publish(connection, topic, *"def", partition=1)
    heard = []
    async with proxy_to(connection.bootstrap_servers) as proxy:

        async def read() -> None:
            async for record in read_topic(KafkaConnection(proxy.address), topic):
                heard.append(record.value)
                if len(heard) == 1:
                    proxy.cut(silently=silently)

        with pytest.raises(KafkaUnavailableError):
            await asyncio.wait_for(read(), 60)

    assert heard in ([b"a"], [b"a", b"b", b"c"])
