"""Outages of hours: nothing is dead-lettered, little is sent, and work goes on by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from consumer.sandbox.simulator import Simulator
from tests.tiers import quick_first
from tests.virtual.loop import virtually
from tests.virtual.world import (
    HOUR,
    RECOVERY,
    World,
    event,
    on_each_database_slowly,
    world,
)

PROBE_SECONDS = 10.0
REST = 30

Switch = Callable[[Simulator, bool], Awaitable[None]]


async def _server_down(sim: Simulator, broken: bool) -> None:
    await (sim.stop() if broken else sim.start())


async def _collector_down(sim: Simulator, broken: bool) -> None:
    sim.faults.collector = "down" if broken else "up"


async def _embedder_down(sim: Simulator, broken: bool) -> None:
    sim.faults.embedder_down = broken


async def _key_revoked(sim: Simulator, broken: bool) -> None:
    sim.faults.key_revoked = broken


async def _wrong_address(sim: Simulator, broken: bool) -> None:
    sim.faults.clear()
    if broken:
        sim.faults.add("html")


async def _busy(sim: Simulator, broken: bool) -> None:
    sim.faults.clear()
    if broken:
        sim.faults.add("status", status=429, headers={"Retry-After": str(REST)})


OUTAGES = {
    "server down": _server_down,
    "collector down": _collector_down,
    "embedder down": _embedder_down,
    "key revoked": _key_revoked,
    "wrong address": _wrong_address,
    "busy": _busy,
}


def _publish(w: World, name: str, count: int, chunks: int = 3) -> None:
    for n in range(count):
        texts = [f"text {m} of {name} {n}" for m in range(chunks)]
        w.publish(event(f"{name}{n}", texts, technology=f"docs-{n % 4}"))


@on_each_database_slowly
@pytest.mark.parametrize("name", quick_first(OUTAGES, quick=3))
def test_an_outage_of_two_hours_costs_nothing_but_time(name: str, vector_db: str) -> None:
    """P2: 0 dead letters, at most one probe a recovery period, and work resumes by itself.

    A rebalance in the middle of it changes nothing.
    """

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.latency = 0.2
            _publish(w, "before", 8)
            await w.settled()
            switch = OUTAGES[name]
            _publish(w, "during", 40)
            await w.idle(0.5)
            await switch(w.sim, True)
            await w.idle(HOUR)
            await w.rebalance()
            begun = w.requests()
            await w.idle(HOUR)
            sent = w.requests() - begun
            await switch(w.sim, False)
            mended = w.loop.now
            done = len(w.results)
            await w.has_results(done + 1, within=RECOVERY + PROBE_SECONDS + 5)
            await w.settled(within=600)

            assert w.letters == []
            assert w.statuses() == {"succeeded": 48}
            assert w.copies() == {1: 144}
            assert w.loop.now - mended < 600
            # Three requests a probe; after each rest that was asked for, one a slot and workspace.
            assert sent <= (9 * HOUR / REST if name == "busy" else 3 * HOUR / RECOVERY)

    run()


@on_each_database_slowly
@virtually
async def test_an_embedder_that_fails_half_its_calls_dead_letters_nothing(vector_db: str) -> None:
    """P2: neither chance nor an outage makes a dead letter, for two hours."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.01
        w.sim.faults.embedder_fails_share = 0.5
        for round in range(24):
            _publish(w, f"r{round}-", 5)
            await w.idle(300)
        w.sim.faults.clear()
        await w.settled(within=600)

        assert w.letters == []
        assert w.statuses() == {"succeeded": 120}
        assert w.copies() == {1: 360}
