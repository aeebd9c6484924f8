from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.resilience.retry import RetryPolicy


class _Highest(random.Random):
    """Draws the upper bound, so that the bound itself can be looked at."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("attempt", "bound"),
    [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (10_000, 60.0)],
)
def test_the_bound_doubles_up_to_the_cap(attempt: int, bound: float) -> None:
    """The n-th wait is bounded by base * 2**(n-1), and by the cap for any n, however large."""
    assert RetryPolicy(base=1.0, cap=60.0).delay(attempt, _Highest()) == bound


@given(attempt=st.integers(0, 10**6), seed=st.integers())
def test_a_wait_is_never_negative_and_never_above_the_cap(attempt: int, seed: int) -> None:
    """Whatever is drawn, a wait lies between zero and the cap."""
    assert 0.0 <= RetryPolicy(cap=7.0).delay(attempt, random.Random(seed)) <= 7.0


def test_waits_are_spread_over_the_whole_range() -> None:
    """Full jitter: chunks that failed together do not come back together."""
    rng = random.Random(7)
    waits = [RetryPolicy(base=10.0).delay(1, rng) for _ in range(200)]

    assert min(waits) < 1.0
    assert max(waits) > 9.0


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base": 0.0}, {"base": 2.0, "cap": 1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    """No attempts, no first wait, or a first wait above the cap."""
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
