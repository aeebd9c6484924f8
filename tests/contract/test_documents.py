"""Uploads, rows, vectors and removal: what "stored" means, and what answers do not say."""

from __future__ import annotations

import asyncio
import json
import secrets

import pytest

from consumer.anythingllm.vector_databases import VectorDatabase, distances
from tests.contract.conftest import Server

pytestmark = pytest.mark.contract
HEADER_END = "</document_metadata>\n\n"
MARKER = '{"alc":1,"d":"é 日本 😀","u":"https://example.com/?a=1#b","c":[["x",0]]}\n'


async def test_an_upload_is_found_with_its_text_and_marker(server: Server) -> None:
    """Text and docSource come back verbatim, the text behind a prefix."""
    slug = await server.workspace()
    text = "Whales sing  to each other.\n\n\tÜber Wale: 鯨 🐋"
    location = await server.stored(slug, text, MARKER)
    [row] = await server.rows(slug)
    [hit] = await server.search(slug, "whales")
    assert row["docpath"] == location
    assert json.loads(row["metadata"])["docSource"] == MARKER
    assert hit["metadata"]["docSource"] == MARKER
    assert hit["text"].partition(HEADER_END)[2] == text


async def test_success_without_embedding_for_an_unknown_workspace(server: Server) -> None:
    """200 success does not mean embedded: the file is there, nothing lists it."""
    reply = await server.upload(f"test-{secrets.token_hex(6)}", "Whales sing.")
    assert (reply.status, reply.body["success"]) == (200, True)
    assert not await server.cached(reply.body["documents"][0]["location"])


async def test_success_without_embedding_for_blank_text(server: Server) -> None:
    """Blank text is accepted and never embedded."""
    slug = await server.workspace()
    reply = await server.upload(slug, "  \n\t ")
    assert (reply.status, reply.body["success"]) == (200, True)
    assert not await server.cached(reply.body["documents"][0]["location"])
    assert await server.rows(slug) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"textContent": "", "metadata": {"title": "t"}}, 422),
        ({"textContent": "x", "metadata": {"title": ""}}, 422),
        ({"textContent": "x"}, 422),
        ({"textContent": "x", "metadata": {"title": "t"}, "addToWorkspaces": ["a"]}, 422),
        ({"textContent": "x", "metadata": {"title": "t" * 230}}, 500),
        ({"textContent": "x", "metadata": {"title": 5}}, 500),
    ],
)
async def test_refused_uploads(server: Server, body: dict[str, object], status: int) -> None:
    """Refusals are JSON with success false."""
    reply = await server.call("POST", "/api/v1/document/raw-text", body)
    assert (reply.status, reply.body["success"]) == (status, False)


async def test_a_title_of_205_characters_still_fits(server: Server) -> None:
    """The limit is the file name's, not the title's."""
    reply = await server.upload(await server.workspace(), "Whales sing.", title="t" * 205)
    assert reply.status == 200


async def test_every_upload_makes_another_copy(server: Server) -> None:
    """Nothing is idempotent: equal uploads are two files, two rows, two hits."""
    slug = await server.workspace()
    first, second = [await server.stored(slug, "Whales sing.", "same") for _ in range(2)]
    assert first != second
    assert len(await server.rows(slug)) == 2
    assert len(await server.search(slug, "whales")) == 2


async def test_adding_a_listed_file_again_doubles_it(server: Server) -> None:
    """One path may be listed twice; one delete takes one of the two."""
    slug = await server.workspace()
    location = await server.stored(slug, "Whales sing.")
    await server.update(slug, adds=[location])
    assert len(await server.search(slug, "whales")) == 2
    reply = await server.update(slug, deletes=[location])
    assert [row["docpath"] for row in reply.body["workspace"]["documents"]] == [location]
    assert len(await server.search(slug, "whales")) == 1


async def test_a_file_can_be_embedded_later(server: Server) -> None:
    """``adds`` embeds what is there; unknown paths are not mentioned."""
    slug = await server.workspace()
    reply = await server.upload("", "Whales sing.")
    location = reply.body["documents"][0]["location"]
    answer = await server.update(slug, adds=[location, "custom-documents/none.json"])
    assert answer.status == 200
    assert [row["docpath"] for row in answer.body["workspace"]["documents"]] == [location]
    assert await server.cached(location)


async def test_unembedding_keeps_the_file_and_its_cache(server: Server) -> None:
    """After ``deletes`` the file is still called cached, and an empty workspace says so."""
    slug = await server.workspace()
    location = await server.stored(slug, "Whales sing.")
    await server.update(slug, deletes=[location])
    body = {"query": "whales"}
    reply = await server.call("POST", f"/api/v1/workspace/{slug}/vector-search", body)
    assert await server.rows(slug) == []
    assert reply.body == {"results": [], "message": "No embeddings found for this workspace."}
    assert await server.cached(location)


async def test_removal_takes_file_rows_and_vectors_everywhere(server: Server) -> None:
    """``remove-documents`` is enough; unknown names are no error."""
    one, two = await server.workspace(), await server.workspace()
    location = await server.stored(one, "Whales sing.")
    await server.update(two, adds=[location])
    names = {"names": ["custom-documents/none.json", location]}
    reply = await server.call("DELETE", "/api/v1/system/remove-documents", names)
    gone = await server.call("GET", f"/api/v1/document/{location.rpartition('/')[2]}")
    assert (reply.status, reply.body["success"], gone.status) == (200, True, 404)
    for slug in (one, two):
        assert await server.rows(slug) == []
        assert await server.search(slug, "whales") == []


