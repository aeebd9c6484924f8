"""The minutes in which two servers have a workspace, from the first document to their mended end.

Nobody can hold them off: instances whose pins differ, people who make a namesake while the first
document of a slug is on its way, or another service that brings documents while the home is away.
What is promised: nothing is lost, tombstones end what they name, all of it is found and named in
the time that the README tells, and one command mends it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from consumer.model.names import Slug
from tests.virtual.loop import virtually
from tests.virtual.servers_kafka import move
from tests.virtual.servers_play import FOUND_WITHIN
from tests.virtual.servers_world import ServersWorld, intruder, servers_world
from tests.virtual.test_servers import a_slug
from tests.virtual.test_servers_pauses import split
from tests.virtual.world import RECOVERY, World, event

NAMED_WITHIN = FOUND_WITHIN + RECOVERY + 1  # by every instance
DOCS = a_slug("a", "a", "b")
UPLOAD = "*/raw-text"


@asynccontextmanager
async def two_instances(*pins: str) -> AsyncIterator[tuple[ServersWorld, ServersWorld]]:
    """Two that have begun, with these pins or without any; partitions 0 and 1."""
    first, second = (f"{DOCS}={each}" for each in pins) if pins else ("", "")
    async with (
        servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120", ANYTHINGLLM_PINS=first) as w,
        w.another("a", "b", ANYTHINGLLM_PINS=second) as other,
    ):
        await w.idle(RECOVERY / 2)
        yield w, other


def publish(w: World, *ids: str, day: float = 0) -> None:
    for id in ids:
        w.publish(event(id, [f"text of {id}, {day}"], technology=DOCS, day=day))


def stored(w: ServersWorld) -> tuple[Counter[str], Counter[str]]:
    """The chunks on a and on b."""
    return w.at("a", DOCS), w.at("b", DOCS)


async def both_store(w: ServersWorld) -> None:
    """Both servers have documents of ours in the workspace."""
    async with asyncio.timeout(3600):
        while not all(stored(w)):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)


async def people_make_it_meanwhile(w: ServersWorld, other: ServersWorld, first: str) -> None:
    """Between the look of the one, and its making the workspace; the other finds the namesake."""
    w.sims["a"].faults.add("delay", method="POST", path="*/workspace/new", seconds=2.0)
    slow = "b" if first == "a" else "a"
    w.sims[slow].faults.add("delay", path=UPLOAD, seconds=20.0)
    w.sims["b"].faults.add("delay", path=UPLOAD, seconds=4.0)  # it is empty when w looks into it
    publish(w, "d1")
    await w.idle(0.5)
    w.sims["b"].state.create_workspace(DOCS, {})
    publish(other, "d2")
    await both_store(w)
    for sim in w.sims.values():
        sim.faults.clear()


async def mended(worlds: Sequence[ServersWorld], to: str, wanted: set[str]) -> None:
    """The operator's way: stop, move, start with the same pins; then all of it is there once."""
    for each in worlds:
        await each.crash(commit=False)
    listed = worlds[0].beside("a", "b")
    report = await move(worlds, DOCS, to, listed=listed)
    assert report.left == ()
    for each in worlds:
        each.settings = listed.settings
        await each.start()
        await each.settled()
    await worlds[0].idle(2 * RECOVERY)
    found, another = stored(worlds[0]) if to == "a" else reversed(stored(worlds[0]))
    assert split(worlds[0], DOCS) == []
    assert (found, another) == (Counter({f"{id}_0": 1 for id in wanted}), Counter())
    for each in worlds:
        assert each.homeless == {}
        assert each.several.homes.trouble is None
        answered = {result["identity"] for result in each.results}
        assert answered == {record.key.decode() for record in each.records if record.key}


async def _is_found_and_mended(w: ServersWorld, other: ServersWorld, to: str) -> None:
    begun = w.loop.time()
    publish(w, "d3")  # the others of that minute
    publish(other, "d4", "d5")
    await w.idle(10)  # stored, or held up already
    w.publish(None, key="d3", workspace=DOCS)
    other.publish(None, key="d5")
    async with asyncio.timeout(FOUND_WITHIN):
        while not (w.homeless or other.homeless):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
    await w.idle(max(0.0, begun + NAMED_WITHIN - w.loop.time()))
    for each in (w, other):
        assert each.several.homes.known(Slug(DOCS)) is None
    before = stored(w)
    assert {each.removesuffix("_0") for each in sum(before, Counter())} <= {"d1", "d2", "d4"}
    publish(w, "d1", day=1)  # what comes now waits, on both
    publish(other, "d6")
    await w.idle(3 * RECOVERY)
    for each in (w, other):
        assert "servers a and b both have documents of ours in it" in each.homeless[DOCS]
        assert f"workspaces move {DOCS} --to a" in each.homeless[DOCS]
    assert stored(w) == before
    assert split(w, DOCS) == ["a", "b"]
    await mended((w, other), to, {"d1", "d2", "d4", "d6"})


@pytest.mark.parametrize(
    ("pins", "to"), [("ab", "a"), pytest.param("ba", "b", marks=pytest.mark.slow)]
)
@virtually
async def test_a_minute_of_instances_whose_pins_differ_ends_with_all_stored_once(
    pins: str, to: str
) -> None:
    async with two_instances(*pins) as (w, other):
        publish(w, "d1")
        publish(other, "d2")
        await both_store(w)
        await _is_found_and_mended(w, other, to)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["a", "b"])
@virtually
async def test_a_minute_of_a_namesake_that_people_made_ends_with_all_stored_once(
    first: str,
) -> None:
    async with two_instances() as (w, other):
        await people_make_it_meanwhile(w, other, first)
        await _is_found_and_mended(w, other, first)


@pytest.mark.slow
@virtually
async def test_a_late_first_document_makes_the_minute_no_longer() -> None:
    """Either home has none of ours for 25 minutes: both workspaces are looked into all along."""
    async with two_instances("a", "b") as (w, other):
        for each, name in ((w, "a"), (other, "b")):
            w.sims[name].faults.embedder_poison = ["refused"]
            each.publish(event(f"of-{name}", ["refused"], technology=DOCS))
            await each.settled()
        await w.idle(1500)
        assert stored(w) == (Counter(), Counter())
        publish(w, "d1")
        publish(other, "d2")
        await both_store(w)
        await w.idle(FOUND_WITHIN)

        assert w.homeless or other.homeless


@pytest.mark.slow
@virtually
async def test_what_another_service_brings_while_the_home_is_away_is_seen_when_it_answers() -> None:
    """Whoever begins then takes the other server for the home: it has documents of ours."""
    async with two_instances() as (w, other):
        publish(w, "d1")
        await w.settled()
        await w.sims["a"].stop()
        async with intruder(w, "b") as brings:
            publish(brings, "x")
            await brings.settled()
        publish(other, "d2")
        await other.settled()
        assert stored(w) == ({"d1_0": 1}, {"x_0": 1, "d2_0": 1})
        await w.sims["a"].start()
        await w.idle(2 * RECOVERY + 1)

        for each in (w, other):
            assert "servers a and b both have documents of ours in it" in each.homeless[DOCS]
        w.publish(None, key="x")
        await w.idle(RECOVERY)
        await mended((w, other), "a", {"d1", "d2"})
