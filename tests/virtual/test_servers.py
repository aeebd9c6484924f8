"""Several servers behind one stream: a workspace on one of them, whatever becomes of the list."""

from __future__ import annotations

from collections import Counter

import pytest

from consumer.model.names import ServerName, Slug
from consumer.model.placement import nearest
from consumer.model.server_marks import Mark, MarkKind
from consumer.sandbox.simulator import Options
from consumer.sandbox.simulator.model import Costs
from tests.virtual.loop import virtually
from tests.virtual.servers_world import (
    ServersWorld,
    alone,
    intruder,
    servers_world,
    single,
)
from tests.virtual.world import RECOVERY, World, event, world

SLUGS = [f"t{n}" for n in range(8)]


def hashed(slug: str, *servers: str) -> str:
    """The server that a slug's hash chooses."""
    return nearest(Slug(slug), map(ServerName, servers))


def a_slug(server: str, *servers: str) -> str:
    """A slug that is hashed to a server."""
    return next(slug for n in range(99) if hashed(slug := f"w{n}", *servers) == server)


def publish_each(w: World, slugs: list[str], *, day: float = 0) -> None:
    for slug in slugs:
        w.publish(event(f"d-{slug}", [f"text {day}", "two"], technology=slug, day=day))


def homes(w: ServersWorld) -> dict[str, str]:
    """Where each workspace is; it fails where one is on two servers."""
    found = [(slug, name) for name in w.sims for slug in w.slugs(name)]
    assert len(dict(found)) == len(found)
    return dict(found)


@virtually
async def test_each_workspace_lives_on_the_server_that_its_hash_chooses() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, SLUGS)
        await w.settled()

        assert w.statuses() == {"succeeded": 8}
        assert homes(w) == {slug: hashed(slug, "a", "b") for slug in SLUGS}
        assert all(w.at(home, slug).total() == 2 for slug, home in homes(w).items())


@virtually
async def test_a_server_that_is_added_takes_only_workspaces_that_nobody_has() -> None:
    async with servers_world("a", "b", listed=["a"]) as w:
        publish_each(w, SLUGS)
        await w.settled()
        await w.relist("a", "b")
        publish_each(w, SLUGS, day=1)
        publish_each(w, [f"new{n}" for n in range(8)])
        await w.settled()

        assert w.statuses() == {"succeeded": 24}
        new = {f"new{n}": hashed(f"new{n}", "a", "b") for n in range(8)}
        assert homes(w) == dict.fromkeys(SLUGS, "a") | new
        assert "b" in new.values()


@virtually
async def test_a_server_that_is_missing_keeps_its_workspaces_and_they_are_named() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, SLUGS)
        await w.settled()
        before = homes(w)
        await w.relist("a")
        publish_each(w, SLUGS, day=1)
        await w.idle(5 * RECOVERY)

        on_b = {slug for slug in SLUGS if before[slug] == "b"}
        assert set(w.homeless) == on_b
        assert all("server b is missing" in reason for reason in w.homeless.values())
        assert homes(w) == before
        await w.relist("a", "b")
        await w.settled()

        assert w.statuses() == {"succeeded": 16}
        assert homes(w) == before
        assert w.homeless == {}


@virtually
async def test_a_name_that_was_given_up_is_missed_no_more() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, SLUGS)
        await w.settled()
        w.mark("a", Mark(MarkKind.WITHOUT, "b"))
        await w.relist("a")
        publish_each(w, ["t-new"])
        await w.settled()

        assert "t-new" in w.slugs("a")


@virtually
async def test_an_instance_that_lists_a_name_that_was_given_up_makes_nothing() -> None:
    """It may be one of the old ones, which was started again in the middle of a change."""
    async with servers_world("a", "b") as w:
        publish_each(w, SLUGS)
        await w.settled()
        before = homes(w)
        w.mark("a", Mark(MarkKind.WITHOUT, "b"))
        async with w.another("a") as new:
            publish_each(w, ["g1", "g2", "g3", "g4"])
            publish_each(new, ["g1", "g2", "g3", "g4"])
            await w.idle(3 * RECOVERY)

            assert homes(w) == before | dict.fromkeys(["g1", "g2", "g3", "g4"], "a")
            assert new.statuses() == {"succeeded": 4}
            assert "the name b was given up" in str(w.several.homes.trouble)


