"""How far the group is behind the ends of its partitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumer.kafka.assignment import Assignment
from consumer.kafka.membership import exists


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a partition is from its end, in records.

    Args:
        unfetched: not received yet.
        unsettled: these, and those in work.
    """

    unfetched: int
    unsettled: int


async def how_far_behind(
    consumer: AIOKafkaConsumer, assignments: Mapping[TopicPartition, Assignment]
) -> dict[TopicPartition, PartitionLag]:
    """Each partition's distance to its end. Raises whatever aiokafka raises."""
    assigned = [partition for partition in assignments if exists(consumer, partition)]
    ends = await consumer.end_offsets(assigned) if assigned else {}
    behind = {}
    for partition in assigned:
        unfetched = max(ends[partition] - await consumer.position(partition), 0)
        # Asked again after each wait: it may have been taken from us meanwhile.
        if (assignment := assignments.get(partition)) is not None:
            behind[partition] = PartitionLag(unfetched, unfetched + assignment.ledger.open_count)
    return behind
