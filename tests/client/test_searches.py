"""Searches whose answers are odd in places, and databases that give few hits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm import AnythingLLMClient, AnythingLLMProtocolError, AnythingLLMServerError
from consumer.anythingllm.hit_limit import REMEMBERED_SECONDS
from consumer.model.names import Slug
from consumer.sandbox.simulator import Damage, Simulator
from tests.client.support import DIFFERENT_DATABASES, client_for, document, running_server

TEXTS = ("Trim the wick of the lantern.", "Quarterly revenue rose.", "Whales sing in the sea.")
ODD: list[Any] = [
    {"text": "odd", "score": None, "metadata": {"docSource": "odd"}},
    {"text": "odder", "metadata": {"docSource": "odd"}},
    {"score": "0.9", "metadata": {"docSource": "odd"}, "more": [1]},
    None,
]


async def _texts(client: AnythingLLMClient, limit: int = 20) -> list[str]:
    return [hit.text for hit in await client.search_workspace("docs", "whales", limit=limit)]


@pytest.mark.parametrize("name", [*DIFFERENT_DATABASES, "milvus"])
async def test_odd_hits_spoil_no_search_and_keep_no_workspace_from_getting_ready(name: str) -> None:
    """They come last or are left out; one warning for a workspace, not one a hit or a search."""
    async with running_server(vector_db=name) as server, client_for(server) as client:
        server.faults.odd_hits = list(ODD)
        with capture_logs() as logs:
            result = await client.upload_document("docs", document(*TEXTS))
            found = [hit for hit in await _texts(client) if hit in (*TEXTS, "odd", "odder")]
            await _texts(client)

    assert result.status == "succeeded"
    assert found[0] == TEXTS[2]
    assert found[-2:] == ["odd", "odder"]
    warnings = [line for line in logs if line["event"] == "search.odd_hits"]
    assert [line["workspace"] for line in warnings] == ["docs"]


async def test_a_vector_of_zeros_comes_last_and_is_warned_about_by_its_document() -> None:
    """Its score is null."""
    async with running_server(vector_db="pgvector") as server, client_for(server) as client:
        await client.upload_document("docs", document(*TEXTS))
        zeroed = next(f for f in server.state.files.values() if f.text == TEXTS[2])
        server.damage(Damage.ZEROED, "docs", zeroed.location)
        with capture_logs() as logs:
            hits = await client.search_workspace("docs", "whales")

    assert {hit.text for hit in hits} == set(TEXTS)
    assert (hits[-1].text, hits[-1].distance) == (TEXTS[2], None)
    (warning,) = [line for line in logs if line["event"] == "search.odd_hits"]
    assert (warning["document_id"], warning["odd"]) == ("doc-1", 1)


async def test_an_answer_of_nothing_but_odd_hits_is_no_answer() -> None:
    """It is not "nothing found"."""
    async with running_server() as server, client_for(server) as client:
        await client.upload_document("docs", document(*TEXTS))
        server.faults.odd_hits = [None] * 100
        with pytest.raises(AnythingLLMProtocolError):
            await client.search_workspace("docs", "whales")


@pytest.mark.parametrize("most", [10, 100, 10_000, 16_384])
async def test_a_database_that_gives_few_hits_gives_those(most: int) -> None:
    """Whatever a caller asks for; that is found out once, and not by every search."""
    texts = [f"chapter {n} about whales" for n in range(30)]
    async with running_server(vector_db="chroma") as server, client_for(server) as client:
        await client.upload_document("docs", document(*texts))
        server.faults.most_hits = most
        with capture_logs() as logs:
            first = await _texts(client, limit=20_000)
            server.journal.clear()
            second = await _texts(client, limit=20_000)
        searches = _searches(server)

    assert len(first) == len(second) == min(most, 30)
    assert searches == 1
    assert [line["event"] for line in logs].count("search.limited") == 1


async def test_a_search_that_fails_for_another_reason_is_not_made_smaller_for_long() -> None:
    """One more search is sent, with few hits; a limit that was learned by chance is forgotten."""
    async with running_server() as server, client_for(server) as client:
        await client.upload_document("docs", document(*TEXTS))
        server.journal.clear()
        rule = server.faults.add("status", path="*/vector-search", status=500)
        with pytest.raises(AnythingLLMServerError):
            await client.search_workspace("docs", "whales")
        assert _searches(server) == 2
        server.faults.rules.remove(rule)
        server.faults.add("status", path="*/vector-search", status=500, times=1)
        assert len(await _texts(client)) == 3
        await asyncio.sleep(REMEMBERED_SECONDS)
        more = document(*(f"whales {n}" for n in range(80)), id="more")
        await client.upload_document("docs", more)
        server.journal.clear()
        assert len(await _texts(client, limit=200)) == 83
        assert _searches(server) == 1


@pytest.mark.parametrize("name", ["pgvector", "milvus", "chroma"])
@pytest.mark.parametrize("most", [10, 300])
async def test_uploads_and_removals_go_on_where_few_hits_are_given(name: str, most: int) -> None:
    """Fresh workspaces get ready, chunks are proven, what was removed is looked for."""
    texts = [f"chapter {n} of the manual about lanterns" for n in range(40)]
    async with running_server(vector_db=name) as server, client_for(server) as client:
        server.faults.most_hits = most
        with capture_logs() as logs:
            first = await client.upload_document("docs", document(*texts))
            await client.search_workspace("docs", "lanterns", limit=200)
            second = await client.upload_document("docs", document("new", day=2))
            gone = await client.delete_document("docs", "doc-1")
        left = await client.storage.listing(Slug("docs"))

    assert (first.status, second.status, gone, left) == ("succeeded", "succeeded", True, [])
    told = [line["event"] for line in logs].count("search.limited")
    assert told == 1, "whatever searches, the limit is found out once"


def _searches(server: Simulator) -> int:
    return server.journal.count("request.answered", path="/api/v1/workspace/docs/vector-search")
