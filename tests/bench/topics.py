"""What the benchmarks put into Kafka and read from it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumer.kafka.connection import KafkaConnection
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from tests.bench.contestants.work import Event

PARTITIONS = 12
# The broker's clock tells when a result was there, whoever wrote it.
_SETTINGS = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(32 * 1024 * 1024)}


async def create(kafka: str, names: Sequence[str], partitions: int = PARTITIONS) -> None:
    """Create topics."""
    specs = [TopicSpec(name, "a benchmark", partitions, _SETTINGS) for name in names]
    async with open_admin(KafkaConnection(kafka)) as admin:
        await admin.create(specs, 1)


async def delete(kafka: str, names: Sequence[str]) -> None:
    """Delete topics."""
    async with open_admin(KafkaConnection(kafka)) as admin:
        await admin.delete(list(names))


async def publish(kafka: str, topic: str, events: Iterable[Event], *, erase: bool = False) -> None:
    """Write documents, each with its id as the key; or tombstones for them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", linger_ms=5, max_request_size=32 * 1024 * 1024
    )
    async with producer:
        for event in events:
            value = None if erase else orjson.dumps(event)
            await producer.send(topic, value, key=event["id"].encode())
        await producer.flush()


@asynccontextmanager
async def documents(
    kafka: str, events: Iterable[Event], partitions: int = PARTITIONS
) -> AsyncIterator[str]:
    """A topic with these documents; its name. It is gone afterwards."""
    topic = f"bench-documents-{secrets.token_hex(4)}"
    await create(kafka, [topic], partitions)
    try:
        await publish(kafka, topic, events)
        yield topic
    finally:
        await delete(kafka, [topic])


class Results:
    """Counts a topic's records; made by `watched_results`."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]

    async def count(self) -> int:
        """How many there are."""
        ends = await self._consumer.end_offsets(self._partitions)
        return int(sum(ends.values()))

    async def times(self) -> dict[str, float]:
        """When each document's first result was there, in seconds of the wall clock."""
        found: dict[str, float] = {}
        for key, at in await self._records():
            found[key] = min(at, found.get(key, at))
        return found

    async def all_times(self) -> list[float]:
        """When each result was there, the earliest first."""
        return sorted(at for _, at in await self._records())

    async def _records(self) -> list[tuple[str, float]]:
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        left, found = await self.count(), list[tuple[str, float]]()
        while left > 0:
            for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
                left -= len(records)
                found += [((each.key or b"").decode(), each.timestamp / 1_000) for each in records]
        return found


@asynccontextmanager
async def watched_results(kafka: str, topic: str) -> AsyncIterator[Results]:
    """Looks at the results of one run."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False) as consumer:
        yield Results(consumer, topic)
