"""The circuit: suspicion, one probe, and everybody waits in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from consumer.model.fault import Failure, Fault
from consumer.pipeline.circuit import Circuit
from consumer.resilience.breaker import Breaker
from tests.unit.pipeline.doubles import finishing
from tests.virtual.loop import virtual_clock, virtually

RECOVERY = 60.0
THEIRS = Failure("refused", fault=Fault.THEIRS)
UNCLEAR = Failure("answered 500")
REFUSAL = Failure("answered 422", fault=Fault.DOCUMENT)


def _busy(seconds: float | None) -> Failure:
    return Failure("answered 429", fault=Fault.BUSY, retry_after=seconds)


class Scene:
    """A circuit whose probe fails as it is told, and takes its time."""

    def __init__(self) -> None:
        self.clock = virtual_clock()
        self.breaker = Breaker(
            failure_threshold=3,
            recovery_timeout=RECOVERY,
            is_failure=lambda _: True,
            clock=self.clock,
        )
        self.circuit = Circuit(self.breaker, self._probe, clock=self.clock)
        self.probe_fails: Failure | None = None
        self.probe_seconds = 1.0
        self.probes: list[float] = []

    async def _probe(self) -> None:
        self.probes.append(self.clock())
        await asyncio.sleep(self.probe_seconds)
        if self.probe_fails is not None:
            raise self.probe_fails

    def fail(self, times: int, failure: Failure = THEIRS) -> None:
        for _ in range(times):
            self.circuit.note(failure)


@asynccontextmanager
async def _watched() -> AsyncIterator[Scene]:
    scene = Scene()
    watch: asyncio.Task[object] = asyncio.create_task(scene.circuit.watch())
    async with finishing(watch):
        yield scene
        assert not watch.done()


@pytest.mark.parametrize("failure", [THEIRS, UNCLEAR], ids=["theirs", "unclear"])
def test_a_row_of_failures_raises_a_suspicion_and_one_probe_decides(failure: Failure) -> None:
    """It passes: nothing opens, however many fail; so poison documents stop nobody."""

    @virtually
    async def run() -> None:
        async with _watched() as scene:
            scene.fail(2, failure)
            await asyncio.sleep(10)
            assert scene.probes == []
            scene.fail(30, failure)
            assert not scene.circuit.blocked, "documents go on meanwhile"
            await asyncio.sleep(10)

            assert len(scene.probes) == 1
            assert scene.circuit.is_closed
            assert scene.breaker.snapshot().failure_count == 0

    run()


@virtually
async def test_when_the_probe_fails_it_opens_and_tells() -> None:
    """And only then."""
    async with _watched() as scene:
        told: list[float] = []
        scene.circuit.when_it_opens(lambda: told.append(scene.clock()))
        scene.probe_fails = THEIRS
        scene.fail(3)
        await asyncio.sleep(0.5)
        assert scene.circuit.is_closed
        await asyncio.sleep(1)

        assert scene.circuit.blocked
        assert told == [1.0]


@pytest.mark.parametrize("meanwhile", [None, REFUSAL], ids=["a success", "a refusal"])
def test_a_failed_probe_opens_it_whatever_came_in_meanwhile(meanwhile: Failure | None) -> None:
    """A removal that goes well beside a dead embedder must not keep it closed."""

    @virtually
    async def run() -> None:
        async with _watched() as scene:
            scene.probe_fails = THEIRS
            scene.fail(3)
            await asyncio.sleep(0.5)
            scene.circuit.note(meanwhile)
            await asyncio.sleep(1)

            assert not scene.circuit.is_closed

    run()


@virtually
async def test_successes_in_between_raise_no_suspicion() -> None:
    """A refusal is one as well: who refuses is alive."""
    async with _watched() as scene:
        for answer in (None, REFUSAL) * 50:
            scene.fail(2)
            scene.circuit.note(answer)
        await asyncio.sleep(10)

        assert scene.probes == []


@virtually
async def test_open_there_is_one_probe_a_recovery_period_until_one_passes() -> None:
    """Nobody else sends anything, and all who wait go on at once."""
    async with _watched() as scene:
        scene.probe_fails = THEIRS
        scene.fail(3)
        await asyncio.sleep(2)
        went: list[float] = []

        async def document() -> None:
            await scene.circuit.clear()
            went.append(scene.clock())

        waiting: list[asyncio.Task[object]] = [asyncio.create_task(document()) for _ in range(1000)]
        async with finishing(*waiting):
            await asyncio.sleep(2 * 3600)
            assert went == []
            assert len(scene.probes) == pytest.approx(2 * 3600 / (RECOVERY + 1), abs=2)
            apart = [b - a for a, b in pairwise(scene.probes[1:])]
            assert set(map(round, apart)) == {61}
            scene.probe_fails = None
            mended = scene.clock()
            await asyncio.gather(*waiting)

        assert set(went) == {scene.probes[-1] + 1}
        assert went[0] - mended <= RECOVERY + 1
        assert scene.circuit.is_closed


@virtually
async def test_what_documents_met_before_it_opened_changes_nothing_afterwards() -> None:
    """Stragglers: neither a success nor a failure nor a rest counts while it is not closed."""
    async with _watched() as scene:
        scene.probe_fails = THEIRS
        scene.fail(3)
        await asyncio.sleep(2)
        for straggler in (None, REFUSAL, THEIRS, _busy(7200)):
            scene.circuit.note(straggler)
        assert not scene.circuit.is_closed
        scene.probe_fails = None
        await scene.circuit.clear()

        assert scene.clock() < 2 + RECOVERY + 2


@virtually
async def test_half_open_what_documents_met_decides_nothing() -> None:
    """Only the probe does."""
    async with _watched() as scene:
        scene.probe_fails, scene.probe_seconds = THEIRS, 5.0
        scene.fail(3)
        await asyncio.sleep(5 + RECOVERY + 1)
        assert scene.breaker.state == "half-open"
        assert scene.circuit.blocked
        scene.circuit.note(None)
        assert scene.breaker.state == "half-open"
        await asyncio.sleep(5)

        assert scene.breaker.state == "open"


@virtually
async def test_busy_is_a_clock_for_all_and_opens_nothing() -> None:
    """The longest rest that was asked for; without a time a short one."""
    async with _watched() as scene:
        scene.fail(1, _busy(30))
        scene.fail(100, _busy(10))
        assert (scene.circuit.blocked, scene.circuit.is_closed) == (True, True)
        await scene.circuit.clear()
        assert scene.clock() == pytest.approx(30)
        scene.fail(1, _busy(None))
        await scene.circuit.clear()

        assert 30 < scene.clock() <= 35
        assert scene.probes == []


@virtually
async def test_a_rest_that_is_prolonged_is_kept_by_those_who_wait_already() -> None:
    """Otherwise they would all come back in the middle of it."""
    async with _watched() as scene:
        scene.fail(1, _busy(10))
        waiting = asyncio.create_task(scene.circuit.clear())
        await asyncio.sleep(5)
        scene.fail(1, _busy(20))
        await waiting

        assert scene.clock() == pytest.approx(25)


@pytest.mark.parametrize("from_open", [False, True], ids=["suspicion", "trial"])
def test_a_probe_that_is_asked_to_rest_proves_it_alive(from_open: bool) -> None:
    """Closed, and everybody rests."""

    @virtually
    async def run() -> None:
        async with _watched() as scene:
            if from_open:
                scene.probe_fails = THEIRS
                scene.fail(3)
                await asyncio.sleep(2)
            scene.probe_fails = _busy(40)
            scene.fail(3)
            await asyncio.sleep(RECOVERY + 2 if from_open else 2)

            assert scene.circuit.is_closed
            assert scene.circuit.blocked
            begun = scene.clock()
            await scene.circuit.clear()
            assert scene.clock() - begun <= 40

    run()


@virtually
async def test_when_it_was_well_is_remembered() -> None:
    """Requests and probes tell; failures don't."""
    async with _watched() as scene:
        assert scene.circuit.well_at == float("-inf")
        await asyncio.sleep(5)
        scene.circuit.note(None)
        assert scene.circuit.well_at == 5.0
        await asyncio.sleep(5)
        scene.fail(3, UNCLEAR)
        assert scene.circuit.well_at == 5.0
        await asyncio.sleep(2)

        assert scene.circuit.well_at == 11.0
