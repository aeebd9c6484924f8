"""Whatever stands before AnythingLLM answers, each chunk is stored once, and soon.

P3 behind proxies: every status with and without effect, now and late; restarts behind an ingress;
a proxy that gives up before we do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig, CircuitOpenError
from consumer.model.marker import decode_marker
from consumer.sandbox.simulator import VectorDb
from tests.client.support import document
from tests.tiers import quick_first
from tests.virtual.ingress import Ingress, ingress
from tests.virtual.loop import soon, virtually
from tests.virtual.world import HOUR, World, event, on_each_database_slowly, world

AMBIGUITY = 600.0
RAW_TEXT = "*/raw-text"

ANSWERS: dict[str, dict[str, Any]] = {
    **{
        str(status): {"kind": "status", "status": status, "body": f"<html>error {status}</html>"}
        for status in (400, 403, 406, 408, 413, 422, 429, 499, 500, 502, 503, 504, 520, 522, 524)
    },
    "html 200": {"kind": "html"},
    "plain text 200": {"kind": "status", "status": 200, "body": "OK"},
    "another json 200": {
        "kind": "status",
        "status": 200,
        "body": '{"ok":true}',
        "headers": {"Content-Type": "application/json"},
    },
    "large header": {"kind": "status", "status": 200, "headers": {"X-Large": "x" * 20_000}},
    "redirect": {"kind": "redirect", "body": "http://127.0.0.1:9/"},
    "reset": {"kind": "reset"},
    "fin": {"kind": "fin"},
}
REFUSALS = ("413", "422")  # of this very text, as far as anybody can say
OVER = ("400", "403", "406", "429", "redirect")  # of these one look is enough, by their meaning

WAYS = {"applied": (True, 0.0), "late": (True, 45.0), "not applied": (False, 0.0)}


@asynccontextmanager
async def _steady(vector_db: str = VectorDb.LANCEDB) -> AsyncIterator[World]:
    """A world in which everything that is due after a start is over."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        await w.idle(3_000)
        yield w


def _texts(count: int = 3) -> list[str]:
    return [f"text {n} of a" for n in range(count)]


def _answer(
    w: World, name: str, way: str, path: str, *, contains: str = "", times: int = 1
) -> None:
    """Have some requests answered so, and take effect or not, now or late."""
    is_applied, late = WAYS[way]
    w.sim.faults.add(
        **ANSWERS[name], path=path, contains=contains, times=times, apply=is_applied, late=late
    )


def _sentinels(w: World, slug: str = "docs") -> int:
    return sum(decode_marker(source) is None for source, _, _ in w.sim.chunks(slug))


@on_each_database_slowly
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ANSWERS)
def test_an_upload_with_any_answer_is_stored_once(name: str, way: str, vector_db: str) -> None:
    """It is looked for before it is sent again; what comes late leaves no copy that stays."""

    @virtually
    async def run() -> None:
        async with _steady(vector_db) as w:
            _answer(w, name, way, RAW_TEXT, contains="text 1 of a")
            begun, before = w.loop.now, w.uploads()
            w.publish(event("a", _texts()))
            await w.settled(within=AMBIGUITY + 60)
            took = w.loop.now - begun
            await w.idle(2 * AMBIGUITY + 120)

            if name in REFUSALS and way != "applied":
                return  # a dead letter says that it was refused; nobody looks for what comes late
            assert w.copies() == {1: 4}
            assert w.letters == []
            assert took < (60 if way == "applied" else 160), "two minutes prove that nothing comes"
            if name not in OVER:
                assert w.uploads() - before == 3, "nothing took effect twice, not even for a while"

    run()


