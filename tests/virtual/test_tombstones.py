"""Tombstones that name no workspace, where one of the workspaces can't be listed."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database, world

STRANGERS = "strangers"


async def _with_a_sick_stranger(w: World, documents: int = 50) -> None:
    w.sim.faults.latency = 0.02
    for n in range(documents):
        w.publish(event(f"d{n}", [f"text of d{n}"]))
    await w.settled()
    w.sim.state.create_workspace(STRANGERS, {})
    w.sim.faults.add("status", path=f"*/workspace/{STRANGERS}", status=500)


@on_each_database
@virtually
async def test_a_strangers_sick_workspace_keeps_no_tombstone(vector_db: str) -> None:
    """The files say what there is, whatever workspace it is in; nobody else waits."""
    async with world(vector_db=vector_db, INTAKE_MAX_ASIDE_BYTES="200000") as w:
        await _with_a_sick_stranger(w)
        for n in range(50):
            w.publish(None, key=f"d{n}")
        for n in range(20):
            w.publish(event(f"new{n}", [f"text of new{n}"]))
        await w.settled()

        assert w.statuses() == {"succeeded": 70, "deleted": 50}
        assert w.copies() == {1: 20}
        assert STRANGERS in w.pipeline.index.unlisted
        assert w.requests("/documents/folder/") < 10, "one list of files serves many"


@on_each_database
@virtually
async def test_what_is_in_the_workspace_that_cant_be_listed_goes_as_well(vector_db: str) -> None:
    """The document's chunks are gone everywhere, and only those."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("a", ["one", "two"], technology="sick"))
        w.publish(event("b", ["stays"], technology="sick"))
        w.publish(event("c", ["stays, too"]))
        await w.settled()
        await w.idle(HOUR)
        w.sim.faults.add("status", path="*/workspace/sick", status=500)
        w.publish(None, key="a")
        await w.settled()

        assert w.statuses() == {"succeeded": 3, "deleted": 1}
        assert w.results[-1]["removed_chunks"] == 2
        assert {**w.stored("sick"), **w.stored()} == {"b_0": 1, "c_0": 1}


@on_each_database
@virtually
async def test_what_was_stored_since_the_files_were_listed_goes_as_well(vector_db: str) -> None:
    """The list of files is kept current with our own writes, like any other."""
    async with world(vector_db=vector_db) as w:
        await _with_a_sick_stranger(w, documents=3)
        w.publish(None, key="d0")
        await w.settled()
        w.publish(event("d1", ["another text of d1"], day=1))
        await w.settled()
        w.publish(None, key="d1")
        await w.settled()

        assert w.stored() == {"d2_0": 1}


@pytest.mark.slow
@virtually
async def test_where_the_files_cant_be_listed_either_only_tombstones_wait() -> None:
    """They stand aside, the workspace is named, and they are answered when one of the two works."""
    async with world() as w:
        await _with_a_sick_stranger(w)
        files = w.sim.faults.add("status", path="*/documents/folder/*", status=500)
        for n in range(40):
            w.publish(None, key=f"d{n}")
        for n in range(20):
            w.publish(event(f"new{n}", [f"text of new{n}"]))
        await w.idle(HOUR)
        assert w.statuses() == {"succeeded": 70}, "others are answered"
        assert "500" in w.pipeline.index.unlisted[STRANGERS]  # type: ignore[index]
        gauge = w.metrics.registry.get_sample_value
        assert gauge("anythingllm_consumer_workspaces_unlisted") == 1
        assert gauge("anythingllm_consumer_documents_aside") == 40
        files.times = 0
        await w.settled()

        assert w.statuses() == {"succeeded": 70, "deleted": 40}
        assert w.copies() == {1: 30}


@on_each_database
@virtually
async def test_a_workspace_that_is_well_again_is_named_no_more(vector_db: str) -> None:
    """Though no document of ours is in it, somebody asks."""
    async with world(vector_db=vector_db) as w:
        await _with_a_sick_stranger(w, documents=1)
        w.publish(None, key="d0")
        await w.settled()
        assert STRANGERS in w.pipeline.index.unlisted
        w.sim.faults.clear()
        await w.idle(700)

        assert w.pipeline.index.unlisted == {}


@on_each_database
@virtually
async def test_files_of_workspaces_that_are_not_ours_are_not_touched(vector_db: str) -> None:
    """With ROUTING_ALLOWED_WORKSPACES a file may be in a workspace that nobody allowed."""
    async with world(vector_db=vector_db, ROUTING_ALLOWED_WORKSPACES="docs,sick") as w:
        await _with_a_sick_stranger(w, documents=1)
        w.publish(event("a", ["one"], technology="sick"))
        await w.settled()
        await w.idle(HOUR)
        w.sim.faults.add("status", path="*/workspace/sick", status=500)
        w.publish(None, key="a")
        await w.idle(HOUR)
        assert w.statuses() == {"succeeded": 2}
        assert w.requests("/documents/folder/") == 0
        w.sim.faults.clear()
        await w.settled()

        assert w.statuses() == {"succeeded": 2, "deleted": 1}


@on_each_database
@pytest.mark.parametrize("seconds", [40.0, 100.0])
def test_a_workspace_that_hangs_holds_nobody_for_long(seconds: float, vector_db: str) -> None:
    """Its listing takes longer than we wait; each tombstone is done within some minutes."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _with_a_sick_stranger(w)
            w.sim.faults.clear()
            w.sim.faults.add("delay", path=f"*/workspace/{STRANGERS}", seconds=seconds)
            for n in range(50):
                w.publish(None, key=f"d{n}")
            await w.settled(within=600)

            assert w.copies() == {}

    run()
