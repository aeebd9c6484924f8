"""Pauses between rounds: who waits where, and how long."""

from __future__ import annotations

import random

import pytest
from structlog.testing import capture_logs

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.backoff import Backoff
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import Storage, WatchedRight, gates_of
from tests.virtual.loop import virtual_clock, virtually


async def _pauses(
    rounds: int, *failures: Failure, slug: Slug | None = Slug("docs"), due: float | None = None
) -> tuple[float, list[str]]:
    clock = virtual_clock()
    gates = gates_of(Storage(), clock=clock)
    for failure in failures:
        gates.note(failure)
    backoff = Backoff(gates, RetryPolicy(3, 1.0, 60.0), rng=random.Random(1), metrics=Metrics())
    right, begun = WatchedRight(), clock()
    await backoff.pause(rounds, failures, right, slug, due=due)
    return clock() - begun, right.ways


@pytest.mark.parametrize(("rounds", "way"), [(1, "long"), (2, "long"), (3, "aside"), (99, "aside")])
def test_who_has_failed_a_few_rounds_stands_aside(rounds: int, way: str) -> None:
    """Its place is for those who get on."""

    @virtually
    async def run() -> None:
        seconds, ways = await _pauses(rounds, Failure("500"))

        assert ways == [way]
        assert 0 < seconds <= min(60, 2 ** (rounds - 1))

    run()


@virtually
async def test_it_is_never_shorter_than_somebody_asked_for() -> None:
    """And hardly longer, however long it has failed."""
    asked = [Failure("pending", retry_after=seconds) for seconds in (30.0, 12.0)]
    seconds, _ = await _pauses(20, *asked)

    assert 30 <= seconds <= 35


@pytest.mark.parametrize(
    ("due", "failures", "shortest", "longest"),
    [
        (600.0, (), 600, 605),
        (600.0, (Failure("500"),), 0, 60),
        (600.0, (Failure("pending", retry_after=30.0),), 30, 35),
        (15.0, (Failure("pending", retry_after=30.0),), 15, 20),
    ],
)
def test_a_text_that_is_held_keeps_none_of_its_siblings_waiting(
    due: float, failures: tuple[Failure, ...], shortest: float, longest: float
) -> None:
    """Whoever is first: the next round has both, and the document stands aside until then."""

    @virtually
    async def run() -> None:
        seconds, ways = await _pauses(9, *failures, due=due)

        assert ways == ["aside"]
        assert shortest < seconds <= longest

    run()


@virtually
async def test_where_the_gates_hold_it_is_not_waited_twice() -> None:
    """The end of a rest or an outage is waited for there, by all together."""
    busy = Failure("429", fault=Fault.BUSY, retry_after=60.0)

    assert await _pauses(3, busy) == (0, [])
    assert await _pauses(3, busy, slug=None) == (0, [])


@virtually
async def test_who_is_busy_without_saying_for_how_long_is_asked_ever_less_often() -> None:
    """The gates open after two seconds, and a proxy may say 429 for hours."""
    busy = Failure("429", fault=Fault.BUSY)
    seconds, ways = await _pauses(20, busy)

    assert (seconds > 5, ways) == (True, ["aside"])
    assert (await _pauses(20, Failure("429", fault=Fault.BUSY, retry_after=2.0))) == (0, [])


@virtually
async def test_a_long_wait_is_told_ever_less_often() -> None:
    """Forty documents that wait for an hour would write forty lines a minute."""
    with capture_logs() as logs:
        for rounds in range(1, 41):
            await _pauses(rounds, Failure("500"))

    assert [line["round"] for line in logs] == [1, 2, 4, 8, 16, 32]
