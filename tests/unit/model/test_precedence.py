"""Precedence: the table of cases, and that a queue may leave out what it says is pointless."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.model.precedence import Occurrence
from tests.unit.model.precedence_events import arrivals, doc, left_by, tomb

CASES = [
    # known, new, whether the known one supersedes the new one
    ("an older date", doc(2, 1), doc(1, 5), True),
    ("a newer date", doc(1, 5), doc(2, 1), False),
    ("the same date, a lower offset", doc(1, 5), doc(1, 4), True),
    ("the same date, a higher offset", doc(1, 5), doc(1, 6), False),
    ("the same event again", doc(1, 5), doc(1, 5), False),
    ("the same date in another partition", doc(1, 5), doc(1, 4, 1), False),
    ("an older date in another partition", doc(2, 5), doc(1, 9, 1), True),
    ("no record, the same date", doc(1, 5), doc(1, 0, None), False),
    ("published again after its tombstone", tomb(9, 5), doc(1, 6), False),
    ("from before its tombstone", tomb(9, 5), doc(10, 4), True),
    ("the tombstone's own offset", tomb(9, 5), doc(1, 5), False),
    ("another partition, older than the tombstone", tomb(9, 5), doc(8, 50, 1), True),
    ("another partition, as old as the tombstone", tomb(9, 5), doc(9, 50, 1), True),
    ("another partition, newer than the tombstone", tomb(9, 5), doc(10, 1, 1), False),
    ("no record, older than the tombstone", tomb(9, 5, None), doc(8, 50, None), True),
    ("a tombstone behind it, of an older date", doc(9, 5), tomb(1, 6), False),
    ("a tombstone before it, of an older date", doc(9, 5), tomb(1, 4), True),
    ("a tombstone before it, of a newer date", doc(1, 5), tomb(9, 4), False),
    ("a tombstone at its offset, of an older date", doc(9, 5), tomb(1, 5), True),
    ("a tombstone of another partition, older", doc(9, 5), tomb(8, 50, 1), True),
    ("a tombstone of another partition, as old", doc(9, 5), tomb(9, 1, 1), False),
    ("a tombstone of another partition, newer", doc(9, 5), tomb(10, 1, 1), False),
    ("an older tombstone", tomb(9, 5), tomb(1, 1), False),
    ("a newer tombstone", tomb(1, 1), tomb(9, 5), False),
]


@pytest.mark.parametrize(
    ("known", "new", "supersedes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_table(known: Occurrence, new: Occurrence, supersedes: bool) -> None:
    """Whoever asks whether something newer is known gets this answer."""
    assert known.supersedes(new) is supersedes


REPLACES = [
    # later, earlier, whether the earlier one is pointless
    ("a newer document behind", doc(2, 5), doc(1, 4), True),
    ("an older document behind", doc(1, 5), doc(2, 4), False),
    ("a newer document from before, replayed", doc(2, 3), doc(1, 4), False),
    ("a newer document of another partition", doc(2, 5, 1), doc(1, 4), False),
    ("a tombstone behind a document", tomb(1, 5), doc(9, 4), True),
    ("a tombstone from before, replayed", tomb(9, 3), doc(1, 4), False),
    ("a document behind a tombstone", doc(9, 5), tomb(1, 4), False),
    ("a newer tombstone behind a tombstone", tomb(9, 5), tomb(9, 4), True),
    ("a tombstone of an older date behind one", tomb(1, 5), tomb(9, 4), False),
]


@pytest.mark.parametrize(
    ("later", "earlier", "replaces"),
    [case[1:] for case in REPLACES],
    ids=[case[0] for case in REPLACES],
)
def test_what_is_pointless_in_a_queue(
    later: Occurrence, earlier: Occurrence, replaces: bool
) -> None:
    """Only where that is certain, whatever is stored."""
    assert later.replaces(earlier) is replaces


@settings(max_examples=300)
@given(arrived=arrivals(), place=st.integers(0, 15))
@example(arrived=[doc(0, 0), doc(2, 1), tomb(3, 2), doc(1, 3)], place=1)
def test_leaving_out_what_is_pointless_changes_nothing(
    arrived: list[Occurrence], place: int
) -> None:
    """A burst leaves what its events leave one by one, replays among them."""
    if place + 1 < len(arrived):
        this, following = arrived[place], arrived[place + 1]
        if following.replaces(this):
            assert left_by(arrived[:place] + arrived[place + 1 :]) == left_by(arrived)
        if this.replaces(following):
            assert left_by(arrived[: place + 1] + arrived[place + 2 :]) == left_by(arrived)
