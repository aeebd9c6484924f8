"""Which of several servers a workspace lives on, asked without a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from consumer.anythingllm import (
    AnythingLLMConfig,
    AnythingLLMError,
    AnythingLLMServers,
    NoWorkspaceError,
)
from consumer.model.names import Slug
from consumer.model.server_marks import Mark, MarkKind, move_mark
from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from tests.client.support import client_for, document


@pytest.fixture
async def sims() -> AsyncIterator[dict[str, Simulator]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(running_simulator(api_key=f"key-{name}"))
            for name in ("a", "b")
        }


def servers(sims: dict[str, Simulator], **pins: str) -> AnythingLLMServers:
    configs = {name: AnythingLLMConfig(sim.endpoint, sim.api_key) for name, sim in sims.items()}
    return AnythingLLMServers(configs, pins=pins)


async def store(sim: Simulator, slug: str) -> None:
    async with client_for(sim, sentinel_pause=0.01) as client:
        await client.upload_document(slug, document("one"))


async def test_the_client_of_a_workspace_finds_what_is_stored(sims: dict[str, Simulator]) -> None:
    await store(sims["b"], "docs")
    sims["a"].state.create_workspace("docs", {})
    async with servers(sims) as each:
        client = await each.client_of("docs")
        assert await each.server_of("docs") == "b"
        assert client is each["b"]
        assert len(await client.list_workspace_documents("docs")) == 1


async def test_nobody_has_it(sims: dict[str, Simulator]) -> None:
    async with servers(sims) as each:
        with pytest.raises(NoWorkspaceError, match="no server has a workspace 'docs'"):
            await each.server_of("docs")
    assert not sims["a"].state.workspaces


async def test_two_have_it(sims: dict[str, Simulator]) -> None:
    for sim in sims.values():
        await store(sim, "docs")
    async with servers(sims) as each:
        with pytest.raises(AnythingLLMError, match="a and b both have documents of ours"):
            await each.server_of("docs")


async def test_one_does_not_answer_and_may_have_it(sims: dict[str, Simulator]) -> None:
    await store(sims["b"], "docs")
    await sims["a"].stop()
    async with servers(sims) as each:
        assert await each.server_of("docs") == "b"
        with pytest.raises(AnythingLLMError, match="server a does not answer"):
            await each.server_of("other")


async def test_a_pin_says_it_while_nobody_has_it(sims: dict[str, Simulator]) -> None:
    sims["b"].state.create_workspace("docs", {})
    async with servers(sims, docs="b") as each:
        assert await each.server_of("docs") == "b"


def mark(sim: Simulator, made: Mark) -> None:
    sim.state.create_workspace(made.slug("anythingllm-consumer"), {})


async def test_a_server_that_is_missing_may_have_it(sims: dict[str, Simulator]) -> None:
    await store(sims["b"], "docs")
    mark(sims["a"], Mark(MarkKind.KNOWS, "c", "tokc"))
    async with servers(sims) as each:
        assert await each.server_of("docs") == "b"
        with pytest.raises(AnythingLLMError, match="server c is missing"):
            await each.server_of("other")


async def test_a_server_that_is_another_one_is_not_believed(sims: dict[str, Simulator]) -> None:
    await store(sims["b"], "docs")
    mark(sims["b"], Mark(MarkKind.IS, "c", "tokc"))
    async with servers(sims) as each:
        with pytest.raises(AnythingLLMError, match="listed as server b is server c"):
            await each.server_of("docs")


async def test_a_workspace_that_is_being_moved_is_nowhere(sims: dict[str, Simulator]) -> None:
    await store(sims["b"], "docs")
    mark(sims["a"], move_mark(Slug("docs")))
    async with servers(sims) as each:
        with pytest.raises(AnythingLLMError, match="it is being moved"):
            await each.server_of("docs")
