"""What arrives after nobody waits for it any more goes, and nothing that is wanted goes with it."""

from __future__ import annotations

import pytest

from consumer.model.marker import decode_marker
from consumer.model.packing import contents_of
from consumer.sandbox.simulator import VectorDb
from tests.virtual.loop import soon, virtually
from tests.virtual.world import World, event, on_each_database, world

AMBIGUITY = 600.0


def _texts(w: World, slug: str = "docs") -> list[str]:
    """Of documents; a test document may be there for a while."""
    listed = (text for source, text, _ in w.sim.chunks(slug) if decode_marker(source))
    return sorted(each for text in listed for each in contents_of(text))


async def _old_assignment(w: World) -> None:
    """So long after the assignment that the sweep after it is over."""
    w.sim.faults.latency = 0.02
    w.publish(event("warm", ["up"]))
    await w.settled()
    await w.idle(AMBIGUITY + 120)


@on_each_database
@virtually
async def test_a_late_upload_of_an_overtaken_version_goes_though_the_assignment_is_old(
    vector_db: str,
) -> None:
    """Its own document did not wait for it: a newer version came, and was done before it."""
    async with world(vector_db=vector_db) as w:
        await _old_assignment(w)
        w.sim.faults.add("delay", path="*/raw-text", contains="old two", seconds=300, times=1)
        w.publish(event("a", ["one", "old two"]))
        await w.idle(130)
        w.publish(event("a", ["one", "new two"], day=1))
        await w.settled(within=60)
        assert w.statuses() == {"succeeded": 2, "superseded": 1}
        assert _texts(w) == ["new two", "one", "up"]
        await w.idle(300)
        assert "old two" in _texts(w), "it came late"
        await w.idle(2 * AMBIGUITY)

        assert _texts(w) == ["new two", "one", "up"]


@on_each_database
@virtually
async def test_a_late_upload_of_an_overtaken_version_doubles_nothing(vector_db: str) -> None:
    """The newer version has the same text, and uploaded it again meanwhile."""
    async with world(vector_db=vector_db) as w:
        await _old_assignment(w)
        w.sim.faults.add("delay", path="*/raw-text", contains="two", seconds=300, times=1)
        w.publish(event("a", ["one", "two"]))
        await w.idle(130)
        w.publish(event("a", ["one", "two", "three"], day=1))
        await w.settled(within=60)
        await w.idle(3 * AMBIGUITY)

        assert _texts(w) == ["one", "three", "two", "up"]


# Not pgvector: there the first removal that fails is a test document's, and holds everybody.
@pytest.mark.parametrize("vector_db", [VectorDb.LANCEDB, VectorDb.CHROMA])
@virtually
async def test_a_workspace_that_removes_nothing_keeps_no_other_from_its_sweep(
    vector_db: str,
) -> None:
    """Doubles stay where AnythingLLM fails to remove them, go elsewhere, and go there later."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        for slug in ("ws-1", "ws-2"):
            w.publish(event(f"warm-{slug}", ["up"], technology=slug))
        await w.settled()
        w.sim.faults.add("delay", path="*/raw-text", contains="late", seconds=200)
        w.publish(event("aaa", ["late one"], technology="ws-1"))
        w.publish(event("bbb", ["late two"], technology="ws-2"))
        await w.idle(5)
        await w.crash()
        w.sim.faults.clear()
        await w.start()
        await w.settled(within=900)
        fails = w.sim.faults.add("status", status=500, path="*/remove-documents", times=4)
        await soon(lambda: fails.fired == 4)  # three tries, and a look whether a proxy refuses
        await w.idle(10)
        assert (len(_texts(w, "ws-1")), len(_texts(w, "ws-2"))) == (3, 2)
        await w.idle(700)  # until then the removal that failed may still come

        assert (len(_texts(w, "ws-1")), len(_texts(w, "ws-2"))) == (2, 2)


@on_each_database
@virtually
async def test_a_document_that_comes_while_a_late_chunk_is_removed_keeps_that_text(
    vector_db: str,
) -> None:
    """What is about to go counts as stored for nobody, though a listing still shows it."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("a", ["one", "two"]))
        await w.settled()
        await w.crash()
        w.sim.faults.add("delay", path="*/raw-text", contains="odd", seconds=200, times=1)
        w.publish(event("a", ["one", "two", "odd"], day=1))
        await w.start()
        await w.idle(5)
        await w.crash()
        w.publish(event("a", ["one", "two"], day=2))
        await w.start()
        await w.settled(within=900)
        await w.idle(300)
        assert "odd" in _texts(w), "it came late"
        slow = w.sim.faults.add("delay", path="*/remove-documents", seconds=300)
        await w.idle(400)
        assert slow.seen == 1, "the sweep is removing"
        w.pipeline.index.forget()
        w.publish(event("a", ["one", "two", "odd"], day=3))
        await w.settled(within=900)
        await w.idle(400)

        assert _texts(w) == ["odd", "one", "two"]
