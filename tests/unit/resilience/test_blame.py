"""The blame rule: neither chance nor an outage makes a dead letter, and poison does not hide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.resilience.blame import (
    CHANCE,
    MOST_PAIRS,
    Comparison,
    Tally,
    chance_of_all_failing,
    is_blamed,
)

SPREAD = 180.0


@pytest.mark.parametrize(
    ("own", "attempts", "failures", "blamed"),
    [
        (0, 0, 0, False),
        (0, 1000, 0, False),
        (3, 3, 0, False),
        (10, 10, 0, False),
        (11, 11, 0, True),
        (3, 98, 0, False),
        (3, 200, 0, True),
        (1, 1000, 0, False),
        (20, 20, 10, False),
        (35, 35, 17, True),
        (60, 60, 54, False),
        (3, 3, 3, False),
        (1000, 1000, 1000, False),
        (1000, 0, 0, False),
    ],
)
def test_who_is_blamed(own: int, attempts: int, failures: int, blamed: bool) -> None:
    """Healthy: after eleven pairs; half failing: some thirty; all failing, or no others: never."""
    assert is_blamed(own, Tally(attempts, failures)) is blamed


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_chance_makes_next_to_no_dead_letter_however_often_it_is_asked(share: float) -> None:
    """A chunk like all others, judged after each pair: blamed less than once in 100,000 tests.

    Exact: the chance of every course that a test of so many pairs can take.
    """
    alive = {0: 1.0}  # chance of so many failed controls while each own text failed
    blamed = 0.0
    for pair in range(1, MOST_PAIRS + 1):
        after: dict[int, float] = {}
        for failures, chance in alive.items():
            for failed, likely in ((0, 1 - share), (1, share)):
                course = chance * share * likely
                after[failures + failed] = after.get(failures + failed, 0.0) + course
        for failures in list(after):
            if is_blamed(pair, Tally(pair, failures)):
                blamed += after.pop(failures)
        alive = after

    assert blamed < 1e-5


@given(own=st.integers(0, 200), failures=st.integers(0, 200))
def test_an_outage_blames_nobody(own: int, failures: int) -> None:
    """Where everything fails, nothing is special about this one."""
    assert not is_blamed(own, Tally(failures, failures))


@given(
    own=st.integers(0, 80),
    passed=st.integers(0, 80),
    failures=st.integers(0, 80),
)
def test_more_evidence_moves_it_in_the_right_direction(
    own: int, passed: int, failures: int
) -> None:
    """An own failure and a success of others make it less of a chance, others' failures more."""
    now = chance_of_all_failing(own, Tally(passed + failures, failures))

    assert 0 < now <= 1
    assert chance_of_all_failing(own + 1, Tally(passed + failures, failures)) <= now
    assert chance_of_all_failing(own, Tally(passed + failures + 1, failures)) <= now
    assert chance_of_all_failing(own, Tally(passed + failures + 1, failures + 1)) >= now


def test_the_chance_is_the_rule_of_succession() -> None:
    """One of two others failed: the next attempt fails with 2/4, the one after that with 3/5."""
    assert chance_of_all_failing(2, Tally(2, 1)) == pytest.approx(2 / 4 * 3 / 5)
    assert CHANCE == 1e-6


def test_a_tally_counts_and_tells_what_came_since() -> None:
    """The difference of two states of the same tally is a tally."""
    before = Tally(5, 2)
    after = before.with_one(failed=True).with_one(failed=False)

    assert after == Tally(7, 3)
    assert after.since(before) == Tally(2, 1)


def _pairs(passed: str, since: float = 0.0) -> Comparison:
    """Pairs whose own text failed; ``.`` a control that passed, ``x`` one that failed."""
    comparison = Comparison(since)
    for each in passed:
        comparison = comparison.with_own().with_control(failed=each == "x")
    return comparison


@pytest.mark.parametrize(
    ("controls", "seconds", "blamed"),
    [
        ("." * 11, 180.0, True),
        ("." * 11, 179.0, False),
        ("." * 60, 1.0, False),
        ("." * 10, 3600.0, False),
        ("." * 11 + "x", 180.0, False),
        ("x" * 7 + "." * 15, 600.0, True),
        ("x" * 11, 3600.0, False),
        ("", 3600.0, False),
    ],
)
def test_who_is_blamed_by_pairs_over_time(controls: str, seconds: float, blamed: bool) -> None:
    """Enough of them, over minutes, and the last control passed."""
    assert _pairs(controls).blames(seconds, SPREAD) is blamed


def test_a_comparison_that_an_outage_spoilt_begins_anew() -> None:
    """Two hours of failing controls would hide a poison text for two more."""
    row = _pairs("." * 5 + "x" * 7)
    assert row.going_on(50.0) is row

    assert row.with_control(failed=True).going_on(50.0) == Comparison(50.0)
    assert _pairs(".x" * (MOST_PAIRS // 2)).going_on(50.0) == Comparison(50.0)


def test_a_comparison_says_who_answered() -> None:
    """The dead letter must not say that the embedder refused what it never saw."""
    comparison = Comparison(0.0).with_own(by_intermediary=True).with_own(unanswered=True).with_own()

    assert (comparison.own_failures, comparison.by_intermediary, comparison.unanswered) == (3, 1, 1)
    assert not comparison.is_alone
    assert comparison.with_control(failed=False).is_alone
