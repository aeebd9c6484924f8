"""A firewall that blocks one document: proven its own, by name; everything else goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from consumer.sandbox.simulator import Faults, VectorDb
from tests.tiers import quick_first
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database_slowly, world

PHRASE = "select password from users"
RAW_TEXT = "*/raw-text"
EMBEDDINGS = "*/openai/embeddings"
PAGE = {"Content-Type": "text/html"}

Block = Callable[[Faults, str], None]


def _html(faults: Faults, path: str) -> None:
    faults.add("html", path=path, contains=PHRASE)


def _status(status: int) -> Block:
    def block(faults: Faults, path: str) -> None:
        faults.add("status", status=status, headers=PAGE, body="<html>", path=path, contains=PHRASE)

    return block


BLOCKS: dict[str, Block] = {
    "a page with 200": _html,
    "502": _status(502),
    "503": _status(503),
    "403": _status(403),
    "406": _status(406),
}
PATHS = {"uploads": (RAW_TEXT,), "uploads and embeddings": (RAW_TEXT, EMBEDDINGS)}


def _texts(id: str, *, blocked: bool = False) -> list[str]:
    texts = [f"text {n} of {id}" for n in range(8)]
    if blocked:
        texts[1] = f"how to {PHRASE}, in {id}"
    return texts


def _error(w: World) -> str:
    (letter,) = w.letters
    return letter["__connect.errors.exception.message"]


@pytest.mark.parametrize("paths", PATHS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_blocked_document_falls_by_name_and_its_siblings_are_stored(
    block: str, paths: str
) -> None:
    """Nobody is told that the embedder refused it, or that the endpoint is wrong."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            for path in PATHS[paths]:
                BLOCKS[block](w.sim.faults, path)
            w.publish(event("a", _texts("a", blocked=True)))
            await w.settled(within=600)

            assert w.statuses() == {"partial": 1}
            assert w.stored() == {f"a_{n}": 1 for n in range(8) if n != 1}
            assert "something between us and AnythingLLM answers for it" in _error(w)
            assert "the embedder refused" not in _error(w)
            assert PHRASE not in str(w.letters) + str(w.results)
            assert w.breaker == []
            assert not w.pipeline.gates.pauses.paused

    run()


@pytest.mark.parametrize("paths", PATHS)
def test_a_firewall_that_cuts_the_connection_is_not_taken_for_the_embedder(paths: str) -> None:
    """Each upload may still come, so it takes longer; nobody knows who cut it, and that is told."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            for path in PATHS[paths]:
                w.sim.faults.add("reset", path=path, contains=PHRASE)
            w.publish(event("a", _texts("a", blocked=True)))
            await w.settled(within=3 * HOUR)

            assert w.statuses() == {"partial": 1}
            assert "answered by nobody" in _error(w)
            assert "the embedder refused" not in _error(w)

    run()


@pytest.mark.parametrize("status", [403, 502])
def test_a_firewall_that_takes_its_time_is_found_out_too(status: int) -> None:
    """Later than the other: a gateway that lost an upload in a restart looks like that as well."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            details = {"path": RAW_TEXT, "contains": PHRASE, "seconds": 12}
            w.sim.faults.add("status", status=status, headers=PAGE, body="<html>", **details)
            w.publish(event("a", _texts("a", blocked=True)))
            await w.settled(within=HOUR)

            assert w.statuses() == {"partial": 1}
            assert "something between us and AnythingLLM answers for it" in _error(w)

    run()


@pytest.mark.parametrize("status", quick_first([504, 408, 524]))
@pytest.mark.parametrize("paths", PATHS)
def test_a_text_that_hangs_behind_a_proxy_that_gives_up_is_settled(paths: str, status: int) -> None:
    """With 504 it was sent every two minutes, for ever. Nobody says that it was refused."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            for path in PATHS[paths]:
                details = {"path": path, "contains": PHRASE, "seconds": 60}
                w.sim.faults.add("status", status=status, headers=PAGE, body="<html>", **details)
            w.publish(event("a", _texts("a", blocked=True)))
            await w.settled(within=HOUR)

            assert w.statuses() == {"partial": 1}
            assert "answered by nobody" in _error(w)
            assert "the embedder refused" not in _error(w)

    run()


@on_each_database_slowly
@virtually
async def test_a_changed_document_that_is_blocked_leaves_what_is_stored(vector_db: str) -> None:
    """The new version is answered as partial; nothing stale goes before it is stored."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.05
        w.publish(event("a", _texts("a")))
        await w.settled()
        _html(w.sim.faults, RAW_TEXT)
        w.publish(event("a", _texts("a", blocked=True), day=1))
        await w.settled(within=600)

        assert [result["status"] for result in w.results] == ["succeeded", "partial"]
        assert w.stored()["a_1"] == 1
        assert "something between us and AnythingLLM answers for it" in _error(w)


@virtually
async def test_others_do_not_notice_a_blocked_document() -> None:
    """It stands aside: a hundred documents behind it are stored at once, by whatever path."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        for path in (RAW_TEXT, EMBEDDINGS):
            _html(w.sim.faults, path)
        w.publish(event("bad", _texts("bad", blocked=True)))
        for n in range(100):
            w.publish(event(f"d{n}", [f"text of d{n}"]))
        await w.has_results(100, within=30)
        assert w.statuses() == {"succeeded": 100}
        await w.settled(within=300)

        assert w.statuses() == {"succeeded": 100, "partial": 1}


@virtually
async def test_a_blocked_document_that_is_overtaken_is_superseded_at_once() -> None:
    """Its judgement ends, and nobody is dead-lettered for a version that counts no more."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        _html(w.sim.faults, RAW_TEXT)
        w.publish(event("a", _texts("a", blocked=True)))
        await w.idle(100)
        w.publish(event("a", _texts("a"), day=1))
        await w.settled(within=30)

        assert [result["status"] for result in w.results] == ["superseded", "succeeded"]
        assert w.letters == []


