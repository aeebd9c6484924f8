"""Stored means stored, whatever vector database is behind AnythingLLM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMError,
    AnythingLLMPendingError,
    AnythingLLMRejectedError,
    StillFoundError,
)
from consumer.anythingllm.database_control import AGAIN_SECONDS
from consumer.anythingllm.joint_looks import MOST_UNSEEN
from consumer.anythingllm.vector_databases import DATABASES as KNOWN
from consumer.model.fault import Fault
from consumer.model.names import Slug
from consumer.sandbox.simulator import Simulator
from tests.client.support import MOMENT, client_for, document, proven, running_server, unit

CUT_EMOJI = "x" * 299 + "\U0001f600 and more words"
DATABASES = ["lancedb", "pgvector", "chroma", "milvus"]
EMBEDDINGS = "/api/v1/workspace/docs/update-embeddings"
REMOVALS = "/api/v1/system/remove-documents"
TEXTS = ("Trim the wick of the lantern.", "Quarterly revenue rose.", "Whales sing in the sea.")


@asynccontextmanager
async def at(name: str, **options: object) -> AsyncIterator[tuple[Simulator, AnythingLLMClient]]:
    """A simulated server with that database, and a client of it."""
    async with running_server(vector_db=name, **options) as server, client_for(server) as client:
        yield server, client


def found(server: Simulator, slug: str = "docs") -> dict[str, int]:
    """How many searchable copies there are of each stored text."""
    copies: dict[str, int] = {}
    for _, text, count in server.chunks(slug):
        copies[text] = copies.get(text, 0) + count
    return copies


@pytest.mark.parametrize("name", DATABASES)
async def test_a_document_is_stored_and_found(name: str) -> None:
    """Each chunk once; the best hit for a text is that text, whatever is told of distances."""
    async with at(name) as (server, client):
        result = await client.upload_document("docs", document(*TEXTS))
        assert result.status == "succeeded"
        assert found(server) == dict.fromkeys(TEXTS, 1)
        hits = await client.search_workspace("docs", "the wick of the lantern")

    assert hits[0].text == TEXTS[0]


@pytest.mark.parametrize("name", ["pgvector", "chroma"])
async def test_what_has_nothing_in_common_comes_last(name: str) -> None:
    """AnythingLLM's score is 1 for it; the order is right, and the distance is not known."""
    async with at(name) as (_, client):
        await client.upload_document("docs", document(*TEXTS))
        hits = await client.search_workspace("docs", "zebra whales sing")

    assert hits[0].text == TEXTS[2]
    assert [hit.distance is None for hit in hits] == [False, True, True]


@pytest.mark.parametrize("name", DATABASES)
async def test_vectors_that_are_refused_are_not_said_to_be_stored(name: str) -> None:
    """AnythingLLM answers success, and on pgvector lists it; afterwards all is stored."""
    async with at(name) as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        result = await client.upload_document("docs", document(*TEXTS))
        assert (result.status, result.successful_uploads) == ("failed", 0)
        assert not any(found(server).get(text) for text in TEXTS)
        server.faults.vectors_refused = False
        await asyncio.sleep(AGAIN_SECONDS)
        result = await client.upload_document("docs", document(*TEXTS))

        assert result.status == "succeeded"
        assert found(server) == dict.fromkeys((*TEXTS, "before"), 1)


async def test_while_the_database_keeps_nothing_few_files_are_stored() -> None:
    """Each would be a row without vectors; one test document is tried now and then instead."""
    many = document(*(f"text number {n}" for n in range(50)))
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        await client.upload_document("docs", many)

        assert len(server.state.files) < 10


@pytest.mark.parametrize(
    ("name", "status"), [("lancedb", "succeeded"), ("pgvector", "partial"), ("milvus", "partial")]
)
async def test_a_text_that_the_database_does_not_take_is_its_own_fault(
    name: str, status: str
) -> None:
    """AnythingLLM cuts an emoji in two; half of one is no valid text. Its siblings are stored."""
    async with at(name, split_size=300) as (server, client):
        result = await client.upload_document("docs", document(TEXTS[0], CUT_EMOJI, TEXTS[1]))
        assert (result.status, result.successful_uploads) == (
            status,
            3 if status != "partial" else 2,
        )
        copies = found(server)

    assert copies.get(CUT_EMOJI, 0) == (status == "succeeded")
    assert (copies[TEXTS[0]], copies[TEXTS[1]]) == (1, 1)
    assert len(copies) == result.successful_uploads, "no row of it is left"
    if result.failed_chunks:
        assert result.failed_chunks[0].reason.value == "rejected"


