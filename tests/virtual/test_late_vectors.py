"""A vector database that shows late what is new, in each search or in some: nobody waits for ever.

Each with default settings. The simulated database has its vectors `late` seconds after they were
stored; `every` second or third search is late only, as where one of so many replicas lags.
"""

from __future__ import annotations

import asyncio

import pytest

from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.names import Slug
from consumer.model.packing import contents_of
from consumer.sandbox.simulator import Damage, Options
from tests.packing import packing_or
from tests.tiers import quick_first
from tests.virtual.loop import virtually
from tests.virtual.world import World, event, world

TWO_HOURS = 7_200.0
LATE = [(0.3, 1), (5.0, 1), (60.0, 1), (60.0, 2), (60.0, 3)]
NEVER = 1e9
DATABASES = ["lancedb", "pgvector", "chroma", "milvus"]
CUT_EMOJI = "x" * 299 + "\U0001f600 and more words"  # no database but LanceDB takes half of one

on_late_databases = pytest.mark.parametrize(("late", "every"), LATE)


def _written(w: World) -> int:
    """Test documents that were ever stored."""
    stored = w.sim.journal.of("document.stored")
    return sum(is_sentinel(entry["doc_source"]) for entry in stored)


def _left(w: World) -> int:
    """Test documents that are stored now."""
    files = w.sim.state.files.values()
    return sum(is_sentinel(file.metadata["docSource"]) for file in files)


def _publish(w: World, *numbers: int, technology: str = "docs") -> None:
    for n in numbers:
        w.publish(event(f"d{n}", [f"text {m} of d{n}" for m in range(3)], technology=technology))


async def _in_use(w: World) -> None:
    """The workspace is in use, its process is a new one, and knows nothing."""
    w.sim.faults.latency = 0.02
    w.publish(event("first", ["before"]))
    await w.settled()
    await w.idle(700)
    await w.crash()
    await w.start()
    w.sim.journal.clear()


@on_late_databases
@pytest.mark.parametrize("name", quick_first(DATABASES, quick=2))
def test_a_fresh_workspace_gets_ready_with_one_test_document(
    name: str, late: float, every: int
) -> None:
    """Soon after searches show it, and everything that waited is stored once."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            w.sim.faults.latency = 0.02
            w.sim.faults.visible_after_seconds, w.sim.faults.late_every = late, every
            _publish(w, *range(20))
            await w.settled(within=3 * late + 30)
            await w.idle(TWO_HOURS)
            assert w.statuses() == {"succeeded": 20}
            assert w.copies() == {1: 60}
            # Where a chunk is missed by some searches only, one more tells whether all are. Whole
            # documents in a pack are missed more often: nothing is found beside them.
            some = 3 if packing_or("1") == "1" else 6
            assert _written(w) <= (1 if every == 1 else some)
            assert (_left(w), w.letters) == (0, [])

    run()


@pytest.mark.parametrize("name", DATABASES)
def test_a_test_document_of_an_earlier_try_counts(name: str) -> None:
    """Five minutes late: it is not given up for a newer one, and the others wait aside."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            w.sim.faults.latency = 0.02
            w.sim.faults.visible_after_seconds = 300
            _publish(w, *range(3))
            await w.settled(within=1_200)
            await w.idle(TWO_HOURS)
            assert w.statuses() == {"succeeded": 3}
            assert (w.copies(), w.letters) == ({1: 9}, [])
            assert _written(w) <= 8
            assert _left(w) == 0

    run()


