"""Ordinary things in an unlucky order: each was shown to end wrong once."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, Json, World, event, world

TEXTS = [f"text {n} of a" for n in range(12)]
STEADY = 3_000.0  # seconds: the look that follows an assignment is over


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 524])
def test_what_a_gateway_gave_up_and_the_server_stored_is_there_once(status: int) -> None:
    """Whatever the gateway says, in steady state as well."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.02
            w.publish(event("warm", ["up"]))
            await w.settled()
            await w.idle(STEADY)
            said = {"status": status, "body": "<html>error</html>", "apply": True, "times": 1}
            w.sim.faults.add("status", path="*/raw-text", contains="text 1 of a", **said)
            w.publish(event("a", TEXTS[:3]))
            await w.settled(within=2 * HOUR)
            await w.idle(2 * HOUR)

            assert w.copies() == {1: 4}
            assert not w.letters

    run()


@pytest.mark.parametrize("in_a_burst", [False, True])
def test_a_burst_leaves_what_its_events_leave_one_by_one(*, in_a_burst: bool) -> None:
    """A newer version, its tombstone, and an older state restored."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.3

            async def publish(value: Json | None) -> None:
                w.publish(value, key="a")
                if not in_a_burst:
                    await w.settled()

            await publish(event("a", ["one", "two", "three"]))
            await publish(event("a", ["one", "two", "four"], day=2))
            await publish(None)
            await publish(event("a", ["one", "two", "three"], day=1))
            await w.settled()
            await w.idle(HOUR)

            assert _texts(w) == ["one", "three", "two"]

    run()


@pytest.mark.parametrize("cut", ["no-answer", "between-two-requests"])
def test_a_removal_that_was_cut_short_is_not_counted_as_stored(cut: str) -> None:
    """A crawl lost most of a page, AnythingLLM failed in the removal, the next crawl has it all."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.02
            w.publish(event("other", ["stays"]))
            w.publish(event("a", TEXTS))
            await w.settled()
            fault = {"path": "*/remove-documents", "times": 1}
            w.sim.faults.add("delay", path="*/remove-documents", seconds=5)
            if cut == "no-answer":
                w.sim.faults.add("status", status=504, apply=True, **fault)
            else:
                w.sim.faults.add("status", status=500, skip=1, **fault)
            w.publish(event("a", TEXTS[:1], day=1))
            await w.idle(3)
            w.publish(event("a", TEXTS, day=2))
            await w.settled(within=2 * HOUR)
            w.sim.faults.clear()
            assert (w.results[-1]["status"], w.copies()) == ("succeeded", {1: 13})

            await w.idle(2 * HOUR)
            assert w.copies() == {1: 13}

    run()


@virtually
async def test_a_removal_of_many_requests_ends_with_its_partition() -> None:
    """A tombstone of 400 chunks sends nothing more, and does not hold the group's rebalance."""
    async with world() as w:
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


@virtually
async def test_what_is_published_again_after_its_tombstone_stays() -> None:
    """With its date unchanged, and a look due in another workspace for long."""
    async with world() as w:
        w.sim.faults.latency = 0.02
        w.publish(event("a", ["one", "two", "three"]))
        w.publish(event("x", ["for another workspace"], technology="other"))
        await w.settled()
        w.publish(None, key="a")
        await w.settled()
        w.publish(event("a", ["one", "two", "three"]))
        await w.settled()
        await w.idle(560)
        # A document of the other workspace is in work when the look comes round.
        w.sim.faults.add("delay", path="*/raw-text", contains="slow", seconds=110, times=1)
        w.publish(event("x", ["for another workspace", "slow"], technology="other", day=1))
        await w.idle(80)
        # Meanwhile a version is overtaken in the first one, with an upload in doubt.
        w.sim.faults.add("reset-after", path="*/raw-text", contains="old text of b", times=1)
        w.publish(event("b", ["old text of b"]))
        await w.idle(0.3)
        w.publish(event("b", ["new text of b"], day=1))
        await w.settled()
        await w.idle(2 * HOUR)

        assert _texts(w) == ["new text of b", "one", "three", "two"]


@virtually
async def test_a_strangers_sick_workspace_holds_nobody() -> None:
    """Tombstones without a workspace have to look into every one; who follows does not."""
    async with world(INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4", INTAKE_MAX_ASIDE_BYTES="40000") as w:
        w.sim.faults.latency = 0.02
        for n in range(8):
            w.publish(event(f"d{n}", [f"text of d{n}"]))
        await w.settled()
        w.sim.state.create_workspace("strangers", {})
        w.sim.faults.add("status", path="*/workspace/strangers", status=500)
        for n in range(8):
            w.publish(None, key=f"d{n}")
        for n in range(3):
            w.publish(event(f"new{n}", [f"text of new{n}"]))
        await w.idle(HOUR)

        assert len(w.results) == 19


def _texts(w: World) -> list[str]:
    return sorted(text for _, text, _ in w.sim.chunks("docs"))
