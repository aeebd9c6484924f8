"""How far we are: committing it, and how much is left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from consumer.kafka.assignment import Assignment
from consumer.kafka.connection import in_short
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Behind:
    """How far a partition is from its end, in records.

    Args:
        unfetched: not received yet.
        unsettled: those, and what is in work.
    """

    unfetched: int
    unsettled: int


async def commit_settled(
    consumer: AIOKafkaConsumer,
    assignments: Mapping[TopicPartition, Assignment],
    metrics: Metrics,
    timeout: float,
) -> None:
    """Commit the settled prefix of every partition that moved; a failure is told and survived.

    Args:
        consumer: of the group.
        assignments: whose ledgers are asked, and told of the commit.
        metrics: counts.
        timeout: seconds; aiokafka itself sets no limit.
    """
    moved = {
        partition: (assignment.ledger, offset)
        for partition, assignment in assignments.items()
        if (offset := assignment.ledger.committable) is not None and _exists(consumer, partition)
    }
    if not moved:
        return  # an empty commit would be one of everything aiokafka has handed out
    try:
        async with asyncio.timeout(timeout):
            await consumer.commit({partition: offset for partition, (_, offset) in moved.items()})
    except (CommitFailedError, IllegalStateError) as error:
        # The group has moved on: whoever owns the partition now does this work again.
        metrics.commit_failures.inc()
        log.warning("commit.refused", error=in_short(error), partitions=len(moved))
    except (KafkaError, TimeoutError, OSError) as error:
        metrics.commit_failures.inc()
        log.warning("commit.failed", error=in_short(error), consequence="tried again shortly")
    else:
        metrics.commits.inc()
        for ledger, offset in moved.values():
            ledger.committed(offset)


async def how_far_behind(
    consumer: AIOKafkaConsumer, assignments: Mapping[TopicPartition, Assignment]
) -> dict[TopicPartition, Behind]:
    """Each partition's distance to its end. Raises whatever aiokafka raises."""
    assigned = [partition for partition in assignments if _exists(consumer, partition)]
    ends = await consumer.end_offsets(assigned) if assigned else {}
    behind = {}
    for partition in assigned:
        unfetched = max(ends[partition] - await consumer.position(partition), 0)
        # Asked again after each wait: it may have been taken from us meanwhile.
        if (assignment := assignments.get(partition)) is not None:
            behind[partition] = Behind(unfetched, unfetched + assignment.ledger.open_count)
    return behind


def _exists(consumer: AIOKafkaConsumer, partition: TopicPartition) -> bool:
    """False once its topic is deleted: aiokafka would try for as long as it is let."""
    return partition.partition in (consumer.partitions_for_topic(partition.topic) or ())
