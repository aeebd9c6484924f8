"""The whole journey on vector databases that refuse, lose and hide without a word."""

from __future__ import annotations

from collections import Counter

import pytest

from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.packing import contents_of
from consumer.sandbox.simulator import Options
from tests.tiers import quick_first
from tests.virtual.loop import virtually
from tests.virtual.world import World, event, world

PGVECTOR = Options(vector_db="pgvector")
SMALL = Options(vector_db="pgvector", split_size=300)  # smaller than anybody cuts on purpose
CUT_EMOJI = "x" * 299 + "\U0001f600 and more words"


def _publish(w: World, documents: int) -> None:
    for n in range(documents):
        w.publish(event(f"d{n}", [f"text {m} of d{n}" for m in range(3)]))


def _found(w: World, slug: str = "docs") -> dict[str, int]:
    """How many searchable copies there are of each listed text."""
    copies: Counter[str] = Counter()
    for _, text, count in w.sim.chunks(slug):
        copies.update(dict.fromkeys(contents_of(text), count))
    return dict(copies)


def _all_stored_once(w: World, documents: int) -> None:
    wanted = {f"text {m} of d{n}": 1 for n in range(documents) for m in range(3)}
    assert _found(w) == wanted | {"before": 1}


async def _removals_fail_after(w: World, *, key: str) -> None:
    """A test of removals goes well with a tombstone, and counts for a minute."""
    w.publish(None, key=key)
    await w.settled()
    w.sim.faults.vectors_kept = True


async def _before(w: World) -> None:
    w.sim.faults.latency = 0.02
    w.publish(event("first", ["before"]))
    await w.settled()


@pytest.mark.parametrize("fault", ["vectors_refused", "database_down", "embedder_dimension"])
@pytest.mark.parametrize("name", quick_first(["pgvector", "lancedb", "chroma", "milvus"], quick=2))
def test_an_outage_of_the_vector_database_loses_nothing(name: str, fault: str) -> None:
    """36 documents in ten minutes: none is said to be stored, and afterwards all of them are."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            await _before(w)
            setattr(w.sim.faults, fault, 32 if fault == "embedder_dimension" else True)
            _publish(w, 36)
            await w.idle(600)
            assert w.statuses() == {"succeeded": 1}
            assert len(w.sim.state.files) < 200
            setattr(w.sim.faults, fault, None if fault == "embedder_dimension" else False)
            await w.settled()
            await w.idle(1_300)
            assert w.statuses() == {"succeeded": 37}
            _all_stored_once(w, 36)

    run()


def test_a_text_that_the_database_does_not_take_is_dead_lettered_within_five_minutes() -> None:
    """An emoji on the seam where AnythingLLM cuts; its siblings are stored, and found.

    It takes as long as a vector database may take to show what is new.
    """

    @virtually
    async def run() -> None:
        async with world(options=SMALL) as w:
            await _before(w)
            w.publish(event("a", ["one", CUT_EMOJI, "two"]))
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 1, "partial": 1}
            assert _found(w) == {"before": 1, "one": 1, "two": 1}

    run()


def test_a_removal_that_comes_late_takes_nothing_that_is_said_to_be_stored() -> None:
    """A gateway answers for it, and the text is embedded after all before it takes effect."""
    perhaps_cut_badly = "x" * 499 + "\U0001f600" + "x" * 100

    @virtually
    async def run() -> None:
        async with world(options=PGVECTOR) as w:
            await _before(w)
            w.sim.faults.add("embedder-fails", path="*raw-text", contains="xxx", times=1)
            w.sim.faults.add("embedder-fails", path="*update-embeddings", times=1)
            gateway = w.sim.faults.add(
                "status", path="*/remove-documents", skip=1, times=1, apply=True, late=8.0
            )
            w.publish(event("a", [perhaps_cut_badly]))
            await w.settled()
            assert gateway.fired
            await w.idle(1_300)
            assert w.statuses() == {"succeeded": 2}
            assert list(_found(w).values()) == [1, 1]

    run()


def test_a_process_that_dies_before_it_looked_leaves_nothing_that_is_believed() -> None:
    """Its rows are listed and have no vectors; the next one finds that out."""

    @virtually
    async def run() -> None:
        async with world(options=PGVECTOR) as w:
            await _before(w)
            w.sim.faults.vectors_refused = True
            held = w.sim.faults.add("hold", path="*/vector-search")
            w.publish(event("d0", [f"text {m} of d0" for m in range(3)]))
            await w.idle(5)
            await w.crash()
            held.released = True
            w.sim.faults.vectors_refused = False
            w.sim.faults.rules.clear()
            await w.start()
            await w.settled()
            await w.idle(1_300)
            assert w.statuses()["succeeded"] == 2
            _all_stored_once(w, 1)

    run()


def test_a_workspace_that_shares_its_collection_waits_and_the_others_go_on() -> None:
    """Chroma: slugs that are equal in their first 63 characters."""
    first, second = ("d" * 63 + "-a", "d" * 63 + "-b")

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db="chroma")) as w:
            w.sim.faults.latency = 0.02
            w.publish(event("a", ["one"], technology=first))
            await w.settled()
            w.publish(event("b", ["two"], technology=second))
            w.publish(event("c", ["three"], technology=first))
            await w.has_results(2)
            await w.idle(600)
            assert w.statuses() == {"succeeded": 2}
            assert _found(w, second) == {}
            assert _found(w, first) == {"one": 1, "three": 1}

    run()


@pytest.mark.parametrize("fault", ["vectors_kept", "database_down"])
@pytest.mark.parametrize("name", ["pgvector", "chroma", "milvus"])
def test_what_can_t_be_removed_is_not_said_to_be_removed(name: str, fault: str) -> None:
    """The old texts would be found for ever; afterwards they go."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            await _before(w)
            _publish(w, 4)
            await w.settled()
            setattr(w.sim.faults, fault, True)
            w.publish(event("d0", ["new"], day=1))
            for n in (1, 2, 3):
                w.publish(None, key=f"d{n}")
            await w.idle(600)
            assert w.statuses() == {"succeeded": 5}
            setattr(w.sim.faults, fault, False)
            await w.settled(within=2 * 3600)
            await w.idle(1_300)
            assert w.statuses() == {"succeeded": 6, "deleted": 3}
            assert _found(w) == {"before": 1, "new": 1}
            assert w.orphans() == {}

    run()


