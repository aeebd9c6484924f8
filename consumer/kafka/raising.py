"""Places at which a poll raises again and again, although what raises is none of Kafka's errors.

Instrumentation wraps the client's poll and may raise on the record that it is about to hand over,
every time (OpenTelemetry's for aiokafka, 0.66b1, does where the value of a ``traceparent`` header
is no UTF-8). Left to itself such a record would hold up its partition for ever.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

_TRIES = 3


class RaisingPlaces:
    """Counts, for each partition, how often a poll raised at the same offset."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[TopicPartition, int]] = Counter()

    def raised(self, places: Iterable[tuple[TopicPartition, int]]) -> None:
        """Note a poll that raised.

        Args:
            places: the partitions whose position it moved, and what was received of each.
        """
        self._counts.update(places)

    def passed(self, partition: TopicPartition) -> None:
        """Note that a record of the partition was received."""
        for place in [each for each in self._counts if each[0] == partition]:
            del self._counts[place]

    def worst(self, assigned: Iterable[TopicPartition]) -> TopicPartition | None:
        """A partition of ours in which it raised `_TRIES` times at one place, if there is one."""
        ours = set(assigned)
        for (partition, _), count in self._counts.items():
            if count >= _TRIES and partition in ours:
                return partition
        return None


def unwrapped_getmany(consumer: AIOKafkaConsumer) -> Callable[..., Awaitable[Any]]:
    """The client's own poll, without what is wrapped round it."""
    original: Callable[..., Awaitable[Any]] = inspect.unwrap(type(consumer).getmany)

    async def getmany(*partitions: TopicPartition, **options: Any) -> Any:
        return await original(consumer, *partitions, **options)

    return getmany
