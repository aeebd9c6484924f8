"""Workspaces: slugs come from names, and a missing one is not an error."""

from __future__ import annotations

import secrets

import pytest

from consumer.anythingllm.vector_databases import VectorDatabase
from tests.contract.conftest import Server

pytestmark = pytest.mark.contract


async def test_a_name_that_is_a_slug_is_kept(server: Server) -> None:
    """A client that creates with name = slug gets the slug it wants."""
    name = f"test-keeps_{secrets.token_hex(4)}"
    assert await server.workspace(name) == name


async def test_the_slug_comes_from_the_name_and_a_wanted_one_is_ignored(server: Server) -> None:
    """Punctuation is spelt out, letters are folded, case is lost."""
    tail = secrets.token_hex(4)
    wanted = {"name": f"Test Größe & v2.1! {tail}", "slug": "wanted"}
    made = await server.call("POST", "/api/v1/workspace/new", wanted)
    server.workspaces.append(made.body["workspace"]["slug"])
    assert made.body["workspace"]["slug"] == f"test-grosse-and-v2-dot-1-bang-{tail}"


async def test_the_same_name_twice_makes_two_workspaces(server: Server) -> None:
    """Creation is not idempotent: the second gets a random suffix."""
    name = f"test-{secrets.token_hex(6)}"
    first, second = await server.workspace(name), await server.workspace(name)
    assert first == name
    assert second.startswith(f"{name}-")


async def test_a_missing_workspace_is_an_empty_list(server: Server) -> None:
    """200 proves nothing about existence."""
    reply = await server.call("GET", f"/api/v1/workspace/test-{secrets.token_hex(6)}")
    assert (reply.status, reply.body) == (200, {"workspace": []})


@pytest.mark.parametrize("name", ["", None])
async def test_a_workspace_needs_a_name(server: Server, name: str | None) -> None:
    """An empty name is refused with JSON."""
    reply = await server.call("POST", "/api/v1/workspace/new", {"name": name})
    assert (reply.status, reply.body["workspace"]) == (400, None)


async def test_an_update_changes_the_name_and_never_the_slug(server: Server) -> None:
    """The display name is free once the slug is right."""
    slug = await server.workspace()
    wanted = {"name": "Shown", "slug": "other"}
    reply = await server.call("POST", f"/api/v1/workspace/{slug}/update", wanted)
    assert reply.body["workspace"]["name"] == "Shown"
    assert reply.body["workspace"]["slug"] == slug


@pytest.mark.parametrize(
    ("method", "tail"), [("POST", "/update"), ("DELETE", ""), ("POST", "/update-embeddings")]
)
async def test_changing_a_missing_workspace_is_400_text(
    server: Server, method: str, tail: str
) -> None:
    """Only changing calls say that a workspace is missing."""
    path = f"/api/v1/workspace/test-{secrets.token_hex(6)}{tail}"
    reply = await server.call(method, path, {"name": "x"})
    assert (reply.status, reply.content_type) == (400, "text/plain")


async def test_all_workspaces_are_listed_without_documents(server: Server) -> None:
    """The overview is cheap; its rows are counted by another call."""
    slug = await server.workspace()
    await server.stored(slug, "Whales sing.")
    listed = (await server.call("GET", "/api/v1/workspaces")).body["workspaces"]
    stores = (await server.call("GET", "/api/v1/openai/vector_stores")).body["data"]
    [ours] = [each for each in listed if each["slug"] == slug]
    assert "documents" not in ours
    assert [each["file_counts"]["total"] for each in stores if each["id"] == slug] == [1]


async def test_deleting_a_workspace_keeps_its_files(server: Server) -> None:
    """Rows and vectors go with the workspace, source files stay, and the name is free again."""
    slug = await server.workspace()
    location = await server.stored(slug, "Whales sing.")
    deleted = await server.call("DELETE", f"/api/v1/workspace/{slug}")
    assert (deleted.status, deleted.body) == (200, "OK")
    assert await server.cached(location)
    assert await server.workspace(slug) == slug
    assert await server.rows(slug) == []
    await server.stored(slug, "Bread needs time.")
    assert len(await server.search(slug, "Bread needs time.")) == 1


async def test_a_search_where_nothing_was_ever_stored(
    server: Server, database: VectorDatabase
) -> None:
    """It finds nothing, or fails: a failure there says nothing of the server."""
    slug, body = await server.workspace(), {"query": "whales", "topN": 10, "scoreThreshold": 0}
    reply = await server.call("POST", f"/api/v1/workspace/{slug}/vector-search", body)
    assert reply.status == (200 if database.finds_in_fresh else 500)
    assert not database.finds_in_fresh or reply.body["results"] == []