@pytest.mark.parametrize("kind", ["reset-after", "fin-after", "half-body", "truncated"])
@virtually
async def test_an_upload_whose_answer_is_cut_short_is_stored_once(kind: str) -> None:
    """It was stored: the listing says so at once."""
    async with _steady() as w:
        w.sim.faults.add(kind, path=RAW_TEXT, contains="text 1 of a", times=1)
        begun, before = w.loop.now, w.uploads()
        w.publish(event("a", _texts()))
        await w.settled(within=60)
        assert w.loop.now - begun < 30
        await w.idle(2 * AMBIGUITY)

        assert w.copies() == {1: 4}
        assert w.uploads() - before == 3


@pytest.mark.parametrize("status", [408, 500, 502, 503, 524])
@pytest.mark.parametrize("late", [0.0, 45.0])
def test_the_client_alone_makes_no_copy_either(status: int, late: float) -> None:
    """`upload_document`, with its defaults, called again while its breaker is open."""

    @virtually
    async def run() -> None:
        async with ingress() as proxy, world() as w:
            proxy.upstream = int(w.sim.endpoint.rsplit(":", 1)[1])
            proxy.hasty, proxy.gave_up, proxy.late = "/raw-text", status, late
            config = AnythingLLMConfig(proxy.endpoint, w.sim.api_key)
            async with AnythingLLMClient(config, clock=w.loop.time) as client:
                for _ in range(5):
                    with suppress(CircuitOpenError):
                        stored = await client.upload_document("docs", document("one", "two"))
                        if stored.status == "succeeded":
                            break
                    await w.idle(60)

            assert stored.status == "succeeded"
            assert w.copies() == {1: 2}
            assert w.uploads() == 2, "nothing took effect twice, not even for a while"

    run()


@asynccontextmanager
async def _behind(proxy: Ingress, vector_db: str = VectorDb.LANCEDB) -> AsyncIterator[World]:
    """As `_steady`, with the proxy before AnythingLLM."""
    async with world(vector_db=vector_db, ANYTHINGLLM_ENDPOINT=proxy.endpoint) as w:
        proxy.upstream = int(w.sim.endpoint.rsplit(":", 1)[1])
        w.sim.faults.latency = 0.02
        w.publish(event("warm", ["up"]))
        await w.settled()
        await w.idle(3_000)
        yield w


async def _restart(w: World, seconds: float) -> None:
    await w.sim.stop()
    await w.idle(seconds)
    await w.sim.start()


def _publish(w: World, name: str, documents: int, chunks: int = 3) -> None:
    for n in range(documents):
        w.publish(event(f"{name}{n}", [f"text {m} of {name} {n}" for m in range(chunks)]))


@pytest.mark.parametrize("away", [2.0, 8.0, 30.0, 180.0])
@pytest.mark.parametrize("status", quick_first([502, 503]))
def test_a_restart_behind_an_ingress_costs_no_ambiguity_time(status: int, away: float) -> None:
    """All is stored within two minutes of its return, and nothing twice."""

    @virtually
    async def run() -> None:
        async with ingress() as proxy, _behind(proxy) as w:
            proxy.status = status
            w.sim.faults.embedder_latency = 1.0
            _publish(w, "d", 20)
            await w.idle(2.5)
            assert w.uploads() > 1, "it is in the middle of it"
            await _restart(w, away)
            back = w.loop.now
            await w.settled(within=HOUR)
            took = w.loop.now - back
            await w.idle(2 * AMBIGUITY)

            assert w.copies() == {1: 61}
            assert w.letters == []
            assert took < 120 + 61 / 5

    run()


def _waits(entries: Sequence[EventDict]) -> dict[str, list[float]]:
    """The seconds of each chunk's doubts, in turn."""
    waits: dict[str, list[float]] = {}
    for entry in entries:
        if entry["event"] == "chunk.doubt_over":
            waits.setdefault(entry["chunk_ids"][0], []).append(entry["seconds"])
    return waits


def _files(w: World) -> int:
    """Files of chunks: a test document comes before a chunk that met a restart."""
    sources = (str(file.metadata["docSource"]) for file in w.sim.state.files.values())
    return sum(decode_marker(source) is not None for source in sources)


