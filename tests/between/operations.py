"""What the service asks of AnythingLLM, by its purpose; a behaviour strikes one of these. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumer.model.marker import SENTINEL_KEY


@dataclass(frozen=True, slots=True)
class Operation:
    """Requests of the service that do one thing.

    Args:
        name: for the command line and for the names of tests.
        sentence: which requests it has, for people.
        has: whether a request with this method, path and body is one of them.
    """

    name: str
    sentence: str
    has: Callable[[str, str, bytes], bool]


def _is(method: str, end: str) -> Callable[[str, str], bool]:
    return lambda asked, path: asked == method and path.endswith(end)


def _sentinel(body: bytes) -> bool:
    return SENTINEL_KEY.encode() in body


def _looks_up_a_file(method: str, path: str) -> bool:
    return method == "GET" and "/v1/document/" in path and "accepted-file-types" not in path


def _lists(method: str, path: str) -> bool:
    listed = path.endswith(("/v1/workspaces", "/v1/openai/vector_stores"))
    return method == "GET" and (listed or "/v1/workspace/" in path or "/v1/documents/" in path)


_raw_text = _is("POST", "/document/raw-text")
_embeddings = _is("POST", "/openai/embeddings")
_embeds = _is("POST", "/update-embeddings")

OPERATIONS = {
    each.name: each
    for each in (
        Operation(
            "upload",
            "the uploads; what is in between does not know a test document from another",
            lambda method, path, body: _raw_text(method, path),
        ),
        Operation(
            "embedding",
            "what asks the embedder, and what embeds a stored file",
            lambda method, path, body: _embeddings(method, path) or _embeds(method, path),
        ),
        Operation(
            "removal",
            "the removals of files",
            lambda method, path, body: method == "DELETE" and path.endswith("/remove-documents"),
        ),
        Operation(
            "listing",
            "the listings of workspaces, documents and counts",
            lambda method, path, body: _lists(method, path),
        ),
        Operation(
            "search",
            "the searches",
            lambda method, path, body: method == "POST" and path.endswith("/vector-search"),
        ),
        Operation(
            "proof",
            "the looks whether a file is embedded",
            lambda method, path, body: _looks_up_a_file(method, path),
        ),
        Operation(
            "readiness",
            "the uploads of test documents, which show that a workspace works",
            lambda method, path, body: _raw_text(method, path) and _sentinel(body),
        ),
        Operation(
            "creation",
            "the creation of workspaces",
            lambda method, path, body: method == "POST" and path.endswith("/workspace/new"),
        ),
        Operation("everything", "every request", lambda method, path, body: True),
    )
}
"""All of them, by name."""
