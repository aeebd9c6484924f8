"""Documents that wait long are in nobody's way, and a long wait is no verdict."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, event, on_each_database_slowly, world


@on_each_database_slowly
@virtually
async def test_documents_that_fail_for_hours_do_not_hold_up_the_others(vector_db: str) -> None:
    """P2: chunks whose uploads may still come for ten minutes each, more than there are places."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.add("pretend", path="*/raw-text", contains="never stored")
        for n in range(40):
            w.publish(event(f"bad{n}", [f"one of {n}", f"two of {n} is never stored"]))
        for n in range(40):
            w.publish(event(f"good{n}", [f"good {n}"]))
        await w.has_results(40, within=900)

        assert w.statuses() == {"succeeded": 40}
        assert w.letters == []


@on_each_database_slowly
@virtually
async def test_uploads_that_fail_nine_times_of_ten_dead_letter_nothing(vector_db: str) -> None:
    """P2: the embedder is well, so each text passes; what fails are the uploads, at random."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        for skip in range(9):
            w.sim.faults.add("status", status=500, path="*/raw-text", skip=skip, every=10)
        for n in range(30):
            w.publish(event(f"d{n}", [f"text {n}"]))
        await w.idle(6 * HOUR)
        assert w.letters == []
        w.sim.faults.clear()
        await w.settled(within=HOUR)

        assert w.statuses() == {"succeeded": 31}
        assert w.copies() == {1: 31}


@pytest.mark.slow
@on_each_database_slowly
@virtually
async def test_a_missing_endpoint_is_asked_ever_less_often(vector_db: str) -> None:
    """The workspace is there, but what uploads answers 404: that is nobody's document."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        w.sim.faults.add("status", status=404, path="*/raw-text", body='{"error": "gone"}')
        for n in range(10):
            w.publish(event(f"d{n}", [f"text {n}"]))
        await w.idle(HOUR)
        begun = w.requests("raw-text")
        await w.idle(HOUR)

        assert w.letters == []
        assert w.requests("raw-text") - begun < 10 * 3600 / 15
        w.sim.faults.clear()
        await w.settled(within=120)


@virtually
async def test_a_sick_workspace_still_loses_what_is_to_go_and_stays_paused() -> None:
    """Tombstones need nobody to take documents, and prove nothing about it."""
    async with world() as w:
        w.sim.faults.latency = 0.02
        for n in range(3):
            w.publish(event(f"old{n}", [f"old {n}"], technology="sick"))
        await w.settled()
        w.sim.faults.workspace_dimensions = {"sick": 12}
        for n in range(40):
            w.publish(event(f"new{n}", [f"new {n}"], technology="sick"))
        await w.idle(120)
        begun = w.requests("raw-text")
        for n in range(3):
            w.publish(None, key=f"old{n}")
        w.publish(event("old9", [], technology="sick"))
        await w.has_results(3 + 4, within=30)
        await w.idle(120)

        assert w.statuses() == {"succeeded": 4, "deleted": 3}
        assert w.stored("sick") == {}
        assert set(w.pipeline.gates.pauses.paused) == {"sick"}
        assert w.requests("raw-text") - begun <= 3, "nobody was called back"
        w.sim.faults.workspace_dimensions = {}
        await w.settled(within=120)


@virtually
async def test_a_workspace_that_nobody_waits_for_any_more_is_not_called_paused() -> None:
    """The partitions went, and its documents with them."""
    async with world() as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"], technology="sick"))
        await w.settled()
        w.sim.faults.workspace_dimensions = {"sick": 12}
        w.publish(event("a", ["a text"], technology="sick"))
        await w.idle(120)
        assert set(w.pipeline.gates.pauses.paused) == {"sick"}
        w.records.pop()
        w._position = w._committed = len(w.records)
        await w.rebalance()

        assert w.pipeline.gates.pauses.paused == {}