@pytest.mark.parametrize("size", [500, 1_000, 8_000])
@pytest.mark.parametrize("name", DATABASES)
async def test_a_character_on_a_seam_costs_no_chunk(name: str, size: int) -> None:
    """It is found in the end, under its own marker; what is fine keeps its text to the letter."""
    cut = "x" * (size - 1) + "\U0001f600" + "y" * size + " and more words"
    async with at(name, split_size=size) as (server, client):
        result = await client.upload_document("docs", document(TEXTS[0], cut, TEXTS[1]))
        stored = [file.text for file in server.state.files.values()]
        again = await client.upload_document("docs", document(TEXTS[0], cut, TEXTS[1]))

    assert (result.status, again.uploaded_chunk_ids) == ("succeeded", ())
    assert sorted(text.replace(" ", "") for text in stored) == sorted(
        text.replace(" ", "") for text in (TEXTS[0], cut, TEXTS[1])
    )
    assert (cut in stored) is (name == "lancedb"), "what is fine stays as it is"


async def test_what_can_t_be_found_is_put_in_again_from_the_cache() -> None:
    """Its vectors were refused for a moment; the document is not uploaded twice."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        rule = server.faults.add("hold", path="*/vector-search", times=1)
        uploading = asyncio.create_task(client.upload_document("docs", document("after")))
        await server.journal.wait_for("request.held")
        server.faults.vectors_refused = False
        rule.released = True
        result = await uploading
        uploads = [f for f in server.state.files.values() if f.text == "after"]

    assert result.status == "succeeded"
    assert (found(server)["after"], len(uploads)) == (1, 1)


async def test_what_can_t_be_found_is_uploaded_anew_where_it_may_not_be_put_in_again() -> None:
    """A firewall refuses that one path, while uploads get through."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        server.faults.add("status", path="*/update-embeddings", status=409)
        rule = server.faults.add("hold", path="*/vector-search", times=1)
        uploading = asyncio.create_task(client.upload_document("docs", document("after")))
        await server.journal.wait_for("request.held")
        server.faults.vectors_refused = False
        rule.released = True
        result = await uploading

    assert result.status == "succeeded"
    assert found(server) == {"before": 1, "after": 1}


async def test_where_the_cached_vectors_are_the_trouble_it_is_uploaded_anew() -> None:
    """They have the width that the embedder had for a while, and are refused again."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.embedder_dimension = 32
        rule = server.faults.add("hold", path="*/openai/embeddings", times=1)
        uploading = asyncio.create_task(client.upload_document("docs", document("after")))
        await server.journal.wait_for("request.held")
        server.faults.embedder_dimension = None
        rule.released = True
        result = await uploading

    assert result.status == "succeeded"
    assert found(server) == {"before": 1, "after": 1}


@pytest.mark.parametrize("name", DATABASES)
async def test_what_is_visible_late_is_waited_for(name: str) -> None:
    """It is neither sent twice nor blamed."""
    async with running_server(vector_db=name) as server:
        server.faults.visible_after_seconds = 5.0
        async with client_for(server, vector_db="" if name == "milvus" else "pinecone") as client:
            result = await client.upload_document("docs", document(*TEXTS))

    assert result.status == "succeeded"
    assert found(server) == dict.fromkeys(TEXTS, 1)


async def test_an_upload_that_takes_long_is_not_taken_out_for_not_being_seen_at_once() -> None:
    """Milvus shows it seconds after it was stored, and not after it was sent."""
    async with running_server(vector_db="milvus") as server:
        server.faults.visible_after_seconds = 5.0
        server.faults.add("delay", path="*/raw-text", contains=TEXTS[0], seconds=50.0)
        async with client_for(server, upload_timeout=120.0) as client:
            result = await client.upload_document("docs", document(TEXTS[0]))

    assert result.status == "succeeded"
    assert (
        server.journal.count("request.answered", path="/api/v1/workspace/docs/update-embeddings")
        == 0
    )


async def test_searches_that_take_too_long_blame_no_text() -> None:
    """It is stored, or not: nobody could see it. What it costs is time."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.add("hold", path="*/vector-search")
        result = await client.upload_document("docs", document(TEXTS[0]))

    (failed,) = result.failed_chunks
    assert failed.fault is Fault.THEIRS


