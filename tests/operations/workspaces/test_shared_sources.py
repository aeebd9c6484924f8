"""Pages stored under several ids: `workspaces verify` and `check` say so, and it is no fault."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from consumer.anythingllm import AnythingLLMStorage
from consumer.operations.check import look_at_sources
from consumer.sandbox.simulator import Simulator
from consumer.settings import load_settings
from tests.client.support import client_for, document
from tests.commands import Commands

PAGE = "https://docs.example/page"


@pytest.fixture
async def storage(simulator: Simulator) -> AsyncIterator[AnythingLLMStorage]:
    """Two workspaces with a page under two ids, a third one where all is right."""
    async with client_for(simulator) as client:
        for slug, ids in {"one": "ab", "private": "ab", "right": "a"}.items():
            for id in ids:
                await client.upload_document(slug, document("a text", id=id, url=PAGE))
        simulator.journal.clear()
        yield client.storage


async def told(
    simulator: Simulator, storage: AnythingLLMStorage, **more: str
) -> tuple[bool, str, str]:
    settings = load_settings({"ANYTHINGLLM_API_KEY": simulator.api_key, **more})
    (finding,) = await look_at_sources(settings, storage)
    return finding.ok, finding.text, finding.what_to_do


async def test_check_names_the_workspaces_and_the_setting(
    simulator: Simulator, storage: AnythingLLMStorage
) -> None:
    """Exit 0: it may be right. Each workspace that is ours is listed once, and nothing else."""
    simulator.state.create_workspace("odd", {}).fields["slug"] = "Odd, slug"
    allowed = {"ROUTING_ALLOWED_WORKSPACES": "one,right"}
    ok, text, what_to_do = await told(simulator, storage, **allowed)

    assert ok
    assert text == (
        "one: 1 page is stored under several ids, as 2 documents, such as a and b "
        "(2 of 2 workspaces looked at)"
    )
    assert "DOCUMENT_IDENTITY={source_url}" in what_to_do
    paths = [entry["path"] for entry in simulator.journal.of("request.answered")]
    assert paths == ["/api/v1/workspaces", "/api/v1/workspace/one", "/api/v1/workspace/right"]


async def test_check_is_content_where_identities_follow_the_source(
    simulator: Simulator, storage: AnythingLLMStorage
) -> None:
    """The ids of former uploads are no news then."""
    ok, text, what_to_do = await told(simulator, storage, DOCUMENT_IDENTITY="{source_url}")

    assert (ok, what_to_do) == (True, "")
    assert text == "no page is stored under several; 3 of 3 workspaces looked at"


async def test_check_is_not_stopped_by_a_listing_that_fails(
    simulator: Simulator, storage: AnythingLLMStorage
) -> None:
    """It is a hint only."""
    simulator.faults.add("truncated", path="*/workspace/private")
    ok, text, _ = await told(simulator, storage)

    assert ok
    assert text.startswith("not looked at: ")


@pytest.mark.network("kernel")
async def test_verify_tells_it_as_a_note(
    simulator: Simulator, storage: AnythingLLMStorage, commands: Commands
) -> None:
    """One line a workspace, however many pages it is about; exit 0."""
    settings = {
        "ANYTHINGLLM_ENDPOINT": simulator.endpoint, "ANYTHINGLLM_API_KEY": simulator.api_key,
    }  # fmt: skip
    words = ("workspaces", "verify", "one", "right", "--json")
    ended = await commands.run(*words, settings=settings)

    (note, totals) = [json.loads(line) for line in ended.lines]
    assert ended.code == 0
    assert (note["kind"], note["note"], note["workspace"]) == ("shared-source", True, "one")
    assert (totals["found"], totals["notes"]) == (0, 1)
