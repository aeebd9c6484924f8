"""Which records an earlier assignment had settled, and when nothing of it is believed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from consumer.kafka.resumption import Resumption
from consumer.kafka.settled_metadata import SettledBehind, SettledEntry, anchor_of, check_of
from consumer.model.record import Coordinates, Record


def record(offset: int, *, timestamp_ms: int = 1_000, topic: str = "documents") -> Record:
    return Record(Coordinates(topic, 0, offset), timestamp_ms, b"k%d" % offset, b"v", ())


def resumption(settled: Iterable[int], *, cluster: str = "c", first: int = 5) -> Resumption:
    entries = tuple(SettledEntry(each, check_of(record(each)), each % 2 == 0) for each in settled)
    return Resumption(SettledBehind(anchor_of(record(first), cluster), entries), "c")


def recognised(found: Resumption, records: Iterable[Record]) -> list[int]:
    return [each.at.offset for each in records if found.settled_before(each) is not None]


def test_what_was_settled_is_recognised() -> None:
    """The open ones are worked, the settled ones are not, gaps between them or not."""
    found = resumption([7, 8, 12])

    assert recognised(found, map(record, [5, 6, 7, 8, 11, 12, 13])) == [7, 8, 12]
    assert (found.dropped, len(found)) == (None, 0)


def test_whether_it_was_carried_out_is_known() -> None:
    """What was refused must keep no older version out."""
    found = resumption([7, 8])
    entries = [found.settled_before(record(offset)) for offset in (5, 7, 8)]

    assert [entry.carried_out for entry in entries if entry] == [False, True]


@pytest.mark.parametrize(
    "first",
    [
        record(6),
        record(5, timestamp_ms=2_000),
        record(5, topic="other"),
    ],
    ids=["another offset", "another record", "another topic"],
)
def test_another_first_record_drops_everything(first: Record) -> None:
    """The topic was made anew, or retention took the open record: nobody knows what the rest is."""
    found = resumption([7, 8])

    assert recognised(found, [first, record(7), record(8)]) == []
    assert found.dropped is not None


def test_another_cluster_drops_everything() -> None:
    """A mirror copies offsets with their metadata."""
    found = resumption([7], cluster="another")

    assert recognised(found, [record(5), record(7)]) == []


def test_a_record_that_is_another_one_drops_the_rest() -> None:
    """What follows it may be something else, too."""
    found = resumption([7, 8])
    records = [record(5), record(7, timestamp_ms=2_000), record(8)]

    assert recognised(found, records) == []
    assert found.dropped == "another record lies at offset 7"


def test_nothing_committed_recognises_nothing() -> None:
    """The usual case after an orderly stop."""
    found = Resumption()

    assert recognised(found, map(record, range(3))) == []
    assert found.dropped is None


def test_the_first_open_record_may_be_settled_and_held_back() -> None:
    """It is recognised as the anchor, and as settled."""
    found = resumption([5, 7])

    assert recognised(found, map(record, [5, 6, 7])) == [5, 7]
