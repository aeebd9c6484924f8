"""Lag, and transactions that hold records back."""

from __future__ import annotations

from aiokafka import TopicPartition

from consumer.kafka.lag import PartitionLag
from consumer.kafka.lag_watch import HeldBack

PARTITION = TopicPartition("documents", 0)


def held(at: int | None) -> dict[TopicPartition, PartitionLag]:
    return {PARTITION: PartitionLag(20, 20, 20 if at is not None else 0, at)}


def test_a_transaction_that_is_under_way_is_no_news() -> None:
    """They last moments; only one that nobody ends is worth a line."""
    clock = [0.0]
    found = HeldBack(75.0, lambda: clock[0])
    for at in (7, 9, None, 12):
        found.look(held(at))
        clock[0] += 60.0

    assert found.news() == {}


def test_one_that_nobody_ends_is_news_once() -> None:
    """It stays a reason on the pages; the log says it once, until it is another one."""
    clock = [0.0]
    found = HeldBack(75.0, lambda: clock[0])
    news = []
    for _ in range(4):
        found.look(held(7))
        news.append(dict(found.news()))
        clock[0] += 40.0

    assert news == [{}, {}, {(PARTITION, 7): 80.0}, {}]
    assert found.long == {(PARTITION, 7): 160.0}
    found.look(held(None))
    assert found.long == {}


def test_what_can_be_given_out() -> None:
    """A consumer that gets nothing because there is nothing to get is not starving."""
    assert PartitionLag(20, 22, 20).available == 0
    assert PartitionLag(20, 22, 5).available == 15
