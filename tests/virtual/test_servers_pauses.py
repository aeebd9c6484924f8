"""Workspaces that two servers have: when that is found out, and when their pause ends."""

from __future__ import annotations

from collections import Counter

from consumer.model.names import Slug
from consumer.model.server_marks import split_mark
from tests.virtual.loop import virtually
from tests.virtual.servers_world import ServersWorld, intruder, servers_world
from tests.virtual.test_servers import publish_each
from tests.virtual.world import RECOVERY, event


def split(w: ServersWorld, slug: str = "docs") -> list[str]:
    """The servers that keep the mark that two have a workspace."""
    mark = split_mark(Slug(slug)).slug(w.settings.kafka.group_id)
    return [name for name, sim in w.sims.items() if mark in sim.state.workspaces]


@virtually
async def test_who_remembers_a_namesake_to_be_strange_ends_no_pause_of_another() -> None:
    async with servers_world("a", "b") as w, w.another("a", "b") as other:
        for sim in w.sims.values():
            sim.state.create_workspace("docs", {})
        for n, each in enumerate((w, other)):
            each.publish(event(f"d{n}", ["text"], technology="docs"))
            await each.settled()
        await w.idle(8 * RECOVERY)  # looked into ever later
        another = "b" if w.at("a") else "a"
        async with intruder(w, another) as brings:
            publish_each(brings, ["docs"])
            await brings.settled()
        await w.relist("a", "b")
        w.publish(event("d2", ["text"], technology="docs"))
        await w.idle(RECOVERY / 2)
        assert split(w) == ["a", "b"]
        for _ in range(8):
            await other.idle(RECOVERY / 2)
            assert split(w) == ["a", "b"]
        other.publish(event("d3", ["text"], technology="docs"))
        await other.idle(2 * RECOVERY)

        assert (len(w.results), len(other.results)) == (1, 1)
        assert "both have documents of ours" in other.homeless["docs"]
        w.sims[another].state.workspaces.pop("docs")
        for each in (w, other):
            await each.settled()
        assert split(w) == []


@virtually
async def test_a_workspace_that_two_have_is_named_with_its_mark_while_one_is_away() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        home, another = ("a", "b") if w.at("a") else ("b", "a")
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.idle(2 * RECOVERY)
        await w.sims[home].stop()
        await w.relist("a", "b")
        publish_each(w, ["docs"], day=1)
        await w.idle(2 * RECOVERY)

        mark = split_mark(Slug("docs")).slug(w.settings.kafka.group_id)
        assert mark in w.homeless["docs"]
        assert w.at(another) == Counter({"d-docs_0": 1, "d-docs_1": 1})
        await w.sims[home].start()


@virtually
async def test_a_server_is_waited_for_as_long_as_the_time_of_a_request_says() -> None:
    async with servers_world("a", "b", ANYTHINGLLM_TIMEOUT_SECONDS="90") as w:
        await w.idle(1)
        w.sims["a"].faults.add("delay", method="GET", path="*/v1/workspaces", seconds=25.0)
        await w.relist("a", "b")
        publish_each(w, ["docs"])
        await w.settled()
        assert w.several.homes.trouble is None