@virtually
async def test_a_server_that_moves_keeps_its_workspaces_and_one_with_a_new_name_waits() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, SLUGS)
        await w.settled()
        before = homes(w)
        await w.relist("a", "c:b")
        publish_each(w, [*SLUGS, "t-new"], day=1)
        await w.idle(3 * RECOVERY)

        on_b = {slug for slug in SLUGS if before[slug] == "b"}
        assert homes(w) == before
        assert set(w.homeless) == {*on_b, "t-new"}
        assert "listed as server c is server b" in w.homeless["t-new"]
        w.mark("a", Mark(MarkKind.WITHOUT, "b"))
        await w.relist("a", "c:b")
        await w.settled()

        assert w.statuses() == {"succeeded": 17}
        assert {slug: home for slug, home in homes(w).items() if slug != "t-new"} == before


@virtually
async def test_servers_whose_names_were_exchanged_wait_until_they_are_put_right() -> None:
    """Also where the exchange ended in the middle: nothing is rewritten for it."""
    async with servers_world("a", "b") as w:
        publish_each(w, SLUGS)
        await w.settled()
        before = homes(w)
        await w.relist("a:b", "b:a")
        publish_each(w, SLUGS, day=1)
        await w.idle(3 * RECOVERY)
        assert set(w.homeless) == set(SLUGS)
        assert len(w.results) == 8
        await w.relist("a", "b")
        await w.settled()

        assert homes(w) == before
        assert w.statuses() == {"succeeded": 16}


@virtually
async def test_instances_that_exchange_names_from_the_first_moment_make_nothing_twice() -> None:
    async with servers_world("a", "b") as w, w.another("a:b", "b:a") as other:
        await w.idle(1)
        for each in (w, other):
            publish_each(each, SLUGS)
        await w.idle(5 * RECOVERY)

        homes(w)  # fails where one is on two


@pytest.mark.parametrize("at_once", [True, False])
@virtually
async def test_a_name_that_leads_to_two_servers_is_believed_by_one_instance(at_once: bool) -> None:
    async with servers_world("a", "b", "z", listed=["a", "b"]) as w:
        if not at_once:
            publish_each(w, SLUGS)
            await w.settled()
        async with w.another("a", "b:z") as other:
            for each in (w, other):
                publish_each(each, SLUGS)
            await w.idle(5 * RECOVERY)

            homes(w)  # fails where one is on two
            assert w.slugs("z") == set() or at_once
            assert other.several.homes.trouble is not None


@virtually
async def test_a_server_that_lost_what_it_had_is_not_believed() -> None:
    """An empty volume: what it had comes back, or is stored anew under another name."""
    async with servers_world("a", "b") as w:
        on_a = a_slug("a", "a", "b")
        publish_each(w, [on_a])
        await w.settled()
        kept = dict(w.sims["a"].state.workspaces)
        w.sims["a"].state.workspaces.clear()
        publish_each(w, [on_a, "other"], day=1)
        await w.idle(3 * RECOVERY)

        assert "server a lacks the mark" in w.homeless[on_a]
        assert homes(w) == {}
        w.sims["a"].state.workspaces.update(kept)
        await w.settled()
        assert homes(w)[on_a] == "a"
        assert w.statuses() == {"succeeded": 3}


@pytest.mark.parametrize("first", ["old", "new", "both"])
@virtually
async def test_instances_with_two_lists_never_make_one_workspace_twice(first: str) -> None:
    """A rolling change of the list: for a while both are there."""
    async with (
        servers_world("a", "b", "c", listed=["a", "b"]) as old,
        old.another("a", "b", "c") as new,
    ):
        slugs = [f"roll{n}" for n in range(6)]
        for w in {"old": [old, new], "new": [new, old], "both": [old, new]}[first]:
            publish_each(w, slugs)
            await w.idle(0.0 if first == "both" else 2 * RECOVERY)
        await new.settled()
        await old.idle(2 * RECOVERY)

        assert len(homes(old)) == 6
        assert all("server c is missing" in reason for reason in old.homeless.values())
        await old.relist("a", "b", "c")
        await old.settled()
        assert len(homes(old)) == 6
        assert old.statuses() == {"succeeded": 6}


