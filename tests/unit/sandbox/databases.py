"""A client that knows nothing, for looking at a simulated server as anybody's client does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from consumer.sandbox.simulator import Simulator, jsontext, simulator

EMPTY = {"results": [], "message": "No embeddings found for this workspace."}


@dataclass(frozen=True, slots=True)
class Looker:
    """Asks a server, and says what it answered.

    Args:
        server: which one.
        session: the way to it.
    """

    server: Simulator
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and the body as JSON or text."""
        data = None if body is None else jsontext.dumps(body)
        async with self.session.request(method, path, data=data) as answer:
            raw = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, jsontext.loads(raw) if is_json else raw.decode()

    async def upload(self, text: str, source: str = "s", slug: str = "docs") -> str:
        """The location of an upload, which answers success whatever becomes of it."""
        metadata = {"title": "t", "docSource": source}
        body = {"textContent": text, "addToWorkspaces": slug, "metadata": metadata}
        status, answer = await self.ask("POST", "/api/v1/document/raw-text", body)
        assert (status, answer["success"]) == (200, True)
        location: str = answer["documents"][0]["location"]
        return location

    async def cached(self, location: str) -> bool | None:
        """What the server says of a file, None when it is gone."""
        status, answer = await self.ask("GET", f"/api/v1/document/{location.split('/')[1]}")
        return None if status == 404 else bool(answer["document"]["cached"])

    async def search(
        self, query: str = "text", slug: str = "docs", threshold: float = 0.0
    ) -> tuple[int, Any]:
        """A search for all there is."""
        body = {"query": query, "topN": 100_000, "scoreThreshold": threshold}
        return await self.ask("POST", f"/api/v1/workspace/{slug}/vector-search", body)

    async def found(self, query: str = "text", slug: str = "docs") -> list[str]:
        """The sources of all hits, in the server's order."""
        status, answer = await self.search(query, slug)
        assert status == 200
        return [hit["metadata"]["docSource"] for hit in answer["results"]]

    async def rows(self, slug: str = "docs") -> list[str]:
        """The locations that a workspace lists."""
        _, answer = await self.ask("GET", f"/api/v1/workspace/{slug}")
        return [row["docpath"] for row in answer["workspace"][0]["documents"]]

    async def change(self, *, adds: Any = (), deletes: Any = (), slug: str = "docs") -> int:
        """The status of embedding files and taking them out."""
        body = {"adds": list(adds), "deletes": list(deletes)}
        path = f"/api/v1/workspace/{slug}/update-embeddings"
        return (await self.ask("POST", path, body))[0]

    async def remove(self, *locations: str) -> int:
        """The status of removing files."""
        path = "/api/v1/system/remove-documents"
        return (await self.ask("DELETE", path, {"names": list(locations)}))[0]

    async def fate(self, location: str, source: str) -> tuple[bool | None, bool, bool]:
        """Of an upload: ``cached``, whether it is listed, whether it is found."""
        found = source in await self.found()
        return await self.cached(location), location in await self.rows(), found


@asynccontextmanager
async def looking(vector_db: str, *slugs: str, **options: Any) -> AsyncIterator[Looker]:
    """A server on a vector database, with workspaces; ``docs`` where none is named."""
    async with simulator(vector_db=vector_db, **options) as server:
        for slug in slugs or ("docs",):
            server.state.create_workspace(slug, {})
        headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(server.endpoint, headers=headers) as session:
            yield Looker(server, session)
