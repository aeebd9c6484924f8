"""From one server to several, and instances that know one of them still."""

from __future__ import annotations

import pytest

from consumer.model.names import Slug
from consumer.model.server_marks import Mark, MarkKind, is_mark_slug
from tests.virtual.loop import virtually
from tests.virtual.servers_world import ServersWorld, alone, servers_world, single
from tests.virtual.test_servers import a_slug, publish_each
from tests.virtual.world import RECOVERY, World, event, world


def marks(w: ServersWorld) -> list[str]:
    """All marks on all servers."""
    every = [slug for sim in w.sims.values() for slug in sim.state.workspaces]
    return [slug for slug in every if is_mark_slug(Slug(slug))]


def lists(w: World) -> int:
    """How often the list of all workspaces was asked for."""
    asked = w.sim.journal.of("request.answered", method="GET")
    return len([each for each in asked if each["path"].endswith("/v1/workspaces")])


@virtually
async def test_servers_begin_when_nobody_has_a_single_one_any_more() -> None:
    async def refused() -> str | None:
        return "1 members of the consumer group have one AnythingLLM only"

    async with servers_world("a", "b") as w:
        await w.idle(1)
        await w.crash()
        for sim in w.sims.values():
            sim.state.workspaces.clear()
        w.may_begin = refused
        await w.start()
        publish_each(w, ["docs"])
        await w.idle(3 * RECOVERY)

        assert marks(w) == []
        assert w.results == []
        assert "have one AnythingLLM only" in w.homeless["docs"]
        assert "have one AnythingLLM only" in str(w.several.homes.trouble)
        await w.crash()
        w.may_begin = World(w.loop, w.sim, 1, single(w, "a")).may_begin
        await w.start()
        await w.settled()

        assert w.statuses() == {"succeeded": 1}
        assert w.several.homes.trouble is None


@virtually
async def test_servers_that_know_each_other_ask_nobody_before_another_is_added() -> None:
    async def never() -> str | None:
        raise AssertionError("asked")

    async with servers_world("a", "b", "c", listed=["a", "b"]) as w:
        await w.idle(1)
        w.may_begin = never
        await w.relist("a", "b", "c")
        publish_each(w, ["docs"])
        await w.settled()


@virtually
async def test_one_server_alone_in_the_list_begins_at_once() -> None:
    async def never() -> str | None:
        raise AssertionError("asked")

    async with servers_world("a", "b", listed=["a"]) as w:
        await w.idle(1)
        await w.crash()
        for sim in w.sims.values():
            sim.state.workspaces.clear()
        w.may_begin = never
        await w.start()
        publish_each(w, ["docs"])
        await w.settled()


@virtually
async def test_what_one_server_remembers_to_be_nowhere_answers_no_tombstone_of_another() -> None:
    """Its workspace was looked for before it was made on the second server."""
    async with servers_world("a", "b", listed=["a"]) as w, alone(w, single(w, "a")) as one:
        on_b = a_slug("b", "a", "b")
        one.publish(None, key="d", workspace=on_b)
        await one.settled()
        await w.relist("a", "b")
        w.publish(event("d", ["text"], technology=on_b))
        await w.settled()
        one.publish(None, key="d", workspace=on_b)
        await one.idle(3 * RECOVERY)

        assert one.statuses() == {"deleted": 1}
        assert w.at("b", on_b).total() == 1


@virtually
async def test_one_server_stores_nothing_in_a_namesake_that_another_may_have_chosen() -> None:
    """People made it on both; the others store on the one that its hash chooses."""
    async with servers_world("a", "b") as w:
        on_b = a_slug("b", "a", "b")
        for sim in w.sims.values():
            sim.state.create_workspace(on_b, {})
        async with alone(w, single(w, "a")) as one:
            for each in (w, one):
                publish_each(each, [on_b])
            await w.settled()
            await one.idle(3 * RECOVERY)

            assert one.results == []
            assert (w.at("a", on_b).total(), w.at("b", on_b).total()) == (0, 2)


@virtually
async def test_one_server_that_becomes_one_of_several_stops_within_seconds_of_uploading() -> None:
    async with servers_world("a", "b", listed=["a"]) as w, alone(w, single(w, "a")) as one:
        one.publish(event("first", ["text"], technology="docs"))
        await one.settled()
        await w.relist("a", "b")
        await w.idle(1)
        one.publish(event("second", ["text 2"], technology="docs"))
        await one.idle(6)
        one.publish(event("third", ["text 3"], technology="docs"))
        await one.idle(3 * RECOVERY)

        assert len(one.results) <= 2
        told = one.pipeline.gates.pauses.paused[Slug("docs")]
        assert "anythingllm-server-knows-b-" in told
        assert one.pipeline.index.unlisted == {}
        for name in ("a", "b"):
            w.mark(name, Mark(MarkKind.WITHOUT, "b"))
        await one.settled()


@virtually
async def test_who_knows_one_server_asks_for_no_list_while_it_has_documents_of_ours() -> None:
    async with world() as w:
        w.publish(event("first", ["text"]))
        await w.settled()
        await w.crash()
        await w.start()
        before = lists(w)
        for n in range(20):
            w.publish(event(f"d{n}", [f"text {n}"]))
            await w.idle(6)
        await w.settled()
        assert lists(w) == before
        w.publish(None, key="d3", workspace="docs")
        await w.settled()
        before = lists(w)  # a removal asks for it by itself
        w.publish(None, key="unknown", workspace="docs")
        await w.settled()
        assert lists(w) == before + 1


@virtually
async def test_a_fresh_workspace_costs_a_few_lists_however_many_documents_wait_for_it() -> None:
    async with world() as w:
        await w.idle(1)
        before = lists(w)
        for n in range(40):
            w.publish(event(f"d{n}", [f"text {n}"]))
        await w.settled()

        assert w.statuses() == {"succeeded": 40}
        assert lists(w) - before <= 6


@pytest.mark.parametrize("status", [403, 404])
@virtually
async def test_a_proxy_that_lists_no_workspaces_stops_no_new_one(status: int) -> None:
    async with world() as w:
        w.sim.faults.add("status", path="/api/v1/workspaces", status=status)
        w.publish(event("first", ["text"]))
        w.publish(None, key="unknown", workspace="docs")
        await w.settled()
        assert w.statuses() == {"succeeded": 1, "deleted": 1}


@virtually
async def test_a_list_that_fails_is_no_failure_of_a_listing() -> None:
    async with world() as w:
        w.sim.faults.add("status", path="/api/v1/workspaces", status=500)
        w.publish(event("first", ["text"]))
        await w.idle(2 * RECOVERY)

        assert w.results == []
        assert w.pipeline.index.unlisted == {}
        assert "one of several servers can't be seen" in str(w.pipeline.gates.pauses.paused)
        w.sim.faults.clear()
        await w.settled()
