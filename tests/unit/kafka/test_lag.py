"""Lag, and transactions that hold records back."""

from __future__ import annotations

from aiokafka import TopicPartition

from consumer.kafka.assignment import Assignment
from consumer.kafka.lag import PartitionLag, standing_of
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


def test_how_far_we_are_with_a_partition() -> None:
    """By what is in memory: the lag of the last look, what is open, and the age of the oldest."""
    assignment = Assignment("documents-0")
    before = standing_of(PARTITION, assignment, None, 100.0)
    assert (before.unsettled, before.stable, before.committed) == (None, None, None)
    assert (before.open, before.held_back, before.oldest_seconds) == (0, 0, 0.0)

    ledger = assignment.ledger
    ledger.begin_at(10)
    for offset, now in ((10, 100.0), (11, 130.0), (12, 140.0)):
        ledger.receive(offset, now)
    ledger.hold(10, until=1_000.0)  # settled: the oldest is the one behind it
    after = standing_of(PARTITION, assignment, PartitionLag(20, 23, 5, 18), 160.0)
    assert (after.topic, after.partition) == ("documents", 0)
    assert (after.unsettled, after.stable, after.committed) == (23, 18, 10)
    assert (after.open, after.held_back, after.oldest_seconds) == (2, 1, 30.0)