async def test_a_database_that_nobody_tells_is_not_relied_upon() -> None:
    """A proxy hides it: each chunk is looked for."""
    async with running_server(vector_db="pgvector") as server, client_for(server) as client:
        server.faults.add("status", path="*/utils/metrics", status=404)
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        result = await client.upload_document("docs", document(*TEXTS))

    assert result.status == "failed"


async def test_among_many_equal_texts_it_is_not_blamed_for_not_being_found() -> None:
    """More are as near as the search gives hits: that is told, and nobody's fault."""
    async with at("milvus") as (server, client):
        client._database._configured = replace(KNOWN["milvus"], most_hits=20)
        with capture_logs() as logs:
            for n in range(40):
                doc = document(
                    "the same text", id=f"doc-{n}", title="Same", url="https://a.example/"
                )
                assert (await client.upload_document("docs", doc)).status == "succeeded"

    assert sum(found(server).values()) == 40
    assert any(line["event"] == "chunk.not_provable" for line in logs)


async def test_among_many_equal_texts_nothing_is_stored_while_the_database_keeps_nothing() -> None:
    """That it was not found says nothing; that nothing else is found does."""
    async with at("milvus") as (server, client):
        client._database._configured = replace(KNOWN["milvus"], most_hits=20)
        for n in range(30):
            doc = document("the same text", id=f"doc-{n}", title="Same", url="https://a.example/")
            await client.upload_document("docs", doc)
        server.faults.vectors_refused = True
        doc = document("the same text", id="last", title="Same", url="https://a.example/")
        result = await client.upload_document("docs", doc)

    assert result.status == "failed"


SHARING = {"chroma": ("d" * 63 + "-a", "d" * 63 + "-b"), "milvus": ("a-b", "a_b")}


@pytest.mark.parametrize("name", SHARING)
async def test_a_workspace_that_shares_a_collection_takes_nothing(name: str) -> None:
    """The one that was there first goes on; deleting either would empty the other."""
    first, second = SHARING[name]
    async with at(name) as (server, client):
        await client.upload_document(first, document(*TEXTS))
        with pytest.raises(AnythingLLMError, match=r"one collection .*delete neither") as refused:
            await client.upload_document(second, document("other", id="other"))
        assert first in str(refused.value)
        assert second not in server.state.workspaces
        server.state.create_workspace(second, {})
        with pytest.raises(AnythingLLMError, match="one collection"):
            await client.upload_document(second, document("other", id="other"))
        for slug in (first, second):
            with pytest.raises(AnythingLLMRejectedError, match="would be empty"):
                await client.delete_workspace(slug)
        result = await client.upload_document(first, document(*TEXTS, "more"))

    assert result.status == "succeeded"


