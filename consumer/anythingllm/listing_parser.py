"""A workspace's listing, taken apart while it arrives.

A row has 700 to 1,100 bytes, so a workspace of 20,000 chunks answers about 20 MB. Parsing it whole
would stop all other tasks for a third of a second and need five times as much memory. So:

1. Rows are given away piece by piece. Of the answer only the row that is under way is kept.
2. Rows prove nothing before `ListingParser.end` has returned: only then is it known that the
   answer was whole, had the shape of AnythingLLM 1.16 and spoke of the workspace asked for.
3. What goes wrong is a `ValueError`, `KeyError` or `TypeError` that holds nothing of the answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import ijson
import orjson

from consumer.anythingllm.models import DocumentRow, Workspace
from consumer.model.fields import need_text, text_of
from consumer.model.names import Location, Slug

_DEEPEST = 1_000  # characters of a path; AnythingLLM's are at most 40, nesting without end has more

_LIST = "workspace"
_WORKSPACE = "workspace.item"
_DOCUMENTS = "workspace.item.documents"
_ROW = "workspace.item.documents.item"
_OPENS = {_LIST: "start_array", _WORKSPACE: "start_map", _DOCUMENTS: "start_array"}
_INSIDE = frozenset({"map_key", "end_map", "end_array"})

_HEAD_FIELDS = {f"{_WORKSPACE}.{name}": name for name in ("id", "name", "slug")}
_ROW_FIELDS = {f"{_ROW}.{name}": name for name in ("docpath", "metadata", "filename", "createdAt")}


class ListingParser:
    """Takes one answer of ``GET /v1/workspace/{slug}`` (module docstring).

    Args:
        slug: the workspace that was asked for.
    """

    def __init__(self, slug: Slug) -> None:
        self._slug = slug
        self._found = _Found()
        self._parser = ijson.parse_coro(self._found)

    def feed(self, piece: bytes) -> list[DocumentRow]:
        """The rows that this piece completes."""
        try:
            self._parser.send(piece)
        except ijson.JSONError:
            raise ValueError("not JSON") from None  # its message quotes the answer
        rows, self._found.rows = self._found.rows, []
        return rows

    def end(self) -> Workspace | None:
        """The workspace, when the whole answer was taken; None where there is none of that name."""
        try:
            self._parser.close()
        except ijson.JSONError:
            raise ValueError("cut short") from None
        workspace = self._found.workspace()
        if workspace is not None and workspace.slug != self._slug:
            raise ValueError("another workspace")
        return workspace


class _Found:
    """What the parser has found so far; it sends every event of the JSON here."""

    def __init__(self) -> None:
        self.rows: list[DocumentRow] = []
        self._opened: Counter[str] = Counter()
        self._head: dict[str, Any] = {}
        self._row: dict[str, Any] = {}

    def workspace(self) -> Workspace | None:
        if self._opened[_LIST] != 1 or self._opened[_WORKSPACE] != self._opened[_DOCUMENTS]:
            raise ValueError("no listing")
        return workspace_of(self._head) if self._opened[_WORKSPACE] else None

    def send(self, found: tuple[str, str, Any]) -> None:
        path, event, value = found
        if path == _ROW:
            self._at_row(event)
        elif (name := _ROW_FIELDS.get(path)) is not None:
            self._row[name] = value
        elif (opens := _OPENS.get(path)) is not None:
            self._at_frame(path, event=event, opens=opens)
        elif (name := _HEAD_FIELDS.get(path)) is not None:
            self._head[name] = value
        elif len(path) > _DEEPEST:
            raise ValueError("nested without end")

    def _at_row(self, event: str) -> None:
        if event == "start_map":
            self._row = {}
        elif event == "end_map":
            self.rows.append(row_of(self._row))
        elif event != "map_key":
            raise TypeError("a row that is no object")

    def _at_frame(self, path: str, *, event: str, opens: str) -> None:
        if event == opens:
            self._opened[path] += 1
        elif event not in _INSIDE:
            raise TypeError("not the frame of a listing")
        if self._opened[path] != 1:
            raise ValueError("a frame that opens twice, or in another way")


def workspace_of(fields: dict[str, Any]) -> Workspace:
    """A workspace from its fields in an answer."""
    return Workspace(int(fields["id"]), need_text(fields["name"]), Slug(need_text(fields["slug"])))


def row_of(document: dict[str, Any]) -> DocumentRow:
    """A listing's row from its fields in an answer."""
    metadata = metadata_of(document.get("metadata"))
    titles = (metadata.get("description"), metadata.get("title"), document.get("filename"))
    return DocumentRow(
        location=Location(need_text(document["docpath"])),
        doc_source=text_of(metadata.get("docSource")) or "",
        title=first_text(*titles),
        created=first_text(document.get("createdAt")),
    )


def metadata_of(text: object) -> dict[str, Any]:
    """A row's or hit's metadata; another writer may have written anything there."""
    try:
        fields = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def first_text(*values: object) -> str:
    """The first text that is more than a default of AnythingLLM's, else ""."""
    texts = (value for value in values if isinstance(value, str))
    return next((text for text in texts if text and text != "no description found"), "")
