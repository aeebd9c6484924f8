"""What the client promises, where it needs no fault and no clock: on a real server as well.

All of it is seen from outside: in what the client answers, and in the server's own listings and
searches. Texts have no length or wording that matters to an embedder.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig, DocumentUploadResult
from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import decode_marker
from tests.contract.conftest import PUBLISHED, REAL_ENDPOINT, Server

pytestmark = pytest.mark.contract

FRESH = 3  # workspaces: a real server takes some seconds to make one of them safe
UPLOADERS, CHUNKS = 4, 6
BEGUN = datetime.fromtimestamp(PUBLISHED / 1000, UTC)
TEXTS = [f"Note {n}: the {word} is wound on day {n}." for n, word in enumerate(
    ["clock", "music box", "crane", "toy", "watch", "gramophone"]
)]  # fmt: skip


def page(
    texts: Sequence[str], *, id: str = "page", day: float = 0, url: str = "https://docs.example/a"
) -> ProcessedDocument:
    """A document; its chunks are numbered by position."""
    chunks = tuple(Chunk(f"{id}_chunk_{n}", text, n) for n, text in enumerate(texts))
    made = BEGUN + timedelta(days=day)
    return ProcessedDocument(id, "A page.", "test", url, chunks, created_at=made)


@asynccontextmanager
async def client_of(server: Server, *, identity: str = "{id}") -> AsyncIterator[AnythingLLMClient]:
    config = AnythingLLMConfig(server.endpoint, server.api_key, identity=identity)
    if server.endpoint != REAL_ENDPOINT:
        config = replace(config, sentinel_pause=0.1)
    async with AnythingLLMClient(config) as client:
        yield client


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AnythingLLMClient]:
    async with client_of(server) as client:
        yield client


@pytest.fixture
async def slug(server: Server) -> AsyncIterator[str]:
    """The slug of a workspace that nobody has made yet."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    await cleared(server, name)


async def cleared(server: Server, slug: str) -> None:
    """Remove a workspace with everything in it."""
    server.locations += [row["docpath"] for row in await listed(server, slug)]
    server.workspaces.append(slug)


async def listed(server: Server, slug: str) -> list[dict[str, Any]]:
    """The rows of a workspace; none where there is none."""
    reply = await server.call("GET", f"/api/v1/workspace/{slug}")
    return list(reply.body["workspace"][0]["documents"]) if reply.body["workspace"] else []


async def found(client: AnythingLLMClient, slug: str, texts: Sequence[str]) -> Counter[str]:
    """Whole texts that a search finds, with their copies."""
    hits = await client.search_workspace(slug, texts[0] if texts else "anything", limit=200)
    return Counter(hit.text for hit in hits)


def cost(result: DocumentUploadResult) -> tuple[str, int, int]:
    return result.status, len(result.uploaded_chunk_ids), result.removed_chunks


async def test_concurrent_first_uploads_into_fresh_workspaces_lose_nothing(server: Server) -> None:
    """Four clients that know nothing of each other, six chunks each, and nobody waits.

    Every chunk is found, once; one workspace a slug, no stray beside it, no test document left.
    """
    slugs = [f"test-{secrets.token_hex(6)}" for _ in range(FRESH)]
    documents = [page([f"{n}: {text}" for text in TEXTS], id=f"page-{n}") for n in range(UPLOADERS)]
    try:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(server)) for _ in documents]
            results = await asyncio.gather(
                *(
                    client.upload_document(slug, document)
                    for slug in slugs
                    for client, document in zip(clients, documents, strict=True)
                )
            )
            every = [each.slug for each in await clients[0].list_workspaces()]
            wanted = Counter(chunk.content for each in documents for chunk in each.chunks)
            for slug in slugs:
                rows = await listed(server, slug)
                markers = [decode_marker(row_source(row)) for row in rows]
                assert Counter(m.document_id for m in markers if m) == {
                    each.id: CHUNKS for each in documents
                }
                assert [row for row in rows if is_sentinel(row_source(row))] == []
                assert await found(clients[0], slug, list(wanted)) == wanted
                assert [each for each in every if each.startswith(slug)] == [slug]
        assert {cost(result) for result in results} == {("succeeded", CHUNKS, 0)}
    finally:
        for slug in slugs:
            await cleared(server, slug)


def row_source(row: dict[str, Any]) -> str:
    """A row's ``docSource``."""
    return str(orjson.loads(str(row["metadata"])).get("docSource", ""))


VERSIONS: dict[str, tuple[Callable[[list[str]], list[str]], int, int]] = {
    "unchanged": (lambda texts: texts, 0, 0),
    "edited": (lambda texts: ["A new text.", *texts[1:]], 1, 1),
    "inserted at the start": (lambda texts: ["A new text.", *texts], 1, 0),
    "shorter": (lambda texts: texts[:-2], 0, 2),
    "in another order": (lambda texts: texts[::-1], 0, 0),
    "one text more often": (lambda texts: [*texts, texts[0]], 1, 0),
    "emptied": (lambda texts: [], 0, 6),
}


