"""Watches the ends of the partitions: lag, topics that go and come, transactions nobody ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer.kafka.assignment import Assignment
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained
from consumer.kafka.lag import PartitionLag, how_far_behind
from consumer.kafka.membership import topics_gone
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

_LOOK_SECONDS = 10.0
_ENDS_SECONDS = 2.0
# Kafka ends a transaction by itself after ``transaction.timeout.ms``, 60 s by default.
_HELD_BACK_SECONDS = 75.0


class HeldBack:
    """Finds partitions that a transaction holds back for long: nobody seems to end it.

    A transaction that is under way holds everything behind it back as a rule, for moments.

    Args:
        seconds: for how long that is no news.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since: dict[tuple[TopicPartition, int], float] = {}
        self._reported: set[tuple[TopicPartition, int]] = set()

    def look(self, behind: Mapping[TopicPartition, PartitionLag]) -> None:
        """Take the lags of all assigned partitions."""
        now = self._clock()
        held = {
            (partition, lag.held_at) for partition, lag in behind.items() if lag.held_at is not None
        }
        self._since = {each: self._since.get(each, now) for each in held}
        self._reported &= held

    @property
    def long(self) -> dict[tuple[TopicPartition, int], float]:
        """Seconds for which each partition has been held back at this offset, where it is long."""
        now = self._clock()
        found = {each: now - since for each, since in self._since.items()}
        return {each: seconds for each, seconds in found.items() if seconds >= self._seconds}

    def news(self) -> dict[tuple[TopicPartition, int], float]:
        """Those of them that were not news before."""
        new = {each: seconds for each, seconds in self.long.items() if each not in self._reported}
        self._reported |= new.keys()
        return new


class LagWatch:
    """Looks at the ends of our partitions, and logs what a person should know of them.

    Args:
        connection: where Kafka is.
        topics: that have to be there.
        clock: monotonic seconds.
    """

    def __init__(
        self, connection: KafkaConnection, topics: Sequence[str], clock: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._gone: list[str] = []
        self._held_back = HeldBack(_HELD_BACK_SECONDS, clock)

    def held_back(self) -> list[str]:
        """Partitions that a transaction has held back for long, each in a few words."""
        return [
            f"{partition.topic}-{partition.partition} at offset {offset} for {seconds:.0f} s"
            for (partition, offset), seconds in self._held_back.long.items()
        ]

    async def look(
        self, consumer: AIOKafkaConsumer, assignments: Mapping[TopicPartition, Assignment]
    ) -> dict[TopicPartition, PartitionLag]:
        """How far each assigned partition is from its end.

        Raises:
            KafkaUnavailableError: the ends can't be had now, or a topic of ours does not exist.
        """
        async with explained("reading end offsets", self._connection):
            async with asyncio.timeout(_LOOK_SECONDS):
                behind = await self._how_far_behind(consumer, assignments)
        if self._gone:
            raise KafkaUnavailableError(f"there is no topic {', '.join(self._gone)} any more")
        self._held_back.look(behind)
        self._log_held_back(behind)
        return behind

    async def _how_far_behind(
        self, consumer: AIOKafkaConsumer, assignments: Mapping[TopicPartition, Assignment]
    ) -> dict[TopicPartition, PartitionLag]:
        self._note_gone(await topics_gone(consumer, self._topics))
        try:
            async with asyncio.timeout(_ENDS_SECONDS):
                return await how_far_behind(consumer, assignments)
        except TimeoutError:
            # aiokafka goes on asking for the end of a partition that has just been deleted.
            self._note_gone(await topics_gone(consumer, self._topics))
            return await how_far_behind(consumer, assignments)

    def _note_gone(self, gone: list[str]) -> None:
        before, self._gone = self._gone, gone
        for topic in gone:
            if topic not in before:
                log.error(
                    "topic.gone",
                    topic=topic,
                    consequence="nothing comes from it; it is read again once it is there",
                    what_to_do="if nobody meant to delete it, make it anew: topics create",
                )
        for topic in before:
            if topic not in gone:
                log.info("topic.back", topic=topic)

    def _log_held_back(self, behind: Mapping[TopicPartition, PartitionLag]) -> None:
        for (partition, offset), seconds in self._held_back.news().items():
            log.warning(
                "partition.held_back",
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                records=behind[partition].held_back,
                seconds=round(seconds),
                consequence="Kafka gives out nothing from there on until the transaction is ended",
                what_to_do="find and end it: kafka-transactions.sh find-hanging, then abort",
            )