@pytest.mark.parametrize("name", ["pgvector", "milvus"])
def test_what_is_refused_right_after_a_test_of_removals_is_told(name: str) -> None:
    """Within five minutes, as failed, with a dead letter that names the workspace and the cure."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            await _before(w)
            _publish(w, 3)
            await w.settled()
            await _removals_fail_after(w, key="d0")
            w.publish(None, key="d1")
            w.publish(event("d2", ["text 0 of d2", "new"], day=1))
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 4, "deleted": 1, "failed": 1, "partial": 1}
            assert len(w.letters) == 2
            for letter in w.letters:
                message = letter["__connect.errors.exception.message"]
                assert "workspace docs" in message
                assert f"remove these vectors from the vector database ({name})" in message
            failed = next(each for each in w.results if each["status"] == "failed")
            assert (failed["failed_uploads"], failed["removed_chunks"]) == (3, 3)
            partial = next(each for each in w.results if each["status"] == "partial")
            assert partial["uploaded_chunk_ids"] == []

    run()


def test_a_tombstone_that_comes_again_finds_what_no_row_leads_to_any_more() -> None:
    """Nothing is listed of it; it is looked for all the same, and is not said to be deleted."""

    @virtually
    async def run() -> None:
        async with world(options=PGVECTOR) as w:
            await _before(w)
            _publish(w, 2)
            await w.settled()
            await _removals_fail_after(w, key="d0")
            w.publish(None, key="d1")
            await w.settled(within=300)
            w.sim.faults.vectors_kept = False
            w.publish(None, key="d1", workspace="docs")
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 3, "deleted": 1, "failed": 2}

    run()


@pytest.mark.parametrize("name", ["lancedb", "pgvector", "chroma", "milvus"])
@pytest.mark.parametrize("chunks", [1, 3, 30])
def test_each_chunk_is_counted_once(name: str, chunks: int) -> None:
    """However it is proven; and nobody waits for a further round."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            await _before(w)
            began = w.loop.now
            w.publish(event("d", [f"text {n} of d" for n in range(chunks)]))
            await w.settled()
            result = w.results[-1]
            ids = [f"d_{n}" for n in range(chunks)]
            assert sorted(result["uploaded_chunk_ids"]) == sorted(ids)
            assert (result["total_chunks"], result["successful_uploads"]) == (chunks, chunks)
            assert w.loop.now - began < 1 + chunks / 5

    run()


def test_what_stays_is_told_also_where_its_workspace_looks_emptied_meanwhile() -> None:
    """The plan is made again then, and has nothing to remove any more."""

    @virtually
    async def run() -> None:
        async with world(options=PGVECTOR) as w:
            w.sim.faults.latency = 0.02
            w.publish(event("d0", ["one", "two"]))
            w.publish(event("d1", ["three"], technology="other"))
            await w.settled()
            await _removals_fail_after(w, key="d1")
            w.publish(event("d0", [], day=1))
            await w.idle(8)
            w.publish(event("d2", ["four"]))
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 3, "deleted": 1, "failed": 1}

    run()


