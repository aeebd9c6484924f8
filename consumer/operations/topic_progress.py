"""How much topics hold, and how far a consumer group has come in them: looked at from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from consumer.kafka.offset_reset import OffsetRange
from consumer.model.record import Coordinates
from consumer.operations.ports import KafkaAccess, RecordReader


@dataclass(frozen=True, slots=True)
class TopicProgress:
    """A topic at one time.

    Args:
        topic: its name.
        ranges: what its partitions hold.
        committed: by partition, the first offset that the group has not committed.
    """

    topic: str
    ranges: Mapping[int, OffsetRange]
    committed: Mapping[int, int]

    @property
    def records(self) -> int:
        """How many records there are, at most."""
        return sum(max(each.end - each.start, 0) for each in self.ranges.values())

    @property
    def unsettled(self) -> int:
        """How many records, at most, the group has not committed."""
        return sum(
            max(each.end - max(self.committed.get(number, 0), each.start), 0)
            for number, each in self.ranges.items()
        )

    @property
    def reaches_back(self) -> bool:
        """Whether it still has its first records."""
        return all(offsets.start == 0 for offsets in self.ranges.values())

    def holds(self, at: Coordinates) -> bool:
        """Whether a record lies in what it held then."""
        offsets = self.ranges.get(at.partition)
        return offsets is not None and offsets.start <= at.offset < offsets.end

    def is_committed(self, at: Coordinates) -> bool:
        """Whether the group is done with a record."""
        return at.offset < self.committed.get(at.partition, 0)

    def in_front_of(self, at: Coordinates) -> int:
        """How many records, at most, the group has to settle before it comes to this one."""
        offsets = self.ranges.get(at.partition)
        start = offsets.start if offsets is not None else 0
        return max(at.offset - max(self.committed.get(at.partition, 0), start), 0)

    def since(self, earlier: TopicProgress | None) -> Mapping[int, OffsetRange]:
        """What has come since an earlier look: everything where there was none."""
        before = earlier.ranges if earlier is not None else {}
        return {
            number: OffsetRange(max(offsets.start, before[number].end), offsets.end)
            if number in before
            else offsets
            for number, offsets in self.ranges.items()
        }

    def only(self, partitions: Iterable[int]) -> TopicProgress:
        """The same topic with these partitions alone."""
        wanted = frozenset(partitions)
        ranges = {number: each for number, each in self.ranges.items() if number in wanted}
        return TopicProgress(self.topic, ranges, self.committed)


async def topic_progress_of(
    kafka: KafkaAccess, reader: RecordReader, topics: Sequence[str], group: str
) -> dict[str, TopicProgress]:
    """Those of the topics that there are.

    Ends are asked for before commits: a record that counts as not committed may be committed by
    then, and never the other way round.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses.
    """
    ranges = {name: await reader.offset_ranges(name) for name in dict.fromkeys(topics)}
    async with kafka.admin() as admin:
        places = await admin.places(group)
    committed: dict[str, dict[int, int]] = {}
    for (topic, partition), place in places.items():
        committed.setdefault(topic, {})[partition] = place.offset
    return {
        name: TopicProgress(name, found, committed.get(name, {}))
        for name, found in ranges.items()
        if found is not None
    }
