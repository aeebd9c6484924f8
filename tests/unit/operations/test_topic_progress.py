"""Where a group stands in a topic, and where a key leads to."""

from __future__ import annotations

import pytest

from consumer.kafka.offset_reset import OffsetRange
from consumer.kafka.partitioning import partitions_for
from consumer.model.record import Coordinates
from consumer.operations.topic_progress import TopicProgress

STAND = TopicProgress("in", {0: OffsetRange(0, 10), 1: OffsetRange(5, 20)}, {0: 4})


def at(partition: int, offset: int) -> Coordinates:
    return Coordinates("in", partition, offset)


def test_what_is_committed_and_what_is_in_front() -> None:
    """A partition without a commit has everything before it, from its first record on."""
    assert STAND.is_committed(at(0, 3))
    assert not STAND.is_committed(at(0, 4))
    assert not STAND.is_committed(at(1, 5))
    assert [STAND.in_front_of(at(0, 4)), STAND.in_front_of(at(0, 9))] == [0, 5]
    assert STAND.in_front_of(at(1, 8)) == 3
    assert (STAND.records, STAND.unsettled) == (25, 6 + 15)


def test_a_commit_before_the_first_record_counts_from_there() -> None:
    """Retention deleted what was in between: it will never be worked."""
    progress = TopicProgress("in", {0: OffsetRange(100, 110)}, {0: 50})
    assert (progress.unsettled, progress.in_front_of(at(0, 103))) == (10, 3)


def test_only_a_topic_with_its_first_records_reaches_back() -> None:
    """In every partition."""
    assert not STAND.reaches_back
    assert STAND.only([0]).reaches_back


def test_what_has_come_since() -> None:
    """Only what is new; everything in partitions that are new, or before the first look."""
    later = TopicProgress(
        "in", {0: OffsetRange(0, 12), 1: OffsetRange(25, 30), 2: OffsetRange(0, 3)}, {}
    )
    assert later.since(STAND) == {
        0: OffsetRange(10, 12),
        1: OffsetRange(25, 30),
        2: OffsetRange(0, 3),
    }
    assert later.since(None) == later.ranges


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
    ],
)
def test_keys_lead_where_java_producers_put_them(key: bytes, hashed: int) -> None:
    """Kafka's own murmur2, whose values these are (its UtilsTest)."""
    for count in (1, 3, 12, 1_000):
        assert partitions_for([key], count) == {(hashed & 0x7FFFFFFF) % count}