async def test_rows_that_a_dead_process_left_without_vectors_are_not_believed() -> None:
    """It would have found out. The next one looks for what is listed, once, and sends it again."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        lost = next(f for f in server.state.files.values() if f.text == TEXTS[1])
        server.damage("vectors-lost", "docs", lost.location)
        async with client_for(server) as successor:
            result = await successor.upload_document("docs", document(*TEXTS))
            before = _searches(server)
            again = await successor.upload_document("docs", document(*TEXTS))
            after = _searches(server)

    assert (result.status, len(result.uploaded_chunk_ids)) == ("succeeded", 1)
    assert found(server) == dict.fromkeys(TEXTS, 1)
    assert (again.uploaded_chunk_ids, after - before) == ((), 0)


async def test_equal_chunks_of_a_document_are_found_as_often_as_they_are_listed() -> None:
    """They have one text, and a marker each: a successor sends none of them again."""
    twice = document("same", "same", "other")
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", twice)
        async with client_for(server) as successor:
            whole = await successor.upload_document("docs", twice)
        lost = next(f for f in server.state.files.values() if f.text == "same")
        server.damage("vectors-lost", "docs", lost.location)
        async with client_for(server) as successor:
            damaged = await successor.upload_document("docs", twice)

    assert (whole.status, whole.uploaded_chunk_ids) == ("succeeded", ())
    assert damaged.status == "succeeded"
    assert damaged.uploaded_chunk_ids
    assert found(server) == {"same": 2, "other": 1}


@pytest.mark.parametrize("name", ["pgvector", "milvus"])
async def test_of_a_workspace_that_is_gone_removals_are_not_tested(name: str) -> None:
    """Its test document could never be stored, and nothing would ever be removed."""
    async with at(name) as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        [one, *_] = await client.storage.listing(Slug("docs"))
        server.model.delete_workspace(server.state.workspaces["docs"])
        await client.storage.remove(Slug("docs"), [one.location])

    assert one.location not in server.state.files


async def test_vectors_of_one_row_do_not_vouch_for_another_one_of_the_same_marker() -> None:
    """The other one is sent again while the first can't be removed: only the true one may stay."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("one", "two"))
        lost = next(f for f in server.state.files.values() if f.text == "one")
        server.damage("vectors-lost", "docs", lost.location)
        async with client_for(server) as successor:
            server.faults.add("status", status=500, path="*/remove-documents")
            await successor.upload_document("docs", document("one", "two"))
            server.faults.clear()
            await asyncio.sleep(AGAIN_SECONDS)
            result = await successor.upload_document("docs", document("one", day=2))

    assert (result.status, result.uploaded_chunk_ids) == ("succeeded", ())
    assert found(server)["one"] == 1


async def test_one_search_vouches_for_many_chunks_of_a_document() -> None:
    """At most one for five chunks, from ten on."""
    many = document(*(f"chapter {n} of the manual about lanterns" for n in range(40)))
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", many)
        server.journal.clear()
        async with client_for(server) as successor:
            result = await successor.upload_document("docs", many)
        searches = _searches(server)

    assert (result.status, result.uploaded_chunk_ids) == ("succeeded", ())
    assert searches <= 8


@pytest.mark.parametrize("chunks", [10, 50])
async def test_one_search_proves_many_chunks_that_were_just_uploaded(chunks: int) -> None:
    """At most one for five chunks, from ten on."""
    texts = [f"chapter {n} of the manual about lanterns" for n in range(chunks)]
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.journal.clear()
        result = await client.upload_document("docs", document(*texts))
        searches = _searches(server)

    assert (result.status, found(server)) == ("succeeded", dict.fromkeys((*texts, "before"), 1))
    assert searches <= chunks / 5


async def test_what_may_not_be_visible_yet_is_looked_for_seldom() -> None:
    """One search of a document in two seconds, however many chunks wait for it."""
    texts = [f"chapter {n} of the manual about lanterns" for n in range(40)]
    async with running_server(vector_db="milvus") as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        server.faults.visible_after_seconds = 5.0
        server.journal.clear()
        result = await client.upload_document("docs", document(*texts))
        searches = _searches(server)

    assert result.status == "succeeded"
    assert searches <= 8


@pytest.mark.slow
async def test_of_a_huge_document_little_is_uploaded_before_it_is_looked_for() -> None:
    """If the database refuses it, each chunk is a row without vectors."""
    texts = [f"chapter {n} of the manual about lanterns" for n in range(300)]
    async with running_server(vector_db="milvus") as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        await client.upload_document("docs", document(*texts))

        assert len(server.state.files) < MOST_UNSEEN + 10


def _searches(server: Simulator) -> int:
    return server.journal.count("request.answered", path="/api/v1/workspace/docs/vector-search")


