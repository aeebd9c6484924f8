"""Health, workspaces, listing and deletion: the client against the simulated AnythingLLM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from consumer.anythingllm import (
    AnythingLLMAuthenticationError,
    AnythingLLMClient,
    AnythingLLMError,
    AnythingLLMNotFoundError,
    CircuitBreakerConfig,
)
from consumer.anythingllm.sentinel import sentinel_source
from consumer.model.fault import Fault
from consumer.sandbox.simulator import Simulator
from tests.client.support import (
    answer,
    client_for,
    client_of,
    document,
    says,
    scripted,
    texts_of,
    unused_port,
)


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    async with client_for(simulator) as client:
        yield client


async def _foreign(client: AnythingLLMClient, slug: str, text: str, source: str = "theirs") -> None:
    body = {
        "textContent": text,
        "addToWorkspaces": slug,
        "metadata": {"title": "somebody's", "docSource": source},
    }
    await client._api.raw_text(client._ordinary(None), body)


async def test_a_healthy_server(client: AnythingLLMClient) -> None:
    """Status, version, components and the breaker in one answer."""
    health = await client.health_check()

    assert (health["status"], health["error"], health["version"]) == ("healthy", None, "1.16.0")
    parts = {"server", "key", "collector", "embedder", "vector_database"}
    assert set(health["components"]) == parts
    breaker = health["circuit_breaker"]
    assert (breaker["state"], breaker["failure_count"], breaker["last_failure"]) == (
        "closed",
        0,
        None,
    )


@pytest.mark.parametrize(
    ("switch", "value", "status", "component"),
    [
        ("embedder_down", True, "degraded", "embedder"),
        ("collector", "down", "degraded", "collector"),
        ("key_revoked", True, "unhealthy", "key"),
    ],
)
async def test_a_sick_part_is_named(
    simulator: Simulator,
    client: AnythingLLMClient,
    switch: str,
    value: object,
    status: str,
    component: str,
) -> None:
    """Without a key nothing works; without embedder or collector some things do."""
    setattr(simulator.faults, switch, value)
    health = await client.health_check()

    assert health["status"] == status
    assert component in str(health["error"])
    assert health["components"][component]["status"] == "down"
    assert health["components"]["vector_database"] == {"status": "unknown"}


async def test_a_health_check_never_raises() -> None:
    """Not connected, nobody there, a web page, no answer in time."""
    unconnected = client_of("http://127.0.0.1:9")
    assert (await unconnected.health_check())["status"] == "unhealthy"

    async with client_of(f"http://127.0.0.1:{unused_port()}") as client:
        health = await client.health_check()
        assert (health["status"], client.breaker.failure_count) == ("unhealthy", 0)

    page = answer("<html>", content_type="text/html")
    async with scripted(says(page)) as server, client_of(server.endpoint) as client:
        assert (await client.health_check())["status"] == "unhealthy"


async def test_health_does_not_pass_the_breaker_and_shows_it(simulator: Simulator) -> None:
    """A probe tells the truth while calls are rejected."""
    async with client_for(simulator, circuit_breaker=CircuitBreakerConfig(1, 60, 5)) as client:
        simulator.faults.add("status", status=500, path="*/workspaces", times=1)
        with pytest.raises(AnythingLLMError):
            await client.list_workspaces()
        health = await client.health_check()

    assert health["status"] == "degraded"
    assert health["error"] == "the circuit breaker is open"
    breaker = health["circuit_breaker"]
    assert (breaker["state"], breaker["failure_count"]) == ("open", 1)
    assert str(breaker["last_failure"]).endswith("+00:00")
    assert "500" in str(breaker["last_error"])


async def test_workspaces_are_created_with_their_slug_and_named_afterwards(
    client: AnythingLLMClient,
) -> None:
    """The server derives the slug from the name and takes none from us."""
    made = await client.get_or_create_workspace("docs_a-1", "Documents (A)")
    found = await client.get_or_create_workspace("docs_a-1", "Another name")

    assert (made.slug, made.name) == ("docs_a-1", "Documents (A)")
    assert found == made, "an existing workspace keeps the name people gave it"
    assert [each.slug for each in await client.list_workspaces()] == ["docs_a-1"]


async def test_racing_creators_make_one_workspace(simulator: Simulator) -> None:
    """Whoever gets a random tail removes what he made and takes the other's."""
    clients = [client_for(simulator) for _ in range(6)]
    for client in clients:
        await client.connect()
    made = await asyncio.gather(*(client.get_or_create_workspace("docs") for client in clients))
    for client in clients:
        await client.disconnect()

    assert {each.slug for each in made} == {"docs"}
    assert len({each.id for each in made}) == 1
    assert list(simulator.state.workspaces) == ["docs"]