@virtually
async def test_a_new_workspace_waits_while_a_server_is_down_and_the_others_go_on() -> None:
    async with servers_world("a", "b") as w:
        on_b = a_slug("b", "a", "b")
        publish_each(w, [on_b])
        await w.settled()
        await w.sims["a"].stop()
        publish_each(w, ["fresh"])
        publish_each(w, [on_b], day=1)
        await w.has_results(2)
        await w.idle(3 * RECOVERY)

        assert "server a does not answer" in w.homeless["fresh"]
        assert len(w.results) == 2
        await w.sims["a"].start()
        await w.settled()

        assert w.statuses() == {"succeeded": 3}
        assert homes(w)["fresh"] == hashed("fresh", "a", "b")


@pytest.mark.parametrize("trouble", ["down", "hangs"])
@virtually
async def test_a_server_that_is_sick_keeps_no_place_of_the_others(trouble: str) -> None:
    async with servers_world("a", "b", INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4") as w:
        on_a, on_b = a_slug("a", "a", "b"), a_slug("b", "a", "b")
        publish_each(w, [on_a, on_b])
        await w.settled()
        if trouble == "down":
            await w.sims["a"].stop()
        else:
            w.sims["a"].faults.latency = 10_000.0
        for n in range(20):
            w.publish(event(f"sick-{n}", ["text"], technology=on_a))
        for n in range(20):
            w.publish(event(f"well-{n}", ["text"], technology=on_b))
        await w.has_results(22, within=30.0)

        assert w.at("b", on_b).total() == 22
        w.sims["a"].faults.clear()
        w.sims["a"].faults.latency = 0.0
        if trouble == "down":
            await w.sims["a"].start()
        await w.settled(within=7200)
        assert w.statuses() == {"succeeded": 42}
        assert w.at("a", on_a).total() == 22
        assert set(w.at("a", on_a).values()) == {1}


@virtually
async def test_a_server_that_hangs_while_it_makes_workspaces_delays_none_of_the_others() -> None:
    async with servers_world("a", "b") as w:
        names = [f"w{n}" for n in range(60)]
        on_a = [slug for slug in names if hashed(slug, "a", "b") == "a"][:20]
        on_b = [slug for slug in names if hashed(slug, "a", "b") == "b"][:3]
        publish_each(w, on_b[:1])
        await w.settled()
        w.sims["a"].faults.add("hold", method="POST", path="*/workspace/new")
        publish_each(w, on_a)
        await w.idle(1)
        publish_each(w, on_b)
        await w.has_results(4, within=10.0)

        assert w.slugs("b") == set(on_b)


@virtually
async def test_a_server_that_hangs_while_it_is_looked_into_delays_none_of_the_others() -> None:
    async with servers_world("a", "b") as w:
        slugs = [f"w{n}" for n in range(12)]
        for sim in w.sims.values():
            for slug in slugs:
                sim.state.create_workspace(slug, {})
        w.sims["b"].state.create_workspace("plain", {})
        publish_each(w, slugs)
        await w.settled()
        w.sims["a"].faults.add("hold", method="GET", path="*/workspace/w*")
        await w.relist("a", "b")
        publish_each(w, [*slugs, "plain"], day=1)
        await w.has_results(13, within=10.0)


@pytest.mark.parametrize("restarts", [True, False])
@virtually
async def test_a_server_that_never_lists_what_it_has_delays_the_others_once_and_shortly(
    restarts: bool,
) -> None:
    async with servers_world("a", "b") as w:
        on_b = [slug for slug in SLUGS if hashed(slug, "a", "b") == "b"]
        publish_each(w, on_b)
        await w.settled()
        w.sims["a"].faults.add("hold", method="GET", path="*/v1/workspaces")
        if restarts:
            await w.relist("a", "b")
        publish_each(w, on_b, day=1)
        await w.has_results(2 * len(on_b), within=25.0)  # one time that is waited for the answer
        publish_each(w, on_b, day=2)
        await w.has_results(3 * len(on_b), within=10.0)


@virtually
async def test_a_server_that_refuses_a_mark_stops_only_what_depends_on_it() -> None:
    async with servers_world("a", "b") as w:
        w.sims["a"].faults.add("status", status=403, body="{}", contains="anythingllm-server-knows")
        publish_each(w, SLUGS)
        await w.idle(3 * RECOVERY)

        on_a = {slug for slug in SLUGS if hashed(slug, "a", "b") == "a"}
        assert w.slugs("a") == on_a
        assert set(w.homeless) == set(SLUGS) - on_a
        assert all("a mark of server b" in reason for reason in w.homeless.values())
        assert "server a keeps no mark" in str(w.several.homes.trouble)
        w.sims["a"].faults.clear()
        await w.settled()
        assert w.statuses() == {"succeeded": 8}


@virtually
async def test_a_workspace_on_two_servers_is_paused_and_named_until_it_is_on_one() -> None:
    async with servers_world("a", "b", listed=["a"]) as w:
        publish_each(w, ["docs"])
        await w.settled()
        async with w.another("b") as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.relist("a", "b")
        publish_each(w, ["docs"], day=1)
        publish_each(w, ["other"], day=1)
        await w.has_results(2)
        await w.idle(3 * RECOVERY)

        assert "a and b both have documents of ours" in w.homeless["docs"]
        assert "workspaces move docs" in w.homeless["docs"]
        assert len(w.results) == 2
        w.sims["b"].state.workspaces.pop("docs")
        await w.settled()
        assert w.statuses() == {"succeeded": 3}
        assert w.homeless == {}


@virtually
async def test_a_conflict_is_seen_while_documents_are_in_work() -> None:
    async with servers_world("a", "b", listed=["a", "b"]) as w:
        publish_each(w, ["docs"])
        await w.settled()
        home = homes(w)["docs"]
        another = "b" if home == "a" else "a"
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.idle(2 * RECOVERY)

        assert "both have documents of ours" in w.homeless["docs"]


@virtually
async def test_namesakes_that_were_there_before_are_told_apart_by_what_is_in_them() -> None:
    """People made the workspace on both; another instance then takes the other one of them."""
    async with servers_world("a", "b") as w:
        for sim in w.sims.values():
            sim.state.create_workspace("docs", {})
        publish_each(w, ["docs"])
        await w.settled()
        home = hashed("docs", "a", "b")
        another = "b" if home == "a" else "a"
        assert (w.at(home).total(), w.at(another).total()) == (2, 0)
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.idle(12 * RECOVERY)

        assert "both have documents of ours" in w.homeless["docs"]
        assert (w.at(home).total(), w.at(another).total()) == (2, 2)


@virtually
async def test_a_workspace_that_was_moved_beside_the_service_is_gone_on_with_there() -> None:
    """What was remembered of the new server says nothing of what was brought there."""
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        home = homes(w)["docs"]
        another = "b" if home == "a" else "a"
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.idle(2 * RECOVERY)
        publish_each(w, ["docs"], day=1)
        await w.idle(2 * RECOVERY)
        w.sims[home].state.workspaces.pop("docs")
        await w.settled()

        assert homes(w) == {"docs": another}
        assert w.at(another) == {"d-docs_0": 1, "d-docs_1": 1}


@virtually
async def test_a_tombstone_reaches_both_servers_that_have_a_workspace() -> None:
    """Also what was brought there since anybody read it: then the conflict is over as well."""
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        home = homes(w)["docs"]
        another = "b" if home == "a" else "a"
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
            await w.idle(2 * RECOVERY)
            w.publish(None, key="unknown", workspace="docs")  # both are read
            await w.has_results(2)
            other.publish(event("late", ["brought there"], technology="docs"))
            await other.settled()
        for id in ("late", "d-docs"):
            w.publish(None, key=id, workspace="docs")
        await w.settled()
        await w.idle(2 * RECOVERY)

        assert w.at(home) == w.at(another) == Counter()
        assert w.homeless == {}


@virtually
async def test_a_document_without_chunks_makes_no_workspace() -> None:
    async with servers_world("a", "b") as w:
        w.publish(event("empty", [], technology="docs"))
        await w.settled()
        assert homes(w) == {}
        assert w.statuses() == {"succeeded": 1}


@virtually
async def test_a_workspace_that_may_not_be_made_is_taken_where_people_make_it() -> None:
    async with servers_world("a", "b", ROUTING_CREATE_WORKSPACES="false") as w:
        publish_each(w, ["docs"])
        await w.idle(2 * RECOVERY)
        assert "create it on one of them" in w.homeless["docs"]
        assert w.slugs("a") == w.slugs("b") == set()
        another = "b" if hashed("docs", "a", "b") == "a" else "a"
        w.sims[another].state.create_workspace("docs", {})
        await w.settled()
        assert homes(w) == {"docs": another}


@virtually
async def test_a_workspace_that_can_t_be_listed_says_nothing_of_its_server() -> None:
    async with servers_world("a", "b") as w:
        for sim in w.sims.values():
            sim.state.create_workspace("sick", {})
        w.sims["a"].faults.add("status", status=500, method="GET", path="*/workspace/sick")
        publish_each(w, ["sick", "well-1", "well-2", "well-3"])
        await w.has_results(3)
        assert "server a does not answer and may have it" in w.homeless["sick"]
        w.sims["a"].faults.clear()
        await w.settled()
        assert w.statuses() == {"succeeded": 4}


@virtually
async def test_a_pin_decides_where_a_workspace_is_made() -> None:
    async with servers_world("a", "b", ANYTHINGLLM_PINS="t0=a,t1=b,t2=a,t3=b") as w:
        publish_each(w, ["t0", "t1", "t2", "t3"])
        await w.settled()
        assert homes(w) == {"t0": "a", "t1": "b", "t2": "a", "t3": "b"}


@virtually
async def test_a_pin_moves_nothing_by_itself() -> None:
    async with servers_world("a", "b", ANYTHINGLLM_PINS="docs=a") as w:
        publish_each(w, ["docs"])
        await w.settled()
        await w.relist("a", "b", ANYTHINGLLM_PINS="docs=b")
        publish_each(w, ["docs"], day=1)
        await w.idle(3 * RECOVERY)

        assert "pinned to server b, and its documents are on server a" in w.homeless["docs"]
        assert homes(w) == {"docs": "a"}


@virtually
async def test_a_tombstone_without_a_workspace_asks_every_server() -> None:
    async with servers_world("a", "b") as w:
        on_a, on_b = a_slug("a", "a", "b"), a_slug("b", "a", "b")
        for slug in (on_a, on_b):
            w.publish(event("same", ["one", "two"], technology=slug))
        await w.settled()
        await w.sims["a"].stop()
        w.publish(None, key="same")
        await w.idle(3 * RECOVERY)

        assert w.at("b", on_b) == Counter()  # at once where somebody answers
        assert len(w.results) == 2
        await w.sims["a"].start()
        await w.settled()
        assert w.at("a", on_a) == Counter()
        assert w.statuses() == {"succeeded": 2, "deleted": 1}


@virtually
async def test_a_tombstone_of_a_workspace_asks_every_server_too() -> None:
    """At once where somebody answers; it is done when all have answered."""
    async with servers_world("a", "b") as w:
        on_b = a_slug("b", "a", "b")
        w.publish(event("d", ["one"], technology=on_b))
        await w.settled()
        await w.sims["a"].stop()
        w.publish(None, key="d", workspace=on_b)
        await w.idle(3 * RECOVERY)

        assert w.at("b", on_b) == Counter()
        assert len(w.results) == 1
        await w.sims["a"].start()
        await w.settled()
        assert w.statuses() == {"succeeded": 1, "deleted": 1}


@pytest.mark.parametrize("names_it", [True, False])
@virtually
async def test_a_tombstone_reaches_what_was_brought_beside_the_home(names_it: bool) -> None:
    """Although nobody has seen yet that the workspace is on two servers."""
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        (home,) = homes(w).values()
        another = "b" if home == "a" else "a"
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        w.publish(None, key="d-docs", **({"workspace": "docs"} if names_it else {}))
        await w.settled()

        assert w.at("a") == w.at("b") == Counter()


@pytest.mark.parametrize("names_it", [True, False])
@virtually
async def test_a_tombstone_waits_for_a_server_that_is_missing(names_it: bool) -> None:
    async with servers_world("a", "b") as w:
        on_b = a_slug("b", "a", "b")
        publish_each(w, [on_b])
        await w.settled()
        await w.relist("a")
        w.publish(None, key=f"d-{on_b}", **({"workspace": on_b} if names_it else {}))
        await w.idle(3 * RECOVERY)

        assert len(w.results) == 1
        assert "server b is missing" in str(w.several.homes.trouble)
        await w.relist("a", "b")
        await w.settled()
        assert w.at("b", on_b) == Counter()
        assert w.statuses() == {"succeeded": 1, "deleted": 1}


@pytest.mark.parametrize("names_it", [True, False])
@virtually
async def test_a_tombstone_asks_a_server_again_that_had_lost_what_it_had(names_it: bool) -> None:
    """What an empty volume says of a document is no answer; its own one comes back."""
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        (home,) = homes(w).values()
        workspaces = w.sims[home].state.workspaces
        kept = dict(workspaces)
        workspaces.clear()
        await w.relist("a", "b")
        w.publish(None, key="d-docs", **({"workspace": "docs"} if names_it else {}))
        await w.idle(3 * RECOVERY)
        assert len(w.results) == 1
        workspaces.update(kept)
        await w.settled()

        assert w.at(home) == Counter()
        assert w.statuses() == {"succeeded": 1, "deleted": 1}


@virtually
async def test_a_tombstone_waits_for_a_server_that_another_instance_has_just_listed() -> None:
    async with servers_world("a", "b", "c", listed=["a", "b"]) as old:
        await old.idle(1)
        async with old.another("a", "b", "c") as new:
            on_c = a_slug("c", "a", "b", "c")
            publish_each(new, [on_c])
            await new.settled()
            old.publish(None, key=f"d-{on_c}", workspace=on_c)
            await old.idle(3 * RECOVERY)

            assert old.results == []
            assert old.at("c", on_c).total() == 2


@virtually
async def test_a_paused_workspace_stays_paused_while_one_of_its_servers_is_away() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        (home,) = homes(w).values()
        another = "b" if home == "a" else "a"
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.idle(2 * RECOVERY)
        for name in ("a", "b"):
            await w.sims[name].stop()
            w.publish(event(f"while-{name}-is-away", ["text"], technology="docs"))
            await w.idle(5 * RECOVERY)
            assert "both have documents of ours" in w.homeless["docs"]
            await w.sims[name].start()
            await w.idle(3 * RECOVERY)

        assert len(w.results) == 1
        assert w.at("a") == w.at("b")


@virtually
async def test_a_paused_workspace_stays_paused_through_a_restart_while_one_server_is_away() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        (home,) = homes(w).values()
        another = "b" if home == "a" else "a"
        async with intruder(w, another) as other:
            publish_each(other, ["docs"])
            await other.settled()
        await w.idle(2 * RECOVERY)
        await w.sims[home].stop()
        await w.relist("a", "b")
        w.publish(event("new", ["text"], technology="docs"))
        await w.idle(3 * RECOVERY)
        assert list(w.homeless) == ["docs"]
        assert w.at(another).total() == 2
        await w.sims[home].start()
        w.sims[home].state.workspaces.pop("docs")  # people decide
        await w.settled()

        assert w.at(another) == {"d-docs_0": 1, "d-docs_1": 1, "new_0": 1}
        assert not any(
            "-split-" in slug for sim in w.sims.values() for slug in sim.state.workspaces
        )


@pytest.mark.parametrize("restarts", [True, False])
@virtually
async def test_a_wrong_pin_makes_nothing_while_the_home_is_away(restarts: bool) -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        (home,) = homes(w).values()
        another = "b" if home == "a" else "a"
        await w.relist("a", "b", ANYTHINGLLM_PINS=f"docs={another}")
        publish_each(w, ["docs"], day=1)
        await w.idle(2 * RECOVERY)
        await w.sims[home].stop()
        if restarts:
            await w.relist("a", "b", ANYTHINGLLM_PINS=f"docs={another}")
        await w.idle(5 * RECOVERY)

        assert list(w.homeless) == ["docs"]
        assert homes(w) == {"docs": home}


@virtually
async def test_a_workspace_that_people_remove_is_made_anew() -> None:
    async with servers_world("a", "b") as w:
        publish_each(w, ["docs"])
        await w.settled()
        before = homes(w)
        w.sims[before["docs"]].state.workspaces.pop("docs")
        publish_each(w, ["docs"], day=1)
        await w.settled()

        assert homes(w) == before
        assert w.statuses() == {"succeeded": 2}


@virtually
async def test_two_names_of_one_server_are_told() -> None:
    async with servers_world("a", listed=["a", "twin:a"]) as w:
        publish_each(w, ["docs"])
        await w.idle(3 * RECOVERY)

        assert "listed as server twin is server a by its own mark" in w.homeless["docs"]
        assert w.slugs("a") == set()


@pytest.mark.parametrize("names_it", [True, False])
@virtually
async def test_one_server_of_a_former_list_does_nothing_that_another_may_have_to_do(
    names_it: bool,
) -> None:
    """Neither is a workspace made, nor a tombstone done, nor a document said to be empty."""
    async with servers_world("a", "b") as w:
        on_a, on_b = a_slug("a", "a", "b"), a_slug("b", "a", "b")
        publish_each(w, [on_a, on_b])
        await w.settled()
        async with alone(w, single(w, "a")) as one:
            publish_each(one, [on_a, on_b], day=1)
            one.publish(None, key=f"e-{on_b}", **({"workspace": on_b} if names_it else {}))
            one.publish(event("empty", [], technology=on_b))
            await one.idle(3 * RECOVERY)

            assert one.results == []
            assert "is one of several" in one.pipeline.gates.pauses.paused[Slug(on_b)]
            assert w.slugs("a") == {on_a}
            w.mark("a", Mark(MarkKind.WITHOUT, "b"))
            await one.settled()


@virtually
async def test_one_server_that_becomes_one_of_several_answers_no_tombstone_of_another() -> None:
    """The instances with the new list begin while it runs."""
    async with servers_world("a", "b", listed=["a"]) as w, alone(w, single(w, "a")) as one:
        on_b = a_slug("b", "a", "b")
        one.publish(event("first", ["text"], technology="docs"))
        await one.settled()
        await w.relist("a", "b")
        publish_each(w, [on_b])
        await w.settled()
        one.publish(None, key=f"d-{on_b}", workspace=on_b)
        await one.idle(3 * RECOVERY)

        assert one.statuses() == {"succeeded": 1}
        assert w.at("b", on_b).total() == 2


@pytest.mark.parametrize("status", [403, 500])
@virtually
async def test_who_knows_one_server_needs_no_list_of_its_workspaces(status: int) -> None:
    """A proxy may not let it through: documents of a workspace that is there are stored."""
    async with world() as w:
        w.publish(event("first", ["text"]))
        await w.settled()
        await w.crash()
        w.sim.faults.add("status", path="/api/v1/workspaces", status=status)
        await w.start()
        w.publish(event("second", ["another text"]))
        await w.settled()

        assert w.statuses() == {"succeeded": 2}


async def _seconds_for(*servers: str) -> float:
    """Virtual seconds for 40 workspaces of 5 documents of 5 chunks, at the real server's cost."""
    options = Options(costs=Costs.measured())
    async with servers_world(*servers, options=options) as w:
        slugs = [f"s{n}" for n in range(40)]
        publish_each(w, slugs)
        await w.settled()
        begun = w.loop.now
        for n in range(5):
            for slug in slugs:
                texts = [f"text {n} {k} of {slug}" for k in range(5)]
                w.publish(event(f"d{n}-{slug}", texts, technology=slug))
        await w.settled()
        assert w.statuses() == {"succeeded": 240}
        return w.loop.now - begun


@pytest.mark.slow
@virtually
async def test_two_servers_at_the_real_cost_are_nearly_twice_as_fast_as_one() -> None:
    one, two = await _seconds_for("a"), await _seconds_for("a", "b")
    assert one / two > 1.9
