"""The servers that the contract tests speak to: simulated ones, and a real one where given.

One is simulated for each vector database that the simulator knows. What a test may expect of the
one behind a server is asked from its entry in the product's table, by the name that the server
itself tells: so the same test holds the simulator, a real server and the table to each other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from consumer.anythingllm.vector_databases import DATABASES, UNKNOWN, VectorDatabase
from consumer.sandbox.simulator import VectorDb
from tests.simulator_fixtures import running_server

REAL_ENDPOINT = os.environ.get("ANYTHINGLLM_TEST_ENDPOINT", "")
REAL_KEY = os.environ.get("ANYTHINGLLM_TEST_API_KEY", "")
SIMULATED = {f"simulator-{each}": each for each in VectorDb}
TARGETS = [*SIMULATED, *(["real"] if REAL_ENDPOINT and REAL_KEY else [])]
PUBLISHED = 1_700_000_000_000


@dataclass(frozen=True)
class Reply:
    """An answer, its body as JSON where it says that it is JSON."""

    status: int
    content_type: str
    headers: Any
    body: Any


@dataclass
class Server:
    """A server under test and what was made on it."""

    endpoint: str
    api_key: str
    session: aiohttp.ClientSession
    workspaces: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request; ``Authorization`` is ours unless given."""
        spoken = {"Authorization": f"Bearer {self.api_key}"}
        spoken |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.endpoint.rstrip("/") + path
        data = {"data": body.encode()} if isinstance(body, str) else {"json": body}
        if isinstance(body, str):
            spoken.setdefault("Content-Type", "application/json")
        kept = {name: value for name, value in spoken.items() if value}
        async with self.session.request(
            method, url, headers=kept, **(data if body is not None else {})
        ) as response:
            is_json = response.content_type == "application/json"
            read = await (response.json() if is_json else response.text())
            return Reply(response.status, response.content_type, response.headers, read)

    async def workspace(self, name: str | None = None) -> str:
        """The slug of a new workspace that is removed after the test."""
        name = name or f"test-{secrets.token_hex(6)}"
        made = await self.call("POST", "/api/v1/workspace/new", {"name": name})
        slug: str = made.body["workspace"]["slug"]
        self.workspaces.append(slug)
        return slug

    async def upload(self, slug: str, text: str, source: str = "", **metadata: Any) -> Reply:
        """Upload a text; its file is removed after the test."""
        given = {"title": "contract test", "docSource": source, "published": PUBLISHED, **metadata}
        body = {"textContent": text, "metadata": given, "addToWorkspaces": slug}
        reply = await self.call("POST", "/api/v1/document/raw-text", body)
        if reply.status == 200:
            self.locations.append(reply.body["documents"][0]["location"])
        return reply

    async def stored(self, slug: str, text: str, source: str = "", **metadata: Any) -> str:
        """Upload a text that must be embedded; its location."""
        reply = await self.upload(slug, text, source, **metadata)
        location: str = reply.body["documents"][0]["location"]
        assert await self.cached(location)
        return location

    async def cached(self, location: str) -> bool:
        """Whether the server says that the file was embedded once."""
        name = location.rpartition("/")[2]
        reply = await self.call("GET", f"/api/v1/document/{name}")
        assert reply.status == 200
        return bool(reply.body["document"]["cached"])

    async def rows(self, slug: str) -> list[dict[str, Any]]:
        """The rows of a workspace."""
        reply = await self.call("GET", f"/api/v1/workspace/{slug}")
        rows: list[dict[str, Any]] = reply.body["workspace"][0]["documents"]
        return rows

    async def search(self, slug: str, query: str, limit: int = 10_000) -> list[dict[str, Any]]:
        """Hits whatever their score."""
        body = {"query": query, "topN": limit, "scoreThreshold": 0}
        reply = await self.call("POST", f"/api/v1/workspace/{slug}/vector-search", body)
        assert reply.status == 200
        hits: list[dict[str, Any]] = reply.body["results"]
        return hits

    async def update(self, slug: str, **lists: list[str]) -> Reply:
        """``update-embeddings`` with ``adds`` and ``deletes``."""
        return await self.call("POST", f"/api/v1/workspace/{slug}/update-embeddings", lists)

    async def clean_up(self) -> None:
        """Remove what was made; a server that is gone already is no reason to fail."""
        with suppress(aiohttp.ClientError):
            for slug in self.workspaces:
                await self.call("DELETE", f"/api/v1/workspace/{slug}")
            names = {"names": self.locations}
            await self.call("DELETE", "/api/v1/system/remove-documents", names)


@pytest.fixture(params=TARGETS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A simulated server of each kind, then a real one if ``ANYTHINGLLM_TEST_ENDPOINT`` is set."""
    async with AsyncExitStack() as stack:
        endpoint, key = REAL_ENDPOINT, REAL_KEY
        if request.param in SIMULATED:
            running = running_server(vector_db=SIMULATED[request.param])
            simulator = await stack.enter_async_context(running)
            endpoint, key = simulator.endpoint, simulator.api_key
        timeout = aiohttp.ClientTimeout(total=100)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        target = Server(endpoint, key, session)
        stack.push_async_callback(target.clean_up)
        yield target


@pytest.fixture
async def database(server: Server) -> VectorDatabase:
    """What the product's table says of the vector database behind the server."""
    metrics = await server.call("GET", "/api/utils/metrics")
    return DATABASES.get(metrics.body["vectorDB"], UNKNOWN)
