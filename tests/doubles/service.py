"""The service over a Kafka in memory: the same pipeline as in `run`, with the real client."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.anythingllm import AnythingLLMClient
from consumer.app.assembly import Pipeline, Rooms
from consumer.kafka.groups import GroupOffset
from consumer.kafka.ledger import Ledger
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.model.death_count import DeathCount
from consumer.model.record import Headers, Record
from consumer.pipeline.ports import Release, TooLarge
from consumer.resilience.fence import Fence
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics
from consumer.wiring.anythingllm import anythingllm_config
from consumer.wiring.event_rules import decode_limits
from consumer.wiring.topics import DEAD_LETTER_HEADROOM
from tests.doubles.decoding import decoding_here
from tests.doubles.kafka import MemoryKafka
from tests.doubles.kafka_clients import Line, MemoryPublisher

_NAME = "anythingllm-consumer"


@dataclass(slots=True)
class _Partition:
    """A partition that the service works: how far it has received, and what is settled."""

    topic: str
    number: int
    position: int
    ledger: Ledger


class _Delivery:
    """A record with the receipt that commits it."""

    def __init__(self, service: MemoryService, partition: _Partition, record: Record) -> None:
        self.record = record
        self.fence = service.fence
        self._service = service
        self._partition = partition

    @property
    def ended(self) -> bool:
        return self.fence.closed

    def carried_by(self, task: asyncio.Task[object]) -> None:
        """Nobody takes a partition away from the only member."""

    settled_before = False
    carried_out_before = False
    held_before = False

    held_until = 0.0
    taken_over_at = None

    def deaths_of(self, what: str) -> DeathCount | None:
        return None

    def note_deaths(self, what: str, count: DeathCount | None) -> None:
        """No test of this stage is about deaths."""

    def leave_in_doubt(self, what: str, until: float) -> Release:
        return lambda: None

    def left_in_doubt(self, what: str) -> bool:
        return False

    def settled(self, *, carried_out: bool) -> None:
        self._partition.ledger.settle(self.record.at.offset, carried_out=carried_out)
        self._service.commit(self._partition)

    def hold(self, until: float, *, carried_out: bool) -> Release:
        self._partition.ledger.hold(self.record.at.offset, until, carried_out=carried_out)
        return functools.partial(self.settled, carried_out=carried_out)


class MemoryService:
    """The only instance of the service; commits at once what is settled.

    Args:
        settings: of the service.
        kafka: where its topics are.
    """

    def __init__(self, settings: Settings, kafka: MemoryKafka) -> None:
        self.fence = Fence("assignment")
        self.metrics = Metrics()
        self._settings = settings
        self._kafka = kafka
        self._group = settings.kafka.group_id
        largest = settings.document.max_bytes + DEAD_LETTER_HEADROOM
        self._publisher = MemoryPublisher(Line(kafka), largest)
        self._client = AnythingLLMClient(anythingllm_config(settings), calls_feed_breaker=False)
        self._partitions = list(self._assigned())
        self._news: asyncio.Event | None = None
        pipeline = self._new_pipeline()
        self._journey = pipeline.journey(kafka.cluster_id)
        self._watchers = pipeline.watchers()

    async def run(self) -> None:
        """Serve until `stop`; raises what it dies of."""
        number = self._kafka.join(self._group, _NAME)
        await self._client.connect()
        try:
            with self._kafka.news() as self._news:
                await self._work()
        finally:
            await self._client.disconnect()
            self._kafka.leave(self._group, number)

    def stop(self) -> None:
        """Take nothing more in, and end when what is in work is settled."""
        self._journey.stop()
        if self._news is not None:
            self._news.set()

    def commit(self, partition: _Partition) -> None:
        """Commit what is settled without a gap."""
        if (offset := partition.ledger.committable) is not None:
            partition.ledger.committed(offset)
            place = {(partition.topic, partition.number): GroupOffset(offset)}
            self._kafka.commit(self._group, place)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._journey.run())
            watchers = [tasks.create_task(each) for each in self._watchers.values()]
            await asyncio.wait({work})
            for task in watchers:
                task.cancel()

    def _assigned(self) -> Iterator[_Partition]:
        committed = self._kafka.commits(self._group)
        topics = self._settings.kafka.documents_topic, self._settings.kafka.replay_topic
        for topic in topics:
            for number, offsets in (self._kafka.ranges(topic) or {}).items():
                place = committed.get((topic, number), GroupOffset(offsets.start))
                yield _Partition(topic, number, place.offset, Ledger(f"{topic}-{number}"))

    async def _poll(self, timeout: float) -> _Delivery | None:
        assert self._news is not None
        self._news.clear()
        if (found := self._next()) is not None:
            return found
        # A record, or the stop; nothing else can happen.
        await self._news.wait()
        return self._next()

    def _next(self) -> _Delivery | None:
        for partition in self._partitions:
            topic, number = partition.topic, partition.number
            for record in self._kafka.fetch(topic, number, partition.position, 1):
                partition.position = record.at.offset + 1
                partition.ledger.receive(record.at.offset, time.monotonic())
                # The others come first next time.
                self._partitions.remove(partition)
                self._partitions.append(partition)
                return _Delivery(self, partition, record)
        return None

    async def _publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        try:
            await self._publisher.publish(OutgoingRecord(topic, key, value, headers))
        except TooLargeForTopicError as error:
            raise TooLarge(str(error)) from error

    def _new_pipeline(self) -> Pipeline:
        rooms = Rooms(
            poll=self._poll,
            storage=self._client.storage,
            breaker=self._client.circuit_breaker,
            publish=self._publish,
            is_assigned=lambda: True,
            is_ours=lambda partition: True,
            taken_over_at=lambda: None,
            holds_all=lambda: True,
            in_doubt_until=lambda: 0.0,
            metrics=self.metrics,
            rng=random.Random(1),
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
            decode_apart=decoding_here(decode_limits(self._settings)),
        )
        return Pipeline(self._settings, rooms)
