"""Reading a topic from its start without a group: for people and tools who look at results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.kafka.batches import install
from consumer.kafka.connection import KafkaConnection, explained
from consumer.kafka.records import to_record
from consumer.kafka.topics import partitions_of
from consumer.model.delivery import Record

log = structlog.get_logger(__name__)

_ASK_SECONDS = 30.0
_POLL_MS = 500
# The end is reached by position as a rule. Behind transaction markers the position may stand
# still short of it: then this many empty polls in a row mean the same.
_EMPTY_POLLS = 10


async def read_topic(
    connection: KafkaConnection, topic: str, *, follow: bool = False
) -> AsyncIterator[Record]:
    """Every record of a topic, oldest first within a partition.

    Args:
        connection: where Kafka is.
        topic: which one.
        follow: go on waiting for new records instead of ending at the end found at the start.

    Raises:
        KafkaUnavailableError: Kafka can't be reached, or there is no such topic.
    """
    count = await partitions_of(connection, topic)
    partitions = [TopicPartition(topic, number) for number in range(count)]
    install()
    async with explained(f"reading {topic}", connection), asyncio.timeout(_ASK_SECONDS):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        except BaseException:
            await consumer.stop()
            raise
    try:
        filled = {partition for partition in partitions if ends[partition] > begins[partition]}
        async for record in _records(consumer, connection, ends, filled, follow):
            yield record
    finally:
        await consumer.stop()


async def _records(
    consumer: AIOKafkaConsumer,
    connection: KafkaConnection,
    ends: dict[TopicPartition, int],
    left: set[TopicPartition],
    follow: bool,
) -> AsyncIterator[Record]:
    empty = 0
    while follow or (left and empty < _EMPTY_POLLS):
        async with explained("reading", connection):
            # One at a time: with more, a record the client can't parse takes others with it.
            batch = await consumer.getmany(timeout_ms=_POLL_MS, max_records=1)
        empty = 0 if batch else empty + 1
        for partition, records in batch.items():
            for record in records:
                if follow or record.offset < ends[partition]:
                    yield to_record(record)
        for partition in list(batch or left):
            if await _position(consumer, partition) >= ends[partition]:
                left.discard(partition)


async def _position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    try:
        return int(await consumer.position(partition))
    except KafkaError:
        return 0
