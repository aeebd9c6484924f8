"""A repair beside a running service, whose picture of what is stored is some minutes old."""

from __future__ import annotations

import asyncio

import pytest

from consumer.anythingllm import AnythingLLMConfig
from consumer.anythingllm.inventory import open_inventory
from consumer.model.identity import IdentityTemplate
from consumer.model.packing import contents_of
from consumer.operations.workspaces.repair import Repair
from consumer.operations.workspaces.verify import Upkeep, UpkeepRules
from consumer.sandbox.simulator import Damage, Options
from consumer.sandbox.simulator.embedder import embed
from consumer.sandbox.simulator.state import Embedded
from tests.virtual.loop import virtually
from tests.virtual.world import World, event, world

SETTLED = 600.0


async def _repair(w: World) -> int:
    """Repair all there is; how much there was."""
    rules = UpkeepRules(IdentityTemplate.parse("{id}"), lambda technology: None, SETTLED)
    async with open_inventory(AnythingLLMConfig(w.sim.endpoint, w.sim.api_key)) as inventory:
        upkeep = Upkeep(inventory, rules)
        report = await upkeep.verify(await upkeep.choose(()), whole=True)
        work = Repair(inventory, upkeep, report, settled=SETTLED, tell=lambda line: None)
        await work.run()
    return len(report.findings)


def _spoil(w: World, *texts: str) -> int:
    """Leave them as uploads did while the embedder had another dimension; how many units."""
    spoiled = 0
    for file in w.sim.state.files.values():
        if not {*texts}.isdisjoint(contents_of(file.text)) and file.cache is not None:
            spoiled += 1
            w.sim.damage(Damage.VECTORS_LOST, "docs", file.location)
            file.cache = tuple(Embedded(e.text, embed(e.text, 32)) for e in file.cache)
    return spoiled


def _held(w: World) -> list[str]:
    """The texts of all chunks in the file store, in order."""
    files = w.sim.state.files.values()
    return sorted(text for file in files for text in contents_of(file.text))


def test_what_was_embedded_anew_is_still_removed_and_replaced() -> None:
    """A unit under another location would stay, and its event be answered with `deleted`."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db="pgvector")) as w:
            w.sim.faults.latency = 0.02
            w.publish(event("kept", ["before"]))
            w.publish(event("changed", ["one", "two", "three"]))
            w.publish(event("deleted", ["uno", "due"]))
            await w.settled()
            await w.idle(SETTLED + 100)
            spoiled = _spoil(w, "one", "two", "three", "uno", "due")
            assert await _repair(w) == spoiled > 0
            w.publish(event("changed", ["one", "TWO"], day=1))
            w.publish(None, key="deleted")
            await w.settled()
            assert w.statuses() == {"succeeded": 4, "deleted": 1}
            assert _held(w) == w.texts() == ["TWO", "before", "one"]
            assert set(w.copies()) == {1}

    run()


@pytest.mark.parametrize(
    ("path", "skip"),
    [
        ("*/move-files", 0),  # it has its first name
        ("*/remove-documents", 1),  # it has its second name
        ("*/update-embeddings", 3),  # it has its first name again
    ],
)
@pytest.mark.parametrize("texts", [["one", "two"], ["one", "TWO"], ["ONE", "two"], None])
def test_what_a_service_does_that_sees_no_row_of_it_converges(
    texts: list[str] | None, path: str, skip: int
) -> None:
    """It has just begun, so it uploads the chunk again; its sweep removes what is too much."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db="pgvector")) as w:
            w.publish(event("kept", ["before"]))
            w.publish(event("changed", ["one", "two"]))
            await w.settled()
            await w.idle(SETTLED + 100)
            _spoil(w, "one")
            rule = w.sim.faults.add("hold", path=path, skip=skip, times=1)
            repairing = asyncio.create_task(_repair(w))
            await w.sim.journal.wait_for("request.held")
            await w.crash()
            await w.start()
            w.publish(event("changed", texts, day=1) if texts else None, key="changed")
            await w.settled()
            rule.released = True
            await repairing
            await w.idle(SETTLED + 200)

            wanted = ["before", *(texts or [])]
            assert _held(w) == w.texts() == sorted(wanted)
            assert set(w.copies()) == {1}

    run()