async def test_while_the_database_is_down_nothing_is_taken_for_lost() -> None:
    """Everything looks empty then (pgvector): an outage, and no reason to send anything again."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.database_down = True
        files = len(server.state.files)
        async with client_for(server) as successor:
            with pytest.raises(AnythingLLMError):
                await successor.upload_document("docs", document(*TEXTS, "more"))
        server.faults.database_down = False

    assert len([f for f in server.state.files.values() if f.text in TEXTS]) == files


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502])
async def test_who_does_not_say_which_database_it_is_is_fed_all_the_same(status: int) -> None:
    """That path was never needed before; it is asked for rarely, and warned about once."""
    async with running_server() as server, client_for(server) as client:
        server.faults.add("status", path="*/utils/metrics", status=status)
        with capture_logs() as logs:
            result = await client.upload_document("docs", document(*TEXTS))
        asked = server.journal.count("request.answered", path="/api/utils/metrics")

    assert (result.status, asked) == ("succeeded", 1)
    assert [line["event"] for line in logs].count("vector_database.unknown") == 1


@pytest.mark.parametrize(("is_told", "uploaded"), [(True, 0), (False, 1)])
async def test_of_two_rows_one_of_which_has_vectors_that_one_stays(
    is_told: bool, uploaded: int
) -> None:
    """Where hits name no files nobody can tell which it is, and neither is believed."""
    async with at("pgvector") as (server, client):
        if not is_told:
            server.faults.add("status", path="*/utils/metrics", status=404)
        await client.upload_document("docs", document("one", "two"))
        file = next(f for f in server.state.files.values() if f.text == "one")
        twin = server.state.add_file("docs", file.metadata, "one")
        server.state.add_row(server.state.workspaces["docs"], "twin", twin, 1)
        async with client_for(server) as successor:
            result = await successor.upload_document("docs", document("one", "two"))

    assert (result.status, len(result.uploaded_chunk_ids)) == ("succeeded", uploaded)
    assert found(server) == {"one": 1, "two": 1}


async def test_a_blip_in_a_test_of_removals_is_no_refusal() -> None:
    """Only what is still found after it was removed is one; the rest is tried again soon."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.add("status", path="*/raw-text", status=502, times=1)
        with capture_logs() as logs, pytest.raises(AnythingLLMError):
            await client.delete_document("docs", "doc-1")
        await asyncio.sleep(AGAIN_SECONDS)
        assert await client.delete_document("docs", "doc-1")

    assert "vector_database.removes_nothing" not in [line["event"] for line in logs]


async def test_a_removal_that_got_past_a_refusal_is_tested_all_the_same() -> None:
    """A test document's removal is refused once, then answered with success: is it found still?"""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.vectors_kept = True
        server.faults.add("status", path="*/remove-documents", status=503, times=1)
        with pytest.raises(StillFoundError, match="refuses removals"):
            await client.delete_document("docs", "doc-1")

        assert len(await client.storage.listing(Slug("docs"))) == len(TEXTS)


async def test_while_the_database_is_away_no_test_document_counts_as_removed() -> None:
    """Nothing is found then, as where all is gone: rows would go, and their vectors stay."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        before = server.journal.count("request.answered", path=REMOVALS)
        server.faults.vectors_kept = True
        removing = asyncio.create_task(client.delete_document("docs", "doc-1"))
        while server.journal.count("request.answered", path=REMOVALS) == before:  # noqa: ASYNC110
            await asyncio.sleep(MOMENT)
        server.faults.database_down = True
        with pytest.raises(AnythingLLMError):
            await removing
        server.faults.database_down = server.faults.vectors_kept = False

        assert len(await client.list_workspace_documents("docs")) == 1


async def test_one_page_of_a_proxy_proves_no_text() -> None:
    """Nobody has looked for it: what was refused without a word would count as stored."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        server.faults.vectors_refused = True
        server.faults.add("html", path="*/vector-search", contains="Whales", times=1)
        upload = client.storage.upload(Slug("docs"), unit(document(TEXTS[2])))
        assert await upload.attempt() is None, "it is there, and not looked for yet"
        server.faults.vectors_refused = False
        with pytest.raises(AnythingLLMPendingError, match="can't be searched for"):
            await upload.attempt()


async def test_a_proxy_that_knows_no_backend_says_nothing_of_a_workspace() -> None:
    """Taken for one that is gone, a test of removals would count as passed."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.vectors_kept = True
        server.faults.add("status", path="*/remove-documents", status=404, times=2)
        with pytest.raises(AnythingLLMError):
            await client.delete_document("docs", "doc-1")
        server.faults.vectors_kept = False

        assert len(await client.list_workspace_documents("docs")) == 1


@pytest.mark.parametrize("skip", [0, 1], ids=["looked for", "looked whether it is gone"])
async def test_a_search_that_is_answered_400_says_nothing_of_a_workspace_that_is_there(
    skip: int,
) -> None:
    """Taken for one that is gone, a test of removals would count as passed."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.vectors_kept = True
        server.faults.add("status", path="*/vector-search", status=400, skip=skip, times=5)
        with pytest.raises(AnythingLLMError):
            await client.delete_document("docs", "doc-1")
        server.faults.vectors_kept = False

        assert len(await client.list_workspace_documents("docs")) == 1


