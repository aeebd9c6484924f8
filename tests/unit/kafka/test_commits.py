"""Commits whose metadata the broker refuses."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetMetadataTooLargeError

from consumer.kafka.assignment import Assignment
from consumer.kafka.commits import commit_settled
from consumer.kafka.ledger import RecordMark
from consumer.kafka.settled_metadata import decode
from consumer.telemetry.metrics import Metrics

PARTITION = TopicPartition("documents", 0)
OPEN = 5


class Broker:
    """A group's coordinator that takes so many bytes beside an offset."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.committed: list[tuple[int, str]] = []
        self.refused = 0

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        ((offset, metadata),) = offsets.values()
        if len(metadata) > self._limit:
            self.refused += 1
            raise OffsetMetadataTooLargeError
        self.committed.append((offset, metadata))

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}


def assignment(settled: int) -> Assignment:
    made = Assignment("documents-0")
    made.ledger.begin_at(OPEN)
    for offset in range(OPEN, OPEN + settled + 1):
        made.ledger.receive(offset, now=0.0, mark=RecordMark(offset, b"8 bytes."))
    for offset in range(OPEN + 1, OPEN + settled + 1):
        made.ledger.settle(offset)
    return made


@pytest.mark.parametrize(("limit", "entries"), [(4_096, 300), (64, 3), (0, 0)])
async def test_a_limit_of_the_broker_is_met(limit: int, entries: int) -> None:
    """The offset is committed at once in any case, and the text as far as it is taken."""
    broker, made, metrics = Broker(limit), assignment(300), Metrics()
    for _ in range(12):
        await commit_settled(broker, {PARTITION: made}, metrics, 1.0)
        if made.ledger.due is None:
            made.ledger.receive(made.ledger.next_offset or 0, 0.0, RecordMark(0, b"8 bytes."))
            made.ledger.settle((made.ledger.next_offset or 0) - 1)

    offsets = {offset for offset, _ in broker.committed}
    found = decode(broker.committed[-1][1], OPEN)
    assert offsets == {OPEN} or limit == 0
    assert len(found.entries if found else ()) >= entries
    assert broker.refused <= 8


async def test_an_offset_that_moves_is_committed_although_its_text_is_refused() -> None:
    """The text is a convenience; the offset is the promise."""
    broker, made = Broker(0), assignment(3)
    made.ledger.settle(OPEN)
    made.ledger.receive(20, 0.0, RecordMark(0, b"8 bytes."))
    made.ledger.receive(21, 0.0, RecordMark(0, b"8 bytes."))
    made.ledger.settle(21)

    await commit_settled(broker, {PARTITION: made}, Metrics(), 1.0)

    assert broker.committed == [(OPEN + 4, "")]
    assert broker.refused == 1
