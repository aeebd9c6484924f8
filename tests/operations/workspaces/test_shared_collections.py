"""Workspaces that share a collection: `check` and `workspaces verify` say what not to do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from consumer.model.names import Slug
from consumer.operations.check import look_at_collections
from consumer.sandbox.simulator import Simulator
from tests.client.support import client_for, document, running_server
from tests.commands import Commands, Ended

FIRST, SECOND = "docs", "docs_"


async def _share(server: Simulator) -> None:
    """As people do it in AnythingLLM's pages: nothing of ours stores anything there."""
    async with client_for(server) as client:
        await client.upload_document(FIRST, document("one", "two"))
    assert server.state.create_workspace(SECOND, {}).slug == SECOND


async def verify(commands: Commands, server: Simulator, *words: str) -> Ended:
    """The command on that server."""
    reached = {"ANYTHINGLLM_ENDPOINT": server.endpoint, "ANYTHINGLLM_API_KEY": server.api_key}
    return await commands.run("workspaces", "verify", *words, settings=reached)


async def test_check_names_both_and_says_not_to_delete_either() -> None:
    """Deleting one empties the other. It is enough that documents may be sent to one of them."""
    for permitted in ((FIRST, SECOND), (FIRST,), (SECOND,)):
        async with running_server(vector_db="chroma") as server:
            await _share(server)
            async with client_for(server) as client:
                (finding,) = await look_at_collections(client.storage, permitted.__contains__)

        assert not finding.ok
        assert f"{FIRST} and {SECOND}" in finding.text
        assert "Delete neither" in finding.what_to_do


async def test_those_of_others_are_told_and_no_fault_of_the_service() -> None:
    """Nothing is ever sent there; beside one of ours each has a line of its own."""
    async with running_server(vector_db="chroma") as server:
        await _share(server)
        for number in range(5):
            for slug in (f"x{number}x", f"x{number}x_"):
                server.state.create_workspace(slug, {})
        async with client_for(server) as client:
            ours, others = await look_at_collections(client.storage, (FIRST,).__contains__)
            (alone,) = await look_at_collections(client.storage, lambda slug: False)

    assert (ours.ok, others.ok, alone.ok) == (False, True, True)
    assert ours.text.endswith(f": {FIRST} and {SECOND}")
    assert others.text == (
        "chroma: others' workspaces with one collection, so that each finds the other's texts: "
        "x0x and x0x_; x1x and x1x_; x2x and x2x_; and 2 more"
    )
    assert "Delete neither" in others.what_to_do


@pytest.mark.parametrize(
    ("name", "said"), [("lancedb", []), ("pgvector", ["pgvector: chunks count as stored when"])]
)
@pytest.mark.parametrize("permits", [lambda slug: True, lambda slug: False])
async def test_check_says_where_listings_prove_nothing(
    name: str, said: list[str], permits: Callable[[Slug], bool]
) -> None:
    """And is silent where there is nothing to say."""
    async with running_server(vector_db=name) as server, client_for(server) as client:
        found = await look_at_collections(client.storage, permits)

    assert [each.text.partition(" a search")[0] for each in found] == said
    assert all(each.ok for each in found)


@pytest.mark.network("kernel")
async def test_verify_names_both_and_gives_no_advice_that_empties_one(commands: Commands) -> None:
    """The other one's texts look like vectors without rows; that advice would be to delete it."""
    async with running_server(vector_db="chroma") as server:
        await _share(server)
        ended = await verify(commands, server, "--json")

    *found, _ = [json.loads(line) for line in ended.lines]
    assert ended.code == 3
    shared = [(each["kind"], each["workspace"]) for each in found]
    assert shared == [("shared-collection", FIRST), ("shared-collection", SECOND)]
    assert all("Delete neither" in each["what_to_do"] for each in found)
