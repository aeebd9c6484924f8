"""What differs between vector databases while nothing is broken, as recordings show it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumer.sandbox.simulator import VectorDb
from consumer.sandbox.simulator.vector_databases import chroma_collection, milvus_collection
from tests.unit.sandbox.databases import EMPTY, Looker, looking

ALL = list(VectorDb)
WITHOUT_RACE = [VectorDb.CHROMA, VectorDb.MILVUS]


@pytest.mark.parametrize("name", ALL)
async def test_a_server_says_which_database_it_uses(name: str) -> None:
    """The metrics need no key; the vector stores name it too."""
    async with looking(name) as looker:
        _, metrics = await looker.ask("GET", "/api/utils/metrics")
        _, stores = await looker.ask("GET", "/api/v1/openai/vector_stores")

    assert metrics["vectorDB"] == name
    assert [store["provider"] for store in stores["data"]] == [name]


async def test_an_unknown_database_is_refused() -> None:
    """A misspelt one must not become LanceDB."""
    with pytest.raises(ValueError, match="qdrant"):
        async with looking("qdrant"):
            pass


@pytest.mark.parametrize("name", ALL)
async def test_only_lancedb_tells_the_distance(name: str) -> None:
    """A client that reads it must do without elsewhere."""
    async with looking(name) as looker:
        await looker.upload("text")
        _, answer = await looker.search()

    extra = {"distance"} if name == VectorDb.LANCEDB else set()
    assert set(answer["results"][0]) == {"id", "text", "metadata", "score"} | extra


@pytest.mark.parametrize("name", ALL)
async def test_the_id_of_a_hit_is_the_one_of_its_file(name: str) -> None:
    """Absent once the vectors came from the cache; on LanceDB it is random and always there."""
    async with looking(name) as looker:
        location = await looker.upload("text")
        _, first = await looker.search()
        await looker.change(adds=[location], deletes=[location])
        _, again = await looker.search()

    if name == VectorDb.LANCEDB:
        assert first["results"][0]["id"] not in location
        assert "id" in again["results"][0]
    else:
        assert f"-{first['results'][0]['id']}.json" in location
        assert "id" not in again["results"][0]


@pytest.mark.parametrize("name", [VectorDb.LANCEDB, VectorDb.PGVECTOR, VectorDb.CHROMA])
async def test_what_has_nothing_in_common_scores_one_and_is_last(name: str) -> None:
    """The server's order is right, its scores are not."""
    async with looking(name) as looker:
        await looker.upload("other things", "unlike")
        await looker.upload("zebra umbrella and more", "like")
        _, answer = await looker.search("zebra umbrella")

    hits = [(hit["metadata"]["docSource"], hit["score"]) for hit in answer["results"]]
    assert [source for source, _ in hits] == ["like", "unlike"]
    assert hits[0][1] < hits[1][1] == 1


async def test_milvus_leaves_out_what_is_unlike() -> None:
    """Recorded at threshold 0: a listing by search is never whole."""
    async with looking("milvus") as looker:
        await looker.upload("other things", "unlike")
        await looker.upload("zebra umbrella and more", "like")

        assert await looker.found("zebra umbrella") == ["like"]


@pytest.mark.parametrize("name", ALL)
async def test_a_search_in_a_fresh_workspace(name: str) -> None:
    """Empty with a message; 500 on Milvus until something was stored, and empty after it went."""
    fresh = (500, "Internal Server Error") if name == VectorDb.MILVUS else (200, EMPTY)
    async with looking(name) as looker:
        before = await looker.search()
        await looker.remove(await looker.upload("text"))

        assert before == fresh
        assert await looker.search() == (200, EMPTY)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("lancedb", (0, 2)), ("pgvector", ("0", "2")), ("chroma", (0, 0)), ("milvus", (0, 2))],
)
async def test_vectors_are_counted(name: str, counts: tuple[Any, Any]) -> None:
    """A string on pgvector, always 0 on Chroma."""
    path = "/api/v1/system/vector-count"
    async with looking(name) as looker:
        _, before = await looker.ask("GET", path)
        await looker.upload("one text")
        await looker.upload("another text")
        _, after = await looker.ask("GET", path)

    assert (before["vectorCount"], after["vectorCount"]) == counts


@pytest.mark.parametrize("name", WITHOUT_RACE)
async def test_first_uploads_at_once_lose_nothing(name: str) -> None:
    """Recorded in 12 of 12 trials; LanceDB loses all but a few."""
    async with looking(name, creation_seconds=0.05) as looker:
        await asyncio.gather(*(looker.upload(f"text {n}", f"{n}") for n in range(8)))

        assert sorted(await looker.found()) == [f"{n}" for n in range(8)]


