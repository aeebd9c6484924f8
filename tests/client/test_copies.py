"""Which copy of a chunk a search has found, where a listed row may have no vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from consumer.anythingllm import AnythingLLMClient
from consumer.model.document import ProcessedDocument
from consumer.model.marker import StoredUnit, digests_of
from consumer.model.names import Slug
from consumer.sandbox.simulator import Simulator
from tests.client.support import client_for, document, proven, running_server, unit

DOCS = Slug("docs")
SILENT = ["pgvector", "milvus"]


def _texts(of: ProcessedDocument) -> Mapping[str, str]:
    return dict(zip(digests_of(of), (chunk.content for chunk in of.chunks), strict=True))


async def _row_without_vectors(
    server: Simulator, client: AnythingLLMClient, of: ProcessedDocument
) -> StoredUnit:
    """A dead process' copy of the first chunk, as a listing shows it."""
    assert await client.storage.upload(DOCS, unit(of)).attempt() is None
    (row,) = [each for each in await client.storage.listing(DOCS) if each.marker == unit(of).marker]
    assert server.damage("vectors-lost", "docs", row.location) == 1
    return row


@pytest.mark.parametrize("name", SILENT)
async def test_a_copy_that_came_after_the_listing_proves_no_other_row(name: str) -> None:
    """The listing is minutes old, and another process' upload took effect since."""
    texts = document("one")
    async with running_server(vector_db=name) as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        row = await _row_without_vectors(server, client, texts)
        await client.storage.upload(DOCS, unit(texts)).attempt()
        async with client_for(server) as successor:
            found = await successor.storage.found(DOCS, [row], lambda: _texts(texts))
            both = await successor.storage.listing(DOCS, lambda each: each == row.marker)
            of_both = await successor.storage.found(DOCS, both, lambda: _texts(texts))

    assert not found
    assert of_both == {each.location for each in both} - {row.location}


@pytest.mark.parametrize("name", SILENT)
async def test_an_equal_text_of_another_chunk_proves_no_row(name: str) -> None:
    """Two chunks with one text: what is found is the other one."""
    twice = document("one", "one")
    async with running_server(vector_db=name) as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        row = await _row_without_vectors(server, client, twice)
        other = replace(twice, chunks=twice.chunks[1:])
        await client.storage.upload(DOCS, unit(other)).attempt()
        async with client_for(server) as successor:
            found = await successor.storage.found(DOCS, [row], lambda: _texts(twice))

    assert not found


@pytest.mark.parametrize("name", SILENT)
async def test_an_upload_is_not_proven_by_another_copy_of_its_chunk(name: str) -> None:
    """Both are whole in the end, and the sweep takes one of them."""
    texts = document("one")
    async with running_server(vector_db=name) as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        upload = client.storage.upload(DOCS, unit(texts))
        assert await upload.attempt() is None
        (row,) = [r for r in await client.storage.listing(DOCS) if r.marker == unit(texts).marker]
        server.damage("vectors-lost", "docs", row.location)
        async with client_for(server) as another:
            await another.storage.upload(DOCS, unit(texts)).attempt()
        stored = await proven(upload)

        assert stored.location == row.location
        assert [copies for _, text, copies in server.chunks("docs") if text == "one"] == [1, 1]


async def test_where_hits_name_no_files_everything_is_stored_all_the_same() -> None:
    """Another version of AnythingLLM may tell other ids; a test document shows that."""
    async with running_server(vector_db="pgvector") as server, client_for(server) as client:
        vectors = server.model.vectors
        vectors.database = replace(vectors.database, file_ids=False)
        result = await client.upload_document("docs", document("one", "two"))

        assert result.status == "succeeded"
        assert [copies for _, _, copies in server.chunks("docs")] == [1, 1]
