"""What a simulated server holds as a file, so that the next process goes on with it.

Everything that is stored: workspaces, rows, files with their cached vectors, and the vector
database, also what only a crash would leave behind. Not what is switched: faults are
``--seed-faults``. The API key is in it, so that a restart that is given none accepts the same one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumer.sandbox.simulator.embedder import Nonsense, Vector
from consumer.sandbox.simulator.jsontext import dumps, loads
from consumer.sandbox.simulator.state import (
    Embedded,
    EmbeddedRow,
    KeptWorkspace,
    SimulatorState,
    SourceFile,
)
from consumer.sandbox.simulator.tables import StoredVector, Table, Tables

_KIND = "anythingllm-simulator"
_VERSION = 1
_LEAST_PAUSE = 0.2  # seconds between two writes
_SHARE = 10  # writing takes a tenth of the time at most

Json = dict[str, Any]


class StateFileError(Exception):
    """The file can't be used; the message names it and says why."""


class StateFile:
    """One file.

    Args:
        path: where it is, or will be.
        vector_db: of the server; another one would not read its vectors.
    """

    def __init__(self, path: Path, vector_db: str) -> None:
        self._path = path
        self._vector_db = vector_db
        self._written = b""

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other simulators off.

        Two that write into one file would each put away what the other one stored.

        Raises:
            StateFileError: one is at work on it, or nothing can be written there.
        """
        beside = self._path.with_name(f"{self._path.name}.lock")
        try:
            lock = os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT, 0o600), "rb")
        except OSError as error:
            raise StateFileError(f"{self._path}: {error.strerror or error}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                busy = "another simulator is at work on it: stop it, or name another file"
                why = busy if isinstance(error, BlockingIOError) else error.strerror or error
                raise StateFileError(f"{self._path}: {why}") from None
            yield

    def read(self) -> Json | None:
        """What is in it; None where there is no such file yet.

        Raises:
            StateFileError: it is none of ours, or of another vector database.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateFileError(f"{self._path}: {error.strerror or error}") from None
        try:
            found = loads(raw)
        except ValueError as error:
            raise StateFileError(f"{self._path}: no state of a simulator: {error}") from None
        if not isinstance(found, dict) or found.get(_KIND) != _VERSION:
            raise StateFileError(f"{self._path}: no state of a simulator of this version")
        if found["byteorder"] != sys.byteorder:
            raise StateFileError(f"{self._path}: written on a machine of another byte order")
        if found["vector_db"] != self._vector_db:
            raise StateFileError(
                f"{self._path}: vectors of {found['vector_db']}: start with --vector-db "
                f"{found['vector_db']}, or name another file"
            )
        return found

    def write(self, document: Json) -> None:
        """Put this in its place; whoever is killed meanwhile leaves the former one.

        Raises:
            StateFileError: it can't be written.
        """
        head = {_KIND: _VERSION, "byteorder": sys.byteorder, "vector_db": self._vector_db}
        raw = dumps({**head, **document})
        if raw == self._written:
            return
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            with os.fdopen(
                os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as f:
                f.write(raw)
            beside.replace(self._path)
        except OSError as error:
            raise StateFileError(f"{self._path}: {error.strerror or error}") from None
        self._written = raw


async def keep(
    file: StateFile,
    document: Callable[[], Json],
    changed: asyncio.Event,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Write again and again what may have changed; it ends by being cancelled.

    A process that is killed (SIGKILL) may lack what came since the last time: a fifth of a second,
    or ten times as long as writing takes (0.2 s for 3,000 chunks of 1,000 characters).

    Raises:
        StateFileError: it can't be written.
    """
    while True:
        await changed.wait()
        changed.clear()
        began = clock()
        file.write(document())
        await asyncio.sleep(max(_LEAST_PAUSE, _SHARE * (clock() - began)))


def held(state: SimulatorState, tables: Tables, api_key: str) -> Json:
    """All that is stored, as JSON has it."""
    files = _Files()
    workspaces = [
        {
            "id": each.id,
            "fields": each.fields,
            "slug": each.slug,
            "changes": each.changes,
            "rows": [_row_json(row, files) for row in each.rows.values()],
        }
        for each in state.workspaces.values()
    ]
    stored = [files.number(each) for each in state.files.values()]
    database = {
        "dimension": tables.dimension,
        "tables": {name: _table_json(table, files) for name, table in tables.every.items()},
    }
    caches = {name: _pieces_json(each) for name, each in state.caches.items()}
    return {
        "api_key": api_key,
        "ids": state.ids,
        "workspaces": workspaces,
        "stored": stored,
        "caches": caches,
        "database": database,
        "files": [_file_json(each) for each in files.every],
    }


def put_back(document: Json, state: SimulatorState, tables: Tables) -> None:
    """Have an empty server hold what another one held."""
    files = [_file(each) for each in document["files"]]
    workspaces = []
    for each in document["workspaces"]:
        workspace = KeptWorkspace(each["id"], each["slug"], each["fields"], {}, each["changes"])
        for row in each["rows"]:
            made = EmbeddedRow(
                row["id"],
                row["doc_id"],
                workspace.slug,
                files[row["file"]],
                row["vectors"],
                row["json"].encode("utf-8", "surrogatepass"),
            )
            workspace.rows[made.doc_id] = made
        workspaces.append(workspace)
    state.put_back(
        workspaces,
        [files[number] for number in document["stored"]],
        {name: _pieces(each) for name, each in document["caches"].items()},
        document["ids"],
    )
    database = document["database"]
    found = {name: _table(each, files) for name, each in database["tables"].items()}
    tables.put_back(found, database["dimension"])


class _Files:
    """Numbers files: rows and vectors may speak of one that is not stored any more."""

    def __init__(self) -> None:
        self.every: list[SourceFile] = []
        self._numbers: dict[int, int] = {}

    def number(self, file: SourceFile) -> int:
        """The file's place in `every`."""
        if id(file) not in self._numbers:
            self._numbers[id(file)] = len(self.every)
            self.every.append(file)
        return self._numbers[id(file)]


def _row_json(row: EmbeddedRow, files: _Files) -> Json:
    return {
        "id": row.id,
        "doc_id": row.doc_id,
        "file": files.number(row.file),
        "vectors": row.vectors,
        "json": row.json.decode("utf-8", "surrogatepass"),
    }


def _file_json(file: SourceFile) -> Json:
    return {
        "id": file.id,
        "name": file.name,
        "metadata": dict(file.metadata),
        "text": file.text,
        "cache": _pieces_json(file.cache),
    }


def _file(said: Json) -> SourceFile:
    cache = _pieces(said["cache"])
    return SourceFile(said["id"], said["name"], said["metadata"], said["text"], cache)


def _pieces_json(pieces: Sequence[Embedded] | None) -> list[Json] | None:
    return None if pieces is None else [_piece_json(each) for each in pieces]


def _pieces(said: Sequence[Json] | None) -> tuple[Embedded, ...] | None:
    return None if said is None else tuple(_piece(each) for each in said)


def _piece_json(piece: Embedded) -> Json:
    vector = piece.vector
    return {
        "text": piece.text,
        "dimension": vector.dimension,
        "features": b64encode(vector.features.tobytes()).decode(),
        "weights": b64encode(vector.weights.tobytes()).decode(),
        "nonsense": vector.nonsense,
    }


def _piece(said: Mapping[str, Any]) -> Embedded:
    nonsense = said["nonsense"]
    vector = Vector(
        said["dimension"],
        array("I", b64decode(said["features"])),
        array("f", b64decode(said["weights"])),
        None if nonsense is None else Nonsense(nonsense),
    )
    return Embedded(said["text"], vector)


def _table_json(table: Table, files: _Files) -> Json:
    documents = [
        {
            "doc_id": doc_id,
            "stored_at": table.stored_at[doc_id],
            "vectors": [
                {"id": v.id, "file": files.number(v.file), **_piece_json(v.embedded)}
                for v in vectors
            ],
        }
        for doc_id, vectors in table.by_document.items()
    ]
    return {"dimension": table.dimension, "adds": table.adds, "documents": documents}


def _table(said: Json, files: Sequence[SourceFile]) -> Table:
    table = Table(said["dimension"], adds=said["adds"])
    for each in said["documents"]:
        doc_id = each["doc_id"]
        table.stored_at[doc_id] = each["stored_at"]
        table.by_document[doc_id] = [
            StoredVector(vector["id"], doc_id, files[vector["file"]], _piece(vector))
            for vector in each["vectors"]
        ]
    return table