async def test_a_new_version_costs_what_has_changed(
    server: Server, client: AnythingLLMClient, slug: str
) -> None:
    """Chunks are known by their text, not by ids that shift; a text may occur several times."""
    before, after = [], []
    for name, (change, _, _) in VERSIONS.items():
        texts = [f"{name}: {text}" for text in TEXTS]
        url = f"https://docs.example/{name.replace(' ', '-')}"
        before.append(page(texts, id=name, url=url))
        after.append(page(change(texts), id=name, url=url, day=1))
    first = [await client.upload_document(slug, each) for each in before]
    second = [await client.upload_document(slug, each) for each in after]
    third = [await client.upload_document(slug, each) for each in after]

    assert {cost(each) for each in first} == {("succeeded", CHUNKS, 0)}
    assert {each.document_id: cost(each) for each in second} == {
        name: ("succeeded", uploads, removals) for name, (_, uploads, removals) in VERSIONS.items()
    }
    assert {cost(each) for each in third} == {("succeeded", 0, 0)}
    wanted = Counter(chunk.content for each in after for chunk in each.chunks)
    assert await found(client, slug, list(wanted)) == wanted
    assert len(await listed(server, slug)) == wanted.total()


async def test_new_ids_for_a_page_cost_nothing_where_its_source_is_the_identity(
    server: Server, slug: str
) -> None:
    """By default they are another document, which loses nothing and finds each text twice."""
    async with client_of(server, identity="{source_url}") as client:
        await client.upload_document(slug, page(TEXTS))
        again = await client.upload_document(slug, page(TEXTS, id="re-processed", day=1))
        assert cost(again) == ("succeeded", 0, 0)
        assert await found(client, slug, TEXTS) == Counter(TEXTS)
    async with client_of(server) as client:
        another = await client.upload_document(slug, page(TEXTS, id="re-processed", day=1))
        assert cost(another) == ("succeeded", CHUNKS, 0)
        assert await found(client, slug, TEXTS) == Counter(TEXTS * 2)


@pytest.mark.parametrize(
    "how",
    ["emptied", *(pytest.param(each, marks=pytest.mark.slow) for each in ("deleted", "made anew"))],
)
async def test_what_people_took_out_comes_back(
    server: Server, client: AnythingLLMClient, slug: str, how: str
) -> None:
    """Published again it is uploaded again, side by side into a workspace that is fresh again."""
    await client.upload_document(slug, page(TEXTS))
    rows = await listed(server, slug)
    locations = [str(row["docpath"]) for row in rows]
    server.locations += locations
    if how == "emptied":
        await server.update(slug, deletes=locations)
    else:
        await server.call("DELETE", f"/api/v1/workspace/{slug}")
    if how == "made anew":
        assert await server.workspace(slug) == slug
    again = await client.upload_document(slug, page(TEXTS))

    assert cost(again) == ("succeeded", CHUNKS, 0)
    assert await found(client, slug, TEXTS) == Counter(TEXTS)


async def test_what_people_put_there_is_never_touched(
    server: Server, client: AnythingLLMClient, slug: str
) -> None:
    """Documents without our marker, with one of a later format or a broken one."""
    await client.upload_document(slug, page(TEXTS))
    (ours, *_) = [str(row["docpath"]) for row in await listed(server, slug)]
    sources = [row_source(row) for row in await listed(server, slug)]
    by_hand = {
        "": "A note by hand.",
        sources[0].replace('{"alc":1', '{"alc":2'): "A note of a later format.",
        sources[0].replace('"v":"', '"v":"about '): "A note with a broken marker.",
    }
    kept = [await server.stored(slug, text, source) for source, text in by_hand.items()]
    await client.upload_document(slug, page([], day=1))
    assert await client.delete_document(slug, "page", identity="page")

    rows = await listed(server, slug)
    assert ours not in {row["docpath"] for row in rows}
    assert sorted(str(row["docpath"]) for row in rows) == sorted(kept)
    assert await found(client, slug, ["A note"]) == Counter(by_hand.values())


async def test_a_deleted_document_is_gone_and_others_stay(
    server: Server, client: AnythingLLMClient, slug: str
) -> None:
    """Files, rows and vectors; deleting it again is no error."""
    other = page(["Bread needs time."], id="other", url="https://docs.example/b")
    await client.upload_document(slug, page(TEXTS))
    await client.upload_document(slug, other)
    files = [str(row["docpath"]) for row in await listed(server, slug)]
    assert [await client.delete_document(slug, "page") for _ in range(2)] == [True, True]

    (left,) = await listed(server, slug)
    gone = [each for each in files if each != left["docpath"]]
    replies = [await server.call("GET", f"/api/v1/document/{each[17:]}") for each in gone]
    assert {reply.status for reply in replies} == {404}
    assert await found(client, slug, TEXTS) == Counter(["Bread needs time."])
    assert [each.document_id for each in await client.list_workspace_documents(slug)] == ["other"]
