from __future__ import annotations

import asyncio
import random

import pytest

from consumer.resilience.budget import Budget


async def _turns(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


class _Holder:
    """A task that takes an amount and holds it until it is told to let go."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self.admitted = False
        self._done = asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget, amount))

    async def _hold(self, budget: Budget, amount: int) -> None:
        async with budget.take(amount):
            self.admitted = True
            await self._done.wait()

    async def let_go(self) -> None:
        self._done.set()
        await self.task


async def test_what_fits_is_admitted_and_what_does_not_waits() -> None:
    """Never more than the total is in use; a release admits who waits."""
    budget = Budget(10)
    first, second, third = (_Holder(budget, amount) for amount in (6, 4, 1))
    await _turns()
    assert (first.admitted, second.admitted, third.admitted) == (True, True, False)
    assert budget.in_use == 10

    await second.let_go()
    await _turns()

    assert third.admitted
    assert budget.in_use == 7
    await first.let_go()
    await third.let_go()
    assert budget.in_use == 0


async def test_a_small_item_never_overtakes_a_large_one() -> None:
    """First come, first served: otherwise a large item could wait for ever."""
    budget = Budget(10)
    first = _Holder(budget, 6)
    await _turns()
    large = _Holder(budget, 9)
    await _turns()
    small = _Holder(budget, 1)
    await _turns()
    assert (large.admitted, small.admitted) == (False, False)

    await first.let_go()
    await _turns()

    assert (large.admitted, small.admitted) == (True, True)
    await large.let_go()
    await small.let_go()


async def test_an_item_larger_than_the_total_is_admitted_alone() -> None:
    """Such an item must not stop everything for ever, nor share with others."""
    budget = Budget(10)
    first = _Holder(budget, 1)
    await _turns()
    huge = _Holder(budget, 25)
    await _turns()
    assert not huge.admitted

    await first.let_go()
    await _turns()
    small = _Holder(budget, 1)
    await _turns()
    assert (huge.admitted, small.admitted, budget.in_use) == (True, False, 25)

    await huge.let_go()
    await _turns()
    assert small.admitted
    await small.let_go()


async def test_a_cancelled_waiter_makes_way() -> None:
    """Who stood behind a cancelled waiter is admitted at once."""
    budget = Budget(10)
    first = _Holder(budget, 6)
    await _turns()
    large = _Holder(budget, 9)
    await _turns()
    small = _Holder(budget, 1)
    await _turns()

    large.task.cancel()
    await _turns()

    assert small.admitted
    await first.let_go()
    await small.let_go()
    assert (budget.in_use, budget.waiting) == (0, 0)


async def test_cancelled_in_the_instant_its_turn_came_it_gives_back() -> None:
    """Granted and cancelled in the same turn of the loop: nothing leaks."""
    budget = Budget(10)
    first = _Holder(budget, 10)
    await _turns()
    second = _Holder(budget, 10)
    await _turns()

    first._done.set()
    await first.task
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)

    assert (budget.in_use, budget.waiting) == (0, 0)


async def test_random_load_with_cancellations_keeps_the_rules() -> None:
    """Whatever comes and goes: never above the total, at the end nothing is in use."""
    rng = random.Random(1)
    budget = Budget(20)

    async def work(amount: int) -> None:
        async with budget.take(amount):
            assert budget.in_use <= max(20, amount)
            await _turns(rng.randrange(4))

    tasks = [asyncio.create_task(work(rng.randrange(1, 25))) for _ in range(300)]
    for task in rng.sample(tasks, 100):
        await _turns(rng.randrange(2))
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert not [each for each in results if isinstance(each, Exception)]
    assert (budget.in_use, budget.waiting) == (0, 0)


async def test_nonsense_is_refused() -> None:
    """A total of zero would stop everything, a negative amount would create budget."""
    with pytest.raises(ValueError, match="above 0"):
        Budget(0)
    with pytest.raises(ValueError, match="negative"):
        async with Budget(1).take(-1):
            pass