@pytest.mark.parametrize("name", quick_first(["pgvector", "lancedb"]))
@pytest.mark.slow
def test_where_nothing_is_ever_shown_there_is_no_heap_of_test_documents(name: str) -> None:
    """About one a minute is written, three are there at a time, and it is said what waits."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            w.sim.faults.latency = 0.02
            w.sim.faults.visible_after_seconds = NEVER
            _publish(w, *range(3))
            for _ in range(24):
                await w.idle(TWO_HOURS / 24)
                assert _left(w) <= 4
            assert _written(w) <= 140
            assert (w.results, w.letters) == ([], [])
            w.sim.faults.visible_after_seconds = 0.0
            await w.settled(within=150)
            await w.idle(1_300)
            assert w.statuses() == {"succeeded": 3}
            assert (w.copies(), _left(w)) == ({1: 9}, 0)

    run()


def test_documents_for_others_go_on_while_a_fresh_workspace_waits() -> None:
    """More of them than there are places; they stand aside."""

    @virtually
    async def run() -> None:
        async with world(MAX_DOCUMENTS_IN_FLIGHT="4") as w:
            w.sim.faults.latency = 0.02
            w.publish(event("first", ["before"], technology="other"))
            await w.settled()
            await w.idle(700)
            w.sim.faults.visible_after_seconds = 60.0
            began = w.loop.now
            _publish(w, *range(20))
            _publish(w, *range(20, 40), technology="other")
            await w.has_results(21, within=30)
            assert {each["workspace_slug"] for each in w.results} == {"other"}
            await w.settled()
            assert w.loop.now - began < 120
            assert w.copies() == {1: 121}

    run()


@on_late_databases
@pytest.mark.parametrize("name", quick_first(["pgvector", "chroma", "milvus"]))
def test_an_odd_chunk_does_not_pause_its_workspace(name: str, late: float, every: int) -> None:
    """No database takes its text. It is judged by itself; what comes meanwhile is stored.

    A process that knows nothing of how late the database is neither blames the others' texts.
    """

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name, split_size=300)) as w:
            await _in_use(w)
            w.sim.faults.visible_after_seconds, w.sim.faults.late_every = late, every
            w.publish(event("odd", ["one", CUT_EMOJI, "two"]))
            _publish(w, *range(10))
            for n in range(10, 20):
                await w.idle(20)
                _publish(w, n)
            await w.settled(within=1_800)
            await w.idle(1_300)
            assert w.statuses() == {"succeeded": 21, "partial": 1}
            assert w.copies() == {1: 63}
            assert len(w.letters) == 1
            assert _written(w) <= 25  # with those that the odd text is compared with
            assert _left(w) == 0
            assert not w.pipeline.gates.pauses.paused
            ages = [r["at"] - 700 for r in w.results if r["document_id"].startswith("d")]
            assert max(ages) < 200 + 150 + 2 * late, "nobody waits for the odd one's end"

    run()


@on_late_databases
@pytest.mark.parametrize("name", quick_first(["pgvector", "milvus"]))
def test_a_chunk_that_is_listed_and_never_found_is_mended_by_itself(
    name: str, late: float, every: int
) -> None:
    """A dead process left it; its document comes again, and others beside it."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            _publish(w, 0)
            await w.settled()
            lost = next(
                f for f in w.sim.state.files.values() if "text 1 of d0" in contents_of(f.text)
            )
            w.sim.damage(Damage.VECTORS_LOST, "docs", lost.location)
            await _in_use(w)
            w.sim.faults.visible_after_seconds, w.sim.faults.late_every = late, every
            _publish(w, 0, *range(1, 20))
            await w.settled(within=600)
            await w.idle(1_300)
            assert w.copies() == {1: 61}
            assert (w.letters, _left(w)) == ([], 0)
            assert not w.pipeline.gates.pauses.paused

    run()


@pytest.mark.parametrize("late", [5.0, 60.0])
@pytest.mark.parametrize("name", ["pgvector", "milvus"])
def test_what_is_removed_beside_late_vectors_is_removed_once(name: str, late: float) -> None:
    """New versions and tombstones: none is failed for what is only late."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            await _in_use(w)
            _publish(w, *range(6))
            await w.settled()
            w.sim.faults.visible_after_seconds = late
            for n in range(3):
                w.publish(event(f"d{n}", ["new"], day=1))
                w.publish(None, key=f"d{n + 3}", workspace="docs")
            await w.settled(within=900)
            await w.idle(1_300)
            assert w.statuses() == {"succeeded": 10, "deleted": 3}
            assert (w.copies(), w.orphans(), w.letters) == ({1: 4}, {}, [])

    run()


@pytest.mark.parametrize("after", [0.35, 0.4, 0.45, 0.5])
def test_two_tries_at_once_do_not_take_each_others_test_document(after: float) -> None:
    """A workspace that is distrusted while it is proven: the second try waited two minutes."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.1
            w.sim.faults.add("delay", path="*/raw-text", seconds=0.9, skip=1)
            storage, docs, began = w.client.storage, Slug("docs"), w.loop.now
            first = asyncio.create_task(storage.prepare(docs))
            await w.idle(after)
            storage.distrust(docs)
            await asyncio.gather(first, storage.prepare(docs))

            assert w.loop.now - began < 10
            assert _left(w) == 0

    run()