async def test_a_stray_that_may_not_be_deleted_is_left(simulator: Simulator) -> None:
    """Deletion protection answers 403: logged and left, and the workspace is there all the same."""
    simulator.faults.add("status", status=403, method="DELETE", path="*/v1/workspace/*")
    async with client_for(simulator) as one, client_for(simulator) as two:
        made = await asyncio.gather(*(each.get_or_create_workspace("docs") for each in (one, two)))

    assert {each.slug for each in made} == {"docs"}


async def test_a_slug_that_the_server_would_never_make(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The server makes "a" of "-a-": said so, theirs, and nothing is left behind."""
    with pytest.raises(AnythingLLMNotFoundError, match="'a'") as raised:
        await client.get_or_create_workspace("-a-")

    assert raised.value.fault is Fault.THEIRS
    assert not simulator.state.workspaces


async def test_a_refused_key(simulator: Simulator) -> None:
    """403 is an outage, not anybody's document."""
    async with client_of(simulator.endpoint, "wrong-key") as client:
        with pytest.raises(AnythingLLMAuthenticationError) as raised:
            await client.list_workspaces()

    assert raised.value.fault is Fault.THEIRS
    assert "wrong-key" not in str(raised.value)


@pytest.mark.parametrize("end", ["/", "/api", "/api/", "/api/v1", "/api/v1/"])
async def test_an_endpoint_may_end_as_the_pages_of_the_api_show_it(
    simulator: Simulator, end: str
) -> None:
    """The client used alone finds its server by each of them."""
    async with client_of(simulator.endpoint + end, simulator.api_key) as client:
        await client.get_or_create_workspace("docs")
        assert [each.slug for each in await client.list_workspaces()] == ["docs"]


async def test_documents_are_listed_whole_and_foreign_ones_marked(
    client: AnythingLLMClient,
) -> None:
    """One entry a logical document; sentinels are not shown; foreign ones are found as well."""
    await client.upload_document("docs", document("one", "two", title="First.v1"))
    await client.upload_document("docs", document("three", id="doc-2"))
    await _foreign(client, "docs", "somebody's text")
    await _foreign(client, "docs", "sentinel", sentinel_source("another process"))
    listed = await client.list_workspace_documents("docs")

    assert [(each.document_id, each.title, len(each.chunks)) for each in listed] == [
        ("doc-1", "First.v1", 2),
        ("doc-2", "A Title", 1),
        (None, "somebody's.txt", 0),
    ]
    assert [each.foreign for each in listed] == [False, False, True]
    assert [chunk.chunk_id for chunk in listed[0].chunks] == ["doc-1_chunk_0", "doc-1_chunk_1"]

    hits = await client.search_workspace("docs", "somebody's text")
    assert [hit.text for hit in hits if hit.foreign] == ["somebody's text"]
    with pytest.raises(AnythingLLMNotFoundError):
        await client.search_workspace("no-such-workspace", "text")


async def test_deleting_a_document_leaves_the_others(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """True when nothing of it is left, also when there never was; foreign ones stay."""
    await client.upload_document("docs", document("one", "two"))
    await client.upload_document("docs", document("three", id="doc-2"))
    await _foreign(client, "docs", "theirs")

    assert await client.delete_document("docs", "doc-1") is True
    assert texts_of(simulator, "docs") == ["theirs", "three"]
    assert await client.delete_document("docs", "doc-1") is True


async def test_deleting_by_identity_takes_what_had_other_ids(simulator: Simulator) -> None:
    """A re-processed page has a new document id: its old chunks go with it."""
    async with client_for(simulator, identity="{source_url}") as client:
        await client.upload_document("docs", document("other", id="x", url="https://other"))
        await client.upload_document("docs", document("same", "old", id="crawl-1", day=1))
        second = await client.upload_document("docs", document("same", "new", id="crawl-2", day=2))
        assert second.unchanged_chunk_ids == ("crawl-2_chunk_0",)
        assert texts_of(simulator, "docs") == ["new", "other", "same"]

        await client.delete_document("docs", "crawl-2", identity="https://example.com/doc")

    assert texts_of(simulator, "docs") == ["other"]


async def test_a_deleted_workspace_is_made_ready_again(
    client: AnythingLLMClient, simulator: Simulator
) -> None:
    """Deleting drops the vector table: the next upload must prepare the workspace anew."""
    await client.upload_document("docs", document("text of one"))
    await client.delete_workspace("docs")
    assert await client.list_workspaces() == []

    result = await client.upload_document("docs", document("text of one"))

    assert len(result.uploaded_chunk_ids) == 1
    assert [copies for _, _, copies in simulator.chunks("docs")] == [1]
