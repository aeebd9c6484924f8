"""Workspaces that share a collection: `check` and `workspaces verify` say what not to do."""

from __future__ import annotations

import json

import pytest

from consumer.operations.check import look_at_collections
from consumer.sandbox.simulator import Simulator
from tests.client.support import client_for, document, running_server
from tests.commands import Commands

FIRST, SECOND = "docs", "docs_"


async def _share(server: Simulator) -> None:
    """As people do it in AnythingLLM's pages: nothing of ours stores anything there."""
    async with client_for(server) as client:
        await client.upload_document(FIRST, document("one", "two"))
    assert server.state.create_workspace(SECOND, {}).slug == SECOND


async def test_check_names_both_and_says_not_to_delete_either() -> None:
    """Deleting one empties the other."""
    async with running_server(vector_db="chroma") as server:
        await _share(server)
        async with client_for(server) as client:
            (finding,) = await look_at_collections(client.storage)

    assert not finding.ok
    assert f"{FIRST} and {SECOND}" in finding.text
    assert "Delete neither" in finding.what_to_do


@pytest.mark.parametrize(
    ("name", "said"), [("lancedb", []), ("pgvector", ["pgvector: chunks count as stored when"])]
)
async def test_check_says_where_listings_prove_nothing(name: str, said: list[str]) -> None:
    """And is silent where there is nothing to say."""
    async with running_server(vector_db=name) as server, client_for(server) as client:
        found = await look_at_collections(client.storage)

    assert [each.text.partition(" a search")[0] for each in found] == said
    assert all(each.ok for each in found)


@pytest.mark.network("kernel")
async def test_verify_names_both_and_gives_no_advice_that_empties_one(commands: Commands) -> None:
    """The other one's texts look like vectors without rows; that advice would be to delete it."""
    async with running_server(vector_db="chroma") as server:
        await _share(server)
        settings = {
            "ANYTHINGLLM_ENDPOINT": server.endpoint, "ANYTHINGLLM_API_KEY": server.api_key,
        }  # fmt: skip
        ended = await commands.run("workspaces", "verify", "--json", settings=settings)

    *found, _ = [json.loads(line) for line in ended.lines]
    assert ended.code == 3
    shared = [(each["kind"], each["workspace"]) for each in found]
    assert shared == [("shared-collection", FIRST), ("shared-collection", SECOND)]
    assert all("Delete neither" in each["what_to_do"] for each in found)
