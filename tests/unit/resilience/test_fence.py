"""The fence: waits end at once, requests go on."""

from __future__ import annotations

import asyncio

import pytest

from consumer.resilience.fence import Fence, FenceClosedError


async def test_closing_ends_a_wait() -> None:
    """Who waits behind the fence is woken with FenceClosedError, not with a cancellation."""
    fence = Fence("documents-0")

    async def wait() -> None:
        async with fence.waiting():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    fence.close()

    with pytest.raises(FenceClosedError):
        await task
    assert task.cancelling() == 0


async def test_work_outside_a_wait_goes_on() -> None:
    """A request in the middle is not disturbed by the fence; it finds it closed afterwards."""
    fence = Fence("documents-0")
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        async with fence.waiting():
            await asyncio.sleep(0)
        return await answer

    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0)
    fence.close()
    answer.set_result("stored")

    assert await task == "stored"


async def test_a_closed_fence_lets_no_wait_begin() -> None:
    """After closing, waiting and check both raise at once."""
    fence = Fence("documents-0")
    fence.close()

    with pytest.raises(FenceClosedError):
        fence.check()
    with pytest.raises(FenceClosedError):
        async with fence.waiting():
            pytest.fail("the body must not run")


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Cancelling a waiting task cancels it, even if the fence closes in the same step."""
    fence = Fence("documents-0")

    async def wait() -> None:
        async with fence.waiting():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    fence.close()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_two_fences_closing_together() -> None:
    """A wait behind two fences that close in one step ends with FenceClosedError."""
    stop, assignment = Fence("stop"), Fence("documents-0")

    async def wait() -> None:
        async with stop.waiting(), assignment.waiting():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    stop.close()
    assignment.close()

    with pytest.raises(FenceClosedError):
        await task


async def test_a_slot_granted_in_the_closing_step_is_given_back() -> None:
    """A semaphore that was granted in the very step of the closing is not lost."""
    fence, slots = Fence("documents-0"), asyncio.Semaphore(1)
    await slots.acquire()

    async def wait() -> None:
        async with fence.waiting():
            await slots.acquire()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    slots.release()
    fence.close()
    with pytest.raises(FenceClosedError):
        await task

    await asyncio.wait_for(slots.acquire(), 1)
