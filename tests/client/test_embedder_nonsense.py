"""The client alone, while the embedder answers nonsense with 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from consumer.anythingllm import AnythingLLMClient, AnythingLLMError
from consumer.anythingllm.embedder_in_use import AGAIN_SECONDS
from consumer.model.fault import Fault
from consumer.sandbox.simulator import Simulator
from tests.client.support import client_for, document, texts_of

SEEN = {
    "zeros": "nothing but zeros",
    "nulls": "null",
    "nan": "null",
    "constant": "the same vector for different texts",
}


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    async with client_for(simulator) as client:
        yield client


@pytest.mark.parametrize("kind", SEEN)
async def test_health_and_the_deep_probe_say_so(
    simulator: Simulator, client: AnythingLLMClient, kind: str
) -> None:
    """By what two probe texts give."""
    assert (await client.health_check())["status"] == "healthy"
    simulator.faults.update({"embedder_nonsense": kind})
    health = await client.health_check()
    with pytest.raises(AnythingLLMError, match=SEEN[kind]) as raised:
        await client.storage.probe()

    assert health["status"] == "degraded"
    assert SEEN[kind] in health["components"]["embedder"]["error"]
    assert raised.value.fault is Fault.THEIRS


@pytest.mark.parametrize("length", [32, 128])
async def test_another_length_than_before_is_said(
    simulator: Simulator, client: AnythingLLMClient, length: int
) -> None:
    """Of the embedder the first time, of what is stored as long as it can't be searched."""
    await client.upload_document("docs", document("one"))
    simulator.faults.embedder_dimension = length
    told = await client.health_check()
    again = await client.health_check()

    assert f"vectors of {length} numbers, and gave 64 before" in str(told["error"])
    assert again["status"] == "degraded"
    assert "a search fails in docs" in again["components"]["vector_database"]["error"]
    assert "embedding model was changed" in str(again["error"])


@pytest.mark.parametrize("kind", SEEN)
async def test_upload_document_does_not_call_it_stored(
    simulator: Simulator, client: AnythingLLMClient, kind: str
) -> None:
    """And stores it anew when all is well again, once."""
    await client.upload_document("docs", document("before", id="first"))
    simulator.faults.update({"embedder_nonsense": kind})
    result = await client.upload_document("docs", document("one", "two"))
    assert (result.status, result.uploaded_chunk_ids) == ("failed", ())
    assert "embedder" in result.errors[0]
    simulator.faults.embedder_nonsense = ""
    await asyncio.sleep(AGAIN_SECONDS)
    result = await client.upload_document("docs", document("one", "two"))

    assert result.status == "succeeded"
    assert texts_of(simulator, "docs") == ["before", "one", "two"]
    hits = await client.search_workspace("docs", "two")
    assert hits[0].text == "two"