async def test_a_workspace_that_is_gone_says_nothing_of_the_database() -> None:
    """Otherwise the probe would fail for ever, and everything would wait for it."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        await client.upload_document("gone", document("text"))
        server.faults.vectors_refused = True
        await client.upload_document("gone", document("text", "more"))
        with pytest.raises(AnythingLLMError):
            await client.storage.probe()
        server.faults.vectors_refused = False
        await client.delete_workspace("gone")
        await client.storage.probe()
        result = await client.upload_document("docs", document(*TEXTS, "more"))

    assert result.status == "succeeded"


async def test_a_chunk_that_is_given_up_unseen_stays_for_the_next_upload() -> None:
    """The database went away before it was looked for: its row could go, its vectors could not."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        whole = document(*TEXTS)
        upload = client.storage.upload(Slug("docs"), unit(whole))
        assert await upload.attempt() is None, "it is there, and not looked for yet"
        server.faults.database_down = True
        await asyncio.sleep(MOMENT)
        with pytest.raises(AnythingLLMError):
            await upload.attempt()
        await upload.abandon()
        server.faults.database_down = False
        await asyncio.sleep(AGAIN_SECONDS)
        result = await client.upload_document("docs", whole)

    assert (result.status, len(result.unchanged_chunk_ids)) == ("succeeded", 1)
    assert found(server) == dict.fromkeys((*TEXTS, "before"), 1)


async def test_a_database_that_goes_away_before_the_look_takes_no_row_with_it() -> None:
    """That others were found until then says nothing of now; the vectors would have no row."""
    async with at("pgvector") as (server, client):
        await client.storage.prepare(Slug("docs"))
        upload = client.storage.upload(Slug("docs"), unit(document(*TEXTS)))
        assert await upload.attempt() is None, "it is there, and not looked for yet"
        await asyncio.sleep(MOMENT)
        await client.upload_document("docs", document("later", id="second"))
        server.faults.database_down = True
        await asyncio.sleep(MOMENT)
        with pytest.raises(AnythingLLMError):
            await upload.attempt()
        server.faults.database_down = False
        rows = await client.storage.listing(Slug("docs"))

    assert len(rows) == 2
    assert found(server) == {TEXTS[0]: 1, "later": 1}


async def test_what_was_not_put_in_again_is_not_stored_by_its_former_vectors() -> None:
    """The database goes away while it is put in again: its row is gone, its vectors are found."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        upload = client.storage.upload(Slug("docs"), unit(document("after")))
        assert await upload.attempt() is None
        table = server.tables.get("docs")
        assert table is not None
        hidden = list(table.by_document)[-1]
        vectors = table.by_document.pop(hidden)
        rule = server.faults.add("hold", path="*/update-embeddings", times=1)
        storing = asyncio.create_task(proven(upload))
        await server.journal.wait_for("request.held")
        server.faults.database_down = True
        rule.released = True
        await server.journal.wait_for("request.answered", path=EMBEDDINGS)
        server.faults.database_down = False
        table.by_document[hidden] = vectors
        await storing

        assert found(server) == {"before": 1, "after": 1}


async def test_text_that_stays_without_its_row_is_never_said_to_be_deleted() -> None:
    """Nor when it is deleted once more, and nothing is listed any more."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document("before", id="first"))
        await client.upload_document("docs", document(*TEXTS))
        assert await client.delete_document("docs", "first")
        server.faults.vectors_kept = True
        with pytest.raises(StillFoundError, match="remove these vectors"):
            await client.delete_document("docs", "doc-1")
        server.faults.vectors_kept = False
        assert await client.list_workspace_documents("docs") == []
        with pytest.raises(StillFoundError, match="remove these vectors"):
            await client.delete_document("docs", "doc-1")
        assert await client.delete_document("docs", "never stored")


class Revoked(Exception):
    """The right to go on has ended."""


def _right_until(seconds: float) -> Callable[[], None]:
    end = asyncio.get_running_loop().time() + seconds

    def check() -> None:
        if asyncio.get_running_loop().time() >= end:
            raise Revoked

    return check


