"""`workspaces verify` knows the ways of the vector database."""

from __future__ import annotations

import json

import pytest

from consumer.sandbox.simulator import Damage
from tests.client.support import client_for, document, running_server
from tests.commands import Commands
from tests.operations.workspaces.test_shared_collections import verify


@pytest.mark.network("kernel")
async def test_verify_finds_nothing_wrong_with_a_fresh_workspace_on_milvus(
    commands: Commands,
) -> None:
    """Searches in it fail until something was stored there; two fresh ones may share all the same.

    Once it has rows, a search that fails is a fault.
    """
    async with running_server(vector_db="milvus") as server:
        server.state.create_workspace("fresh", {})
        fresh = await verify(commands, server)
        server.state.create_workspace("a-b", {})
        server.state.create_workspace("a_b", {})
        shared = await verify(commands, server, "--json")
        async with client_for(server) as client:
            await client.upload_document("fresh", document("one"))
        server.faults.database_down = True
        down = await verify(commands, server, "fresh", "--json")

    assert (fresh.code, shared.code, down.code) == (0, 3, 3)
    *found, _ = [json.loads(line) for line in shared.lines]
    assert {(each["kind"], each["workspace"]) for each in found} == {
        ("shared-collection", "a-b"), ("shared-collection", "a_b"),
    }  # fmt: skip
    assert [json.loads(line)["kind"] for line in down.lines[:-1]] == ["unsearchable"]


@pytest.mark.network("kernel")
async def test_what_milvus_leaves_out_of_a_search_is_not_said_to_be_gone(
    commands: Commands,
) -> None:
    """It gives nothing that is far from the query, so a listing by search is never whole."""
    async with running_server(vector_db="milvus") as server:
        async with client_for(server) as client:
            await client.upload_document("docs", document("Whales sing.", "Revenue rose."))
        server.damage(Damage.AGED, "docs", seconds=1_000)
        ended = await verify(commands, server, "--json")

    note, totals = [json.loads(line) for line in ended.lines]
    assert (ended.code, note["kind"], note["note"]) == (0, "not-looked-at", True)
    assert "`audit --search`" in note["finding"]
    assert (totals["found"], totals["chunks_too_young"]) == (0, 0)
