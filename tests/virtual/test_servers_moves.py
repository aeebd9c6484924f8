"""A workspace that is moved between servers, and the tombstones that come meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from consumer.model.names import Slug
from consumer.model.server_marks import move_mark
from consumer.operations.moving.permission import MoveRefused
from tests.virtual.loop import virtually
from tests.virtual.servers_kafka import move
from tests.virtual.servers_world import ServersWorld, alone, servers_world, single
from tests.virtual.world import RECOVERY, event

AMBIGUITY = 120.0


def moves(w: ServersWorld, slug: str = "docs") -> list[str]:
    """The servers that keep the mark that a workspace is being moved."""
    mark = move_mark(Slug(slug)).slug(w.settings.kafka.group_id)
    return [name for name, sim in w.sims.items() if mark in sim.state.workspaces]


async def stored(w: ServersWorld, *ids: str) -> tuple[str, str]:
    """Have documents stored; the server that they are on, and the other one."""
    for id in ids:
        w.publish(event(id, ["one", "two"], technology="docs"))
    await w.settled()
    home = "a" if w.at("a") else "b"
    return home, "b" if home == "a" else "a"


@virtually
async def test_a_workspace_is_moved_and_gone_on_with() -> None:
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        home, another = await stored(w, "d1", "d2")
        await w.crash()
        report = await move([w], "docs", another)
        await w.start()
        w.publish(event("d1", ["three"], technology="docs", day=1))
        await w.settled()

        assert (report.moved, report.left) == (2, ())
        assert w.at(another) == {"d1_0": 1, "d2_0": 1, "d2_1": 1}
        assert w.at(home) == Counter()
        assert moves(w) == []


@pytest.mark.parametrize("names_it", [True, False])
@virtually
async def test_a_tombstone_waits_for_a_move_and_takes_what_was_on_its_way(names_it: bool) -> None:
    """The move had read the document before it was removed, and stores it afterwards."""
    async with servers_world("a", "b") as w:
        home, another = await stored(w, "d1", "d2")
        for name in ("a", "b"):
            w.mark(name, move_mark(Slug("docs")))
        w.publish(None, key="d1", workspace="docs" if names_it else None)
        await w.idle(2 * RECOVERY)

        assert w.at(home) == {"d2_0": 1, "d2_1": 1}  # at once
        assert w.statuses() == {"succeeded": 2}
        trouble = str(w.several.homes.trouble)
        assert "1 tombstones wait: workspace docs" in trouble
        assert move_mark(Slug("docs")).slug(w.settings.kafka.group_id) in trouble
        assert "workspaces move docs --to SERVER" in trouble
        async with alone(w, {**single(w, another), "KAFKA_GROUP_ID": "others"}) as late:
            late.publish(event("d1", ["one", "two"], technology="docs"))
            await late.settled()
        for sim in w.sims.values():
            del sim.state.workspaces[move_mark(Slug("docs")).slug(w.settings.kafka.group_id)]
        await w.settled()

        assert w.statuses() == {"succeeded": 2, "deleted": 1}
        assert "d1_0" not in w.at(another)
        assert w.several.homes.trouble is None


@virtually
async def test_a_tombstone_of_another_workspace_waits_for_no_move() -> None:
    async with servers_world("a", "b") as w:
        await stored(w, "d1")
        w.publish(event("e", ["one"], technology="blog"))
        await w.settled()
        for name in ("a", "b"):
            w.mark(name, move_mark(Slug("docs")))
        w.publish(None, key="e", workspace="blog")
        await w.has_results(3, within=10)


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(each, marks=[] if each == 0.4 else [pytest.mark.slow])
        for each in (0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
    ],
)
@virtually
async def test_an_instance_that_begins_in_a_move_has_its_tombstone_done_everywhere(
    seconds: float,
) -> None:
    """Whenever it begins: the move ends only while nobody is there, and what it stored goes."""
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        _, another = await stored(w, "d1", "d2", "d3")
        await w.crash()
        is_running = False
        moving = w.loop.create_task(move([w], "docs", another, running=lambda: is_running))
        await asyncio.sleep(seconds)
        is_running = True
        w.publish(None, key="d2", workspace="docs")
        await w.start()
        with pytest.raises(MoveRefused):
            await moving
        await w.idle(2 * RECOVERY)
        assert w.statuses() == {"succeeded": 3}
        assert moves(w) == ["a", "b"]
        await w.crash()
        is_running = False
        await move([w], "docs", another)
        await w.start()
        await w.settled()

        assert w.at("a") + w.at("b") == {"d1_0": 1, "d1_1": 1, "d3_0": 1, "d3_1": 1}
        assert w.statuses() == {"succeeded": 3, "deleted": 1}


@virtually
async def test_a_move_removes_what_a_tombstone_ended_from_the_new_server_too() -> None:
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        home, another = await stored(w, "d1", "d2")
        await w.crash()
        async with alone(w, {**single(w, another), "KAFKA_GROUP_ID": "others"}) as former:
            former.publish(event("d1", ["one", "two"], technology="docs"))
            await former.settled()
        w.publish(None, key="d1", workspace="docs")
        report = await move([w], "docs", another)

        assert w.at(another) == {"d2_0": 1, "d2_1": 1}
        assert w.at(home) == Counter()
        assert (report.moved, report.removed, report.left) == (1, 1, ())


@virtually
async def test_what_only_the_new_server_has_of_an_ended_document_is_removed_as_well() -> None:
    """A move that went on after an instance had removed it from the old server."""
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        home, _ = await stored(w, "d1", "d2")
        await w.crash()
        for name in ("a", "b"):
            w.mark(name, move_mark(Slug("docs")))
        w.publish(None, key="d1", workspace="docs")
        report = await move([w], "docs", home)

        assert w.at(home) == {"d2_0": 1, "d2_1": 1}
        assert (report.removed, report.left) == (1, ())
        assert moves(w) == []


@virtually
async def test_a_move_does_not_end_while_somebody_is_there() -> None:
    """He began after the last document: what he removed may have been read before."""
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        _, another = await stored(w, "d1")
        await w.crash()
        ended = 0

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal ended
            ended += stage == "moving" and done == total

        with pytest.raises(MoveRefused):
            await move([w], "docs", another, running=lambda: int(ended == 2), progress=progress)
        assert moves(w) == ["a", "b"]
        assert w.at(another).total() == 2


@virtually
async def test_who_had_no_part_for_a_while_finds_out_anew_where_workspaces_live() -> None:
    """A process that was stopped and goes on: a workspace may have been moved meanwhile."""
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        await stored(w, "d1")
        assert w.several.homes.known(Slug("docs")) is not None
        await w.rebalance()
        assert w.several.homes.known(Slug("docs")) is None
        w.publish(event("d2", ["one"], technology="docs"))
        await w.settled()


@virtually
async def test_two_moves_are_not_at_work_at_once() -> None:
    """In opposite directions each would remove what the other takes for stored."""
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        home, another = await stored(w, "d1", "d2")
        await w.crash()
        first = asyncio.create_task(move([w], "docs", another))
        await asyncio.sleep(0.1)
        with pytest.raises(MoveRefused, match="another move is at work"):
            await move([w], "docs", home)
        await first
        assert w.at(another).total() == 4


@virtually
async def test_a_move_back_waits_for_what_the_one_that_was_killed_had_sent() -> None:
    """Its removal is under way still: what is listed there is taken for stored."""
    async with servers_world("a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS="120") as w:
        home, another = await stored(w, "d1")
        await w.crash()
        w.sims[home].faults.add(
            "reset", path="*/remove-documents", times=1, apply=True, late=AMBIGUITY / 2
        )
        killed = asyncio.create_task(move([w], "docs", another))
        while not w.at(another):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
        assert w.at(home).total() == 2
        report = await move([w], "docs", home)

        assert report.left == ()
        assert w.at(home) == {"d1_0": 1, "d1_1": 1}
        assert w.at(another) == Counter()
