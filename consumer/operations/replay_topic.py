"""What commands publish to the replay topic: by which publisher, and on which partitions."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from consumer.operations.ports import KafkaAccess, RecordPublisher
from consumer.settings import Settings
from consumer.wiring.topics import DEAD_LETTER_HEADROOM

_PATIENCE_SECONDS = 15.0  # with one publish: a person waits, and can go on later


def replay_publisher(
    settings: Settings, kafka: KafkaAccess
) -> AbstractAsyncContextManager[RecordPublisher]:
    """A publisher of events and dead letters, for a person who waits."""
    return kafka.publisher(
        max_record_bytes=settings.document.max_bytes + DEAD_LETTER_HEADROOM,
        delivery_timeout=min(settings.kafka.delivery_timeout_seconds, _PATIENCE_SECONDS),
    )


def why_too_few_partitions(
    settings: Settings, partitions: int, highest: int, *, what: str
) -> str | None:
    """Why events can't be published again on their own partition numbers, or None.

    Args:
        settings: name the topics.
        partitions: of the replay topic.
        highest: partition number that is needed.
        what: comes from there, as "letters came from".
    """
    if highest < partitions:
        return None
    kafka = settings.kafka
    return (
        f"{kafka.replay_topic} has {partitions} partitions, but {what} "
        f"partition {highest}: on another one a replay would lose its order "
        f"to live events. Give it as many as {kafka.documents_topic}: kafka-topics --alter "
        f"--topic {kafka.replay_topic} --partitions {highest + 1}"
    )
