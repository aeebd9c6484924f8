"""A vector database that refuses, or is down, or is late: what the server tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.sandbox.simulator import VectorDb
from tests.unit.sandbox.databases import EMPTY, looking

ALL = list(VectorDb)
FAILED = (500, "Internal Server Error")


@pytest.mark.parametrize("name", ALL)
async def test_refused_inserts(name: str) -> None:
    """Told as success on pgvector, cached and listed; the others leave ``cached`` false."""
    lies = name == VectorDb.PGVECTOR
    async with looking(name) as looker:
        await looker.upload("text", "usual")
        looker.server.faults.vectors_refused = True
        location = await looker.upload("text", "refused")

        assert await looker.fate(location, "refused") == (lies, lies, False)
        assert looker.server.journal.count("vectors.lost", location=location) == lies
        assert looker.server.journal.count("embedding.failed", location=location) == 1 - lies


@pytest.mark.parametrize("name", ALL)
async def test_what_was_refused_can_be_embedded_later(name: str) -> None:
    """Recorded on pgvector: out and in again brings the vectors, from the cache."""
    async with looking(name) as looker:
        looker.server.faults.vectors_refused = True
        location = await looker.upload("text", "refused")
        looker.server.faults.vectors_refused = False
        await looker.change(adds=[location], deletes=[location])

        assert await looker.fate(location, "refused") == (True, True, True)


@pytest.mark.parametrize("name", [VectorDb.PGVECTOR, VectorDb.MILVUS])
async def test_refused_deletes_are_told_as_success(name: str) -> None:
    """Recorded on pgvector, read for Milvus: found for ever, and no removal reaches it."""
    async with looking(name) as looker:
        unlisted, removed = [await looker.upload("text", source) for source in ("a", "b")]
        looker.server.faults.vectors_kept = True
        statuses = await looker.change(deletes=[unlisted]), await looker.remove(removed)
        looker.server.faults.vectors_kept = False
        await looker.remove(unlisted, removed)

        assert statuses == (200, 200)
        assert await looker.rows() == []
        assert await looker.cached(removed) is None
        assert sorted(await looker.found()) == ["a", "b"]


@pytest.mark.parametrize("name", [VectorDb.LANCEDB, VectorDb.CHROMA])
async def test_refused_deletes_are_told(name: str) -> None:
    """500, the file of a removal is gone, row and vector stay; repeating it works later."""
    async with looking(name) as looker:
        unlisted, removed = [await looker.upload("text", source) for source in ("a", "b")]
        looker.server.faults.vectors_kept = True
        statuses = await looker.change(deletes=[unlisted]), await looker.remove(removed)
        assert statuses == (500, 500)
        assert await looker.rows() == [unlisted, removed]
        assert (await looker.cached(unlisted), await looker.cached(removed)) == (True, None)
        assert len(await looker.found()) == 2

        looker.server.faults.vectors_kept = False
        assert await looker.remove(unlisted, removed) == 200
        assert (await looker.rows(), await looker.search()) == ([], (200, EMPTY))


@pytest.mark.parametrize("name", ALL)
async def test_an_upload_while_the_database_is_down(name: str) -> None:
    """200, not cached, no row; it can be embedded once the database is back."""
    async with looking(name) as looker:
        await looker.upload("text", "usual")
        looker.server.faults.database_down = True
        location = await looker.upload("text", "late")
        looker.server.faults.database_down = False

        assert await looker.fate(location, "late") == (False, False, False)
        await looker.change(adds=[location])
        assert await looker.fate(location, "late") == (True, True, True)


@pytest.mark.parametrize(
    ("name", "search", "count"),
    [
        ("lancedb", FAILED, FAILED),
        ("pgvector", (200, EMPTY), (200, {"vectorCount": 0})),
        ("chroma", FAILED, FAILED),
        ("milvus", FAILED, FAILED),
    ],
    ids=ALL,
)
async def test_looking_while_the_database_is_down(name: str, search: Any, count: Any) -> None:
    """A full workspace looks empty on pgvector; listings don't need the database anywhere."""
    async with looking(name) as looker:
        location = await looker.upload("text")
        looker.server.faults.database_down = True

        assert await looker.search() == search
        assert await looker.ask("GET", "/api/v1/system/vector-count") == count
        assert await looker.rows() == [location]


