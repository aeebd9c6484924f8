"""Tries whether the output topics take records of ours, by writing one of each kind.

Only where an operator asks for it: what is written stays there for as long as everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from consumer.contract.trial import HEADERS, KEY, trial_letter, trial_result
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.kafka.topics import CheckFinding
from consumer.operations.ports import KafkaAccess, RecordPublisher
from consumer.settings import Settings

_MOST_SECONDS = 20.0  # a person waits
_ROOM_BYTES = 64 * 1024


async def try_writing(
    settings: Settings, kafka: KafkaAccess, *, now: Callable[[], datetime]
) -> list[CheckFinding]:
    """A finding for each topic that results and dead letters go to; the inputs are left alone."""
    topics = settings.kafka
    try:
        async with kafka.admin() as admin:
            cluster_id = await admin.cluster_id()
            names = (topics.results_topic, topics.dead_letters_topic, topics.parked_topic)
            there = await admin.states(names)
        values = {name: trial_letter() for name in names if name in there}
        if topics.results_topic in values:
            values[topics.results_topic] = trial_result(now(), cluster_id)
        seconds = min(topics.delivery_timeout_seconds, _MOST_SECONDS)
        found = []
        for name, value in values.items():
            # A producer each: one that was refused could not go on.
            async with kafka.publisher(
                max_record_bytes=_ROOM_BYTES, delivery_timeout=seconds
            ) as publisher:
                found.append(await _tried(publisher, name, value, topics.compression))
    except KafkaUnavailableError as error:
        return [CheckFinding(False, "writing", str(error), "mend this first")]
    return found


async def _tried(
    publisher: RecordPublisher, topic: str, value: bytes, compression: str
) -> CheckFinding:
    subject = f"writing {topic}"
    try:
        await publisher.publish(OutgoingRecord(topic, KEY, value, HEADERS))
    except (KafkaUnavailableError, TooLargeForTopicError) as error:
        what_to_do = "check our permission to write it, its settings, and KAFKA_COMPRESSION"
        return CheckFinding(False, subject, str(error), what_to_do)
    return CheckFinding(True, subject, f"takes a record (KAFKA_COMPRESSION={compression})")
