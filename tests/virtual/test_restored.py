"""Deleted and published again: the newest state is what its events say one by one."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, event, on_each_database, world


@on_each_database
@pytest.mark.parametrize("in_a_burst", [False, True], ids=["one by one", "in a burst"])
@pytest.mark.parametrize("key_only", [True, False], ids=["everywhere", "again deleted"])
def test_an_older_state_that_is_restored_after_a_tombstone_stays(
    in_a_burst: bool, key_only: bool, vector_db: str
) -> None:
    """Its date is older than that of what the tombstone deleted, and does not count against it."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.latency = 0.3
            history = [
                event("a", ["one", "two", "three"], day=0),
                event("a", ["one", "two", "four"], day=2),
                None,
                event("a", ["one", "two", "three"], day=1),
                *([] if key_only else [None, event("a", ["one"], day=0)]),
            ]
            for value in history:
                w.publish(value, key="a")
                if not in_a_burst:
                    await w.settled()
            await w.settled()
            await w.idle(HOUR)

            wanted = ["one", "three", "two"] if key_only else ["one"]
            assert w.texts() == wanted

    run()


@on_each_database
@virtually
async def test_an_older_state_that_is_restored_outlives_a_late_chunk_of_what_was_deleted(
    vector_db: str,
) -> None:
    """What the tombstone ended says nothing against it, though it arrives after the tombstone."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        await w.idle(2 * HOUR)
        w.sim.faults.add("delay", path="*/raw-text", contains="late", seconds=200, times=1)
        w.publish(event("a", ["late"], day=5))
        await w.idle(125)
        w.publish(None, key="a")
        await w.settled()
        await w.idle(120)
        assert w.stored()["a_0"] == 1, "it came late"
        w.pipeline.index.forget()
        w.publish(event("a", ["one"], day=1))
        await w.settled()
        assert w.statuses() == {"succeeded": 2, "superseded": 1, "deleted": 1}
        await w.idle(HOUR)

        assert w.texts() == ["one", "up"]


@on_each_database
@virtually
async def test_no_later_look_takes_what_was_published_again_after_its_tombstone(
    vector_db: str,
) -> None:
    """A tombstone that names no workspace is remembered, and so is what came after it.

    Its date is unchanged, and a look is due in another workspace for long.
    """
    async with world(vector_db=vector_db) as w:
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
        w.sim.faults.add("delay", path="*/raw-text", contains="slow one", seconds=110, times=1)
        w.publish(event("x", ["for another workspace", "slow one"], technology="other", day=1))
        await w.idle(80)
        # Meanwhile a version is overtaken in the first one, with an upload in doubt.
        w.sim.faults.add("reset-after", path="*/raw-text", contains="old text of b", times=1)
        w.publish(event("b", ["old text of b"]))
        await w.idle(0.3)
        w.publish(event("b", ["new text of b"], day=1))
        await w.settled()
        await w.idle(2 * HOUR)

        assert {id for id in w.stored() if id.startswith("a_")} == {"a_0", "a_1", "a_2"}
        held = w.texts()
        assert held == ["new text of b", "one", "three", "two"]
