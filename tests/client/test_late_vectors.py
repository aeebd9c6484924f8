"""What the client does while searches do not show yet what is stored."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm import AnythingLLMError, AnythingLLMPendingError
from consumer.anythingllm.sentinel import is_sentinel
from consumer.anythingllm.sentinel_proof import PATIENCE
from consumer.anythingllm.visibility import SURE_SECONDS
from consumer.model.names import Slug
from consumer.sandbox.simulator import Simulator
from tests.client.support import client_for, clock, document, running_server, texts_of

DOCS = Slug("docs")
TEXTS = ("Trim the wick of the lantern.", "Quarterly revenue rose.", "Whales sing in the sea.")


def _written(server: Simulator) -> int:
    stored = server.journal.of("document.stored")
    return sum(is_sentinel(entry["doc_source"]) for entry in stored)


@pytest.mark.parametrize("name", ["lancedb", "pgvector", "chroma", "milvus"])
@pytest.mark.parametrize(("late", "every"), [(0.3, 1), (5.0, 1), (60.0, 1), (60.0, 2)])
async def test_an_upload_into_a_fresh_workspace_takes_as_long_as_it_has_to(
    name: str, late: float, every: int
) -> None:
    """One call stores it, with one test document, however late it is shown."""
    async with running_server(vector_db=name) as server, client_for(server) as client:
        server.faults.visible_after_seconds, server.faults.late_every = late, every
        result = await client.upload_document("docs", document(*TEXTS))

    assert (result.status, texts_of(server, "docs")) == ("succeeded", sorted(TEXTS))
    assert _written(server) <= (1 if every == 1 else 3)
    assert len(server.state.files) == 3


async def test_who_prepares_a_late_workspace_is_kept_for_a_moment_only() -> None:
    """All share one test document, it is said once, and the next one to ask finds it ready."""
    async with running_server() as server, client_for(server) as client:
        server.faults.visible_after_seconds = 30.0
        began = clock()
        with capture_logs() as logs:
            preparing = [client.storage.prepare(DOCS) for _ in range(20)]
            answers = await asyncio.gather(*preparing, return_exceptions=True)
            assert clock() - began < 2 * PATIENCE
            assert {type(each) for each in answers} == {AnythingLLMPendingError}
            await asyncio.sleep(40)
            await client.storage.prepare(DOCS)

    assert (_written(server), server.state.files) == (1, {})
    assert [line["event"] for line in logs].count("workspace.late") == 1


async def test_why_a_workspace_is_not_ready_is_told_to_the_next_who_asks() -> None:
    """Nobody waited when that was found out; a further try begins with what is there."""
    async with running_server() as server, client_for(server) as client:
        server.faults.visible_after_seconds = 1e9
        with pytest.raises(AnythingLLMPendingError):
            await client.storage.prepare(DOCS)
        await asyncio.sleep(SURE_SECONDS + 10)
        with pytest.raises(AnythingLLMError, match="is not ready: a test document") as raised:
            await client.storage.prepare(DOCS)
        assert not raised.value.pending
        server.faults.visible_after_seconds = 0.0
        await client.storage.prepare(DOCS)

    assert (_written(server), server.state.files) == (1, {})


async def test_while_a_control_is_not_found_nothing_more_is_uploaded() -> None:
    """It may only be late. A second document waits, and both are stored."""
    async with running_server(vector_db="pgvector") as server, client_for(server) as client:
        await client.upload_document("docs", document("before", id="first"))
        server.faults.visible_after_seconds = 60.0
        first = asyncio.create_task(client.upload_document("docs", document("one", id="a")))
        await asyncio.sleep(10)
        second = asyncio.create_task(client.upload_document("docs", document("two", id="b")))
        await asyncio.sleep(10)
        assert "two" not in {file.text for file in server.state.files.values()}
        results = [await first, await second]

    assert [each.status for each in results] == ["succeeded", "succeeded"]
    assert texts_of(server, "docs") == ["before", "one", "two"]


async def test_a_removal_test_is_not_failed_by_a_replica_that_lags() -> None:
    """The test document is found late, and its removal goes on."""
    async with running_server(vector_db="pgvector") as server, client_for(server) as client:
        await client.upload_document("docs", document(*TEXTS))
        server.faults.visible_after_seconds = 60.0
        [one, *_] = await client.storage.listing(DOCS)
        await client.storage.remove(DOCS, [one.location])

    assert one.location not in server.state.files