async def test_looking_for_what_is_listed_ends_with_the_right_to_go_on() -> None:
    """Otherwise the next owner's uploads would meet ours."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        rows = await client.storage.listing(Slug("docs"))
        texts = {unit.digests[0]: "a text" for unit in rows}
        server.journal.clear()
        async with client_for(server) as successor:
            with pytest.raises(Revoked):
                await successor.storage.found(
                    Slug("docs"), rows, lambda: texts, check=_right_until(0)
                )

        assert _searches(server) == 0


async def test_before_the_database_is_known_no_row_proves_anything() -> None:
    """Else one who has just begun takes a row without vectors for the copy that stays."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        (row, *_) = await client.storage.listing(Slug("docs"))
        async with client_for(server) as successor:
            assert not successor.storage.is_proven(row.location)
            assert not await successor.storage.rows_prove()
            assert not successor.storage.is_proven(row.location)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_test_of_removals_ends_with_the_right_to_go_on(waits: bool) -> None:
    """It may take minutes where nobody knows the database; also who waits for another's goes."""
    async with running_server(vector_db="pgvector") as server, client_for(server) as client:
        server.faults.add("status", path="*/utils/metrics", status=404)
        await client.upload_document("docs", document(*TEXTS))
        locations = [unit.location for unit in await client.storage.listing(Slug("docs"))]
        server.faults.vectors_kept = True
        removing: list[asyncio.Task[None]] = []
        if waits:
            other = client.storage.remove(Slug("docs"), locations, check=_right_until(60))
            removing.append(asyncio.create_task(other))
            await server.journal.wait_for("document.stored")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Revoked):
            await client.storage.remove(Slug("docs"), locations, check=_right_until(5))
        took = asyncio.get_running_loop().time() - began
        for task in removing:
            with pytest.raises(Revoked):
                await task

    assert 5 <= took < 10


async def test_what_was_found_in_another_database_is_looked_for_anew() -> None:
    """Whoever changes it starts with an empty one, and rows that say they are embedded."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        client._database._configured = KNOWN["milvus"]
        for unit in await client.storage.listing(Slug("docs")):
            server.damage("vectors-lost", "docs", unit.location)
        result = await client.upload_document("docs", document(*TEXTS))

    assert len(result.uploaded_chunk_ids) == len(TEXTS)
    assert found(server) == dict.fromkeys(TEXTS, 1)


# -- an outage of the database, seen by looking ----------------------------------------------------


@pytest.mark.parametrize("name", DATABASES)
async def test_a_database_that_is_down_is_not_well(name: str) -> None:
    """To whoever asks for health and to the deep probe; afterwards it is well, nothing is left."""
    async with at(name) as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        await client.upload_document("other", document("text"))
        files = set(server.state.files)
        await asyncio.sleep(MOMENT)
        server.faults.database_down = True
        health = await client.health_check()
        with pytest.raises(AnythingLLMError, match="its vector database failed the probe") as seen:
            await client.storage.probe()
        server.faults.database_down = False
        await asyncio.sleep(AGAIN_SECONDS)
        await client.storage.probe()
        after = await client.health_check()

    assert (health["status"], after["status"]) == ("degraded", "healthy")
    assert health["components"]["vector_database"]["status"] == "down"
    assert "docs (documents listed: 3)" in str(health["error"])
    assert "other (documents listed: 1)" in str(health["error"])
    assert "docs (documents listed: 3)" in seen.value.message
    assert set(server.state.files) == files


async def test_a_workspace_that_lost_its_vectors_is_no_outage() -> None:
    """Another one has hits; where there is none, a test document shows that vectors are kept."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.damage("vectors-lost", "docs")
        with capture_logs() as logs:
            alone = await client.health_check()
            await client.storage.probe()
        await client.upload_document("small", document("text"))
        beside = await client.health_check()
        files = len(server.state.files)
        await client.storage.probe()

    assert (alone["status"], beside["status"]) == ("degraded", "healthy")
    assert "nothing is found in docs" in str(alone["error"])
    assert [line["event"] for line in logs].count("vector_database.vectors_lost") == 1
    assert len(server.state.files) == files == 4


