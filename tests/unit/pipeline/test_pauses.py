"""Paused workspaces: one clock and one trial each, and an outage is nobody's fault."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.pauses import Pauses
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import finishing
from tests.virtual.loop import virtual_clock, virtually

SICK_SLUG = Slug("sick")

RECOVERY = 60.0
SICK = Failure("it takes no documents", fault=Fault.THEIRS)


class Scene:
    """Pauses beside an AnythingLLM that did something for us whenever `alive`."""

    def __init__(self, *, alive: bool = True) -> None:
        self.clock = virtual_clock()
        self.alive = alive
        self.metrics = Metrics()
        self.pauses = Pauses(
            RetryPolicy(3, 1.0, RECOVERY),
            recovery=RECOVERY,
            well_at=lambda: self.clock() if self.alive else float("-inf"),
            rng=random.Random(1),
            clock=self.clock,
            metrics=self.metrics,
        )

    async def tried_in_vain(self, slug: Slug = SICK_SLUG, failure: Failure = SICK) -> None:
        await self.pauses.clear(slug)
        self.pauses.failed(slug, failure)

    async def paused(self, slug: Slug = SICK_SLUG) -> Scene:
        for _ in range(3):
            await self.tried_in_vain(slug)
        assert self.pauses.is_paused(slug)
        return self


@virtually
async def test_who_meets_no_trouble_waits_for_nothing() -> None:
    """Also while another workspace is paused."""
    scene = await Scene().paused(SICK_SLUG)
    begun = scene.clock()
    await scene.pauses.clear(Slug("well"))

    assert scene.clock() == begun
    assert not scene.pauses.holds(Slug("well"))


@virtually
async def test_it_is_called_paused_after_as_many_tries_as_an_upload_has() -> None:
    """Before that it is only a backoff, of seconds."""
    scene = Scene()
    shown = []
    for _ in range(3):
        await scene.tried_in_vain()
        shown.append(scene.pauses.is_paused(SICK_SLUG))

    assert shown == [False, False, True]
    assert scene.clock() < 5
    assert scene.pauses.paused == {"sick": SICK.message}
    gauge = scene.metrics.registry.get_sample_value
    assert gauge("anythingllm_consumer_workspaces_paused") == 1


@virtually
async def test_paused_it_is_tried_once_a_recovery_period() -> None:
    """However many documents wait for it."""
    scene = await Scene().paused()
    tries: list[float] = []

    async def document() -> None:
        while True:
            await scene.pauses.clear(SICK_SLUG)
            tries.append(scene.clock())
            scene.pauses.failed(SICK_SLUG, SICK)

    waiting: list[asyncio.Task[object]] = [asyncio.create_task(document()) for _ in range(200)]
    async with finishing(*waiting):
        await asyncio.sleep(3600)

    assert len(tries) == pytest.approx(3600 / RECOVERY, abs=2)
    assert min(b - a for a, b in pairwise(tries)) >= RECOVERY - 0.001


@virtually
async def test_without_a_sign_of_life_from_the_server_nothing_is_called_paused() -> None:
    """It may be down as a whole: then no workspace is to blame."""
    scene = Scene(alive=False)
    for _ in range(6):
        await scene.tried_in_vain()
    assert not scene.pauses.is_paused(SICK_SLUG)
    scene.alive = True
    await scene.tried_in_vain()

    assert scene.pauses.is_paused(SICK_SLUG)


@virtually
async def test_what_the_trial_finds_out_holds_for_all() -> None:
    """They go on at once, not each in a period of its own."""
    scene = await Scene().paused()
    went: list[float] = []

    async def document() -> None:
        await scene.pauses.clear(SICK_SLUG)
        went.append(scene.clock())
        scene.pauses.well(SICK_SLUG)

    await asyncio.gather(*(document() for _ in range(100)))

    assert len(set(went)) == 1
    assert scene.pauses.paused == {}
    assert not scene.pauses.troubled(SICK_SLUG)


@virtually
async def test_while_one_tries_the_others_wait_and_it_is_not_held() -> None:
    """The one who tries sends requests like everybody else."""
    scene = await Scene().paused()
    assert scene.pauses.holds(SICK_SLUG)
    await scene.pauses.clear(SICK_SLUG)
    assert not scene.pauses.holds(SICK_SLUG)
    other: asyncio.Task[object] = asyncio.create_task(scene.pauses.clear(SICK_SLUG))
    async with finishing(other):
        await asyncio.sleep(RECOVERY - 1)
        assert not other.done()
        scene.pauses.well(SICK_SLUG)
        await other


@virtually
async def test_a_trial_that_is_dropped_costs_one_period() -> None:
    """A revocation may take the document that tries; the next one needs no word from it."""
    scene = await Scene().paused()
    await scene.pauses.clear(SICK_SLUG)
    begun = scene.clock()
    await scene.pauses.clear(SICK_SLUG)

    assert scene.clock() - begun == pytest.approx(RECOVERY)


@virtually
async def test_failures_told_by_those_who_waited_for_the_same_try_are_one() -> None:
    """Otherwise ten documents that wait for one look would pause it at once."""
    scene = Scene()
    for _ in range(10):
        scene.pauses.failed(SICK_SLUG, SICK)

    assert not scene.pauses.is_paused(SICK_SLUG)
    assert scene.pauses.troubled(SICK_SLUG)


@virtually
async def test_a_success_that_was_begun_before_says_nothing() -> None:
    """Only one that was tried in trouble proves that the trouble is over."""
    scene = await Scene().paused()
    scene.pauses.well(SICK_SLUG)

    assert scene.pauses.is_paused(SICK_SLUG)


@virtually
async def test_an_outage_excuses_every_workspace() -> None:
    """What failed until then is explained, and who waits goes to wait for the server."""
    scene = await Scene().paused(Slug("one"))
    await scene.paused(Slug("two"))
    waiting = asyncio.create_task(scene.pauses.clear(Slug("one")))
    await asyncio.sleep(1)
    scene.pauses.excuse()
    begun = scene.clock()
    await waiting

    assert scene.clock() == begun
    assert scene.pauses.paused == {}


@virtually
async def test_who_asked_for_time_gets_it() -> None:
    """Never tried earlier than somebody said."""
    scene = Scene()
    await scene.tried_in_vain(failure=Failure("later", fault=Fault.THEIRS, retry_after=200.0))
    await scene.pauses.clear(SICK_SLUG)

    assert scene.clock() == pytest.approx(200.0)


@virtually
async def test_who_holds_a_place_is_told_when_it_is_paused() -> None:
    """So that it can stand aside: it would keep its place from the others for hours."""
    scene = Scene()
    scene.pauses.failed(SICK_SLUG, SICK)

    async def document() -> float:
        while await scene.pauses.clear(SICK_SLUG, aside=False):
            scene.pauses.failed(SICK_SLUG, SICK)
        return scene.clock()

    told = await asyncio.gather(*(document() for _ in range(40)))

    assert scene.pauses.is_paused(SICK_SLUG)
    assert set(told) == {scene.clock()}
    assert scene.clock() < 5


@virtually
async def test_who_has_waited_longest_tries_next() -> None:
    """Also after others have tried and come back; who was cancelled is passed over."""
    scene = await Scene().paused()
    tries: list[int] = []

    async def document(number: int) -> None:
        while True:
            await scene.pauses.clear(SICK_SLUG)
            tries.append(number)
            scene.pauses.failed(SICK_SLUG, SICK)

    tasks: list[asyncio.Task[object]] = [asyncio.create_task(document(n)) for n in range(4)]
    async with finishing(*tasks):
        await asyncio.sleep(1)
        tasks[1].cancel()
        await asyncio.sleep(7 * RECOVERY)

    assert tries[:6] == [0, 2, 3, 0, 2, 3]


@virtually
async def test_who_comes_when_the_time_is_over_and_nobody_waited_tries_at_once() -> None:
    """However long ago that was."""
    scene = await Scene().paused()
    await asyncio.sleep(3600)
    begun = scene.clock()
    await scene.pauses.clear(SICK_SLUG)

    assert scene.clock() == begun


@virtually
async def test_a_trial_given_to_one_that_is_cancelled_costs_one_period() -> None:
    """Even when both happen in the same instant."""
    scene = await Scene().paused()
    first = asyncio.create_task(scene.pauses.clear(SICK_SLUG))
    second = asyncio.create_task(scene.pauses.clear(SICK_SLUG))
    await asyncio.sleep(1)
    due = scene.pauses._troubled[SICK_SLUG].until
    asyncio.get_running_loop().call_at(due, first.cancel)
    await second

    assert first.cancelled()
    assert scene.clock() == pytest.approx(due + RECOVERY)


@virtually
async def test_somebody_may_be_told_of_every_pause() -> None:
    """Once for each, not at every try."""
    scene = Scene()
    told: list[str] = []
    scene.pauses.when_paused(told.append)
    await scene.paused()
    await scene.tried_in_vain()

    assert told == ["sick"]


@virtually
async def test_a_workspace_that_nobody_waits_for_is_forgotten() -> None:
    """Its only document was overtaken: no page may name it for ever."""
    scene = await Scene().paused(SICK_SLUG)
    await asyncio.sleep(11 * RECOVERY + 1)

    assert not scene.pauses.paused
    assert scene.metrics.registry.get_sample_value("anythingllm_consumer_workspaces_paused") == 0


@virtually
async def test_a_workspace_that_somebody_waits_for_is_not_forgotten() -> None:
    """A document may be busy with its other chunks for a while, and then comes back."""
    scene = await Scene().paused(SICK_SLUG)
    await asyncio.sleep(5 * RECOVERY)
    for _ in range(30):
        await scene.tried_in_vain()

    assert scene.pauses.is_paused(SICK_SLUG)


@virtually
async def test_how_paused_workspaces_stand() -> None:
    """Each with its error, the time to its next trial, and how many wait for that."""
    scene = await Scene().paused()
    await scene.paused(Slug("other"))
    waits = asyncio.create_task(scene.pauses.clear(SICK_SLUG))
    await asyncio.sleep(10)

    first, second = scene.pauses.standing(5)
    assert (first.slug, first.error, first.waiting) == (SICK_SLUG, SICK.message, 1)
    assert (second.slug, second.waiting) == ("other", 0)
    assert second.trial_in == pytest.approx(RECOVERY - 10)
    assert first.seconds > second.seconds >= 10
    assert len(scene.pauses.standing(1)) == 1

    async with finishing(waits):
        await waits  # it is the trial
        assert scene.pauses.trial_in(SICK_SLUG) == 0.0
        assert scene.pauses.trial_in(Slug("well")) == 0.0
        scene.pauses.excuse()
        assert scene.pauses.standing(5) == []
