"""From aiokafka's record to ours: the one place that touches its untyped fields."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from consumer.kafka.batches import NoValue
from consumer.model.record import Coordinates, Record

_NO_TIMESTAMP = -1


def to_record(record: ConsumerRecord) -> Record:
    """The record's original bytes and coordinates, or why there are only coordinates."""
    unreadable = record.value.why if isinstance(record.value, NoValue) else None
    return Record(
        at=Coordinates(record.topic, record.partition, record.offset),
        timestamp_ms=_NO_TIMESTAMP if record.timestamp is None else record.timestamp,
        key=record.key,
        value=None if unreadable else record.value,
        headers=tuple(record.headers),
        unreadable=unreadable,
    )