@pytest.mark.parametrize("way", ["rebalance", "crash"])
def test_a_judgement_that_is_interrupted_begins_anew(way: str) -> None:
    """What it goes by is in memory: five minutes later, and one letter all the same."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            _html(w.sim.faults, RAW_TEXT)
            w.publish(event("a", _texts("a", blocked=True)))
            await w.idle(150)
            if way == "rebalance":
                await w.rebalance()
            else:
                await w.crash()
                await w.start()
            await w.idle(150)
            assert w.letters == []
            await w.settled(within=150)

            assert len(w.letters) == 1
            assert w.stored() == {f"a_{n}": 1 for n in range(8) if n != 1}

    run()


@pytest.mark.parametrize("block", quick_first(BLOCKS, quick=2))
def test_a_gateway_that_answers_like_that_for_everything_is_an_outage(block: str) -> None:
    """For two hours: 0 dead letters, whatever it says."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            for n in range(20):
                w.publish(event(f"d{n}", [f"how to {PHRASE}, in {n}"]))
            await w.idle(0.3)
            if block == "a page with 200":
                w.sim.faults.add("html")
            else:
                status = int(block)
                w.sim.faults.add("status", status=status, headers=PAGE, body="<html>")
            await w.idle(2 * HOUR)
            assert w.letters == []
            w.sim.faults.clear()
            await w.settled(within=900)

            assert w.statuses() == {"succeeded": 20}
            assert w.copies() == {1: 20}

    run()


@pytest.mark.parametrize("block", BLOCKS)
def test_a_search_that_is_blocked_holds_nothing_up(block: str) -> None:
    """Where a search has to find what is stored: for a document, its update and its tombstone."""

    @virtually
    async def run() -> None:
        async with world(vector_db=VectorDb.PGVECTOR) as w:
            w.sim.faults.latency = 0.05
            w.publish(event("other", ["another text"]))
            BLOCKS[block](w.sim.faults, "*/vector-search")
            texts = _texts("a", blocked=True)
            w.publish(event("a", [texts[1], texts[0]]))
            await w.settled(within=300)
            await w.rebalance()
            await w.crash()
            await w.start()
            w.publish(event("a", [texts[1], texts[2]], day=1))
            await w.settled(within=300)
            assert w.stored() == {"other_0": 1, "a_0": 1, "a_1": 1}
            w.publish(None, key="a", workspace="docs")
            await w.settled(within=300)

            assert [result["status"] for result in w.results] == [*["succeeded"] * 3, "deleted"]
            assert w.stored() == {"other_0": 1}
            assert not w.pipeline.gates.pauses.paused

    run()


@virtually
async def test_a_gateway_that_knows_no_searches_is_an_outage_where_they_are_the_proof() -> None:
    """Nobody is blamed for what meets every search."""
    async with world(vector_db=VectorDb.PGVECTOR) as w:
        w.sim.faults.latency = 0.05
        w.publish(event("before", ["up"]))
        await w.settled()
        w.sim.faults.add("html", path="*/vector-search")
        w.publish(event("a", _texts("a")))
        await w.idle(HOUR)
        assert w.letters == []
        w.sim.faults.clear()
        await w.settled(within=300)

        assert w.statuses() == {"succeeded": 2}


@virtually
async def test_no_end_is_told_of_a_doubt_that_was_not_told_to_begin() -> None:
    """What a firewall answers at once is looked for once: no wait, so no two lines about it."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        BLOCKS["403"](w.sim.faults, RAW_TEXT)
        with capture_logs() as logs:
            w.publish(event("a", _texts("a", blocked=True)))
            await w.settled(within=600)

    told = {line["event"] for line in logs}
    assert "chunk.judged" in told
    assert not told & {"chunk.in_doubt", "chunk.doubt_over"}


@virtually
async def test_a_firewall_that_blocks_everything_is_no_deleted_key() -> None:
    """Whoever made a new key then would be as far as before."""
    async with world() as w:
        w.sim.faults.add("status", status=403, headers=PAGE, body="<html>")
        with capture_logs() as logs:
            w.publish(event("a", _texts("a")))
            await w.idle(120)
        w.sim.faults.clear()
        await w.settled(within=600)

    told = [line["error"] for line in logs if line["event"] == "breaker.probe_failed"]
    assert told
    assert all("firewall or proxy" in error for error in told)
    assert not any("ANYTHINGLLM_API_KEY" in error for error in told)
    assert w.letters == []


@on_each_database_slowly
@pytest.mark.parametrize("status", [403, 404, 405, 406])
def test_nothing_waits_for_paths_that_can_be_done_without(status: int, vector_db: str) -> None:
    """A firewall that does not let ``/openai`` through: the embedder, and the counts of rows."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.add("status", status=status, path="*/openai/*")
            w.publish(event("a", ["one"]))
            w.publish(event("b", ["two", "three"]))
            await w.settled(within=60)
            w.publish(event("b", ["two"], day=1))
            w.publish(None, key="a")
            await w.settled(within=60)
            w.publish(None, key="b")
            await w.settled(within=60)

            assert w.statuses() == {"succeeded": 3, "deleted": 2}
            assert w.stored() == {}
            assert w.letters == []

    run()
