from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest

from consumer.resilience.breaker import TRIAL_PAUSE, Breaker, BreakerOpen

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Sick(Exception):
    """The other side is down."""


class Refusal(Exception):
    """The other side answered no."""


class _Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class _Scene:
    """A breaker with its clock and the changes it told."""

    def __init__(self, threshold: int = 3, recovery: float = 60.0, trials: int = 1) -> None:
        self.clock = _Clock()
        self.changes: list[tuple[str, str]] = []
        self.breaker = Breaker(
            failure_threshold=threshold,
            recovery_timeout=recovery,
            is_failure=lambda error: isinstance(error, Sick),
            clock=self.clock,
            now=lambda: NOW,
            max_trials=trials,
            on_change=lambda old, new: self.changes.append((old, new)),
        )

    async def call(
        self, error: BaseException | None = None, until: asyncio.Event | None = None
    ) -> None:
        with self.breaker.calling():
            await (until.wait() if until else asyncio.sleep(0))
            if error:
                raise error

    async def fail(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(Sick):
                await self.call(Sick("down"))

    async def opened(self) -> _Scene:
        await self.fail(3)
        assert self.breaker.state == "open"
        return self


async def test_opens_after_as_many_real_async_failures_as_configured() -> None:
    """Failures of awaited calls count, each once, and the caller sees the real error."""
    scene = _Scene(threshold=3)
    await scene.fail(2)
    assert scene.breaker.state == "closed"

    await scene.fail()

    assert scene.breaker.state == "open"
    assert scene.changes == [("closed", "open")]


async def test_a_success_in_between_starts_the_count_anew() -> None:
    """Only failures in a row open it."""
    scene = _Scene()
    await scene.fail(2)
    await scene.call()
    await scene.fail(2)

    assert scene.breaker.state == "closed"


async def test_an_answered_refusal_is_a_success() -> None:
    """Who says no is alive: it neither opens nor keeps counting."""
    scene = _Scene()
    await scene.fail(2)
    for _ in range(5):
        with pytest.raises(Refusal):
            await scene.call(Refusal())

    assert scene.breaker.snapshot().failure_count == 0


async def test_open_rejects_and_tells_when_the_next_trial_is_due() -> None:
    """The wait is known to whoever is rejected, on the clock that was handed in."""
    scene = await _Scene(recovery=60.0).opened()
    scene.clock.time += 45.0

    with pytest.raises(BreakerOpen) as rejected:
        await scene.call()

    assert rejected.value.retry_after == pytest.approx(15.0)
    assert scene.breaker.retry_after == pytest.approx(15.0)


async def test_half_open_admits_one_of_twenty_and_closes_when_it_succeeds() -> None:
    """One trial; the others are told to come back soon, never at once (they would spin)."""
    scene = await _Scene(recovery=60.0).opened()
    scene.clock.time += 60.0
    go = asyncio.Event()
    tasks = [asyncio.create_task(scene.call(until=go)) for _ in range(20)]
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    rejected = [each for each in results if isinstance(each, BreakerOpen)]
    assert len(rejected) == 19
    assert {each.retry_after for each in rejected} == {TRIAL_PAUSE}
    assert scene.breaker.state == "closed"
    assert scene.changes == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


async def test_a_failed_trial_opens_it_for_the_whole_time_again() -> None:
    """The recovery time begins anew with the failed trial."""
    scene = await _Scene(recovery=60.0).opened()
    scene.clock.time += 61.0
    await scene.fail()

    assert scene.breaker.state == "open"
    assert scene.breaker.retry_after == pytest.approx(60.0)


async def test_stragglers_of_the_closed_era_change_nothing() -> None:
    """Calls admitted before it opened neither prolong the opening nor count."""
    scene = _Scene()
    go = asyncio.Event()
    late = [asyncio.create_task(scene.call(Sick("late"), until=go)) for _ in range(6)]
    await asyncio.sleep(0)
    await scene.fail(3)
    before = scene.breaker.snapshot()
    scene.clock.time += 30.0
    go.set()
    await asyncio.gather(*late, return_exceptions=True)

    assert scene.changes == [("closed", "open")]
    assert scene.breaker.snapshot().failure_count == before.failure_count
    assert scene.breaker.retry_after == pytest.approx(30.0)


async def test_a_straggling_success_does_not_close_it() -> None:
    """A call that was admitted before and succeeds late says nothing about now."""
    scene = _Scene()
    go = asyncio.Event()
    late = asyncio.create_task(scene.call(until=go))
    await asyncio.sleep(0)
    await scene.fail(3)
    scene.clock.time += 60.0
    trial_end = asyncio.Event()
    trial = asyncio.create_task(scene.call(Sick("still"), until=trial_end))
    await asyncio.sleep(0)
    go.set()
    await late
    assert scene.breaker.state == "half-open"
    trial_end.set()
    await asyncio.gather(trial, return_exceptions=True)

    assert scene.breaker.state == "open"


async def test_cancellation_is_neither_success_nor_failure() -> None:
    """A shutdown that cancels many calls opens nothing and resets no count."""
    scene = _Scene()
    await scene.fail(2)
    tasks = [asyncio.create_task(scene.call(until=asyncio.Event())) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert all(task.cancelled() for task in tasks)
    assert (scene.breaker.state, scene.breaker.snapshot().failure_count) == ("closed", 2)


async def test_a_cancelled_trial_frees_its_place_and_closes_nothing() -> None:
    """The next caller becomes the trial."""
    scene = await _Scene().opened()
    scene.clock.time += 60.0
    trial = asyncio.create_task(scene.call(until=asyncio.Event()))
    await asyncio.sleep(0)
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    assert scene.breaker.state == "half-open"

    await scene.call()

    assert scene.breaker.state == "closed"


async def test_a_timeout_around_a_call_stays_a_timeout() -> None:
    """The breaker never replaces an error by one of its own, not even the one that opens it."""
    scene = _Scene(threshold=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await scene.call(until=asyncio.Event())

    assert scene.breaker.state == "closed"


async def test_the_snapshot_tells_when_and_why_in_one_line() -> None:
    """An operator sees the last failure; line breaks can't break the log."""
    scene = _Scene()
    with pytest.raises(Sick):
        await scene.call(Sick("down\nsince " + "x" * 500))
    snapshot = scene.breaker.snapshot()

    assert snapshot.last_failure == NOW
    assert snapshot.last_error is not None
    assert snapshot.last_error.startswith("down since x")
    assert len(snapshot.last_error) == 200


async def test_a_listener_that_raises_harms_nobody() -> None:
    """The call that changed the state still ends with its own error."""
    scene = _Scene(threshold=1)

    def broken(old: str, new: str) -> None:
        raise RuntimeError

    scene.breaker.add_listener(broken)
    await scene.fail()

    assert scene.breaker.state == "open"


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happens_no_more_trials_than_allowed_run_at_once(seed: int) -> None:
    """Random successes, failures and cancellations: the bound on trials holds, no place leaks."""
    rng = random.Random(seed)
    scene = _Scene(threshold=2, recovery=5.0, trials=2)
    running: set[int] = set()
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        with scene.breaker.calling():
            if scene.breaker.state == "half-open":
                running.add(number)
                most = max(most, len(running))
            try:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                if rng.random() < 0.5:
                    raise Sick
            finally:
                running.discard(number)

    for burst in range(40):
        tasks = [asyncio.create_task(one(burst * 100 + number)) for number in range(50)]
        for task in rng.sample(tasks, 10):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        scene.clock.time += rng.choice([0.0, 6.0])

    assert 0 < most <= 2
    scene.clock.time += 60.0
    for _ in range(3):
        await scene.call()
    assert scene.breaker.state == "closed"


# Fed by a judge: `note`, `check`, `tripping`, `open`, `half_open`


async def test_noted_outcomes_count_as_calls_do() -> None:
    """Failures in a row open it, a success begins the count anew."""
    scene = _Scene(threshold=3)
    for error in (Sick("1"), Sick("2"), None, Sick("3"), Sick("4")):
        scene.breaker.note(error)
    assert scene.breaker.state == "closed"
    scene.breaker.note(Sick("5"))

    assert scene.breaker.state == "open"
    assert scene.breaker.snapshot().last_error == "5"


async def test_tripping_tells_that_the_next_failure_would_open_it() -> None:
    """Only while it is closed, and not after a success."""
    scene = _Scene(threshold=3)
    told = []
    for error in (Sick(), Sick(), None, Sick(), Sick(), Sick()):
        scene.breaker.note(error)
        told.append(scene.breaker.tripping)

    assert told == [False, True, False, False, True, False]


async def test_with_a_threshold_of_one_the_first_failure_is_tripping() -> None:
    """There is always one failure that raises the suspicion."""
    assert _Scene(threshold=1).breaker.tripping


async def test_open_nothing_noted_counts() -> None:
    """Stragglers neither close it nor prolong it."""
    scene = await _Scene().opened()
    scene.clock.time += 30.0
    scene.breaker.note(None)
    scene.breaker.note(Sick("late"))

    assert scene.breaker.state == "open"
    assert scene.breaker.retry_after == pytest.approx(30.0)


@pytest.mark.parametrize(("error", "state"), [(None, "closed"), (Sick("still"), "open")])
async def test_the_outcome_of_a_trial_is_noted(error: Sick | None, state: str) -> None:
    """One success closes it, one failure opens it for the whole time again."""
    scene = await _Scene().opened()
    scene.clock.time += 60.0
    scene.breaker.half_open()
    assert scene.breaker.state == "half-open"
    scene.breaker.note(error)

    assert scene.breaker.state == state
    assert scene.breaker.retry_after == (60.0 if error else 0.0)


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_a_judge_may_open_it_whatever_was_counted(failures: int) -> None:
    """A failed probe is proof; the count of what documents met may have begun anew meanwhile."""
    scene = _Scene(threshold=3)
    for _ in range(failures):
        scene.breaker.note(Sick("one"))
    scene.breaker.open(Sick("the probe"))

    assert scene.breaker.state == "open"
    assert scene.breaker.retry_after == 60.0
    assert scene.breaker.snapshot().last_error == "the probe"
    assert scene.changes == [("closed", "open")]


async def test_a_failed_trial_may_be_told_by_opening_it() -> None:
    """As by a noted failure."""
    scene = await _Scene().opened()
    scene.clock.time += 60.0
    scene.breaker.half_open()
    scene.breaker.open(Sick("still"))

    assert (scene.breaker.state, scene.breaker.retry_after) == ("open", 60.0)


async def test_only_a_closed_one_lets_a_check_pass() -> None:
    """Also in half-open: whose trial it is, the judge knows."""
    scene = _Scene()
    scene.breaker.check()
    await scene.opened()
    with pytest.raises(BreakerOpen) as rejected:
        scene.breaker.check()
    assert rejected.value.retry_after == 60.0
    scene.clock.time += 60.0
    scene.breaker.half_open()
    with pytest.raises(BreakerOpen) as rejected:
        scene.breaker.check()

    assert rejected.value.retry_after == TRIAL_PAUSE
