"""How far the group is behind the ends of its partitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer.kafka.assignment import Assignment
from consumer.kafka.membership import exists, high_watermark_of


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a partition is from its end, in records.

    Args:
        unfetched: not received yet.
        unsettled: these, and those in work.
        held_back: of those not received, behind the last stable offset. A transaction that nobody
            has ended lies there, and Kafka gives out nothing from there on.
        held_at: that offset, where everything before it was received.
    """

    unfetched: int
    unsettled: int
    held_back: int = 0
    held_at: int | None = None

    @property
    def available(self) -> int:
        """Records, at most, that Kafka gives out now."""
        return self.unfetched - self.held_back


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """How far we are with a partition of ours.

    Args:
        unsettled: records that are not settled, to the high watermark; None before the first look.
        stable: of these, up to the last stable offset.
        open: of these, received.
        held_back: settled records that can't be committed yet.
        oldest_seconds: age of the oldest open record, since it was received; 0: none is open.
        committed: offset that Kafka has; None where nobody knows.
    """

    topic: str
    partition: int
    unsettled: int | None
    stable: int | None
    open: int
    held_back: int
    oldest_seconds: float
    committed: int | None


def standing_of(
    partition: TopicPartition, assignment: Assignment, lag: PartitionLag | None, now: float
) -> PartitionStanding:
    """How far we are with a partition, by what is in memory.

    Args:
        partition: ours.
        assignment: its present one.
        lag: as it was looked at last.
        now: monotonic seconds.
    """
    ledger = assignment.ledger
    since = ledger.oldest_open_since
    return PartitionStanding(
        topic=partition.topic,
        partition=partition.partition,
        unsettled=None if lag is None else lag.unsettled,
        stable=None if lag is None else lag.unsettled - lag.held_back,
        open=ledger.open_count,
        held_back=ledger.held_count,
        oldest_seconds=0.0 if since is None else now - since,
        committed=ledger.committed_offset,
    )


async def how_far_behind(
    consumer: AIOKafkaConsumer, assignments: Mapping[TopicPartition, Assignment]
) -> dict[TopicPartition, PartitionLag]:
    """Each partition's distance to its end. Raises whatever aiokafka raises."""
    assigned = [partition for partition in assignments if exists(consumer, partition)]
    ends = await consumer.end_offsets(assigned) if assigned else {}
    behind = {}
    for partition in assigned:
        position = await consumer.position(partition)
        # Asked again after each wait: it may have been taken from us meanwhile.
        if (assignment := assignments.get(partition)) is not None:
            # Asked by a consumer that reads committed records, Kafka tells the last stable offset.
            stable = ends[partition]
            end = max(stable, high_watermark_of(consumer, partition) or 0)
            unfetched = max(end - position, 0)
            held_back = max(end - max(stable, position), 0)
            behind[partition] = PartitionLag(
                unfetched,
                unfetched + assignment.ledger.open_count,
                held_back,
                stable if held_back and position >= stable else None,
            )
    return behind
