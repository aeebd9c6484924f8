"""What the simulated server knows: workspaces, source files, rows. Plain values, no I/O, no await.

A *source file* is what an upload leaves behind, embedded or not. A *row* says that a workspace
lists a file. Vectors live elsewhere (`tables`), because in AnythingLLM they do: a row can be
listed whose vectors were wiped, and a file can be stored that no workspace lists.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from consumer.sandbox.simulator import names
from consumer.sandbox.simulator.embedder import Vector
from consumer.sandbox.simulator.jsontext import dumps

FOLDER = "custom-documents"
SETTABLE = (
    "openAiTemp",
    "openAiHistory",
    "openAiPrompt",
    "similarityThreshold",
    "topN",
    "chatMode",
    "chatProvider",
    "chatModel",
    "queryRefusalResponse",
    "vectorSearchMode",
)
"""Workspace settings that a request may give."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One piece of a file with its vector; `text` is what the embedder saw, prefix included."""

    text: str
    vector: Vector


@dataclass(slots=True)
class SourceFile:
    """An uploaded document.

    Args:
        id: the UUID in its file name.
        name: file name without folder.
        metadata: the fields that listings show, in the server's order, without the text.
        text: the whole text, byte for byte as uploaded.
        cache: its vectors once they were stored somewhere; what ``cached`` in answers speaks of.
    """

    id: str
    name: str
    metadata: Mapping[str, Any]
    text: str
    cache: tuple[Embedded, ...] | None = None

    @property
    def location(self) -> str:
        """The handle everything else takes: folder and file name."""
        return f"{FOLDER}/{self.name}"


@dataclass(frozen=True, slots=True)
class EmbeddedRow:
    """A file in a workspace (its slug); ``doc_id`` ties vectors to it, ``json`` is its entry."""

    id: int
    doc_id: str
    workspace: str
    file: SourceFile
    vectors: int
    json: bytes


@dataclass(slots=True)
class KeptWorkspace:
    """A workspace with its rows in the order they came."""

    id: int
    slug: str
    fields: dict[str, Any]
    rows: dict[str, EmbeddedRow] = field(default_factory=dict)
    changes: int = 0
    """Goes up with every change, so that a listing is put together once a change."""


