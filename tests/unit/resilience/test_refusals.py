"""Refusals: one is none for good, and those that last are."""

from __future__ import annotations

import pytest

from consumer.resilience.refusals import FOR_GOOD_SECONDS, Refusals


def row(*moments: float) -> tuple[Refusals, list[float]]:
    """A row that was refused at these moments, and its clock."""
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    for moment in moments:
        now[0] = moment
        refusals.refused()
    return refusals, now


@pytest.mark.parametrize(
    ("moments", "for_good"),
    [
        ([], False),
        ([10], False),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], False),
        ([0, 100, 200, FOR_GOOD_SECONDS - 1], False),
        ([0, 100, 200, FOR_GOOD_SECONDS], True),
        ([0, FOR_GOOD_SECONDS], False),
        ([0, 1, 2, 3, 1_000], False),
        ([0, 1, 1_000, 1_100, 1_200, 1_000 + FOR_GOOD_SECONDS], True),
        ([0, 100, 200, 300, 800], True),
    ],
)
def test_it_takes_several_over_minutes(moments: list[float], for_good: bool) -> None:
    """A burst proves nothing, nor do two with a long silence in between."""
    assert row(*moments)[0].is_for_good is for_good


def test_what_is_let_through_begins_a_new_row() -> None:
    """Whoever lets one through may let the next one through."""
    refusals, now = row(0, 100, 200, 300)
    refusals.passed()
    assert not refusals.is_for_good
    now[0] = 400
    refusals.refused()

    assert refusals.is_first
    assert not refusals.is_for_good


def test_it_says_how_often_and_how_long() -> None:
    """For the dead letter."""
    assert str(row(0, 100, 200, 301)[0]) == "refused 4 times within 301 s"