@pytest.mark.parametrize(("away", "met"), [(20.0, 3), (0.3, 3)])
def test_five_restarts_in_ten_minutes_keep_no_chunk_for_longer_than_one_ambiguity_time(
    away: float, met: int
) -> None:
    """Three chunks need 110 s each; of restarts too short to be seen they wait out every second.

    After the third one that is seen they wait for ten minutes: AnythingLLM may die of them.
    """

    @virtually
    async def run() -> None:
        async with ingress() as proxy, _behind(proxy) as w:
            w.sim.faults.add("delay", path=RAW_TEXT, contains="of a", seconds=110)
            w.publish(event("a", _texts()))
            with capture_logs() as entries:
                for n in range(5):
                    _publish(w, f"d{n}-", 8)
                    await w.idle(100)
                    await _restart(w, away)
                back = w.loop.now
                await w.settled(within=HOUR)
            waits = _waits(entries)
            assert w.loop.now - back < AMBIGUITY
            await w.idle(2 * AMBIGUITY)

            assert len(waits["a_0"]) == met
            assert max(sum(each) for each in waits.values()) <= AMBIGUITY + 5
            assert w.copies() == {1: 124}
            assert w.letters == []

    run()


@virtually
async def test_what_was_waited_for_already_counts_when_no_proof_exists() -> None:
    """The second restart is too short to be seen, and leaves the file as if it were embedded."""
    async with ingress() as proxy, _behind(proxy) as w:
        w.sim.faults.embedder_latency = 8.0
        with capture_logs() as entries:
            files = _files(w)
            w.publish(event("a", ["text"]))
            await soon(lambda: _files(w) > files)
            await _restart(w, 20)
            files = _files(w)
            await soon(lambda: _files(w) > files)
            await _restart(w, 0.3)
            await w.settled(within=HOUR)
        first, second = _waits(entries)["a_0"]
        await w.idle(2 * AMBIGUITY)

        assert first + second == pytest.approx(AMBIGUITY, abs=10)
        told = [each for each in entries if each["event"].startswith("chunk.in_doubt")]
        assert [round(each["seconds"]) for each in told] == [600, round(AMBIGUITY - first)]
        ended = [each["by"] for each in entries if each["event"] == "chunk.doubt_over"]
        assert ended == ["AnythingLLM was away since", "the ambiguity time is over"]
        assert w.copies() == {1: 2}


@virtually
async def test_a_proxy_that_gives_up_at_100_seconds_makes_no_copies() -> None:
    """The large texts meet it: each needs longer, with every status of that kind, for two hours."""
    for status in (504, 524, 408, 502):
        async with ingress() as proxy, _behind(proxy) as w:
            proxy.gives_up_after, proxy.gave_up = 100.0, status
            w.sim.faults.add("delay", path=RAW_TEXT, contains="large", seconds=110)
            before = w.uploads()
            for n in range(6):
                w.publish(event(f"a{n}", ["small", f"large {n}", "tiny"]))
            await w.settled(within=HOUR)
            await w.idle(2 * AMBIGUITY)

            assert w.letters == []
            assert w.copies() == {1: 19}
            assert w.uploads() - before == 18, "not one more copy"


@pytest.mark.parametrize("status", quick_first([502, 524, 503, 408, 500], quick=2))
@pytest.mark.parametrize("late", [0.0, 45.0])
def test_a_proxy_that_answers_every_upload_itself_and_lets_it_go_on(
    status: int, late: float
) -> None:
    """Also a test document's: a fresh workspace gets ready, and nothing is stored twice."""

    @virtually
    async def run() -> None:
        async with ingress() as proxy, _behind(proxy) as w:
            proxy.hasty, proxy.gave_up, proxy.late = "/raw-text", status, late
            begun, before = w.loop.now, w.uploads()
            w.publish(event("a", _texts(), technology="fresh"))
            w.publish(event("b", ["text of b"]))
            await w.settled(within=HOUR)
            assert w.loop.now - begun < 300
            await w.idle(2 * AMBIGUITY + 120)

            assert w.copies() == {1: 5}
            assert w.letters == []
            assert w.uploads() - before == 4, "nothing took effect twice"
            assert [_sentinels(w, slug) for slug in ("docs", "fresh")] == [0, 0]

    run()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["408", "499", "500", "502", "503", "520", "524", "html 200"])