class SimulatorState:
    """Everything stored but the vectors.

    Args:
        now: the current instant, aware.
        rng: where UUIDs and slug suffixes come from.
    """

    def __init__(self, now: Callable[[], datetime], rng: random.Random) -> None:
        self._now = now
        self._rng = rng
        self.workspaces: dict[str, KeptWorkspace] = {}
        self.files: dict[str, SourceFile] = {}
        self._rows_of: dict[str, list[EmbeddedRow]] = {}
        self._caches: dict[str, tuple[Embedded, ...] | None] = {}  # of names that no file has
        self._ids = 0

    def clear(self) -> None:
        """Forget everything, as a new instance would start."""
        self.workspaces.clear()
        self.files.clear()
        self._rows_of.clear()
        self._caches.clear()

    def put_back(
        self,
        workspaces: Iterable[KeptWorkspace],
        files: Iterable[SourceFile],
        caches: Mapping[str, tuple[Embedded, ...] | None],
        ids: int,
    ) -> None:
        """Hold this, and nothing else (`state_file`)."""
        self.clear()
        self.workspaces.update({each.slug: each for each in workspaces})
        self.files.update({each.location: each for each in files})
        self._caches.update(caches)
        self._ids = ids
        rows = [row for each in self.workspaces.values() for row in each.rows.values()]
        for row in sorted(rows, key=lambda row: row.id):
            self._rows_of.setdefault(row.file.location, []).append(row)

    @property
    def caches(self) -> Mapping[str, tuple[Embedded, ...] | None]:
        """Vectors that are kept by names that no file has any more."""
        return self._caches

    @property
    def ids(self) -> int:
        """The last number that was given to a workspace or a row."""
        return self._ids

    def uuid(self) -> str:
        """A new random UUID."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def create_workspace(self, name: str, settings: Mapping[str, Any]) -> KeptWorkspace:
        """Make a workspace; a slug in use gets a random suffix, so racing creators get two."""
        slug = names.workspace_slug(name) or self.uuid()
        if slug in self.workspaces:
            suffix = self._rng.randrange(10_000_000, 100_000_000)
            slug = names.workspace_slug(f"{name}-{suffix}")
        self._ids += 1
        workspace = KeptWorkspace(self._ids, slug, self._workspace_fields(name, slug, settings))
        self.workspaces[slug] = workspace
        return workspace

    def update_workspace(self, workspace: KeptWorkspace, wanted: Mapping[str, Any]) -> None:
        """Change name and settings; the slug stays whatever the request says."""
        allowed = {key: wanted[key] for key in ("name", *SETTABLE) if key in wanted}
        workspace.fields.update(allowed, lastUpdatedAt=self._instant())
        workspace.changes += 1

    def add_file(self, slug: str, metadata: Mapping[str, Any], text: str) -> SourceFile:
        """Store an upload under a fresh UUID; equal uploads make equal files under two names."""
        file_id = self.uuid()
        file = SourceFile(file_id, f"raw-{slug}-{file_id}.json", {"id": file_id, **metadata}, text)
        self.files[file.location] = file
        return file

    def move_file(self, file: SourceFile, name: str) -> None:
        """Give a file another name. Its vectors stay in the cache, by the name that it had."""
        del self.files[file.location]
        self._caches[file.location] = file.cache
        moved = replace(file, name=name)
        moved.cache = self._caches.pop(moved.location, None)
        self.files[moved.location] = moved

    def remove_file(self, location: str) -> SourceFile | None:
        """Forget a file and its cache; the file where there was one."""
        self._caches.pop(location, None)
        return self.files.pop(location, None)

    def add_row(
        self, workspace: KeptWorkspace, doc_id: str, file: SourceFile, vectors: int
    ) -> EmbeddedRow:
        """List a file in a workspace; a file that is listed already is listed once more."""
        self._ids += 1
        shown = self._row_json(workspace, self._ids, doc_id, file)
        row = EmbeddedRow(self._ids, doc_id, workspace.slug, file, vectors, shown)
        workspace.rows[doc_id] = row
        workspace.changes += 1
        self._rows_of.setdefault(file.location, []).append(row)
        return row

    def remove_row(self, row: EmbeddedRow) -> None:
        """Unlist a file once; the other rows of a double stay."""
        workspace = self.workspaces[row.workspace]
        del workspace.rows[row.doc_id]
        workspace.changes += 1
        self._rows_of[row.file.location].remove(row)

    def replace_row(self, row: EmbeddedRow, shown: bytes) -> None:
        """Show a row with another entry."""
        new = replace(row, json=shown)
        workspace = self.workspaces[row.workspace]
        workspace.rows[row.doc_id] = new
        workspace.changes += 1
        of_file = self._rows_of[row.file.location]
        of_file[of_file.index(row)] = new

    def rows_of(self, location: str) -> tuple[EmbeddedRow, ...]:
        """Every row of a file in every workspace, oldest first."""
        return tuple(self._rows_of.get(location, ()))

    def has_row(self, doc_id: str) -> bool:
        """Whether any workspace lists a document."""
        return any(doc_id in each.rows for each in self.workspaces.values())

    def delete_workspace(self, workspace: KeptWorkspace) -> None:
        """Forget a workspace and its rows; the files stay."""
        for row in tuple(workspace.rows.values()):
            self.remove_row(row)
        del self.workspaces[workspace.slug]

    def file_named(self, name: str) -> SourceFile | None:
        """A file by its name without folder."""
        return self.files.get(f"{FOLDER}/{name}")

    def _instant(self) -> str:
        return self._now().astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"

    def _workspace_fields(
        self, name: str, slug: str, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        instant = self._instant()
        fields: dict[str, Any] = {
            "id": self._ids,
            "name": name[:255],
            "slug": slug,
            "vectorTag": None,
            "createdAt": instant,
            "openAiTemp": None,
            "openAiHistory": 20,
            "lastUpdatedAt": instant,
            "openAiPrompt": "Answer from the documents of this workspace.",
            "similarityThreshold": 0.25,
            "chatProvider": None,
            "chatModel": None,
            "topN": 4,
            "chatMode": "automatic",
            "pfpFilename": None,
            "agentProvider": None,
            "agentModel": None,
            "queryRefusalResponse": None,
            "vectorSearchMode": "default",
            "router_id": None,
        }
        return fields | {key: settings[key] for key in SETTABLE if key in settings}

    def _row_json(
        self, workspace: KeptWorkspace, row_id: int, doc_id: str, file: SourceFile
    ) -> bytes:
        instant = self._instant()
        return dumps(
            {
                "id": row_id,
                "docId": doc_id,
                "filename": file.name,
                "docpath": file.location,
                "workspaceId": workspace.id,
                "metadata": dumps(file.metadata).decode(),
                "pinned": False,
                "watched": False,
                "createdAt": instant,
                "lastUpdatedAt": instant,
            }
        )