async def test_pgvector_loses_first_uploads_only_while_its_table_is_not_there() -> None:
    """Honestly: not cached, no row, nothing wiped, and embedding them again works."""
    async with looking("pgvector", "docs", "more", creation_seconds=0.05, seed=1) as looker:
        uploads = [looker.upload(f"text {n}", f"{n}") for n in range(8)]
        locations = await asyncio.gather(*uploads)
        cached = [await looker.cached(location) for location in locations]
        found = await looker.found()
        lost = [each for each, there in zip(locations, cached, strict=True) if not there]
        await looker.change(adds=lost)
        repaired = await looker.found()
        others = [looker.upload(f"text {n}", f"{n}", "more") for n in range(8)]
        await asyncio.gather(*others)

        assert 0 < len(lost) < 8
        assert len(found) == 8 - len(lost)
        assert len(repaired) == 8
        assert len(await looker.found(slug="more")) == 8


async def test_pgvector_has_one_width_for_all_workspaces() -> None:
    """The first upload fixes it: another is told as stored and is not, in a fresh one too."""
    async with looking("pgvector", "docs", "fresh") as looker:
        await looker.upload("text", "first")
        looker.server.faults.embedder_dimension = 32
        location = await looker.upload("text", "second", "fresh")

        assert await looker.cached(location)
        assert await looker.rows("fresh") == [location]
        assert await looker.search(slug="fresh") == (200, EMPTY)
        assert (await looker.search())[0] == 500
        looker.server.faults.embedder_dimension = None
        await looker.change(adds=[location], deletes=[location], slug="fresh")
        assert await looker.search(slug="fresh") == (200, EMPTY)


@pytest.mark.parametrize("name", ["chroma", "milvus"])
async def test_another_width_is_refused_honestly(name: str) -> None:
    """Recorded: not cached, no row, and once the width is back embedding it works."""
    async with looking(name) as looker:
        await looker.upload("text", "first")
        looker.server.faults.embedder_dimension = 32
        location = await looker.upload("text", "second")
        assert (await looker.search())[0] == 500
        looker.server.faults.embedder_dimension = None

        assert await looker.fate(location, "second") == (False, False, False)
        await looker.change(adds=[location])
        assert await looker.fate(location, "second") == (True, True, True)


async def test_a_vector_of_zeros_has_no_score_on_pgvector() -> None:
    """Recorded: null, last, and it passes every threshold."""
    async with looking("pgvector") as looker:
        location = await looker.upload("text", "zeros")
        await looker.upload("text", "usual")
        looker.server.damage("zeroed", "docs", location)
        _, answer = await looker.search("text", threshold=0.1)

    hits = [(hit["metadata"]["docSource"], hit["score"] is None) for hit in answer["results"]]
    assert hits == [("usual", False), ("zeros", True)]


async def test_what_lancedb_does_with_nonsense() -> None:
    """Measured on @lancedb/lancedb 0.15.0: zeros come first for every query, NaN last, all null."""
    async with looking("lancedb") as looker:
        await looker.upload("text", "usual")
        for kind in ("zeros", "nulls", "nan"):
            looker.server.faults.update({"embedder_nonsense": kind})
            location = await looker.upload("text", kind)
            assert await looker.fate(location, kind) == (True, True, True)
        looker.server.faults.embedder_nonsense = ""
        _, answer = await looker.search("text")

    hits = [(hit["metadata"]["docSource"], hit["distance"] is None) for hit in answer["results"]]
    assert hits == [("zeros", True), ("nulls", True), ("usual", False), ("nan", True)]


async def test_lancedb_takes_longer_vectors_with_success_and_cuts_them() -> None:
    """Measured: stored in the table's width; a search by the longer ones fails."""
    async with looking("lancedb") as looker:
        await looker.upload("text", "usual")
        looker.server.faults.embedder_dimension = 128
        location = await looker.upload("text", "longer")
        assert (await looker.search())[0] == 500
        looker.server.faults.embedder_dimension = None
        _, answer = await looker.search("text")

        assert (await looker.fate(location, "longer"))[:2] == (True, True)
        assert [round(hit["distance"]) for hit in answer["results"]] == [0, 1]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("w" * 63 + "-alpha", "w" * 63 + "-beta", "w" * 63),
        ("tr816914", "tr816914_", "tr816914"),
        ("_ld816914", "anythingllm-ld816914", "anythingllm-ld816914"),
        ("h4", "anythingllm-h4", "anythingllm-h4"),
        ("k", "k_", "anythingllm-k"),
        ("y" * 62 + "-a", "y" * 62, "y" * 62),
    ],
)
def test_slugs_that_share_a_collection_on_chroma(first: str, second: str, shared: str) -> None:
    """The recorded pairs, and one whose 63rd character can't be the last."""
    assert chroma_collection(first) == chroma_collection(second) == shared


