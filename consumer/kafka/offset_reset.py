"""Where to go on in a partition when the group's committed offset does not say, or is gone.

aiokafka would decide that by itself and silently. With ``auto_offset_reset="none"`` it asks
instead, and these rules answer:

- The group has committed nothing in the whole topic: it is new to it, and the setting decides.
  With ``latest`` the ends of *all* partitions are committed at once. Without that, the next
  rebalance would skip everything that is published until the first record is settled.
- The group has committed in other partitions of the topic only: this one came later, and its
  records are new. It begins at its start, with ``latest`` too. The same holds for a topic that this
  process has worked and that was made anew, whose commits Kafka has deleted.
- Where it begins is committed before any record is worked: who finds nothing committed knows that
  nobody has begun anything.
- The offset is out of range: retention has deleted records that were not worked, or the topic was
  made anew. The setting decides. It is logged and counted, because records may have been lost.

A topic that is deleted and made anew within moments, and has as many records again when its next
one is fetched, looks like the old one: Kafka's fetch knows topics by name only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from consumer.kafka.membership import commit_for_all, partitions_of, without_place
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.metrics import Metrics

log = library_logger(__name__)

_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """What a partition holds.

    Args:
        start: its first offset.
        end: the offset after its last record.
    """

    start: int
    end: int

    def first_after(self, position: int) -> int:
        """The first offset that a reader at this position may not have read."""
        return max(position, self.start) if position <= self.end else self.start


def place_out_of_range(offsets: OffsetRange, setting: str, *, committed: bool) -> int:
    """Where to go on from an offset that the partition does not have. Pure.

    Args:
        offsets: what it has.
        setting: ``earliest`` or ``latest``.
        committed: whether the group has a committed offset there; Kafka deletes those of a topic
            that is deleted, and then all of its records are new.
    """
    return offsets.end if committed and setting == _LATEST else offsets.start


class OffsetReset:
    """Finds the place to go on; see the module's docstring.

    Args:
        setting: ``earliest`` or ``latest``, for a group that is new to a topic.
    """

    def __init__(self, setting: str, metrics: Metrics) -> None:
        self._setting = setting
        self._metrics = metrics
        self._worked: set[str] = set()

    def worked(self, topic: str) -> None:
        """Note that a record of the topic was received: none of its records is from before us."""
        self._worked.add(topic)

    async def after(
        self, consumer: AIOKafkaConsumer, error: NoOffsetForPartitionError | OffsetOutOfRangeError
    ) -> dict[TopicPartition, int]:
        """Where to go on in the partition that aiokafka asks for, and in those it asks for next.

        Raises:
            KafkaError: it can't be found out now; aiokafka will ask again.
        """
        if isinstance(error, OffsetOutOfRangeError):
            ((partition, wanted),) = error.args[0].items()
            return {partition: await self._out_of_range(consumer, partition, wanted)}
        topic = error.args[0].topic
        # All of them at once: an answer waits up to half a second behind a fetch.
        return await self._without_commit(consumer, topic, without_place(consumer, topic))

    async def _without_commit(
        self, consumer: AIOKafkaConsumer, topic: str, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        everywhere = partitions_of(consumer, topic)
        committed = await _committed(consumer, everywhere)
        new = [partition for partition in partitions if partition not in committed]
        if self._setting != _LATEST or committed or topic in self._worked:
            starts: dict[TopicPartition, int] = await consumer.beginning_offsets(new)
            await commit_for_all(consumer, starts)
            return starts
        ends: dict[TopicPartition, int] = await consumer.end_offsets(everywhere)
        await commit_for_all(consumer, ends)
        log.info(
            "topic.begun_at_its_end",
            topic=topic,
            partitions=len(everywhere),
            reason="the group is new to it, and KAFKA_AUTO_OFFSET_RESET is latest",
        )
        return {partition: ends[partition] for partition in new}

    async def _out_of_range(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, wanted: int
    ) -> int:
        starts, ends = await asyncio.gather(
            consumer.beginning_offsets([partition]), consumer.end_offsets([partition])
        )
        offsets = OffsetRange(starts[partition], ends[partition])
        committed = bool(await _committed(consumer, [partition]))
        place = place_out_of_range(offsets, self._setting, committed=committed)
        self._metrics.offsets_out_of_range.inc()
        log.error(
            "offset.out_of_range",
            topic=partition.topic,
            partition=partition.partition,
            offset=wanted,
            first=offsets.start,
            end=offsets.end,
            goes_on_at=place,
            lost=max(offsets.start - wanted, 0),
            skipped=max(place - offsets.first_after(wanted), 0),
            consequence="records may have been lost; it goes on by KAFKA_AUTO_OFFSET_RESET",
            what_to_do="was the topic made anew, or does it delete records before we work them? "
            "publish again what is missing",
        )
        return place


async def _committed(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    offsets = {partition: await consumer.committed(partition) for partition in partitions}
    return {partition: int(at) for partition, at in offsets.items() if at is not None}