@pytest.mark.parametrize("name", ["pgvector", "milvus"])
def test_a_workspace_that_can_t_be_searched_stops_no_other_one(name: str) -> None:
    """Its documents wait; that is no outage of the vector database."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            w.sim.faults.latency = 0.02
            sick = w.sim.faults.add("status", path="*/ws1/vector-search", status=500)
            w.publish(event("a", ["text"], technology="ws1"))
            for n in range(20):
                w.publish(event(f"d{n}", ["text"], technology=f"ws{2 + n % 2}"))
            await w.has_results(20, within=1_200)
            assert w.statuses() == {"succeeded": 20}
            w.sim.faults.rules.remove(sick)
            await w.settled(within=1_200)
            assert w.statuses() == {"succeeded": 21}
            assert w.letters == []

    run()


@pytest.mark.parametrize("name", ["pgvector", "milvus"])
def test_a_workspace_in_use_that_can_t_be_searched_stops_no_other_one(name: str) -> None:
    """Nor does one that worked before, and where text is to be removed."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            w.sim.faults.latency = 0.02
            for n in range(6):
                w.publish(event(f"d{n}", ["text"], technology=f"ws{n % 3}"))
            await w.settled()
            sick = w.sim.faults.add("status", path="*/ws0/vector-search", status=500)
            for n in range(6):
                w.publish(event(f"d{n}", ["new"], day=1, technology=f"ws{n % 3}"))
            w.publish(event("e", ["more"], technology="ws0"))
            await w.has_results(10, within=1_200)
            assert w.statuses() == {"succeeded": 10}
            w.sim.faults.rules.remove(sick)
            await w.settled(within=1_200)
            assert w.statuses() == {"succeeded": 13}
            assert w.letters == []

    run()


def test_a_version_that_comes_again_does_not_hide_what_stays_of_a_former_one() -> None:
    """Nothing is stale any more, and its text is found: `succeeded` would end its dead letter."""

    @virtually
    async def run() -> None:
        async with world(options=PGVECTOR) as w:
            await _before(w)
            _publish(w, 2)
            await w.settled()
            await _removals_fail_after(w, key="d1")
            w.publish(event("d0", ["new"], day=1))
            await w.settled(within=300)
            w.sim.faults.vectors_kept = False
            w.publish(event("d0", ["new"], day=1))
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 3, "deleted": 1, "failed": 2}
            table = w.sim.tables.get("docs")
            assert table is not None
            table.by_document.clear()  # the cure that the letter names
            w.publish(event("d0", ["new"], day=1))
            await w.settled(within=300)
            assert w.statuses()["failed"] == 2

    run()


@pytest.mark.parametrize("name", ["pgvector", "milvus", "lancedb"])
def test_tombstones_of_what_was_never_there_cost_next_to_nothing(name: str) -> None:
    """In a workspace that is there and empty, and in one that is not."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            await _before(w)
            w.publish(None, key="first", workspace="docs")
            for n in range(50):
                w.publish(None, key=f"d{n}", workspace="docs")
                w.publish(None, key=f"d{n}", workspace="nowhere")
            await w.settled(within=120)
            assert w.statuses() == {"succeeded": 1, "deleted": 101}
            assert "nowhere" not in w.sim.state.workspaces
            assert w.sim.journal.count("document.stored") <= 6

    run()


@pytest.mark.parametrize("name", ["pgvector", "chroma"])
def test_a_database_that_is_down_stops_everything_until_it_is_back(name: str) -> None:
    """No text is judged, at most one workspace gets test documents, and no file is left behind."""

    @virtually
    async def run() -> None:
        async with world(options=Options(vector_db=name)) as w:
            w.sim.faults.latency = 0.02
            for n in range(4):
                w.publish(event(f"first{n}", ["before"], technology=f"ws{n}"))
            await w.settled()
            before = len(w.sim.state.files)
            w.sim.journal.clear()
            w.sim.faults.database_down = True
            for n in range(36):
                w.publish(event(f"d{n}", ["one", "two"], technology=f"ws{n % 4}"))
            await w.idle(600)
            stored = w.sim.journal.of("document.stored")
            tested = {tuple(e["workspaces"]) for e in stored if is_sentinel(e["doc_source"])}
            assert len(tested) <= 1
            assert len(stored) < 40, "a few documents that were under way, and a test a minute"
            assert w.requests("openai/embeddings") <= 11, "one a minute, of the deep probe"
            w.sim.faults.database_down = False
            await w.settled()
            assert w.statuses() == {"succeeded": 40}
            assert len(w.sim.state.files) == before + 72

    run()
