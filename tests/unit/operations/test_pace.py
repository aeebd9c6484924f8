"""Not faster than asked for."""

from __future__ import annotations

import pytest

from consumer.operations.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("rate", "most"), [(None, 64), (0.5, 1), (50.0, 5), (10_000.0, 64)])
def test_a_tenth_of_a_second_goes_at_once(rate: float | None, most: int) -> None:
    assert Pace(rate).at_once(64) == most


async def test_a_rate_is_kept_and_no_rest_is_made_up_for() -> None:
    """Who was slow meanwhile does not hurry afterwards."""
    clock = Clock()
    pace = Pace(10.0, clock=clock, sleep=clock.sleep)
    went = []
    for _ in range(3):
        await pace.keep(5)
        went.append(clock.now)
    clock.now += 60
    await pace.keep(5)
    await pace.keep(5)

    assert went == [100.0, 100.5, 101.0]
    assert clock.now == 161.5


async def test_without_a_rate_nothing_waits() -> None:
    clock = Clock()
    pace = Pace(None, clock=clock, sleep=clock.sleep)
    for _ in range(3):
        await pace.keep(1_000)

    assert clock.now == 100.0
