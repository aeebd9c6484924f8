"""The whole journey on vector databases that refuse, lose and hide without a word."""

from __future__ import annotations

from collections import Counter

import pytest

from consumer.sandbox.simulator import Options
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
        copies[text] += count
    return dict(copies)


def _all_stored_once(w: World, documents: int) -> None:
    wanted = {f"text {m} of d{n}": 1 for n in range(documents) for m in range(3)}
    assert _found(w) == wanted | {"before": 1}


async def _before(w: World) -> None:
    w.sim.faults.latency = 0.02
    w.publish(event("first", ["before"]))
    await w.settled()


@pytest.mark.parametrize("fault", ["vectors_refused", "database_down", "embedder_dimension"])
@pytest.mark.parametrize("name", ["pgvector", "chroma", "milvus", "lancedb"])
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


def test_a_text_that_the_database_does_not_take_is_dead_lettered_within_a_minute() -> None:
    """An emoji on the seam where AnythingLLM cuts; its siblings are stored, and found."""

    @virtually
    async def run() -> None:
        async with world(options=SMALL) as w:
            await _before(w)
            w.publish(event("a", ["one", CUT_EMOJI, "two"]))
            await w.settled(within=60)
            assert w.statuses() == {"succeeded": 1, "partial": 1}
            assert _found(w) == {"before": 1, "one": 1, "two": 1}

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
            w.publish(None, key="d0")  # a test of removals goes well, and counts for a minute
            await w.settled()
            w.sim.faults.vectors_kept = True
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
            w.publish(None, key="d0")
            await w.settled()
            w.sim.faults.vectors_kept = True
            w.publish(None, key="d1")
            await w.settled(within=300)
            w.sim.faults.vectors_kept = False
            w.publish(None, key="d1", workspace="docs")
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 3, "deleted": 1, "failed": 2}

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


def test_a_removal_that_is_forbidden_ends_the_event() -> None:
    """Asking again would change nothing; its text stays, and that is told."""

    @virtually
    async def run() -> None:
        async with world() as w:
            await _before(w)
            _publish(w, 1)
            await w.settled()
            w.sim.faults.add("status", path="*/remove-documents", status=403)
            w.publish(None, key="d0")
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 2, "failed": 1}
            assert w.letters[0]["__connect.errors.stage"] == "remove"
            assert w.letters[0]["dlq.http-status"] == "403"

    run()
