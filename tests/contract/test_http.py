"""Keys, paths and content types: what a client must check before it believes an answer."""

from __future__ import annotations

import secrets

import pytest

from tests.contract.conftest import Server

pytestmark = pytest.mark.contract


async def test_alive_needs_no_key(server: Server) -> None:
    """``/api/ping`` answers anyone."""
    reply = await server.call("GET", "/api/ping", Authorization="")
    assert (reply.status, reply.content_type, reply.body) == (
        200,
        "application/json",
        {"online": True},
    )


@pytest.mark.parametrize("header", ["Bearer WRONG", "Bearer", "", "WRONG"])
async def test_wrong_keys_answer_403_json(server: Server, header: str) -> None:
    """A key that is wrong or missing is 403, never 401."""
    reply = await server.call("GET", "/api/v1/auth", Authorization=header)
    assert (reply.status, reply.body) == (403, {"error": "No valid api key found."})


async def test_only_the_second_word_of_the_header_is_the_key(server: Server) -> None:
    """The scheme does not matter, but there must be one."""
    other = await server.call("GET", "/api/v1/auth", Authorization=f"Token {server.api_key}")
    bare = await server.call("GET", "/api/v1/auth", Authorization=server.api_key)
    assert (other.status, bare.status) == (200, 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/health"),
        ("GET", "/api/v1/ping"),
        ("POST", "/api/v1/workspace/{slug}/upload-text"),
        ("POST", "/api/workspace/{slug}/upload-text"),
        ("POST", "/api/workspace/{slug}/search"),
        ("GET", "/api/workspace/{slug}/list"),
        ("DELETE", "/api/workspace/{slug}/delete/123"),
        ("PUT", "/api/v1/workspaces"),
    ],
)
async def test_unknown_paths_answer_200_with_a_web_page(
    server: Server, method: str, path: str
) -> None:
    """Success without JSON is no success: the path or method does not exist."""
    reply = await server.call(method, path.format(slug=await server.workspace()))
    assert (reply.status, reply.content_type) == (200, "text/html")


async def test_malformed_json_is_400_html_before_the_key_is_looked_at(server: Server) -> None:
    """An error need not be JSON."""
    path = "/api/v1/document/raw-text"
    reply = await server.call("POST", path, '{"textContent": ', Authorization="Bearer WRONG")
    assert (reply.status, reply.content_type) == (400, "text/html")


async def test_an_unchanged_listing_answers_304(server: Server) -> None:
    """The ETag of a listing makes polling cheap, and changes with the listing."""
    slug = await server.workspace()
    path = f"/api/v1/workspace/{slug}"
    first = await server.call("GET", path)
    again = await server.call("GET", path, If_None_Match=first.headers["ETag"])
    await server.stored(slug, "Whales sing.")
    changed = await server.call("GET", path, If_None_Match=first.headers["ETag"])
    assert (first.status, again.status, changed.status) == (200, 304, 200)
    assert again.body == ""


async def test_paths_ignore_case_and_a_trailing_slash(server: Server) -> None:
    """Other spellings of a path are the same path; a slug's case is not."""
    slug = await server.workspace()
    reply = await server.call("GET", f"/API/V1/Workspace/{slug}/")
    assert reply.body["workspace"][0]["slug"] == slug
    assert (await server.call("GET", f"/api/v1/workspace/{slug.upper()}")).body == {"workspace": []}


async def test_the_embedder_can_be_asked_without_storing(server: Server) -> None:
    """``/v1/openai/embeddings`` gives a vector for each text, all of one length."""
    reply = await server.call("POST", "/api/v1/openai/embeddings", {"input": ["a whale", "x"]})
    lengths = {len(each["embedding"]) for each in reply.body["data"]}
    assert reply.status == 200
    assert len(reply.body["data"]) == 2
    assert len(lengths) == 1


async def test_the_collector_can_be_asked(server: Server) -> None:
    """The only cheap probe of the collector answers with types while it is up."""
    reply = await server.call("GET", "/api/v1/document/accepted-file-types")
    assert reply.status == 200
    assert "text/plain" in reply.body["types"]


async def test_a_missing_document_is_404_text(server: Server) -> None:
    """Not every 404 is JSON."""
    reply = await server.call("GET", f"/api/v1/document/raw-{secrets.token_hex(8)}.json")
    assert (reply.status, reply.content_type) == (404, "text/plain")


async def test_a_client_may_ask_before_it_sends_a_body(server: Server) -> None:
    """As curl does with large ones: it waits for "100 Continue"."""
    url = server.endpoint.rstrip("/") + "/api/v1/workspace/new"
    headers = {"Authorization": f"Bearer {server.api_key}"}
    body = {"name": f"test-{secrets.token_hex(6)}"}
    async with server.session.post(url, json=body, headers=headers, expect100=True) as answer:
        assert answer.status == 200
        server.workspaces.append((await answer.json())["workspace"]["slug"])
