"""Ordinary things in an unlucky order: each was shown to end wrong once."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, event, on_each_database, world

TEXTS = [f"text {n} of a" for n in range(12)]
STEADY = 3_000.0  # seconds: the look that follows an assignment is over


@on_each_database
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 524])
def test_what_a_gateway_gave_up_and_the_server_stored_is_there_once(
    status: int, vector_db: str
) -> None:
    """Whatever the gateway says, in steady state as well."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
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


@on_each_database
@pytest.mark.parametrize("cut", ["no-answer", "between-two-requests"])
def test_a_removal_that_was_cut_short_is_not_counted_as_stored(cut: str, vector_db: str) -> None:
    """A crawl lost most of a page, AnythingLLM failed in the removal, the next crawl has it all."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
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


@on_each_database
@virtually
async def test_a_strangers_sick_workspace_holds_nobody(vector_db: str) -> None:
    """Tombstones without a workspace have to look into every one; who follows does not."""
    async with world(
        vector_db=vector_db, INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4", INTAKE_MAX_ASIDE_BYTES="40000"
    ) as w:
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


@virtually
async def test_an_older_version_takes_nothing_of_a_newer_one_that_lacks_a_chunk() -> None:
    """The newer one stored nothing itself: all that it has was there, and one text is refused."""
    async with world() as w:
        w.sim.faults.add("status", path="*/raw-text", status=422, contains="POISON")
        w.publish(event("doc", ["A", "B", "X"], day=1))
        w.publish(event("doc", ["A", "B", "X", "POISON"], day=3))
        await w.settled()
        w.publish(event("doc", ["A", "B"], day=2))
        await w.settled()

        assert w.statuses() == {"succeeded": 1, "partial": 1, "superseded": 1}
        assert w.texts() == ["A", "B", "X"]
