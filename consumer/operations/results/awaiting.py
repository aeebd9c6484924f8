"""Who publishes events and waits until each has its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from consumer.contract.received_result import ReceivedResult
from consumer.kafka.topics import no_such_topic
from consumer.model.record import Coordinates
from consumer.operations.ports import KafkaAccess
from consumer.operations.progress import Advance, silent
from consumer.operations.results.reading import ReadSoFar, coming_results
from consumer.results import FAILED, ResultStatus

_MAX_KEPT = 20


@dataclass(slots=True)
class AwaitedResults:
    """Which events wait for a result, and what became of the others.

    Args:
        topic: of the events.
        statuses: how many results of each status have come.
        unfinished: the first results of which somebody may have to look at the event.
        removed: how many chunks were removed.
        without_effect: the first deletions that found nothing to remove.
        untold: events of which Kafka did not tell the place: theirs can't be known.
    """

    topic: str
    statuses: Counter[str] = field(default_factory=Counter)
    unfinished: list[ReceivedResult] = field(default_factory=list)
    removed: int = 0
    without_effect: list[ReceivedResult] = field(default_factory=list)
    untold: int = 0
    _places: dict[int, set[int]] = field(default_factory=dict)  # few bytes for each of many

    @property
    def waiting(self) -> int:
        """How many have no result yet."""
        return sum(map(len, self._places.values()))

    @property
    def done(self) -> int:
        """How many have one."""
        return self.statuses.total()

    @property
    def failed(self) -> int:
        """How many results say that not everything of the event is stored."""
        return sum(self.statuses[status] for status in FAILED)

    def add(self, at: Coordinates) -> None:
        """Wait for the result of an event."""
        if at.offset < 0:
            self.untold += 1
        else:
            self._places.setdefault(at.partition, set()).add(at.offset)

    def take(self, result: ReceivedResult) -> bool:
        """Whether a result is the first one of an event that waits for it."""
        source = result.source
        places = self._places.get(source.partition, set())
        if source.topic != self.topic or source.offset not in places:
            return False
        places.remove(source.offset)
        self.statuses[result.status] += 1
        self.removed += result.removed_chunks
        if result.status in FAILED:
            _keep(self.unfinished, result)
        elif result.status == ResultStatus.DELETED and not result.removed_chunks:
            _keep(self.without_effect, result)
        return True


def _keep(results: list[ReceivedResult], result: ReceivedResult) -> None:
    if len(results) < _MAX_KEPT:
        results.append(result)


async def ends_of(kafka: KafkaAccess, topic: str) -> dict[int, int]:
    """Where a topic's partitions end now: what comes later is behind that.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic.
    """
    async with kafka.reader() as reader:
        ranges = await reader.offset_ranges(topic)
    if ranges is None:
        raise no_such_topic(topic)
    return {number: offsets.end for number, offsets in ranges.items()}


async def await_results(
    kafka: KafkaAccess,
    topic: str,
    start: Mapping[int, int],
    awaited: AwaitedResults,
    *,
    done: Advance = silent,
) -> None:
    """Return when every event has its result.

    Args:
        kafka: where.
        topic: of results.
        start: where it ended before the events were published (`ends_of`).
        awaited: which events; takes the results.
        done: takes how many more have their result.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses.
    """
    if not awaited.waiting:
        return
    every = coming_results(kafka, topic, skipped=silent, so_far=ReadSoFar(), start=start)
    async with aclosing(every) as results:
        async for found in results:
            if awaited.take(found.result):
                done(1)
                if not awaited.waiting:
                    return
