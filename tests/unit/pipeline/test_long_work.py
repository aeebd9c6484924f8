"""A document as large as the limits allow holds the loop for no longer than 0.2 s at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.marker import Unit
from consumer.pipeline.decode import DecodeLimits
from consumer.pipeline.heavy_events import HeavyEvents
from consumer.pipeline.long_work import AT_ONCE, beside, in_slices
from tests.doubles.turns import watched
from tests.unit.pipeline.test_journey import World

pytestmark = [pytest.mark.network("kernel"), pytest.mark.timeout(180)]

CHUNKS = DecodeLimits().max_chunks
OURS = str(Path("consumer") / "pipeline")
FIGURE = 0.2  # seconds of processor time that a turn may take: twice what was measured


class _Refused(Failure):
    fault = Fault.DOCUMENT


def _refused(unit: Unit, attempt: int) -> Failure | None:
    return _Refused("something that is told of each chunk in as many words as one line may have")


def _large(day: int, count: int = CHUNKS, word: str = "") -> bytes:
    chunks = [
        {"id": f"d_{n}", "content": f"{word} {n} ".ljust(350, "x"), "chunk_index": n}
        for n in range(count)
    ]
    head = {"id": "d", "title": "T", "technology": "docs", "source_url": "https://docs.example/d"}
    return orjson.dumps(head | {"created_at": f"2026-02-{day:02}", "chunks": chunks})


@pytest.mark.slow
async def test_a_document_of_as_many_chunks_as_may_be_holds_the_loop_for_no_time() -> None:
    """Stored, the same once more, all of it replaced, skipped after a restart, and removed."""
    limits = DecodeLimits()
    world = World(size=2**30, decode_apart=HeavyEvents(limits).decode)
    steps = [_large(1), _large(2), _large(3, word="new"), _large(3, word="new"), None]
    world.settled_before = {3: True}
    longest: list[float] = []
    async with world.running():
        for number, value in enumerate(steps):
            with watched(OURS) as turns:
                world.bring([value], key=b"d")
                if number != 3:
                    await world.results_are(number + 1 - (number > 3), seconds=120)
            longest.append(round(turns.longest, 3))

    assert [result["status"] for result in world.results] == ["succeeded"] * 3 + ["deleted"]
    assert world.storage.units == []
    assert max(longest) < FIGURE, longest


@pytest.mark.slow
async def test_a_document_whose_chunks_are_all_refused_holds_the_loop_for_no_time() -> None:
    """Its result is cut and its letter is whole, with a line about each chunk."""
    world = World(size=2**30, decode_apart=HeavyEvents(DecodeLimits()).decode)
    world.storage.answer = _refused
    async with world.running():
        with watched(OURS) as turns:
            world.bring([_large(1)], key=b"d")
            await world.results_are(1, seconds=120)

    (result,) = world.results
    assert (result["status"], result["failed_uploads"], result["truncated"]) == (
        "failed",
        CHUNKS,
        True,
    )
    assert turns.longest < FIGURE, turns


async def test_long_work_leaves_the_loop_its_turns() -> None:
    """Little work is done at once; much of it in a thread, or slice by slice."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(count())
    assert await in_slices(range(AT_ONCE - 1)) == list(range(AT_ONCE - 1))
    assert await beside(lambda: "done", AT_ONCE) == "done"
    assert turns == 0
    assert await in_slices(range(AT_ONCE * 5)) == list(range(AT_ONCE * 5))
    assert turns >= 4
    begun = turns

    def wait() -> str:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
        return "done"

    loop = asyncio.get_running_loop()
    assert await beside(wait, AT_ONCE + 1) == "done"
    assert turns > begun
    task.cancel()


async def test_work_beside_that_raises_is_raised_here() -> None:
    """A fault in the program ends the run, wherever it happens."""

    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await beside(broken, AT_ONCE + 1)
