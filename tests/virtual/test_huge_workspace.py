"""A workspace that outgrows what AnythingLLM can list at all."""

from __future__ import annotations

from consumer.sandbox.simulator import Options
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, world

SMALL = Options(longest_string=60_000)


async def outgrown(w: World) -> None:
    """The workspace ``docs`` can't be listed any more, and a document waits for it."""
    w.sim.faults.latency = 0.02
    for n in range(12):
        w.publish(event(f"d{n}", [f"text {m} of d{n}" for m in range(5)]))
    await w.settled()
    await w.idle(700)  # what was listed is too old to be believed
    w.publish(event("more", ["text of more"]))
    await w.idle(900)


@virtually
async def test_a_workspace_beyond_what_can_be_listed_pauses_alone() -> None:
    """Nothing is dead-lettered, AnythingLLM counts as well, and the others go on."""
    async with world(options=SMALL) as w:
        await outgrown(w)
        for n in range(30):
            w.publish(event(f"o{n}", [f"text of o{n}"], technology="other"))
        await w.has_results(42)

        assert list(w.pipeline.gates.pauses.paused) == ["docs"]
        assert len(w.stored("other")) == 30
        assert not w.letters


@virtually
async def test_it_goes_on_once_it_can_be_listed_again() -> None:
    """Somebody took documents out: what waited is stored, by itself."""
    async with world(options=SMALL) as w:
        await outgrown(w)
        w.sim.damage("row-lost", "docs")
        await w.settled(within=HOUR)

        assert w.statuses() == {"succeeded": 13}