@pytest.mark.parametrize(("name", "left"), [("pgvector", ["s"]), ("chroma", [])])
async def test_removing_while_the_database_is_down(name: str, left: list[str]) -> None:
    """Success and found for ever on pgvector; 500 on Chroma, and repeating it removes it."""
    async with looking(name) as looker:
        location = await looker.upload("text")
        looker.server.faults.database_down = True
        status = await looker.remove(location)
        gone = await looker.cached(location)
        looker.server.faults.database_down = False
        await looker.remove(location)

        assert status == (200 if left else 500)
        assert gone is None
        assert await looker.rows() == []
        assert await looker.found() == left


@pytest.mark.parametrize("name", ["pgvector", "chroma"])
async def test_a_workspace_deleted_while_the_database_is_down_leaves_its_vectors(name: str) -> None:
    """Recorded: 200, and a new workspace of that name finds them."""
    async with looking(name) as looker:
        await looker.upload("text", "old")
        looker.server.faults.database_down = True
        deleted = await looker.ask("DELETE", "/api/v1/workspace/docs")
        looker.server.faults.database_down = False
        looker.server.state.create_workspace("docs", {})

        assert deleted == (200, "OK")
        assert await looker.found() == ["old"]


async def test_a_vector_is_found_only_after_a_time() -> None:
    """By the server's clock, and for searches only: the row is there at once."""
    now = [1_700_000_000.0]
    async with looking("milvus", clock=lambda: now[0]) as looker:
        looker.server.faults.visible_after_seconds = 5.0
        location = await looker.upload("text")
        at_once = await looker.fate(location, "s")
        now[0] += 4.9
        early = await looker.found()
        now[0] += 0.2

        assert at_once == (True, True, False)
        assert early == []
        assert await looker.found() == ["s"]


async def test_one_of_three_searches_is_late_where_one_replica_lags() -> None:
    """The others show at once what is new."""
    async with looking("milvus") as looker:
        looker.server.faults.visible_after_seconds = 5.0
        looker.server.faults.late_every = 3
        await looker.upload("text")

        assert [await looker.found() for _ in range(6)] == [["s"], ["s"], []] * 2


async def test_more_hits_than_the_database_gives_are_an_error_and_odd_ones_come_first() -> None:
    """The number that is asked for counts, not the number that is there."""
    async with looking("chroma") as looker:
        await looker.upload("text")
        looker.server.faults.odd_hits = [None, {"score": None}]
        search = "/api/v1/workspace/docs/vector-search"
        wanted = {"query": "text", "scoreThreshold": 0}
        looker.server.faults.most_hits = 10
        status, shown = await looker.ask("POST", search, {**wanted, "topN": 10})
        refused, _ = await looker.ask("POST", search, {**wanted, "topN": 11})

    assert (status, refused) == (200, 500)
    assert [hit and hit["score"] for hit in shown["results"][:2]] == [None, None]
    assert shown["results"][2]["metadata"]["docSource"] == "s"


async def test_the_switches_are_set_over_http() -> None:
    """Whole seconds will do; a switch takes no number."""
    async with looking("pgvector") as looker:
        wanted = {"vectors_refused": True, "visible_after_seconds": 2}
        status, shown = await looker.ask("PUT", "/_sim/faults", wanted)
        refused, _ = await looker.ask("PUT", "/_sim/faults", {"database_down": 1})

    assert (status, refused) == (200, 400)
    assert {name: shown[name] for name in wanted} == wanted
    assert not shown["vectors_kept"]
