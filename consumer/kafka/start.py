"""Where reading a topic begins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition

Start = Literal["beginning", "now"] | datetime | Mapping[int, int]
"""Where to begin: an aware instant means the first record that has its timestamp or a later one.

A mapping has the offset of each partition; one that it does not name is read from its beginning.
"""


async def start_offsets(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], start: Start
) -> dict[TopicPartition, int]:
    """The offsets that a start means.

    Raises:
        KafkaError: Kafka does not say.
    """
    if not partitions:
        return {}
    if isinstance(start, Mapping):
        named = {each: start[each.partition] for each in partitions if each.partition in start}
        others = [each for each in partitions if each not in named]
        return named | await start_offsets(consumer, others, "beginning")
    if start == "beginning":
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        return begins
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    if not isinstance(start, datetime):
        return ends
    instant = int(start.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, instant))
    return {
        each: ends[each] if found.get(each) is None else found[each].offset for each in partitions
    }


def check_zone(start: Start) -> None:
    """Refuse an instant that says nothing of its zone.

    Raises:
        ValueError: it has none.
    """
    if isinstance(start, datetime) and start.tzinfo is None:
        raise ValueError("the time to start at has no time zone")
