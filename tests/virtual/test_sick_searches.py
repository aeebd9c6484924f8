"""One workspace whose searches fail, for whatever reason, keeps nobody else waiting."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.test_firewalls import PAGE, PHRASE
from tests.virtual.world import HOUR, World, event, world


def _search_fails(w: World, how: str, path: str) -> None:
    match how:
        case "hangs":
            w.sim.faults.add("delay", seconds=200, path=path)
        case "page":
            w.sim.faults.add("html", path=path)
        case "403":
            w.sim.faults.add("status", status=403, headers=PAGE, body="<html>", path=path)
        case _:
            w.sim.faults.add("status", status=500, path=path)


@pytest.mark.parametrize("how", ["403", "page", "hangs", "500"])
def test_one_whose_searches_fail_keeps_no_other_workspace_waiting(how: str) -> None:
    """Its test documents are not found either, which says nothing of the database."""

    @virtually
    async def run() -> None:
        async with world(vector_db="pgvector") as w:
            w.sim.faults.latency = 0.05
            w.publish(event("z", ["before"], technology="other"))
            w.publish(event("a", ["text"]))
            await w.settled()
            _search_fails(w, how, "*/workspace/other/vector-search")
            w.publish(event("y", ["some more"], technology="other"))
            await w.idle(60)
            published = w.loop.now
            for n in range(5):
                w.publish(event(f"n{n}", [f"new text {n}"]))
            await w.idle(HOUR)

            assert [result["status"] for result in w.results] == ["succeeded"] * 7
            assert max(result["at"] for result in w.results) - published < 60
            assert w.letters == []

    run()


@pytest.mark.parametrize("how", ["403", "hangs", "500"])
def test_a_tombstone_of_every_workspace_waits_for_no_sick_one(how: str) -> None:
    """What it ends is gone by the list of files; nothing can be looked for in that workspace."""

    @virtually
    async def run() -> None:
        async with world(vector_db="pgvector") as w:
            w.sim.faults.latency = 0.05
            for name, where in (("h", "aaa"), ("z", "other"), ("a", "docs")):
                w.publish(event(name, [f"text of {name}"], technology=where))
                await w.settled()
            await w.idle(700)
            _search_fails(w, how, "*/workspace/other*")
            await w.crash()
            await w.start()
            w.publish(None, key="a")
            await w.idle(60)
            w.publish(event("n", ["new text"]))
            await w.settled(within=HOUR / 4)

            assert w.statuses() == {"succeeded": 4, "deleted": 1}

    run()


@pytest.mark.parametrize("status", [403, 405, 406, 413, 422, 451, 502])
def test_a_stored_text_that_can_not_be_searched_for_is_no_dead_letter(status: int) -> None:
    """Whatever a firewall answers to searches for it, for two minutes on end: it is stored."""

    @virtually
    async def run() -> None:
        async with world(vector_db="pgvector") as w:
            w.sim.faults.latency = 0.05
            w.publish(event("z", ["before"]))
            await w.settled()
            w.sim.faults.add(
                "status", status=status, headers=PAGE, body="<html>", path="*/vector-search",
                contains=PHRASE,
            )  # fmt: skip
            w.publish(event("a", [f"how to {PHRASE}, in a"]))
            await w.settled(within=300)

            assert w.statuses() == {"succeeded": 2}
            assert w.stored() == {"a_0": 1, "z_0": 1}

    run()
