"""A source on a real broker, without the journey behind it, and what operators do to its topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from consumer.kafka.assignment import KafkaDelivery
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.source import KafkaSource, SourceConfig
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.telemetry.metrics import PREFIX, Metrics

SECONDS = 40.0  # a deadline, not a wait
_OBSERVE_SECONDS = 0.2

GROUP = SourceConfig(
    topics=(),
    group_id="",
    session_timeout=15.0,
    drain_timeout=5.0,
    rebalance_timeout=40.0,
    metadata_max_age=0.5,
)


@dataclass(slots=True)
class Reading:
    """A source that runs as in the service: polled, watched, committed."""

    source: KafkaSource
    metrics: Metrics
    trouble: str | None = None
    heard: list[KafkaDelivery] = field(default_factory=list)

    async def until(self, *wanted: str) -> None:
        """Poll, settle and commit until each of these values was received."""
        async with asyncio.timeout(SECONDS):
            while not set(wanted) <= set(self.values):
                await self.poll()

    async def until_position(self) -> None:
        """Poll until every partition has a place to go on at."""
        async with asyncio.timeout(SECONDS):
            while self.trouble != "":
                await self.poll()

    async def until_out_of_range(self) -> None:
        """Poll until an offset turned out to be out of range, and another place was found."""
        async with asyncio.timeout(SECONDS):
            while not self.metric("offsets_out_of_range"):
                await self.poll()

    async def poll(self) -> None:
        """One poll; what comes is settled and committed at once."""
        if (delivery := await self.source.poll(0.05)) is not None:
            self.heard.append(delivery)
            delivery.settled()
            await self.source.commit()

    @property
    def values(self) -> list[str]:
        """What was received, in order."""
        return [(delivery.record.value or b"").decode() for delivery in self.heard]

    def metric(self, name: str) -> float:
        """A counter's value."""
        return self.metrics.registry.get_sample_value(f"{PREFIX}_{name}_total") or 0.0

    async def observe(self) -> None:
        """What the service does beside: listen, look how far behind we are."""
        while True:
            await self.source.listen()
            try:
                await self.source.lags()
            except KafkaUnavailableError as error:
                self.trouble = str(error)
            else:
                self.trouble = ""
            await asyncio.sleep(_OBSERVE_SECONDS)


@asynccontextmanager
async def reading(
    connection: KafkaConnection, group: str, *topics: str, setting: str = "earliest"
) -> AsyncIterator[Reading]:
    """A member of the group while the block runs."""
    metrics = Metrics()
    config = replace(GROUP, topics=topics, group_id=group, auto_offset_reset=setting)
    source = KafkaSource(
        connection,
        config,
        metrics,
        on_revoking=lambda: asyncio.sleep(0, True),
        on_revoked=lambda: None,
    )
    await source.start()
    one = Reading(source, metrics)
    tasks = [asyncio.create_task(source.keep_lease()), asyncio.create_task(one.observe())]
    try:
        yield one
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await source.stop()


async def publish(
    connection: KafkaConnection, topic: str, *values: str, partition: int = 0
) -> None:
    """Records of these values."""
    async with AIOKafkaProducer(**connection.client_options()) as producer:
        for value in values:
            await producer.send_and_wait(topic, value.encode(), partition=partition)


@asynccontextmanager
async def _admin(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**connection.client_options())
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def grow(connection: KafkaConnection, topic: str, partitions: int) -> None:
    """Give a topic more partitions; returns when they can be written."""
    async with _admin(connection) as admin:
        await admin.create_partitions({topic: NewPartitions(partitions)})
    await _until_partitions(connection, topic, partitions)


async def delete(connection: KafkaConnection, topic: str) -> None:
    """Delete a topic; returns when it is gone."""
    async with open_admin(connection) as admin:
        await admin.delete([topic])
    await _until_partitions(connection, topic, 0)


async def create(connection: KafkaConnection, topic: str, partitions: int = 1) -> None:
    """Make a topic of this name anew."""
    async with open_admin(connection) as admin:
        await admin.create([TopicSpec(topic, "a test", partitions)], replication_factor=1)


async def _until_partitions(connection: KafkaConnection, topic: str, count: int) -> None:
    async with open_admin(connection) as admin, asyncio.timeout(SECONDS):
        while await admin.partitions(topic) != count:  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.02)


async def delete_records(
    connection: KafkaConnection, topic: str, before: Mapping[int, int]
) -> None:
    """Delete what is before these offsets, by partition, as retention does."""
    wanted = {TopicPartition(topic, n): RecordsToDelete(at) for n, at in before.items()}
    async with _admin(connection) as admin:
        await admin.delete_records(wanted)


async def commit(connection: KafkaConnection, group: str, topic: str, offset: int) -> None:
    """Set the group's offset in partition 0, as an operator does while nobody is in it."""
    consumer = AIOKafkaConsumer(
        topic, **connection.client_options(), group_id=group, enable_auto_commit=False
    )
    async with consumer:
        await consumer.commit({TopicPartition(topic, 0): offset})
