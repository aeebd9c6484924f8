"""Committing what is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    InvalidCommitOffsetSizeError,
    KafkaError,
    OffsetMetadataTooLargeError,
)

from consumer.kafka.assignment import Assignment
from consumer.kafka.connection import in_short
from consumer.kafka.ledger import CommitDue
from consumer.kafka.membership import TopicGoneError, exists, rejoin
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.metrics import Metrics

log = library_logger(__name__)


async def commit_settled(
    consumer: AIOKafkaConsumer,
    assignments: Mapping[TopicPartition, Assignment],
    metrics: Metrics,
    timeout: float,
) -> None:
    """Commit the settled prefix of every partition that moved. A failure is logged and survived.

    Args:
        consumer: of the group.
        assignments: their ledgers say what to commit, and note what was.
        metrics: counts.
        timeout: seconds; aiokafka itself sets no limit.
    """
    for topic in dict.fromkeys(partition.topic for partition in assignments):
        moved = {
            partition: (assignment, due)
            for partition, assignment in assignments.items()
            if partition.topic == topic
            and not assignment.topic_gone
            and (due := assignment.ledger.due) is not None
            and exists(consumer, partition)
        }
        if moved:  # an empty commit would be one of everything aiokafka has handed out
            await _commit(consumer, moved, metrics, timeout)


async def _commit(
    consumer: AIOKafkaConsumer,
    moved: Mapping[TopicPartition, tuple[Assignment, CommitDue]],
    metrics: Metrics,
    timeout: float,
) -> None:
    try:
        async with asyncio.timeout(timeout):
            await consumer.commit(
                {partition: (due.offset, due.metadata) for partition, (_, due) in moved.items()}
            )
    except (OffsetMetadataTooLargeError, InvalidCommitOffsetSizeError) as error:
        await _commit_bare(consumer, moved, metrics, timeout, error)
    except TopicGoneError:
        metrics.commit_failures.inc()
        for assignment, _ in moved.values():
            assignment.topic_gone = True
        log.warning(
            "commit.failed",
            error=f"there is no topic {next(iter(moved)).topic} (any more)",
            consequence="not tried again: made anew it has other records; it is asked for anew",
        )
        rejoin(consumer)
    except (CommitFailedError, IllegalStateError) as error:
        # The group has moved on: the member that owns the partition now does this work again.
        metrics.commit_failures.inc()
        log.warning("commit.refused", error=in_short(error), partitions=len(moved))
    except (KafkaError, TimeoutError, OSError) as error:
        metrics.commit_failures.inc()
        log.warning("commit.failed", error=in_short(error), consequence="tried again shortly")
    else:
        metrics.commits.inc()
        for assignment, due in moved.values():
            assignment.ledger.committed(due.offset, due.metadata)


async def _commit_bare(
    consumer: AIOKafkaConsumer,
    moved: Mapping[TopicPartition, tuple[Assignment, CommitDue]],
    metrics: Metrics,
    timeout: float,
    error: KafkaError,
) -> None:
    """Commit the same offsets at once without metadata, and write shorter ones from now on.

    The broker does not tell its ``offset.metadata.max.bytes``. Half of what was refused is tried
    next, so a few commits meet any limit.
    """
    longest = max(len(due.metadata) for _, due in moved.values())
    if not longest:
        metrics.commit_failures.inc()
        log.warning("commit.failed", error=in_short(error), consequence="tried again shortly")
        return
    for assignment, _ in moved.values():
        assignment.ledger.limit_metadata(min(longest // 2, assignment.ledger.metadata_limit))
    log.info(
        "commit.metadata_refused",
        bytes=longest,
        consequence="committed without; after a restart more events are worked again",
        what_to_do="raise offset.metadata.max.bytes of the brokers to 4096, its default",
    )
    bare = {
        partition: (assignment, CommitDue(due.offset))
        for partition, (assignment, due) in moved.items()
    }
    await _commit(consumer, bare, metrics, timeout)
