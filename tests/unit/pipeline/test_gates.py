"""Gates: one place for every reason to wait, and every wait ends with what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.gates import Gates, NotSent
from consumer.resilience.fence import FenceClosedError
from consumer.resilience.fuse import FuseRules
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import Storage, WatchedRight, finishing, gates_of
from tests.virtual.loop import virtual_clock, virtually

DOCS = Slug("docs")
SICK_SLUG = Slug("sick")
WELL = Slug("well")

RECOVERY = 60.0
SICK = Failure("it takes no documents", fault=Fault.THEIRS)


class Scene:
    """Gates whose circuit is watched."""

    def __init__(self, fuse: FuseRules | None = None) -> None:
        self.clock = virtual_clock()
        self.storage = Storage()
        self.metrics = Metrics()
        self.gates: Gates = gates_of(
            self.storage,
            clock=self.clock,
            recovery=RECOVERY,
            threshold=1,
            fuse=fuse,
            policy=RetryPolicy(3, 1.0, RECOVERY),
            metrics=self.metrics,
        )

    async def open(self) -> None:
        self.storage.probes_fail = [SICK] * 1000
        self.gates.note(SICK)
        await asyncio.sleep(0.01)
        assert not self.gates.circuit.is_closed

    def mend(self) -> None:
        self.storage.probes_fail.clear()

    async def pause(self, slug: Slug = SICK_SLUG) -> None:
        self.gates.note(None)
        while not self.gates.pauses.is_paused(slug):
            await self.gates.clear(slug, WatchedRight())
            self.gates.circuit.well_at = self.clock()
            self.gates.pauses.failed(slug, SICK)


@asynccontextmanager
async def scene_of(fuse: FuseRules | None = None) -> AsyncIterator[Scene]:
    scene = Scene(fuse)
    watch: asyncio.Task[object] = asyncio.create_task(scene.gates.circuit.watch())
    async with finishing(watch):
        yield scene


async def _seconds(scene: Scene, waiting: Awaitable[object]) -> float:
    begun = scene.clock()
    await waiting
    return scene.clock() - begun


@virtually
async def test_all_is_well_and_nobody_waits() -> None:
    """Nor is anybody counted as waiting."""
    async with scene_of() as scene:
        right = WatchedRight()
        assert await _seconds(scene, scene.gates.clear(DOCS, right)) == 0
        assert not await scene.gates.enter(DOCS, right)

        assert right.ways == []


@virtually
async def test_who_waits_for_a_paused_workspace_stands_aside_and_for_an_outage_does_not() -> None:
    """In an outage nobody could take the place anyway."""
    async with scene_of() as scene:
        await scene.pause()
        right = WatchedRight()
        await scene.gates.clear(SICK_SLUG, right)
        assert right.ways == ["aside"]
        scene.gates.workspace_well(SICK_SLUG)

        await scene.open()
        right = WatchedRight()
        scene.mend()
        await scene.gates.clear(DOCS, right)
        assert set(right.ways) == {"long"}


@virtually
async def test_an_outage_sends_those_who_stand_aside_to_wait_for_its_end() -> None:
    """They are excused, and come back one wait later, not with a request in the outage."""
    async with scene_of() as scene:
        await scene.pause()
        right = WatchedRight()
        task: asyncio.Task[object] = asyncio.create_task(scene.gates.clear(SICK_SLUG, right))
        async with finishing(task):
            await asyncio.sleep(1)
            await scene.open()
            await asyncio.sleep(3600)
            assert not task.done()
            assert right.ways == ["aside", "long"]
            scene.mend()

            assert await _seconds(scene, task) <= RECOVERY


@virtually
async def test_who_waits_in_its_place_stands_aside_as_soon_as_the_workspace_is_paused() -> None:
    """Thirty-two documents that wait already would take all places for half an hour."""
    async with scene_of() as scene:
        scene.gates.pauses.failed(SICK_SLUG, SICK)
        every = [WatchedRight() for _ in range(10)]

        async def document(right: WatchedRight) -> None:
            while True:
                await scene.gates.clear(SICK_SLUG, right)
                scene.gates.circuit.well_at = scene.clock()
                scene.gates.pauses.failed(SICK_SLUG, SICK)

        tasks: list[asyncio.Task[object]] = [
            asyncio.create_task(document(right)) for right in every
        ]
        async with finishing(*tasks):
            await asyncio.sleep(10)

            assert {right.ways[0] for right in every} == {"long"}
            assert {right.ways[-1] for right in every} == {"aside"}


@virtually
async def test_the_one_that_tries_waits_out_a_rest_that_was_asked_for_meanwhile() -> None:
    """And is still the one that tries: its trial is not lost."""
    async with scene_of() as scene:
        await scene.pause()
        task: asyncio.Task[object] = asyncio.create_task(
            scene.gates.clear(SICK_SLUG, WatchedRight())
        )
        async with finishing(task):
            await asyncio.sleep(1)
            scene.gates.note(Failure("busy", fault=Fault.BUSY, retry_after=RECOVERY + 20))

            assert await _seconds(scene, task) == pytest.approx(RECOVERY + 20, abs=2)
            assert not scene.gates.holds(SICK_SLUG)


@virtually
async def test_who_removes_minds_no_paused_workspace() -> None:
    """Only outages and rests."""
    async with scene_of() as scene:
        await scene.pause()

        assert await _seconds(scene, scene.gates.clear_of_outage(WatchedRight())) == 0
        assert scene.gates.holds(SICK_SLUG)
        assert not scene.gates.holds(None)


@virtually
async def test_nothing_is_sent_while_something_holds() -> None:
    """And that says nothing about anybody: nothing is noted."""
    async with scene_of() as scene:
        await scene.pause()
        with pytest.raises(NotSent) as caught:
            scene.gates.check(SICK_SLUG)
        before = scene.gates.circuit.well_at
        scene.gates.note(caught.value)
        scene.gates.note_workspace(WELL, caught.value)

        assert scene.gates.circuit.well_at == before
        assert not scene.gates.pauses.troubled(WELL)
        scene.gates.check(WELL)


@pytest.mark.parametrize(
    ("failure", "troubled"),
    [
        (Failure("refused", fault=Fault.THEIRS), True),
        (Failure("500"), True),
        (Failure("429", fault=Fault.BUSY), False),
    ],
    ids=["theirs", "unclear", "busy"],
)
def test_who_asks_for_a_rest_has_no_sick_workspace(failure: Failure, troubled: bool) -> None:
    """Everything else may be the workspace's fault."""

    @virtually
    async def run() -> None:
        async with scene_of() as scene:
            scene.gates.note_workspace(DOCS, failure)

            assert scene.gates.pauses.troubled(DOCS) is troubled

    run()


