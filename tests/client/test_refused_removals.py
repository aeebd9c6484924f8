"""What removes also where something before AnythingLLM refuses DELETE with a body."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm import AnythingLLMClient
from consumer.anythingllm.document_removal import NOWHERE, RemovalRefusedError
from consumer.anythingllm.removal_way import REFUSALS
from consumer.sandbox.simulator import Simulator
from tests.client.support import client_for, document, texts_of

DELETE = {"method": "DELETE", "path": "*/remove-documents"}
TAKING_OUT = {"method": "POST", "path": "*/update-embeddings"}
DEFINITE = sorted(status for status, why in REFUSALS.items() if not why.patience)


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    async with client_for(simulator) as client:
        yield client


@pytest.mark.parametrize("status", DEFINITE)
async def test_documents_are_replaced_and_deleted(
    simulator: Simulator, client: AnythingLLMClient, status: int
) -> None:
    """By the methods of the client; told once, and only files stay."""
    await client.upload_document("docs", document("one", "two"))
    simulator.faults.add("status", status=status, **DELETE)
    with capture_logs() as logs:
        result = await client.upload_document("docs", document("one", "new", day=2))
        assert (result.status, result.removed_chunks, result.errors) == ("succeeded", 1, ())
        assert texts_of(simulator, "docs") == ["new", "one"]
        assert await client.delete_document("docs", "doc-1")

    assert texts_of(simulator, "docs") == []
    assert simulator.orphans("docs") == []
    assert {file.text for file in simulator.state.files.values()} >= {"one", "two", "new"}
    assert [each["event"] for each in logs].count("removal.let_through_no_more") == 1


async def test_a_file_that_is_listed_twice_is_taken_out_twice(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Each request takes out one row of a file."""
    await client.upload_document("docs", document("one"))
    (row,) = simulator.state.workspaces["docs"].rows.values()
    await simulator.model.add(simulator.state.workspaces["docs"], row.file)
    simulator.faults.add("status", status=405, **DELETE)

    assert await client.delete_document("docs", "doc-1")
    assert not simulator.state.workspaces["docs"].rows
    assert simulator.orphans("docs") == []


@pytest.mark.parametrize("status", [403, 405])
async def test_what_nothing_removes_is_said_not_to_be_removed(
    simulator: Simulator, client: AnythingLLMClient, status: int
) -> None:
    """The message names both requests."""
    await client.upload_document("docs", document("one"))
    simulator.faults.add("status", status=501, **DELETE)
    simulator.faults.add("status", status=status, **TAKING_OUT)

    with pytest.raises(RemovalRefusedError, match=rf"answered 501.*answered {status}") as raised:
        await client.delete_document("docs", "doc-1")
    assert raised.value.http_status == status
    assert texts_of(simulator, "docs") == ["one"]


async def test_the_look_beforehand_harms_nothing(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """It removes a file that is not there."""
    await client.upload_document("docs", document("one"))
    before = (set(simulator.state.files), texts_of(simulator, "docs"))
    assert await client.storage.why_files_stay() is None
    simulator.faults.add("status", status=411, **DELETE)
    why = await client.storage.why_files_stay()

    assert "answered 411" in (why or "")
    assert (set(simulator.state.files), texts_of(simulator, "docs")) == before
    assert NOWHERE not in simulator.state.files
