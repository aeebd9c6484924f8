"""A removal is followed to its end: nothing that is acknowledged is about to go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database_slowly, world

TEXTS = [f"text {n} of a" for n in range(12)]
LESS = TEXTS[:1]


async def _whole_page(w: World) -> None:
    w.sim.faults.latency = 0.02
    w.publish(event("other", ["stays"]))
    w.publish(event("a", TEXTS))
    await w.settled()
    assert w.copies() == {1: 13}


@on_each_database_slowly
@pytest.mark.parametrize(
    ("fault", "overtaken_after"),
    [
        ({"kind": "status", "status": 504, "apply": True, "times": 1}, 3.0),
        ({"kind": "status", "status": 500, "skip": 1, "times": 1}, 3.0),
        ({"kind": "status", "status": 500, "skip": 1, "times": 1}, 10.5),
        ({"kind": "status", "status": 502, "apply": True, "times": 1}, 5.5),
        ({"kind": "status", "status": 500, "times": 40}, 5.5),
        ({"kind": "reset-after", "times": 1}, 3.0),
        ({"kind": "reset-after", "skip": 1, "times": 1}, 3.0),
        ({"kind": "half-body", "times": 2}, 12.0),
        ({"kind": "reset", "times": 3}, 3.0),
    ],
    ids=lambda each: each if isinstance(each, float) else "-".join(map(str, each.values())),
)
def test_an_overtaken_removal_takes_no_acknowledged_text_along(
    fault: dict[str, Any], overtaken_after: float, vector_db: str
) -> None:
    """A crawl lost most of a page, and the next one has it again, in the middle of its removal."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _whole_page(w)
            w.sim.faults.add("delay", path="*/remove-documents", seconds=5)
            w.sim.faults.add(**{"path": "*/remove-documents", **fault})
            w.publish(event("a", LESS, day=1))
            await w.idle(overtaken_after)
            w.publish(event("a", TEXTS, day=2))
            await w.settled(within=2 * HOUR)
            w.sim.faults.clear()
            assert w.copies() == {1: 13}
            await w.idle(2 * HOUR)

            assert w.copies() == {1: 13}
            assert w.results[-1]["status"] == "succeeded"
            assert w.letters == []

    run()


@on_each_database_slowly
@pytest.mark.parametrize("late", [30.0, 200.0, 500.0])
@pytest.mark.parametrize("removes", ["tombstone", "less"])
def test_a_removal_that_the_server_finishes_late_takes_no_text_that_came_back(
    removes: str, late: float, vector_db: str
) -> None:
    """A gateway has given up, the event is overtaken, and AnythingLLM is at it for minutes."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db, REMOVAL_TIMEOUT_SECONDS="10") as w:
            await _whole_page(w)
            w.sim.faults.add("delay", path="*/remove-documents", seconds=late, times=1)
            w.publish(None if removes == "tombstone" else event("a", LESS, day=1), key="a")
            await w.idle(11)
            w.publish(event("a", TEXTS, day=2))
            await w.settled(within=2 * HOUR)
            assert w.copies() == {1: 13}
            await w.idle(2 * HOUR)

            assert w.copies() == {1: 13}
            assert w.letters == []

    run()


@on_each_database_slowly
@virtually
async def test_no_removal_begins_after_the_partition_went(vector_db: str) -> None:
    """A tombstone of 400 chunks is 40 requests: a revocation waits for the one under way."""
    async with world(vector_db=vector_db) as w:
        w.publish(event("other", ["stays"]))
        w.publish(event("a", [f"text {n} of a" for n in range(400)]))
        await w.settled()
        w.sim.faults.add("delay", path="*/remove-documents", seconds=10)
        w.publish(None, key="a")
        await w.idle(15)
        before, at = w.requests("remove-documents"), w.loop.now
        await w.rebalance()

        assert w.requests("remove-documents") - before <= 1
        assert w.loop.now - at <= 10
        await w.settled(within=2 * HOUR)
        assert w.copies() == {1: 1}


@on_each_database_slowly
@pytest.mark.parametrize("way", ["rebalance", "crash"])
def test_a_removal_that_was_broken_off_is_made_again(way: str, vector_db: str) -> None:
    """Its event was not settled, so it comes again, and what comes after it waits."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _whole_page(w)
            w.sim.faults.add("delay", path="*/remove-documents", seconds=120, times=1)
            w.publish(event("a", LESS, day=1))
            await w.idle(5)
            w.publish(event("a", TEXTS, day=2))
            if way == "crash":
                await w.crash()
                await w.start()
            else:
                await w.rebalance()
            await w.settled(within=2 * HOUR)
            assert w.copies() == {1: 13}
            await w.idle(HOUR)

            assert w.copies() == {1: 13}

    run()