@virtually
async def test_in_an_outage_no_workspace_is_at_fault() -> None:
    """What fails then is explained."""
    async with scene_of() as scene:
        await scene.open()
        scene.gates.note_workspace(DOCS, SICK)

        assert not scene.gates.pauses.troubled(DOCS)


@pytest.mark.parametrize("why", ["outage", "rest", "paused", "fuse"])
def test_a_closed_fence_ends_every_wait_at_once(why: str) -> None:
    """A revocation or a stop waits for nobody who right."""

    @virtually
    async def run() -> None:
        rules = FuseRules(share=0.5, window=20, minimum=1, recovery=RECOVERY)
        async with scene_of(rules) as scene:
            if why == "outage":
                await scene.open()
            elif why == "rest":
                scene.gates.note(Failure("busy", fault=Fault.BUSY, retry_after=3600))
            elif why == "paused":
                await scene.pause()
            else:
                scene.gates.document_done(used_up=True, is_trial=False)
            right = WatchedRight()
            tasks = [asyncio.create_task(scene.gates.enter(SICK_SLUG, right)) for _ in range(50)]
            await asyncio.sleep(1)
            begun = scene.clock()
            right.fence.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)

            assert [type(each) for each in ended] == [FenceClosedError] * 50
            assert scene.clock() == begun
            waiting = scene.metrics.registry.get_sample_value
            assert waiting("anythingllm_consumer_documents_waiting") == 0

    run()


@virtually
async def test_blown_one_document_enters_a_recovery_period_and_all_when_it_is_whole() -> None:
    """Those who entered as a trial are told so."""
    rules = FuseRules(share=0.5, window=20, minimum=1, recovery=RECOVERY)
    async with scene_of(rules) as scene:
        scene.gates.document_done(used_up=True, is_trial=False)
        entered: list[tuple[float, bool]] = []

        async def document() -> None:
            is_trial = await scene.gates.enter(DOCS, WatchedRight())
            entered.append((scene.clock(), is_trial))
            if is_trial:
                await asyncio.sleep(5)
                scene.gates.document_done(used_up=False, is_trial=True)

        await asyncio.gather(*(document() for _ in range(20)))

        assert [trial for _, trial in entered] == [True] * 3 + [False] * 17
        assert [at for at, _ in entered[:3]] == pytest.approx([60, 120, 180], abs=0.01)
        assert {at for at, _ in entered[3:]} == {entered[2][0] + 5}