async def test_the_text_itself_is_the_best_query(server: Server, database: VectorDatabase) -> None:
    """Search ranks by distance, told or not; topN limits; hits carry the document's metadata."""
    slug = await server.workspace()
    texts = ["Whales sing in the sea.", "Kafka keeps a log.", "Bread needs yeast and time."]
    for number, text in enumerate(texts):
        await server.stored(slug, text, f"source-{number}")
    hits = await server.search(slug, texts[1], limit=2)
    assert hits[0]["metadata"]["docSource"] == "source-1"
    assert len(hits) == 2
    told = [(hit.get("distance"), hit["score"]) for hit in hits]
    known = [each for each in distances(told, database) if each is not None]
    assert known == sorted(known)
    assert known


async def test_what_has_nothing_in_common_is_the_last_hit(
    server: Server, database: VectorDatabase
) -> None:
    """Whatever its score says; some databases leave it out."""
    slug = await server.workspace()
    await server.stored(slug, "Quarterly revenue rose.", "unlike")
    await server.stored(slug, "Whales sing.", "alike")
    found = [hit["metadata"]["docSource"] for hit in await server.search(slug, "Whales sing.")]
    assert found[0] == "alike"
    assert found[1:] == ["unlike"] or not database.reaches_all


async def test_half_an_emoji_shows_what_cached_is_worth(
    server: Server, database: VectorDatabase
) -> None:
    """AnythingLLM cuts a text in the middle of a character, and not every database takes that."""
    slug = await server.workspace()
    await server.stored(slug, "Whales sing.")
    cut = await server.upload(slug, "x" * 999 + "\U0001f600 and more words", "cut")
    is_cached = await server.cached(cut.body["documents"][0]["location"])
    found = {hit["metadata"]["docSource"] for hit in await server.search(slug, "x" * 999)}
    assert (is_cached and "cut" not in found) == (not database.cached_proves)


async def test_search_refuses_what_it_cannot_do(server: Server) -> None:
    """An empty query and an unknown workspace are 400 JSON."""
    slug = await server.workspace()
    empty = await server.call("POST", f"/api/v1/workspace/{slug}/vector-search", {"query": ""})
    missing = await server.call("POST", "/api/v1/workspace/test-none/vector-search", {"query": "x"})
    assert (empty.status, empty.content_type) == (400, "application/json")
    assert (missing.status, missing.content_type) == (400, "application/json")


async def test_long_texts_are_split_and_all_pieces_carry_the_marker(server: Server) -> None:
    """A long text becomes several hits, each a piece of it, all with its docSource."""
    slug = await server.workspace()
    text = "".join(f"Sentence {number} about whales and the sea. " for number in range(700))
    await server.stored(slug, text, "long")
    hits = await server.search(slug, "whales")
    assert len(hits) > 1
    assert {hit["metadata"]["docSource"] for hit in hits} == {"long"}
    assert all(hit["text"].partition(HEADER_END)[2] in text for hit in hits)


async def test_a_link_as_chunk_source_is_shown_in_the_prefix(server: Server) -> None:
    """``link://`` adds a line to the embedded text; the URL comes back verbatim."""
    slug = await server.workspace()
    source = "link://https://example.com/docs/99"
    await server.stored(slug, "Whales sing.", "m", chunkSource=source)
    [hit] = await server.search(slug, "whales")
    header = hit["text"].partition(HEADER_END)[0]
    assert "\nsource: https://example.com/docs/99\n" in header
    assert hit["metadata"]["chunkSource"] == source


async def test_uploads_may_be_concurrent_once_one_is_stored(server: Server) -> None:
    """With the table present nothing is lost."""
    slug = await server.workspace()
    await server.stored(slug, "The first whale.")
    await asyncio.gather(*(server.upload(slug, f"Whale {n}.", f"{n}") for n in range(12)))
    hits = await server.search(slug, "whale")
    assert {hit["metadata"]["docSource"] for hit in hits} == {"", *map(str, range(12))}


async def test_lost_first_uploads_can_be_repaired(server: Server) -> None:
    """Concurrent first uploads all answer success; deleting and adding them stores all."""
    slug = await server.workspace()
    replies = await asyncio.gather(*(server.upload(slug, f"Whale {n}.", f"{n}") for n in range(6)))
    assert all(reply.status == 200 and reply.body["success"] for reply in replies)
    locations = [reply.body["documents"][0]["location"] for reply in replies]
    await server.update(slug, deletes=[row["docpath"] for row in await server.rows(slug)])
    await server.update(slug, adds=locations)
    assert len(await server.rows(slug)) == 6
    assert len(await server.search(slug, "whale")) == 6


async def test_the_folder_can_be_paged(server: Server) -> None:
    """Pages tell how many files there are and whether more follow."""
    for _ in range(3):
        await server.upload("", "Whales sing.")
    path = "/api/v1/documents?folder=custom-documents&limit=2"
    page = (await server.call("GET", path)).body
    assert len(page["documents"]) == 2
    assert page["hasMore"]
    assert page["totalCount"] >= 3