def test_a_workspace_is_created_once(name: str, way: str) -> None:
    """A second one of its name would get another slug, and stay for ever."""

    @virtually
    async def run() -> None:
        async with _steady() as w:
            _answer(w, name, way, "*/workspace/new")
            begun = w.loop.now
            w.publish(event("a", _texts(), technology="fresh"))
            await w.settled(within=HOUR)
            took = w.loop.now - begun
            await w.idle(AMBIGUITY)

            assert sorted(w.sim.state.workspaces) == ["docs", "fresh"]
            assert w.copies() == {1: 4}
            assert took < 160

    run()


@on_each_database_slowly
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["408", "500", "502", "503", "520", "524", "html 200"])
def test_a_removal_is_done_whatever_answers(name: str, way: str, vector_db: str) -> None:
    """Stale chunks and tombstones: what is to go goes, and what is wanted stays."""

    @virtually
    async def run() -> None:
        async with _steady(vector_db=vector_db) as w:
            w.publish(event("a", ["one", "two"]))
            w.publish(event("b", ["three"]))
            await w.settled()
            _answer(w, name, way, "*/remove-documents", times=2)
            w.publish(event("a", ["one", "new"], day=1))
            w.publish(None, key="b")
            await w.idle(1)
            w.publish(event("a", ["one", "two"], day=2))  # what is about to go is wanted again
            await w.settled(within=HOUR)
            await w.idle(2 * AMBIGUITY)

            assert w.texts() == ["one", "two", "up"]
            assert w.copies() == {1: 3}
            assert w.letters == []
            assert w.statuses()["failed"] == 0

    run()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["408", "500", "502", "503", "520", "524", "html 200"])
def test_an_embedding_again_makes_one_row(name: str, way: str) -> None:
    """The embedder failed at first; the file is embedded once, whatever answers."""

    @virtually
    async def run() -> None:
        async with _steady() as w:
            w.sim.faults.add("embedder-fails", path=RAW_TEXT, contains="text 1 of a", times=1)
            _answer(w, name, way, "*/update-embeddings")
            w.publish(event("a", _texts()))
            await w.settled(within=HOUR)
            await w.idle(2 * AMBIGUITY)

            assert w.copies() == {1: 4}
            assert len(w.texts()) == 4, "one row"
            assert w.letters == []

    run()


@virtually
async def test_a_restart_while_a_file_is_embedded_again_costs_no_ambiguity_time() -> None:
    """The file may be half embedded: its text is uploaded anew, and the old file is in no row."""
    async with ingress() as proxy, _behind(proxy) as w:
        w.sim.faults.add("embedder-fails", path=RAW_TEXT, contains="text 1 of a", times=1)
        slow = w.sim.faults.add("delay", path="*/update-embeddings", seconds=60, times=1)
        w.publish(event("a", _texts()))
        await soon(lambda: slow.fired == 1)
        await w.idle(1)
        await _restart(w, 15)
        back = w.loop.now
        await w.settled(within=HOUR)
        took = w.loop.now - back
        await w.idle(2 * AMBIGUITY)

        assert w.copies() == {1: 4}
        assert len(w.texts()) == 4
        assert took < 120


