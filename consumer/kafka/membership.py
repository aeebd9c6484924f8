"""What aiokafka's coordinator knows about our membership of the group, and does not expose.

Rules:

- Nothing outside this file touches the coordinator or the client inside an aiokafka consumer;
  tests/unit/kafka/test_membership.py pins what is used here to aiokafka 0.14.
- The functions here only look, ask or commit. The source decides what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError


def hear_heartbeats(
    consumer: AIOKafkaConsumer, heard: Callable[[float], None], clock: Callable[[], float]
) -> None:
    """Have `heard` called for every heartbeat that the group answers, if it counts us in.

    Args:
        consumer: started, of a group.
        heard: called with the time at which the heartbeat was asked for.
        clock: monotonic seconds.
    """
    coordinator = consumer._coordinator
    beat = coordinator._do_heartbeat

    async def heard_beat() -> bool:
        asked_at = clock()
        counted_in = bool(await beat())
        if counted_in:
            heard(asked_at)
        return counted_in

    coordinator._do_heartbeat = heard_beat


class TopicGoneError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """A commit names a partition that is not there (any more)."""


def let_go_of_gone_topics(consumer: AIOKafkaConsumer) -> None:
    """Have a commit fail for good when its topic is gone.

    aiokafka 0.14 repeats it until it is taken. It is taken once the topic is made anew, and then
    the offsets of the old topic hide the first records of the new one.
    """
    coordinator = consumer._coordinator
    commit = coordinator._do_commit_offsets

    async def once(assignment: object, offsets: object) -> None:
        try:
            await commit(assignment, offsets)
        except UnknownTopicOrPartitionError as error:
            raise TopicGoneError(str(error)) from error

    coordinator._do_commit_offsets = once


def thrown_out(consumer: AIOKafkaConsumer) -> bool:
    """Whether the group has gone on without us, so that another member may own what we had.

    aiokafka 0.14 then forgets its generation and calls the listener for a revocation as usual.
    """
    return int(consumer._coordinator.generation) < 0


def member_id(consumer: AIOKafkaConsumer) -> str:
    """Our id in the group; another id, or none, once the group has gone on without us."""
    return str(consumer._coordinator.member_id)


def rejoin(consumer: AIOKafkaConsumer) -> None:
    """Have the group asked anew what is ours; positions begin at what is committed.

    Subscribing anew would do that too, but kills the coordination of aiokafka 0.14 for good when
    it comes while the coordinator is being looked for: in an outage, when it is needed.
    """
    consumer._coordinator.request_rejoin()


async def topics_gone(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> list[str]:
    """Those of the topics that do not exist (any more).

    If one is missing, the broker is asked at once: aiokafka 0.14 would look again by its schedule
    only, and a topic that is back would wait for that.
    """
    if all(partitions_of(consumer, topic) for topic in topics):
        return []
    await consumer._client.force_metadata_update()
    return [topic for topic in topics if not partitions_of(consumer, topic)]


def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """The topic's partitions as last heard; none for a topic that does not exist."""
    return [
        TopicPartition(topic, number)
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]


def exists(consumer: AIOKafkaConsumer, partition: TopicPartition) -> bool:
    """False once its topic is deleted: aiokafka would try for as long as it is let."""
    return partition in partitions_of(consumer, partition.topic)


def without_place(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """The topic's partitions that are ours and have no position to fetch from yet."""
    assignment = consumer._subscription.subscription.assignment
    return [
        partition
        for partition in assignment.tps
        if partition.topic == topic and not assignment.state_value(partition).has_valid_position
    ]


async def committed_of(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What the group has committed, with its metadata; nothing for partitions without a commit.

    Raises:
        KafkaError: the group's coordinator does not say.
    """
    found: dict[
        TopicPartition, OffsetAndMetadata
    ] = await consumer._coordinator.fetch_committed_offsets(list(partitions))
    return found


def position_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """Where the next fetch begins, from memory; None where there is no place yet."""
    state = _state_of(consumer, partition)
    return int(state.position) if state is not None and state.has_valid_position else None


def high_watermark_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The end that the last fetch told, from memory; None before the first one.

    Unlike the last stable offset it counts what an open transaction holds back.
    """
    state = _state_of(consumer, partition)
    return None if state is None else state.highwater


def _state_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> Any:
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None or partition not in assignment.tps:
        return None
    return assignment.state_value(partition)


async def commit_for_all(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
    """Commit for partitions that need not be ours: a group may, aiokafka's own commit refuses.

    Raises:
        KafkaError: the group does not count us in, or Kafka does not take it.
    """
    assignment = consumer._subscription.subscription.assignment
    positions = {partition: OffsetAndMetadata(at, "") for partition, at in offsets.items()}
    await consumer._coordinator.commit_offsets(assignment, positions)
