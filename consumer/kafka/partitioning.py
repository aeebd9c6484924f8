"""Where producers put records."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka.partitioner import DefaultPartitioner


def partitions_for(keys: Iterable[bytes], count: int) -> frozenset[int]:
    """Where records with these keys lie, if their producers partition as Kafka's own do (murmur2).

    Args:
        keys: of records.
        count: how many partitions the topic has.
    """
    partitions = list(range(count))
    partitioner = DefaultPartitioner()
    return frozenset(int(partitioner(key, partitions, partitions)) for key in keys)
