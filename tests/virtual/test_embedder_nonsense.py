"""An embedder that answers nonsense with 200: nothing counts as stored that no search can find."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from consumer.sandbox.simulator import Options
from consumer.sandbox.simulator.embedder import Nonsense, embed
from consumer.sandbox.simulator.model import Costs
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database_slowly, world

EVERY = [each.value for each in Nonsense]


def _senseless(w: World, slug: str = "docs") -> set[str]:
    """The texts of listed rows whose vectors are not those of their text."""
    table = w.sim.tables.get(slug)
    assert table is not None
    wrong = set()
    for row in w.sim.state.workspaces[slug].rows.values():
        for stored in table.by_document.get(row.doc_id, ()):
            if stored.embedded.vector != embed(stored.embedded.text):
                wrong.add(row.file.text)
    return wrong


@on_each_database_slowly
@pytest.mark.parametrize("kind", EVERY)
def test_nothing_is_said_to_be_stored_meanwhile(kind: str, vector_db: str) -> None:
    """36 documents in ten minutes; afterwards all of them are stored, with vectors of their own."""

    @virtually
    async def run() -> None:
        with capture_logs() as logs:
            async with world(vector_db=vector_db) as w:
                w.sim.faults.latency = 0.02
                w.publish(event("first", ["before"]))
                await w.settled()
                w.sim.faults.update({"embedder_nonsense": kind})
                for n in range(36):
                    w.publish(event(f"d{n}", [f"text {m} of d{n}" for m in range(3)]))
                await w.idle(600)
                assert w.statuses() == {"succeeded": 1}
                assert w.breaker[-1][1] == "open"
                assert len(w.sim.state.files) < 110
                w.sim.faults.embedder_nonsense = ""
                await w.settled(within=HOUR)
                assert w.statuses() == {"succeeded": 37}
                assert w.letters == []
                assert _senseless(w) == set()
                assert set(w.copies()) == {1}
                assert sum(w.stored().values()) == 109
                assert len(w.sim.state.files) == 109
        told = [each for each in logs if each["event"] == "embedder.nonsense"]
        if not (vector_db == "chroma" and kind in ("nulls", "nan")):  # refused, and embedded never
            assert len(told) == 1
            assert "nothing is uploaded" in told[0]["consequence"]
            assert [each["event"] for each in logs].count("embedder.makes_sense_again") == 1
        probes = [each for each in logs if each["event"] == "breaker.probe_failed"]
        assert "embedder" in probes[0]["error"]

    run()


@on_each_database_slowly
@pytest.mark.parametrize("kind", EVERY)
def test_a_process_that_begins_meanwhile_stores_nothing(kind: str, vector_db: str) -> None:
    """What the one before it left is listed, and is not believed."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.latency = 0.02
            w.publish(event("first", ["before"]))
            await w.settled()
            w.sim.faults.update({"embedder_nonsense": kind})
            w.sim.faults.add("hold", path="*/openai/embeddings")
            w.publish(event("a", ["one", "two"]))
            await w.idle(8)
            await w.crash()
            w.sim.faults.rules.clear()
            await w.start()
            w.publish(event("b", ["three"]))
            await w.idle(300)
            assert w.statuses() == {"succeeded": 1}
            w.sim.faults.embedder_nonsense = ""
            await w.settled(within=HOUR)
            await w.idle(HOUR)

            assert w.statuses() == {"succeeded": 3}
            assert w.stored() == {"first_0": 1, "a_0": 1, "a_1": 1, "b_0": 1}
            if kind != "constant" and vector_db != "chroma":  # elsewhere they have a distance
                assert _senseless(w) == set()

    run()


@pytest.mark.parametrize("length", [32, 128])
@pytest.mark.parametrize("restarts", [False, True])
def test_another_length_than_yesterday_stores_nothing(length: int, restarts: bool) -> None:
    """LanceDB takes longer vectors with success, cut: no search works. The others go on."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.02
            for slug in ("ws1", "ws2"):
                w.publish(event(f"first-{slug}", ["before"], technology=slug))
            await w.settled()
            await w.idle(120)
            w.sim.faults.embedder_dimension = length
            if restarts:
                await w.crash()
                await w.start()
            for n in range(10):
                w.publish(event(f"d{n}", ["one", "two"], technology=f"ws{1 + n % 2}"))
            w.publish(event("new", ["three"], technology="fresh"))
            await w.idle(600)
            assert w.statuses() == {"succeeded": 3}
            assert w.stored("fresh") == {"new_0": 1}
            w.sim.faults.embedder_dimension = None
            await w.settled(within=HOUR)
            assert w.statuses() == {"succeeded": 13}
            assert w.letters == []
            assert _senseless(w, "ws1") | _senseless(w, "ws2") == set()
            assert set(w.copies()) == {1}

    run()


def test_a_large_document_is_not_uploaded_whole_before_anybody_looks() -> None:
    """A look every five seconds at least: so much and no more has to be uploaded anew."""

    @virtually
    async def run() -> None:
        async with world(options=Options(costs=Costs.measured())) as w:
            w.publish(event("first", ["before"]))
            await w.settled()
            w.sim.faults.embedder_nonsense = "zeros"
            w.publish(event("d", [f"text {n}" for n in range(2_000)]))
            await w.idle(300)
            assert w.uploads() < 120
            assert w.statuses() == {"succeeded": 1}

    run()


@pytest.mark.parametrize("path_status", [400, 401, 403, 404, 405, 406, 413, 451, 501])
def test_where_the_embedder_can_t_be_asked_work_goes_on(path_status: int) -> None:
    """A proxy that does not let that path through: told, and believed.

    Outages end as well, and what can't be embedded is found by storing it.
    """

    @virtually
    async def run() -> None:
        with capture_logs() as logs:
            async with world() as w:
                w.sim.faults.add("status", path="*/openai/embeddings", status=path_status)
                w.publish(event("a", ["one"]))
                await w.settled(within=60)
                assert w.statuses() == {"succeeded": 1}
                outage = w.sim.faults.add("status", path="*", status=502)
                w.publish(event("b", ["two"]))
                await w.idle(300)
                w.sim.faults.rules.remove(outage)
                await w.settled(within=120)
                assert w.statuses() == {"succeeded": 2}
                w.sim.faults.embedder_poison = ["poison"]
                w.publish(event("c", ["poison", "three"]))
                await w.settled(within=600)
                assert w.statuses() == {"succeeded": 2, "partial": 1}
        assert [each["event"] for each in logs].count("embedder.not_looked_at") == 1

    run()