@virtually
async def test_a_restart_while_a_workspace_is_created_costs_no_ambiguity_time() -> None:
    """It may have been made or not: there is one afterwards, and soon."""
    async with ingress() as proxy, _behind(proxy) as w:
        slow = w.sim.faults.add("delay", path="*/workspace/new", seconds=60, times=1)
        w.publish(event("a", _texts(), technology="fresh"))
        await soon(lambda: slow.fired == 1)
        await w.idle(1)
        await _restart(w, 15)
        back = w.loop.now
        await w.settled(within=HOUR)
        assert w.loop.now - back < 120
        await w.idle(2 * AMBIGUITY)

        assert sorted(w.sim.state.workspaces) == ["docs", "fresh"]
        assert w.copies() == {1: 4}


@virtually
async def test_a_restart_while_something_is_removed_costs_no_ambiguity_time() -> None:
    """The removal is repeated, and what is published behind it does not wait for it."""
    async with ingress() as proxy, _behind(proxy) as w:
        w.publish(event("a", ["one", "two"]))
        await w.settled()
        slow = w.sim.faults.add("delay", path="*/remove-documents", seconds=60, times=1)
        w.publish(event("a", ["one", "new"], day=1))
        await soon(lambda: slow.fired == 1)
        w.publish(event("a", ["one", "two"], day=2))
        await w.idle(1)
        await _restart(w, 15)
        back = w.loop.now
        await w.settled(within=HOUR)
        assert w.loop.now - back < 120
        await w.idle(2 * AMBIGUITY)

        assert w.texts() == ["one", "two", "up"]
        assert w.copies() == {1: 3}


@virtually
async def test_a_health_check_that_gives_up_on_a_busy_server_leaves_no_copy() -> None:
    """It looks like a restart, and what was sent before comes all the same: the sweep takes it."""
    async with ingress() as proxy, _behind(proxy) as w:
        w.sim.faults.add("delay", path=RAW_TEXT, contains="text 1 of a", seconds=300, times=1)
        w.publish(event("a", _texts()))
        await w.idle(125)
        upstream, proxy.upstream, proxy.status = proxy.upstream, 0, 503
        await w.idle(40)
        proxy.upstream = upstream
        await w.settled(within=180)
        await w.idle(2 * AMBIGUITY)

        assert w.copies() == {1: 4}


@on_each_database_slowly
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["408", "500", "502", "503", "524", "html 200", "large header"])
def test_a_test_document_with_any_answer_keeps_no_workspace_and_stays_nowhere(
    name: str, way: str, vector_db: str
) -> None:
    """A fresh workspace gets ready; what came late of its test documents goes."""

    @virtually
    async def run() -> None:
        async with _steady(vector_db) as w:
            _answer(w, name, way, RAW_TEXT, contains="readiness check")
            begun = w.loop.now
            w.publish(event("a", _texts(), technology="fresh"))
            await w.settled(within=HOUR)
            assert w.loop.now - begun < (60 if way == "applied" else 240)
            await w.idle(HOUR)

            assert w.copies() == {1: 4}
            assert w.letters == []
            assert [_sentinels(w, slug) for slug in ("docs", "fresh")] == [0, 0]

    run()


@on_each_database_slowly
@pytest.mark.parametrize("status", [502, 524, 500])
@pytest.mark.parametrize("late", [0.0, 45.0])
def test_a_proxy_that_answers_every_removal_itself_and_lets_it_go_on(
    status: int, late: float, vector_db: str
) -> None:
    """Also those of the test documents that show whether removals work (pgvector)."""

    @virtually
    async def run() -> None:
        async with ingress() as proxy, _behind(proxy, vector_db) as w:
            w.publish(event("a", ["one", "two"]))
            w.publish(event("b", ["three"]))
            await w.settled()
            proxy.hasty, proxy.gave_up, proxy.late = "/remove-documents", status, late
            begun = w.loop.now
            w.publish(event("a", ["one", "new"], day=1))
            w.publish(None, key="b")
            await w.settled(within=HOUR)
            assert w.loop.now - begun < 900
            await w.idle(HOUR)

            assert w.texts() == ["new", "one", "up"]
            assert w.copies() == {1: 3}
            assert w.letters == []

    run()