def test_slugs_that_differ_in_a_dash() -> None:
    """Apart on Chroma, one on Milvus."""
    assert chroma_collection("da-sh") != chroma_collection("da_sh")
    assert milvus_collection("da-sh") == milvus_collection("da_sh")


@pytest.mark.parametrize(
    ("name", "first", "second", "afterwards"),
    [
        ("chroma", "x" * 63 + "a", "x" * 63 + "b", (200, EMPTY)),
        ("milvus", "a-b", "a_b", (500, "Internal Server Error")),
    ],
    ids=["chroma", "milvus"],
)
async def test_deleting_a_workspace_wipes_the_one_it_shares_with(
    name: str, first: str, second: str, afterwards: tuple[int, Any]
) -> None:
    """Recorded: each finds the other's; the rows and ``cached`` of the survivor stay."""
    async with looking(name, first, second) as looker:
        location = await looker.upload("text in A", "A", first)
        await looker.upload("text in B", "B", second)
        both = [sorted(await looker.found(slug=slug)) for slug in (first, second)]
        await looker.ask("DELETE", f"/api/v1/workspace/{second}")

        assert both == [["A", "B"], ["A", "B"]]
        assert await looker.search(slug=first) == afterwards
        assert await looker.rows(first) == [location]
        assert await looker.cached(location)


@pytest.mark.parametrize("name", ["pgvector", "lancedb"])
async def test_other_databases_share_nothing(name: str) -> None:
    """Slugs of any length are apart."""
    first, second = "x" * 100 + "a", "x" * 100 + "b"
    async with looking(name, first, second) as looker:
        await looker.upload("text in A", "A", first)
        await looker.upload("text in B", "B", second)
        await looker.ask("DELETE", f"/api/v1/workspace/{second}")

        assert await looker.found(slug=first) == ["A"]


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        ("lancedb", (True, True, True)),
        ("pgvector", (True, True, False)),
        ("chroma", (False, False, False)),
        ("milvus", (True, True, False)),
    ],
)
@pytest.mark.parametrize("text", ["a lone \ud83d text", "x" * 999 + "\U0001f600 and more text"])
async def test_half_an_emoji(name: str, fate: tuple[bool, bool, bool], text: str) -> None:
    """Lost on pgvector and Milvus, refused for ever on Chroma; the splitter makes them too."""
    async with looking(name) as looker:
        await looker.upload("text", "usual")
        location = await looker.upload(text, "half")
        assert await looker.fate(location, "half") == fate
        await looker.change(adds=[location])

        assert ("half" in await looker.found()) == fate[2]


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("pgvector", "before\0after NUL", "beforeafter NUL"),
        ("pgvector", "a\x01\t\n\v\f\r\x1fb", "a\t\n\rb"),
        ("pgvector", "a\x7f\x80\x85b", "a\x7f\x80\x85b"),
        ("pgvector", "\x01\x02\x03", ""),
        ("chroma", "before\0after NUL", "before\0after NUL"),
    ],
)
async def test_control_characters(name: str, text: str, shown: str) -> None:
    """Recorded: pgvector gives the text back without them, the upload's answer has them."""
    async with looking(name) as looker:
        await looker.upload(text)
        _, answer = await looker.search(text)

    assert [hit["text"].partition("</document_metadata>\n\n")[2] for hit in answer["results"]] == [
        shown
    ]


async def test_a_file_is_moved_only_while_no_workspace_lists_it() -> None:
    """The first two answers are recorded; that the cache goes by the name is read."""

    async def move(looker: Looker, start: str, end: str) -> tuple[int, Any]:
        body = {"files": [{"from": start, "to": end}]}
        return await looker.ask("POST", "/api/v1/document/move-files", body)

    async with looking("pgvector") as looker:
        first = await looker.upload("a text")
        second = first.replace("/raw-", "/raw--")
        refused = await move(looker, first, second)
        missing = await move(looker, "custom-documents/none.json", second)
        await looker.change(deletes=[first])
        moved = await move(looker, first, second)
        cached = [await looker.cached(second)]
        await move(looker, second, first)
        cached.append(await looker.cached(first))
        await move(looker, first, second)
        await looker.ask("DELETE", "/api/v1/system/remove-documents", {"names": [first]})
        await move(looker, second, first)
        cached.append(await looker.cached(first))

    unmoved = "1/1 files not moved. Unembed them from all workspaces."
    assert refused == (200, {"success": True, "message": unmoved})
    assert missing == (500, {"success": False, "message": "Failed to move some files."})
    assert moved == (200, {"success": True, "message": None})
    assert cached == [False, True, False], "it goes by the name, and with the name"
