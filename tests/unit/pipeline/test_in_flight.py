"""The in-flight limit: bounds that hold, places that come back, and nobody who waits for ever."""

from __future__ import annotations

import asyncio
import random

import pytest

from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit, Place, room_aside
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import finishing
from tests.virtual.loop import virtually

ROOM = room_aside(100)


class Scene:
    """An in-flight limit, and what its metrics say."""

    def __init__(self, documents: int = 2, size: int = 1000, aside: int = 0) -> None:
        self.metrics = Metrics()
        self.held: list[Place] = []
        self.limit = InFlightLimit(InFlightBounds(documents, size, aside), self.metrics)

    def gauge(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(f"anythingllm_consumer_{name}")
        assert value is not None
        return value

    def gauges(self) -> list[float]:
        """Bytes in flight, documents aside, bytes aside."""
        return [
            self.gauge("bytes_in_flight"),
            self.gauge("documents_aside"),
            self.gauge("bytes_aside"),
        ]

    def has_room(self) -> bool:
        return self.limit.has_room

    async def taken(self, size: int = 100) -> Place:
        place = await self.limit.place()
        await place.fill(size)
        self.held.append(place)
        return place


async def _soon(task: asyncio.Task[object]) -> bool:
    """Whether it is done as soon as it can be."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def _stand_aside(place: Place, back: asyncio.Event) -> None:
    async with place.aside():
        await back.wait()


async def test_a_place_is_one_of_so_many_and_so_many_bytes() -> None:
    """Who comes when all are taken waits for the first that is given back."""
    scene = Scene(documents=2, size=1000)
    first, _ = await scene.taken(), await scene.taken()
    assert not scene.has_room()
    third: asyncio.Task[object] = asyncio.create_task(scene.taken())
    async with finishing(third):
        assert not await _soon(third)
        await first.leave()

        assert await _soon(third)
        assert scene.gauges() == [200, 0, 0]


async def test_one_that_waits_for_bytes_is_a_sign_of_no_room() -> None:
    """The intake is at its bound then, though there are places."""
    scene = Scene(documents=5, size=1000)
    first = await scene.taken(900)
    second: asyncio.Task[object] = asyncio.create_task(scene.taken(200))
    async with finishing(second):
        assert not await _soon(second)
        assert not scene.has_room()
        await first.leave()

        assert await _soon(second)
        assert scene.has_room()


async def test_giving_it_back_twice_changes_nothing() -> None:
    """Whoever carries a record does it last, however it ended."""
    scene = Scene(documents=1)
    place = await scene.taken()
    await place.leave()
    await place.leave()
    await scene.taken()

    assert not scene.has_room()


async def test_who_stands_aside_gives_its_place_up_and_is_counted() -> None:
    """Somebody else works meanwhile."""
    scene = Scene(documents=1, aside=ROOM)
    place, back = await scene.taken(), asyncio.Event()
    aside: asyncio.Task[object] = asyncio.create_task(_stand_aside(place, back))
    async with finishing(aside):
        await _soon(aside)
        assert scene.gauges() == [0, 1, 100]
        assert scene.has_room()
        await scene.taken()
        back.set()

        assert await _soon(aside), "it needs no ordinary place"
        assert scene.gauges() == [200, 0, 0]
        await place.leave()
        assert scene.gauges() == [100, 0, 0]


async def test_without_room_aside_it_waits_in_its_place() -> None:
    """Memory has its bounds also then."""
    scene = Scene(documents=2, aside=ROOM)
    back = asyncio.Event()
    tasks: list[asyncio.Task[object]] = [
        asyncio.create_task(_stand_aside(await scene.taken(), back)) for _ in range(2)
    ]
    async with finishing(*tasks):
        await _soon(tasks[1])
        assert scene.gauges() == [100, 1, 100]
        await scene.taken()
        assert not scene.has_room()


async def test_room_aside_is_kept_until_the_document_is_done() -> None:
    """It is in memory until then, in a place that the limit does not count."""
    scene = Scene(documents=2, aside=ROOM)
    first, second, back = await scene.taken(), await scene.taken(), asyncio.Event()
    back.set()
    await _stand_aside(first, back)
    waiting: asyncio.Task[object] = asyncio.create_task(_stand_aside(second, asyncio.Event()))
    async with finishing(waiting):
        await _soon(waiting)
        assert scene.gauge("documents_aside") == 0, "there is no room for the second"
        again: asyncio.Task[object] = asyncio.create_task(_stand_aside(first, asyncio.Event()))
        async with finishing(again):
            await _soon(again)
            assert scene.gauge("documents_aside") == 1, "the first has its own"
    await first.leave()
    third: asyncio.Task[object] = asyncio.create_task(_stand_aside(second, asyncio.Event()))
    async with finishing(third):
        await _soon(third)
        assert scene.gauge("documents_aside") == 1


async def test_no_more_come_back_at_once_than_the_window_has_places() -> None:
    """Ten thousand that stand aside are not ten thousand in work when their workspace is mended."""
    scene = Scene(documents=2, aside=10 * ROOM)
    back = asyncio.Event()
    places = []
    tasks: list[asyncio.Task[object]] = []
    for _ in range(6):
        places.append(await scene.taken())
        tasks.append(asyncio.create_task(_stand_aside(places[-1], back)))
        await _soon(tasks[-1])
    async with finishing(*tasks):
        back.set()
        await _soon(tasks[-1])
        assert [task.done() for task in tasks] == [True, True, False, False, False, False]
        await places[0].leave()
        await _soon(tasks[-1])

        assert sum(task.done() for task in tasks) == 3


@pytest.mark.parametrize("when", ["aside", "coming back"])
async def test_a_fence_that_closes_leaves_nothing_behind(when: str) -> None:
    """A revocation drops what stands aside; its place and its room are free."""
    scene = Scene(documents=1, aside=2 * ROOM)
    fence, back = Fence("assignment"), asyncio.Event()
    place = await scene.taken()

    async def document(place: Place) -> None:
        try:
            async with fence.waiting():
                await _stand_aside(place, back)
        finally:
            await place.leave()

    tasks: list[asyncio.Task[object]] = [asyncio.create_task(document(place))]
    async with finishing(*tasks):
        await _soon(tasks[0])
        if when == "coming back":
            other = await scene.taken()
            back.set()
            await _stand_aside(other, back)  # the only place to come back to
            second = asyncio.create_task(document(await scene.taken()))
            tasks.append(second)
            await _soon(second)
        fence.close()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    if when == "coming back":
        await other.leave()

    assert FenceClosedError in {type(each) for each in ended}
    assert scene.gauges() == [0, 0, 0]
    assert scene.has_room()
    assert scene.limit._aside_left == 2 * ROOM


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_the_sums_are_right_and_everybody_gets_on(seed: int) -> None:
    """Documents of random sizes that stand aside, come back, are dropped, in any interleaving."""

    @virtually
    async def run() -> None:
        rng = random.Random(seed)
        scene = Scene(documents=4, size=1000, aside=6 * ROOM)
        working = most = finished = 0

        async def document(size: int, fence: Fence) -> None:
            nonlocal working, most, finished
            place = await scene.limit.place()
            try:
                async with fence.waiting():
                    await place.fill(size)
                    for _ in range(rng.randrange(4)):
                        working += 1
                        most = max(most, working)
                        try:
                            await asyncio.sleep(rng.random())
                        finally:
                            working -= 1
                        async with place.aside():
                            await asyncio.sleep(rng.random() * 5)
                finished += 1
            finally:
                await place.leave()

        tasks = []
        for _ in range(300):
            fence = Fence("assignment")
            size = rng.choice([0, 10, 100, 500, 2000])
            tasks.append(asyncio.create_task(document(size, fence)))
            if rng.random() < 0.3:
                asyncio.get_running_loop().call_later(rng.random() * 60, fence.close)
            elif rng.random() < 0.1:
                asyncio.get_running_loop().call_later(rng.random() * 60, tasks[-1].cancel)
            await asyncio.sleep(rng.random() / 10)
        async with asyncio.timeout(3600):
            await asyncio.gather(*tasks, return_exceptions=True)

        assert finished > 100
        assert most <= 2 * 4
        assert scene.gauges() == [0, 0, 0]
        assert scene.limit._aside_left == 6 * ROOM
        assert scene.limit._bytes.in_use == 0
        for _ in range(4):
            await scene.taken(250)
        assert not scene.has_room()

    run()
