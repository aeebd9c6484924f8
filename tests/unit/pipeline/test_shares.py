"""Shares of a server: nobody waits for one in a place in flight, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.pipeline.right_to_work import DocumentRight
from consumer.pipeline.shares import ServerRight, Share
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.telemetry.metrics import Metrics
from tests.virtual.loop import virtually


class Scene:
    """A limit of so many places, and a server with so many shares."""

    def __init__(self, places: int, shares: int) -> None:
        self.limit = InFlightLimit(InFlightBounds(places, 10_000, 10_000_000), Metrics())
        self.free = asyncio.Semaphore(shares)
        self.home, self.assignment = Fence("home"), Fence("assignment")

    async def right(self) -> ServerRight:
        """That of a document that has a place."""
        place = await self.limit.place()
        await place.fill(10)
        inner = DocumentRight(self.assignment, Fence("stop"), Fence("never"), place)
        return ServerRight(inner, self.home, Share(self.free))


async def work(right: ServerRight, until: asyncio.Event, begun: list[int], name: int) -> None:
    async with right.working():
        begun.append(name)
        await until.wait()


@virtually
async def test_who_finds_no_share_leaves_its_place_to_others() -> None:
    scene, end, begun = Scene(places=2, shares=1), asyncio.Event(), list[int]()
    tasks = [asyncio.create_task(work(await scene.right(), end, begun, n)) for n in range(2)]
    await asyncio.sleep(1)

    assert begun == [0]
    assert scene.limit.has_room  # the second one stands aside
    end.set()
    await asyncio.gather(*tasks)
    assert begun == [0, 1]
    assert not scene.free.locked()


@virtually
async def test_who_stands_aside_gives_its_share_to_another() -> None:
    scene, end, begun = Scene(places=1, shares=1), asyncio.Event(), list[int]()
    first = await scene.right()

    async def stand_aside() -> None:
        async with first.working(), first.aside():
            await end.wait()

    task = asyncio.create_task(stand_aside())
    await asyncio.sleep(1)
    await work(await scene.right(), _set(), begun, 1)

    assert begun == [1]
    end.set()
    await task
    assert not scene.free.locked()


@virtually
async def test_the_end_of_the_home_ends_waits_and_what_is_begun_next_but_no_following() -> None:
    scene = Scene(places=1, shares=1)
    right = await scene.right()
    following = right.following()
    scene.home.close()

    for wait in (right.long(), right.aside()):
        with pytest.raises(FenceClosedError):
            async with wait:
                pass
    with pytest.raises(FenceClosedError):
        right.check()
    assert not right.closed
    following.check()
    async with following.long():
        pass


@virtually
async def test_a_share_comes_back_whatever_ends_the_work() -> None:
    scene = Scene(places=2, shares=1)
    right = await scene.right()

    async def stand_aside() -> None:
        async with right.working(), right.aside():
            await asyncio.sleep(10)

    task = asyncio.create_task(stand_aside())
    await asyncio.sleep(1)
    scene.home.close()
    with pytest.raises(FenceClosedError):
        await task
    assert not scene.free.locked()


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
