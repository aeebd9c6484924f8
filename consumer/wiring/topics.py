"""What the five topics must be, by the settings."""

from __future__ import annotations

from consumer.kafka.topic_spec import TopicSpec
from consumer.settings import Settings

# What a dead letter and its replay may be larger than their event: their headers.
DEAD_LETTER_HEADROOM = 64 * 1024


def topic_specs(settings: Settings, partitions: int = 12) -> tuple[TopicSpec, ...]:
    """What the five topics must be (schemas/README.md, "Topics")."""
    kafka = settings.kafka
    largest = settings.document.max_bytes
    letters = {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(largest + DEAD_LETTER_HEADROOM),
    }
    inputs = {"max.message.bytes": str(largest)}
    replays = {"max.message.bytes": str(largest + DEAD_LETTER_HEADROOM)}
    # As long as dead letters: without a letter's result nobody can tell whether it is stale.
    results = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    room = DEAD_LETTER_HEADROOM
    return (
        TopicSpec(kafka.documents_topic, "documents in", partitions, inputs),
        TopicSpec(kafka.replay_topic, "replayed dead letters in", partitions, replays, room),
        TopicSpec(kafka.results_topic, "results out", partitions, results),
        TopicSpec(kafka.dead_letters_topic, "dead letters out", partitions, letters, room),
        TopicSpec(kafka.parked_topic, "dead letters put aside", partitions, letters, room),
    )
