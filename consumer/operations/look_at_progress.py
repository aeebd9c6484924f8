"""What `check` says of the group's place in its topics: what waits, and what is gone already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.topics import CheckFinding
from consumer.operations.ports import KafkaAccess
from consumer.operations.topic_progress import TopicProgress, topic_progress_of
from consumer.settings import Settings


async def look_at_progress(settings: Settings, kafka: KafkaAccess) -> list[CheckFinding]:
    """Whether the documents and replays can be read, and what retention took from the group."""
    group = settings.kafka.group_id
    topics = settings.kafka.documents_topic, settings.kafka.replay_topic
    try:
        async with kafka.reader() as reader:
            found = await topic_progress_of(kafka, reader, topics, group)
    except KafkaUnavailableError as error:
        what_to_do = "allow the user of KAFKA_… to read these topics and to use this group"
        return [CheckFinding(False, f"reading as {group}", str(error), what_to_do)]
    return [each for progress in found.values() for each in _of(progress, group)]


def _of(progress: TopicProgress, group: str) -> Iterator[CheckFinding]:
    subject, topic = "group progress", progress.topic
    text = f"{topic}: {progress.unsettled:,} of {progress.records:,} records not committed"
    yield CheckFinding(True, subject, f"{text} by {group}", "")
    if anew := [n for n, at in progress.committed.items() if at > _end(progress, n)]:
        text = f"{topic}: {group} has committed more than there is in partition {_named(anew)}"
        advice = "was the topic made anew? Then `run` begins it by KAFKA_AUTO_OFFSET_RESET"
        yield CheckFinding(True, subject, text, advice)
    if gone := _taken_by_retention(progress):
        yield CheckFinding(
            False,
            subject,
            f"{topic}: {sum(gone.values()):,} records were deleted before {group} committed them,"
            f" in partition {_named(gone)}",
            "raise the topic's retention, and have what was published in that time published again",
        )


def _end(progress: TopicProgress, partition: int) -> int:
    offsets = progress.ranges.get(partition)
    return offsets.end if offsets is not None else 0


def _named(partitions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(partitions)))


def _taken_by_retention(progress: TopicProgress) -> Mapping[int, int]:
    """By partition, how many records behind the committed offset are gone."""
    behind = {
        number: offsets.start - progress.committed[number]
        for number, offsets in sorted(progress.ranges.items())
        if number in progress.committed
    }
    return {number: records for number, records in behind.items() if records > 0}
