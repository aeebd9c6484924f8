"""P3 and P4: each chunk once, however uploads end and processes die; only what changed is sent."""

from __future__ import annotations

import random

import pytest

from tests.tiers import quick_first
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, event, on_each_database, on_each_database_slowly, world

AMBIGUITY = 600.0


def _texts(id: str, count: int = 6) -> list[str]:
    return [f"text {n} of {id}" for n in range(count)]


@on_each_database
@virtually
async def test_an_upload_that_the_server_finishes_after_our_timeout_makes_one_copy(
    vector_db: str,
) -> None:
    """A timeout of 120 s, and the server is done 300 s later: it is looked for, not repeated."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        slow = w.sim.faults.add("delay", path="*/raw-text", contains="text 3 of a", seconds=420)
        w.publish(event("a", _texts("a")))
        await w.idle(130)
        slow.times = 0
        w.publish(event("b", _texts("b")))
        await w.idle(60)
        assert w.statuses() == {"succeeded": 2}, "others don't wait for it"
        await w.settled(within=900)
        await w.idle(2 * AMBIGUITY)

        assert w.copies() == {1: 13}
        assert w.letters == []


@on_each_database
@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.1, 1.5, 1.9, 2.3, 2.7, 3.1, 4.0, 6.0])
def test_killed_at_any_point_each_chunk_is_there_once_after_the_sweep(
    seconds: float, vector_db: str
) -> None:
    """A process dies with uploads under way, which the server goes on with for five minutes."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.latency = 0.2
            for n in range(8):
                w.publish(event(f"d{n}", _texts(f"d{n}", 4)))
            await w.idle(seconds)
            w.sim.faults.add("delay", path="*/raw-text", every=2, seconds=300)
            await w.idle(0.5)
            await w.crash()
            w.sim.faults.clear()
            w.sim.faults.latency = 0.2
            await w.start()
            await w.settled(within=900)
            assert sum(w.copies().values()) == 32, "text is never missing"
            await w.idle(AMBIGUITY + 120)

            assert w.copies() == {1: 32}
            assert set(w.statuses()) == {"succeeded"}

    run()


@on_each_database
@virtually
async def test_a_stale_chunk_that_arrives_late_goes_with_the_sweep(vector_db: str) -> None:
    """The old version's upload ends after the new version is stored, by a new owner."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("a", ["one", "two", "three"]))
        await w.settled()
        w.sim.faults.add("delay", path="*/raw-text", contains="old four", seconds=200, times=1)
        w.publish(event("a", ["one", "two", "three", "old four"], day=1))
        await w.idle(5)
        w.publish(event("a", ["one", "two", "new three"], day=2))
        await w.crash()
        await w.start()
        await w.settled(within=900)
        await w.idle(AMBIGUITY + 120)

        assert w.texts() == ["new three", "one", "two"]


@on_each_database
@virtually
async def test_a_deleted_documents_chunk_that_arrives_late_goes_with_the_sweep(
    vector_db: str,
) -> None:
    """A tombstone is carried out while a former owner's upload is still under way."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("other", ["stays"]))
        await w.settled()
        w.sim.faults.add("delay", path="*/raw-text", contains="late", seconds=200, times=1)
        w.publish(event("a", ["one", "late"]))
        await w.idle(5)
        w.publish(None, key="a")
        await w.crash()
        await w.start()
        await w.settled(within=900)
        await w.idle(AMBIGUITY + 120)

        assert [text for _, text, _ in w.sim.chunks("docs")] == ["stays"]


@on_each_database_slowly
@pytest.mark.parametrize("seed", quick_first(range(8), quick=3))
def test_many_kills_and_rebalances_leave_one_copy_of_everything(seed: int, vector_db: str) -> None:
    """P1, P3: 40 documents through ten crashes and rebalances while uploads are slow at random."""
    _many_kills(seed, vector_db)


@virtually
async def _many_kills(seed: int, vector_db: str) -> None:
    rng = random.Random(seed)
    async with world(seed=seed, vector_db=vector_db) as w:
        w.sim.faults.latency = 0.1
        w.sim.faults.add("delay", path="*/raw-text", every=7, seconds=200)
        for n in range(40):
            w.publish(event(f"d{n}", _texts(f"d{n}", 3)))
        for n in range(10):
            await w.idle(rng.uniform(0.5, 12))
            if n % 2:
                await w.rebalance()
            else:
                await w.crash(commit=rng.random() < 0.5)
                await w.start()
        w.sim.faults.clear()
        await w.settled(within=2 * HOUR)
        await w.idle(AMBIGUITY + 120)

        assert w.letters == []
        assert w.copies() == {1: 120}


@on_each_database
@virtually
async def test_the_sweep_touches_nothing_of_others_and_nothing_newer(vector_db: str) -> None:
    """What people uploaded, other documents and newer versions stay."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("a", ["one", "one", "two"]))
        w.publish(event("b", ["one", "two"]))
        await w.settled()
        before = sorted(w.sim.chunks("docs"))
        await w.crash()
        await w.start()
        w.publish(event("a", ["one", "one", "two", "three"], day=1))
        await w.settled()
        await w.idle(AMBIGUITY + 120)

        assert len(w.sim.chunks("docs")) == len(before) + 1
        assert set(before) < set(w.sim.chunks("docs"))
