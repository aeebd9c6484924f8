"""The endpoints of the developer API that the stream consumer's path touches, and three of the UI.

Statuses, bodies and content types are those of AnythingLLM 1.16 (tests/data/recordings). Every
method or path that `ROUTES` does not name answers 200 with a web page.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consumer.model.listing import LONGEST_LISTING
from consumer.sandbox.simulator import names
from consumer.sandbox.simulator.exchange import (
    BAD_REQUEST,
    FAILED,
    FAILED_BARE,
    JSON,
    NOT_FOUND,
    Exchange,
    WireAnswer,
    json_answer,
    number,
)
from consumer.sandbox.simulator.fault_rules import FaultKind
from consumer.sandbox.simulator.jsontext import dumps
from consumer.sandbox.simulator.model import EmbedderError, Model, storable, wanted_slugs
from consumer.sandbox.simulator.shapes import (
    PAGE,
    complaint,
    file_json,
    hit_json,
    listed_json,
    metadata_of,
    page_size,
    refused,
    search_limits,
    shown_metadata,
    uploaded,
)
from consumer.sandbox.simulator.state import FOLDER, KeptWorkspace, SourceFile
from consumer.sandbox.simulator.tables import TableError

Handler = Callable[["Endpoints", Exchange], Awaitable[WireAnswer]]
NOTHING_EMBEDDED = {"results": [], "message": "No embeddings found for this workspace."}
REMOVED = {"success": True, "message": "Documents removed successfully"}


class Endpoints:
    """One method an endpoint.

    Args:
        model: the server behind them.
        now: the current instant, aware.
        longest_string: characters of the longest listing; a longer one is answered with 500.
    """

    def __init__(
        self, model: Model, now: Callable[[], datetime], longest_string: int = LONGEST_LISTING
    ) -> None:
        self._model = model
        self._vectors = model.vectors
        self._longest_string = longest_string
        self._state = model.state
        self._now = now
        self._fetches = 0
        self._listings: dict[tuple[int, str], tuple[int, bytes]] = {}

    # -- probes ----------------------------------------------------------------------------------

    async def ping(self, _: Exchange) -> WireAnswer:
        """``GET /api/ping``: alive; says nothing of database, collector or embedder."""
        self._model.journal.record("probe.ping")
        return json_answer({"online": True})

    async def metrics(self, _: Exchange) -> WireAnswer:
        """``GET /api/utils/metrics``: the version and the vector database; no key asked."""
        shown = {
            "online": True,
            "version": "--",
            "mode": "single-user",
            "vectorDB": self._vectors.database.name,
            "storage": {"current": 80, "capacity": 270},
            "appVersion": "1.16.0",
        }
        return json_answer(shown)

    async def auth(self, _: Exchange) -> WireAnswer:
        """``GET /api/v1/auth``: the key is right."""
        self._model.journal.record("probe.auth")
        return json_answer({"authenticated": True})

    async def accepted_file_types(self, request: Exchange) -> WireAnswer:
        """``GET /api/v1/document/accepted-file-types``: 404 while the collector is down."""
        self._model.journal.record("probe.collector")
        if self._collector_down(request):
            return NOT_FOUND
        await self._model.collector_ready()
        return json_answer({"types": {"text/plain": [".txt", ".md", ".org", ".adoc", ".rst"]}})

    async def embeddings(self, request: Exchange) -> WireAnswer:
        """``POST /api/v1/openai/embeddings``: vectors, stored nowhere; a bare 500 on failure."""
        self._model.journal.record("probe.embedder")
        wanted = request.get("input", "")
        texts = wanted if isinstance(wanted, list) else [wanted]
        if not all(isinstance(each, str) for each in texts):
            return FAILED_BARE
        try:
            vectors = await self._model.embed(texts, flags=request.flags)
        except EmbedderError:
            return FAILED_BARE
        data = [
            {"object": "embedding", "embedding": vector.dense(), "index": index}
            for index, vector in enumerate(vectors)
        ]
        return json_answer({"object": "list", "data": data, "model": "simulated"})

    async def vector_count(self, _: Exchange) -> WireAnswer:
        """``GET /api/v1/system/vector-count``: vectors in all workspaces, as the database says."""
        try:
            return json_answer({"vectorCount": self._vectors.count()})
        except TableError:
            return FAILED

    async def vector_stores(self, _: Exchange) -> WireAnswer:
        """``GET /api/v1/openai/vector_stores``: rows of each workspace, not vectors."""
        data = [
            {
                "id": workspace.slug,
                "object": "vector_store",
                "name": workspace.fields["name"],
                "file_counts": {"total": len(workspace.rows)},
                "provider": self._vectors.database.name,
            }
            for workspace in self._state.workspaces.values()
        ]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return json_answer({**ends, "data": data, "has_more": False})

    # -- workspaces ------------------------------------------------------------------------------

    async def workspaces(self, _: Exchange) -> WireAnswer:
        """``GET /api/v1/workspaces``: all, without documents."""
        shown = [{**each.fields, "threads": []} for each in self._state.workspaces.values()]
        return json_answer({"workspaces": shown})

    async def workspace(self, request: Exchange) -> WireAnswer:
        """``GET /api/v1/workspace/{slug}``: a list of one, or 200 and an empty list."""
        workspace = self._state.workspaces.get(request.params[0])
        if workspace is None:
            return json_answer({"workspace": []})
        listed = self._listing(workspace, b'"threads":[]')
        if len(listed) > self._longest_string:
            return FAILED  # RangeError: Invalid string length (Node 20)
        return WireAnswer(200, JSON, b'{"workspace":[' + listed + b"]}")

    async def new_workspace(self, request: Exchange) -> WireAnswer:
        """``POST /api/v1/workspace/new``: the slug comes from the name, whatever is asked."""
        name = request.get("name")
        if not name:
            return json_answer({"workspace": None, "message": "name cannot be null"}, 400)
        if not isinstance(name, str):
            return FAILED
        workspace = self._state.create_workspace(name, request.body)
        self._model.journal.record("workspace.created", slug=workspace.slug)
        return json_answer({"workspace": workspace.fields, "message": None})

    async def update_workspace(self, request: Exchange) -> WireAnswer:
        """``POST /api/v1/workspace/{slug}/update``: the slug never changes."""
        workspace = self._state.workspaces.get(request.params[0])
        if workspace is None:
            return BAD_REQUEST
        self._state.update_workspace(workspace, request.body)
        return json_answer({"workspace": workspace.fields, "message": None})

    async def delete_workspace(self, request: Exchange) -> WireAnswer:
        """``DELETE /api/v1/workspace/{slug}``: rows and vectors go, files stay."""
        workspace = self._state.workspaces.get(request.params[0])
        if workspace is None:
            return BAD_REQUEST
        self._model.delete_workspace(workspace)
        self._listings = {k: v for k, v in self._listings.items() if k[0] != workspace.id}
        return WireAnswer(200, "text/plain; charset=utf-8", b"OK")

    async def update_embeddings(self, request: Exchange) -> WireAnswer:
        """``POST …/update-embeddings``: deletes, then adds; failing adds are not mentioned."""
        workspace = self._state.workspaces.get(request.params[0])
        if workspace is None:
            return BAD_REQUEST
        adds, deletes = request.get("adds", []), request.get("deletes", [])
        if not isinstance(adds, list) or not isinstance(deletes, list):
            return FAILED
        try:
            await self._unembed(workspace, deletes)
        except TableError:
            return FAILED
        for location in adds:
            if (file := self._state.files.get(location)) is not None:
                await self._model.add(workspace, file, request.flags)
        return self._workspace_object(workspace)

    async def search(self, request: Exchange) -> WireAnswer:
        """``POST …/vector-search``: the nearest vectors."""
        slug = request.params[0]
        workspace = self._state.workspaces.get(slug)
        if workspace is None:
            return json_answer({"message": f"Workspace {slug} is not a valid workspace."}, 400)
        query = request.get("query")
        if not isinstance(query, str) or not query:
            return json_answer({"message": "Query parameter cannot be empty."}, 400)
        limit, threshold = search_limits(request, workspace)
        async with self._model.thread(self._model.costs.search):
            pass
        try:
            if self._vectors.is_empty(slug):
                return json_answer(NOTHING_EMBEDDED)
            hits = await self._model.search(workspace, query, limit, threshold, request.flags)
        except (EmbedderError, TableError):
            return FAILED
        database = self._vectors.database
        shown = [*self._model.faults.odd_hits, *(hit_json(hit, database) for hit in hits)]
        return json_answer({"results": shown[:limit]})

    # -- documents -------------------------------------------------------------------------------

    async def raw_text(self, request: Exchange) -> WireAnswer:
        """``POST /api/v1/document/raw-text``: success means stored, not embedded."""
        if self._collector_down(request):
            return refused("Document processing API is not online. Request will not be processed.")
        metadata = metadata_of(request.get("metadata", {}))
        if metadata is None:
            return FAILED
        content, slugs = request.get("textContent"), request.get("addToWorkspaces", "")
        if (problem := complaint(metadata, content, slugs)) is not None:
            return json_answer({"success": False, "error": problem}, 422)
        async with self._model.thread(self._model.costs.upload):
            await self._model.collector_ready()
        if self._fetch_fails(request):
            return refused("fetch failed", documents=[])
        if not storable(metadata["title"], content):
            return refused("A processing error occurred.", documents=[])
        if FaultKind.PRETEND in request.flags:
            return self._pretended(metadata, content)
        shown = shown_metadata(metadata, content, self._now())
        slug = names.file_slug(metadata["title"])
        file = await self._model.store(slug, shown, content, wanted_slugs(slugs), request.flags)
        if FaultKind.WRONG_LOCATION in request.flags:
            file = next(iter(self._state.files.values()))
        return uploaded(file.metadata, content, file.location)

    async def document(self, request: Exchange) -> WireAnswer:
        """``GET /api/v1/document/{name}``: ``cached`` tells whether it was ever embedded."""
        file = self._state.file_named(request.params[0])
        return NOT_FOUND if file is None else json_answer({"document": file_json(file)})

    async def documents(self, request: Exchange) -> WireAnswer:
        """``GET /api/v1/documents``: the whole tree, or a page of one folder."""
        folder = request.query.get("folder")
        if folder is not None:
            return self._page(folder, request, PAGE, with_code=True)
        files = [listed_json(file) for file in self._files_by_name()]
        items = [{"name": FOLDER, "type": "folder", "items": files}]
        tree = {"name": "documents", "type": "folder", "items": items}
        return json_answer({"localFiles": tree})

    async def folder(self, request: Exchange) -> WireAnswer:
        """``GET /api/v1/documents/folder/{folder}``: all files of a folder, or a page."""
        return self._page(request.params[0], request, None, with_code=False)

    async def move_files(self, request: Exchange) -> WireAnswer:
        """``POST /api/v1/document/move-files``: what a workspace lists stays."""
        wanted = request.get("files")
        if not isinstance(wanted, list):
            return json_answer({"success": False, "message": "Failed to move files."}, 500)
        listed = [each for each in wanted if self._state.rows_of(str(each["from"]))]
        for each in wanted:
            if each in listed:
                continue
            file = self._state.files.get(str(each["from"]))
            folder, _, name = str(each["to"]).rpartition("/")
            if file is None or folder != FOLDER:  # no other folder is ever made here
                return json_answer({"success": False, "message": "Failed to move some files."}, 500)
            self._state.move_file(file, name)
        unmoved = f"{len(listed)}/{len(wanted)} files not moved. Unembed them from all workspaces."
        return json_answer({"success": True, "message": unmoved if listed else None})

    async def remove_documents(self, request: Exchange) -> WireAnswer:
        """``DELETE /api/v1/system/remove-documents``: unknown names are success, too."""
        wanted = request.get("names")
        if not isinstance(wanted, list):
            return FAILED
        try:
            for location in wanted:
                await self._model.remove(str(location))
        except TableError:
            return FAILED
        return json_answer(REMOVED)

    # -- the web UI's private API on an instance without password ---------------------------------

    async def ui_workspaces(self, _: Exchange) -> WireAnswer:
        """``GET /api/workspaces``: no key asked."""
        shown = [each.fields for each in self._state.workspaces.values()]
        return json_answer({"workspaces": shown})

    async def ui_workspace(self, request: Exchange) -> WireAnswer:
        """``GET /api/workspace/{slug}``: an object here, null where there is none."""
        workspace = self._state.workspaces.get(request.params[0])
        if workspace is None:
            return json_answer({"workspace": None})
        return self._workspace_object(workspace)

    # -- helpers ---------------------------------------------------------------------------------

    async def _unembed(self, workspace: KeptWorkspace, locations: Sequence[str]) -> None:
        for location in locations:
            rows = [r for r in self._state.rows_of(location) if r.workspace == workspace.slug]
            if rows:
                await self._model.remove_from(rows[0])

    def _collector_down(self, request: Exchange) -> bool:
        return self._model.faults.collector == "down" or FaultKind.COLLECTOR_DOWN in request.flags

    def _fetch_fails(self, request: Exchange) -> bool:
        self._fetches += 1
        every = self._model.faults.fetch_failed_every
        due = bool(every) and self._fetches % every == 0
        return due or FaultKind.FETCH_FAILED in request.flags

    def _workspace_object(self, workspace: KeptWorkspace) -> WireAnswer:
        tail = b'"contextWindow":4096,"currentContextTokenCount":0'
        return WireAnswer(200, JSON, b'{"workspace":' + self._listing(workspace, tail) + b"}")

    def _listing(self, workspace: KeptWorkspace, tail: bytes) -> bytes:
        """A workspace with its rows, put together once a change: pollers ask again and again."""
        key = (workspace.id, tail.decode())
        kept = self._listings.get(key)
        if kept is not None and kept[0] == workspace.changes:
            return kept[1]
        rows = b",".join(row.json for row in workspace.rows.values())
        head = dumps(workspace.fields)[:-1]
        listed = head + b',"documents":[' + rows + b"]," + tail + b"}"
        self._listings[key] = (workspace.changes, listed)
        return listed

    def _files_by_name(self) -> list[SourceFile]:
        return sorted(self._state.files.values(), key=lambda file: file.name)

    def _page(
        self, folder: str, request: Exchange, default: int | None, *, with_code: bool
    ) -> WireAnswer:
        if folder != FOLDER:
            shown = {"folder": folder, "documents": [], "totalCount": 0, "hasMore": False}
            code = {"code": 404} if with_code else {}
            error = {"error": f'Folder "{folder}" does not exist.'}
            return json_answer({**shown, **code, **error}, 404)
        files = self._files_by_name()
        start = int(number(request.query.get("offset")) or 0)
        end = start + page_size(request.query.get("limit"), default, len(files))
        page = {
            "folder": folder,
            "documents": [listed_json(file) for file in files[start:end]],
            "totalCount": len(files),
            "hasMore": end < len(files),
        }
        code = {"code": 200} if with_code else {}
        return json_answer({**page, **code, "error": None})

    def _pretended(self, metadata: dict[str, Any], content: str) -> WireAnswer:
        shown = shown_metadata(metadata, content, self._now())
        file_id = self._state.uuid()
        slug = names.file_slug(metadata["title"])
        return uploaded({"id": file_id, **shown}, content, f"{FOLDER}/raw-{slug}-{file_id}.json")


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path (its pieces; ``:`` stands for any) and what answers it."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    needs_key: bool


def _route(method: str, path: str, handler: Handler) -> Route:
    pattern = re.compile(
        "/".join("([^/]+)" if p == ":" else re.escape(p) for p in path.split("/")), re.IGNORECASE
    )
    return Route(method, pattern, handler, path.startswith("/api/v1/"))


ROUTES: Sequence[Route] = (
    _route("GET", "/api/ping", Endpoints.ping),
    _route("GET", "/api/utils/metrics", Endpoints.metrics),
    _route("GET", "/api/v1/auth", Endpoints.auth),
    _route("GET", "/api/v1/workspaces", Endpoints.workspaces),
    _route("POST", "/api/v1/workspace/new", Endpoints.new_workspace),
    _route("GET", "/api/v1/workspace/:", Endpoints.workspace),
    _route("DELETE", "/api/v1/workspace/:", Endpoints.delete_workspace),
    _route("POST", "/api/v1/workspace/:/update", Endpoints.update_workspace),
    _route("POST", "/api/v1/workspace/:/update-embeddings", Endpoints.update_embeddings),
    _route("POST", "/api/v1/workspace/:/vector-search", Endpoints.search),
    _route("POST", "/api/v1/document/raw-text", Endpoints.raw_text),
    _route("GET", "/api/v1/document/accepted-file-types", Endpoints.accepted_file_types),
    _route("GET", "/api/v1/document/:", Endpoints.document),
    _route("GET", "/api/v1/documents", Endpoints.documents),
    _route("GET", "/api/v1/documents/folder/:", Endpoints.folder),
    _route("POST", "/api/v1/document/move-files", Endpoints.move_files),
    _route("DELETE", "/api/v1/system/remove-documents", Endpoints.remove_documents),
    _route("GET", "/api/v1/system/vector-count", Endpoints.vector_count),
    _route("GET", "/api/v1/openai/vector_stores", Endpoints.vector_stores),
    _route("POST", "/api/v1/openai/embeddings", Endpoints.embeddings),
    _route("GET", "/api/workspaces", Endpoints.ui_workspaces),
    _route("POST", "/api/workspace/new", Endpoints.new_workspace),
    _route("GET", "/api/workspace/:", Endpoints.ui_workspace),
)
