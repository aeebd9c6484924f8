"""The source where a broker is not needed to show it: what aiokafka raises, and offsets."""

from __future__ import annotations

from aiokafka import ConsumerRecord, TopicPartition

from consumer.kafka.assignment import Assignment
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.source import Source, SourceConfig
from consumer.telemetry.metrics import Metrics

PARTITION = TopicPartition("documents", 0)


def _source() -> Source:
    return Source(
        KafkaConnection("127.0.0.1:1"),
        SourceConfig(("documents",), "group"),
        Metrics(),
        on_revoked=lambda: None,
    )


def _batch(offset: int) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
    record = ConsumerRecord("documents", 0, offset, 0, 0, b"k", b"v", None, 1, 1, ())
    return {PARTITION: [record]}


async def test_offsets_that_go_back_begin_anew() -> None:
    """A topic made anew starts at 0: its records are worked, work on the old ones is over."""
    source = _source()
    before = source._assignments[PARTITION] = Assignment("documents-0")
    assert source._first(_batch(500)) is not None

    delivery = source._first(_batch(0))

    assert before.ended
    assert delivery is not None
    assert not delivery.ended
    delivery.settled()
    assert source._assignments[PARTITION].ledger.committable == 1


async def test_a_record_without_an_assignment_is_left_to_the_next_owner() -> None:
    """It came in while the partition went: whoever has it now fetches it again."""
    assert _source()._first(_batch(0)) is None


async def test_who_receives_nothing_while_records_wait_is_starving() -> None:
    """Received records, an assignment, or having no room end the hunger."""
    clock = [100.0]
    source = Source(
        KafkaConnection("127.0.0.1:1"),
        SourceConfig(("documents",), "group"),
        Metrics(),
        on_revoked=lambda: None,
        clock=lambda: clock[0],
    )
    source._assigned([PARTITION])
    clock[0] += 30.0
    hungry = [source.starved_seconds]
    source._first(_batch(0))
    hungry.append(source.starved_seconds)
    clock[0] += 10.0
    hungry.append(source.starved_seconds)
    source.not_hungry()
    hungry.append(source.starved_seconds)

    assert hungry == [30.0, 0.0, 10.0, 0.0]
