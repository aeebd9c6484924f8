"""Whatever was sent twice, somebody looks later: in steady state, and in groups without rest."""

from __future__ import annotations

import pytest

from consumer.anythingllm.sentinel import is_sentinel
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database, world

AMBIGUITY = 600.0


async def _steady(w: World) -> None:
    """All looks of the assignment are over."""
    w.sim.faults.latency = 0.02
    w.publish(event("warm", ["up"]))
    await w.settled()
    await w.idle(3000)


def _texts(id: str, count: int = 3) -> list[str]:
    return [f"text {n} of {id}" for n in range(count)]


@on_each_database
@pytest.mark.parametrize("status", [504, 524, 408, 520, 502, 503, 500, 404, 429])
def test_an_answer_that_is_none_of_anythingllms_own_leaves_no_double(
    status: int, vector_db: str
) -> None:
    """A gateway answers something, and AnythingLLM stores the chunk all the same."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _steady(w)
            w.sim.faults.add(
                "status",
                path="*/raw-text",
                contains="text 1 of a",
                status=status,
                body=f"<html>error code: {status}</html>",
                apply=True,
                times=1,
            )
            w.publish(event("a", _texts("a")))
            await w.settled(within=2 * HOUR)
            await w.idle(2 * HOUR)

            assert w.copies() == {1: 4}
            assert w.uploads() == 4
            assert w.letters == []

    run()


@on_each_database
@virtually
async def test_a_web_page_in_the_place_of_an_answer_leaves_no_double(vector_db: str) -> None:
    """A login page of a proxy says nothing about the upload."""
    async with world(vector_db=vector_db) as w:
        await _steady(w)
        w.sim.faults.add("html", path="*/raw-text", contains="text 1 of a", apply=True, times=1)
        w.publish(event("a", _texts("a")))
        await w.settled(within=2 * HOUR)

        assert w.copies() == {1: 4}


@on_each_database
@virtually
async def test_an_ingress_that_answers_502_costs_no_ambiguity_time(vector_db: str) -> None:
    """AnythingLLM restarts: one listing shows for all chunks that nothing was stored."""
    async with world(vector_db=vector_db) as w:
        await _steady(w)
        w.sim.faults.add("status", path="*/raw-text", status=502, times=20)
        started, listings = w.loop.now, w.requests("/workspace/docs")
        for n in range(10):
            w.publish(event(f"d{n}", _texts(f"d{n}")))
        await w.settled()

        assert w.loop.now - started < 200
        assert w.requests("/workspace/docs") - listings < 60
        assert w.copies() == {1: 31}


@on_each_database
@virtually
async def test_a_refused_connection_proves_nothing_behind_a_proxy(vector_db: str) -> None:
    """The proxy restarts, AnythingLLM goes on, and its late upload becomes a double, which goes."""
    async with world(vector_db=vector_db) as w:
        await _steady(w)
        w.sim.faults.add("delay", path="*/raw-text", contains="text 1 of a", seconds=400, times=1)
        w.publish(event("a", _texts("a")))
        await w.idle(125)
        w.client._transport.refused_at = w.loop.now  # what the proxy's restart looks like
        await w.settled(within=300)
        await w.idle(300)
        assert w.copies() == {1: 3, 2: 1}, "the late one has come"
        await w.idle(AMBIGUITY + 120)

        assert w.copies() == {1: 4}


@on_each_database
@virtually
async def test_a_plan_that_is_dropped_in_doubt_leaves_no_double(vector_db: str) -> None:
    """The workspace seems to be gone while an upload is in doubt: the plan is made anew."""
    async with world(vector_db=vector_db) as w:
        await _steady(w)
        w.sim.faults.add("delay", path="*/raw-text", contains="text 1 of a", seconds=400, times=1)
        away = w.sim.faults.add(
            "status",
            path="*/raw-text",
            contains="text 2 of a",
            status=500,
            headers={"Content-Type": "application/json"},
            body='{"error": "not online"}',
        )
        w.publish(event("a", _texts("a")))
        await w.idle(125)
        away.times = 0
        w.sim.faults.add("embedder-fails", path="*/raw-text", contains="text 2 of a", times=1)
        w.sim.faults.add("status", path="*/update-embeddings", status=400, times=1)
        await w.settled(within=240)
        await w.idle(300)
        assert w.copies() == {1: 3, 2: 1}, "it was sent twice"
        await w.idle(AMBIGUITY)

        assert w.copies() == {1: 4}


@on_each_database
@virtually
async def test_rebalances_without_end_put_no_look_off(vector_db: str) -> None:
    """A member joins and leaves every five minutes; doubles go in their time."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        w.sim.faults.add("delay", path="*/raw-text", contains="text 1 of a", seconds=200, times=1)
        w.publish(event("a", _texts("a")))
        await w.idle(5)
        await w.crash()
        await w.start()
        for _ in range(6):
            await w.idle(300)
            await w.rebalance()

        assert w.copies() == {1: 4}


@on_each_database
@virtually
async def test_restarts_without_end_put_no_look_off(vector_db: str) -> None:
    """A member that lives for five minutes each time looks at what it can see."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        w.sim.faults.add("delay", path="*/raw-text", contains="text 1 of a", seconds=200, times=1)
        w.publish(event("a", _texts("a")))
        await w.idle(5)
        await w.crash()
        await w.start()
        await w.settled()
        await w.idle(250)
        assert w.copies() == {1: 3, 2: 1}, "the former one has come"
        for _ in range(3):
            await w.crash()
            await w.start()
            await w.idle(300)

        assert w.copies() == {1: 4}


@on_each_database
@virtually
async def test_test_documents_of_processes_that_were_killed_go(vector_db: str) -> None:
    """From a workspace in use, by a service that runs on; a quarter of an hour later none is left.

    Those of living processes are younger, and stay.
    """
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.2
        w.publish(event("warm", ["up"]))
        await w.settled()
        for _ in range(5):
            w.client.storage.distrust("docs")  # type: ignore[arg-type]
            w.publish(event("a", _texts("a"), day=len(w.records)))
            await w.idle(1.5)
            await w.crash()
            await w.start()
        await w.settled()
        assert sum(is_sentinel(source) for source, _, _ in w.sim.chunks("docs")) > 1
        await w.idle(AMBIGUITY + 300)

        assert not any(is_sentinel(source) for source, _, _ in w.sim.chunks("docs"))
        assert w.copies() == {1: 4}