async def test_one_broken_workspace_is_no_outage() -> None:
    """Its table may even keep all vectors from being counted; others answer."""
    async with at("lancedb") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        await client.upload_document("small", document("text"))
        server.damage("vectors-lost", "small")
        server.faults.add("status", path="*/vector-count", status=500)
        server.faults.add("status", path="*/docs/vector-search", status=500)
        await client.storage.probe()
        health = await client.health_check()

    assert health["status"] == "healthy"


async def test_another_dimension_on_pgvector_is_told_with_what_helps() -> None:
    """No workspace can be searched, and deleting workspaces does not help."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.embedder_dimension = 32
        with pytest.raises(AnythingLLMError, match="DROP TABLE anythingllm_vectors"):
            await client.storage.probe()

        assert (await client.health_check())["status"] == "degraded"


@pytest.mark.parametrize("name", ["pgvector", ""])
async def test_nothing_found_is_no_answer_where_something_is_listed(name: str) -> None:
    """A pgvector that is down looks empty; an empty workspace finds nothing."""
    async with running_server(vector_db="pgvector") as server:
        if not name:
            server.faults.add("status", path="*/utils/metrics", status=404)
        async with client_for(server) as client:
            await client.upload_document("docs", document(*TEXTS))
            await client.get_or_create_workspace("empty")
            assert await client.search_workspace("empty", "wick") == []
            counted = server.journal.count("request.answered", path="/api/v1/openai/vector_stores")
            assert await client.search_workspace("docs", "wick")
            again = server.journal.count("request.answered", path="/api/v1/openai/vector_stores")
            server.faults.database_down = True
            with pytest.raises(AnythingLLMError, match="documents listed: 3") as refused:
                await client.search_workspace("docs", "wick")

    assert again == counted, "an answer with hits costs nothing more"
    assert ("ANYTHINGLLM_VECTOR_DB" in refused.value.message) is (name == "")


async def test_a_collection_that_others_removed_is_empty_on_chroma() -> None:
    """There an empty answer is one: the database would have said that it is down."""
    async with at("chroma") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.damage("vectors-lost", "docs")

        assert await client.search_workspace("docs", "wick") == []


# -- advice after a change of the embedding model --------------------------------------------------


@pytest.mark.parametrize(
    ("name", "helps"), [("lancedb", "reset"), ("chroma", "reset"), ("pgvector", "DROP TABLE")]
)
async def test_the_advice_after_another_dimension_helps_on_that_database(
    name: str, helps: str
) -> None:
    """Pgvector has one table for all: what is done to a workspace changes nothing there."""
    async with at(name) as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.embedder_dimension = 32
        client.storage.distrust(Slug("docs"))
        with capture_logs() as logs, pytest.raises(AnythingLLMError) as refused:
            await client.storage.prepare(Slug("docs"))
        if name == "pgvector":
            with pytest.raises(AnythingLLMError, match=helps):
                await client.upload_document("fresh", document("text"))

    assert helps in refused.value.message
    assert ("DROP TABLE" in refused.value.message) is (helps == "DROP TABLE")
    assert all(helps in line["what_to_do"] for line in logs if "what_to_do" in line)


async def test_nobody_is_told_to_reset_what_another_workspace_needs() -> None:
    """Both have one collection (Chroma): resetting the first empties the second."""
    first, second = SHARING["chroma"]
    async with at("chroma") as (server, client):
        await client.upload_document(first, document(*TEXTS))
        server.state.create_workspace(second, {})
        server.faults.embedder_dimension = 32
        client.storage.distrust(Slug(first))
        with pytest.raises(AnythingLLMError, match="Neither reset nor delete") as refused:
            await client.storage.prepare(Slug(first))

    assert second in refused.value.message


async def test_after_the_table_was_dropped_uploads_go_on() -> None:
    """Everything that is listed is lost then, which looks like an outage; it must not stay one."""
    async with at("pgvector") as (server, client):
        await client.upload_document("docs", document(*TEXTS))
        server.faults.embedder_dimension = 32
        with pytest.raises(AnythingLLMError, match="DROP TABLE"):
            await client.storage.probe()
        server.tables.clear()
        await asyncio.sleep(AGAIN_SECONDS)
        await client.storage.probe()
        result = await client.upload_document("docs", document("new", id="new"))

    assert (result.status, found(server)["new"]) == ("succeeded", 1)
