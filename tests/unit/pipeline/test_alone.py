"""One upload has the way for itself: everything else waits at the gates."""

from __future__ import annotations

import asyncio

import pytest

from consumer.model.names import Slug
from consumer.pipeline.gates import NotSent
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.resilience.fence import Fence, FenceClosedError
from tests.unit.pipeline.doubles import Storage, gates_of
from tests.virtual.loop import virtually

DOCS = Slug("docs")


@virtually
async def test_while_one_has_the_turn_the_others_wait_and_it_goes_on() -> None:
    """The gates hold back whoever comes, and not the one that is alone."""
    gates, right = gates_of(Storage()), AssignmentRight(Fence("assignment"))

    async def other() -> float:
        assert gates.holds(None)
        with pytest.raises(NotSent):
            gates.check(DOCS)
        await gates.clear(DOCS, right)
        return asyncio.get_running_loop().time()

    async with gates.alone.turn(right):
        waiting = asyncio.create_task(other())
        await asyncio.sleep(7)
        assert gates.alone.is_held
        assert not gates.holds(DOCS)
        gates.check(DOCS)

    assert await waiting == 7
    assert not gates.holds(None)


@virtually
async def test_turns_come_one_after_another() -> None:
    """Two suspects are never alone together."""
    gates, right = gates_of(Storage()), AssignmentRight(Fence("assignment"))
    seen: list[tuple[str, float]] = []

    async def have_it(name: str) -> None:
        async with gates.alone.turn(right):
            seen.append((name, asyncio.get_running_loop().time()))
            await asyncio.sleep(5)

    await asyncio.gather(have_it("a"), have_it("b"))

    assert seen == [("a", 0), ("b", 5)]


@virtually
async def test_a_revocation_ends_the_wait_for_a_turn() -> None:
    """The one that has it goes on; nobody keeps a lock."""
    gates, fence = gates_of(Storage()), Fence("assignment")
    async with gates.alone.turn(AssignmentRight(Fence("another"))):

        async def wait() -> None:
            async with gates.alone.turn(AssignmentRight(fence)):
                raise AssertionError("it had no right any more")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(1)
        fence.close()
        with pytest.raises(FenceClosedError):
            await waiting
    async with gates.alone.turn(AssignmentRight(Fence("a third"))):
        assert gates.alone.is_held
