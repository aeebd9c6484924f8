"""The developer API of AnythingLLM 1.16 (``/api/v1``): one method an endpoint, nothing clever.

What an answer proves is decided elsewhere; here it is only made into values. Slugs and file names
are checked before they become part of a path: a comma would write into two workspaces, ``..``
would change the path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import orjson

from consumer.anythingllm.answers import Call
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMNotFoundError,
    AnythingLLMProtocolError,
    AnythingLLMRejectedError,
)
from consumer.anythingllm.models import (
    DocumentRow,
    StoredFile,
    VectorHit,
    Workspace,
    WorkspaceListing,
)
from consumer.anythingllm.transport import Errand, Transport
from consumer.model.slug import is_slug

FOLDER = "custom-documents/"  # where every raw text goes
_SLICE = 500  # rows parsed between two turns of the event loop, about 3 ms


class Api:
    """See the module's docstring. Every method raises `AnythingLLMError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def workspaces(self, errand: Errand) -> tuple[Workspace, ...]:
        """All workspaces."""
        call = Call("GET", "/v1/workspaces", expect=("workspaces",))
        fields = await self._transport.call(errand, call)
        with _shape(call):
            return tuple(_workspace(each) for each in _list(fields["workspaces"]))

    async def workspace(self, errand: Errand, slug: str) -> WorkspaceListing | None:
        """One workspace with its documents; None where there is none (200 with an empty list)."""
        call = Call("GET", f"/v1/workspace/{checked_slug(slug)}", expect=("workspace",))
        answer = await self._transport.ask(errand, call)
        with _shape(call):
            found = _list(answer.fields["workspace"])
            if not found:
                return None
            workspace = _workspace(found[0])
            if workspace.slug != slug:
                raise ValueError("another workspace")
            rows = await _rows(_list(found[0]["documents"]))
        return WorkspaceListing(workspace, rows, answer.date)

    async def new_workspace(self, errand: Errand, name: str) -> Workspace:
        """Create a workspace; the server makes the slug, with a random tail if it is taken."""
        call = Call("POST", "/v1/workspace/new", {"name": name}, expect=("workspace",))
        fields = await self._transport.call(errand, call)
        with _shape(call):
            return _workspace(fields["workspace"])

    async def rename_workspace(self, errand: Errand, slug: str, name: str) -> Workspace:
        """Change the display name; the slug stays."""
        path = f"/v1/workspace/{checked_slug(slug)}/update"
        call = Call("POST", path, {"name": name}, expect=("workspace",))
        with _missing(slug):
            fields = await self._transport.call(errand, call)
        with _shape(call):
            return _workspace(fields["workspace"])

    async def delete_workspace(self, errand: Errand, slug: str) -> None:
        """Delete a workspace with its vectors; answers plain text."""
        call = Call("DELETE", f"/v1/workspace/{checked_slug(slug)}", text_ok=True)
        with _missing(slug):
            await self._transport.call(errand, call)

    async def raw_text(self, errand: Errand, body: dict[str, Any]) -> StoredFile:
        """Store a text; ``success`` does not mean that it was embedded."""
        call = Call("POST", "/v1/document/raw-text", body, expect=("success", "documents"))
        fields = await self._transport.call(errand, call)
        with _shape(call):
            document = _list(fields["documents"])[0]
            location, doc_source = _text(document["location"]), _text(document["docSource"])
            _name_of(location)
            return StoredFile(location, doc_source)

    async def file(self, errand: Errand, location: str) -> StoredFile | None:
        """A stored file, or None where there is none."""
        name = _name_of(location)
        call = Call("GET", f"/v1/document/{quote(name, safe='')}", expect=("document",))
        try:
            fields = await self._transport.call(errand, call)
        except AnythingLLMNotFoundError:
            return None
        with _shape(call):
            document = fields["document"]
            if document["name"] != name:
                raise ValueError("another file")
            return StoredFile(location, _text(document["docSource"]), document["cached"] is True)

    async def embed(self, errand: Errand, slug: str, locations: Sequence[str]) -> None:
        """Embed stored files into a workspace; says nothing about which of them failed."""
        path = f"/v1/workspace/{checked_slug(slug)}/update-embeddings"
        call = Call("POST", path, {"adds": list(locations)}, expect=("workspace",))
        with _missing(slug):
            await self._transport.call(errand, call)

    async def remove(self, errand: Errand, locations: Sequence[str]) -> None:
        """Remove files with their rows and vectors everywhere; unknown ones are no error."""
        body = {"names": list(locations)}
        call = Call("DELETE", "/v1/system/remove-documents", body, expect=("success",))
        fields = await self._transport.call(errand, call)
        if fields["success"] is not True:
            raise AnythingLLMError(f"{call}: answered that it did not remove the documents")

    async def search(
        self, errand: Errand, slug: str, query: str, top: int
    ) -> tuple[VectorHit, ...]:
        """The nearest vectors of a workspace, the nearest first, whatever their distance."""
        path = f"/v1/workspace/{checked_slug(slug)}/vector-search"
        body = {"query": query, "topN": top, "scoreThreshold": 0}
        call = Call("POST", path, body, expect=("results",))
        with _missing(slug):
            fields = await self._transport.call(errand, call)
        with _shape(call):
            hits = [_hit(each) for each in _list(fields["results"])]
        return tuple(sorted(hits, key=lambda hit: hit.distance))

    async def ping(self, errand: Errand) -> None:
        """Whether the server's process answers; needs no key."""
        await self._transport.call(errand, Call("GET", "/ping", expect=("online",), guarded=False))

    async def version(self, errand: Errand) -> str | None:
        """The server's version where it tells (the official image does)."""
        call = Call("GET", "/utils/metrics", expect=("online",), guarded=False)
        version = (await self._transport.call(errand, call)).get("appVersion")
        return version if isinstance(version, str) else None

    async def check_key(self, errand: Errand) -> None:
        """Whether the key is accepted."""
        call = Call("GET", "/v1/auth", expect=("authenticated",), guarded=False)
        await self._transport.call(errand, call)

    async def check_collector(self, errand: Errand) -> None:
        """Whether the document collector is up: this answers 404 when it is not."""
        path = "/v1/document/accepted-file-types"
        await self._transport.call(errand, Call("GET", path, expect=("types",), guarded=False))

    async def check_embedder(self, errand: Errand) -> None:
        """Whether the embedder works; stores nothing."""
        body = {"input": ["ready"]}
        call = Call("POST", "/v1/openai/embeddings", body, expect=("data",), guarded=False)
        fields = await self._transport.call(errand, call)
        with _shape(call):
            if not _list(_list(fields["data"])[0]["embedding"]):
                raise ValueError("an empty vector")


def checked_slug(slug: object) -> str:
    """The slug, if it may become part of a path; it may come from an event, as anything.

    Raises:
        AnythingLLMRejectedError: it may not; nothing was sent.
    """
    if isinstance(slug, str) and is_slug(slug):
        return slug
    raise AnythingLLMRejectedError(
        f"{ascii(slug)[:80]} is no workspace slug (1 to 255 of a-z, 0-9, _ and -): nothing was sent"
    )


@contextmanager
def _missing(slug: str) -> Iterator[None]:
    """A 400 to a call about a workspace means that there is no such workspace."""
    try:
        yield
    except AnythingLLMError as error:
        if error.http_status != 400:
            raise
        raise AnythingLLMNotFoundError(
            f"AnythingLLM has no workspace {slug!r}", http_status=400
        ) from error


@contextmanager
def _shape(call: Call) -> Iterator[None]:
    """Whatever goes wrong while taking an answer apart is the answer's fault."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise AnythingLLMProtocolError(
            f"{call}: the answer has another shape than AnythingLLM 1.16 gives it",
            ambiguous=call.changes,
            http_status=200,
        ) from error


async def _rows(documents: list[Any]) -> tuple[DocumentRow, ...]:
    rows: list[DocumentRow] = []
    for start in range(0, len(documents), _SLICE):
        rows += (_row(each) for each in documents[start : start + _SLICE])
        await asyncio.sleep(0)  # a listing of 20,000 rows must not hold up everybody else
    return tuple(rows)


def _row(document: dict[str, Any]) -> DocumentRow:
    metadata = _metadata(document.get("metadata"))
    titles = (metadata.get("description"), metadata.get("title"), document.get("filename"))
    doc_source = metadata.get("docSource")
    return DocumentRow(
        location=_text(document["docpath"]),
        doc_source=doc_source if isinstance(doc_source, str) else "",
        title=_first_text(titles),
        created=_first_text((document.get("createdAt"),)),
    )


def _metadata(text: object) -> dict[str, Any]:
    """A row's metadata, a JSON text; whoever else wrote it may have written anything."""
    try:
        fields = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _hit(result: dict[str, Any]) -> VectorHit:
    metadata = _metadata(result.get("metadata"))
    distance = result.get("distance")
    if not isinstance(distance, (int, float)):
        # Only LanceDB tells the distance; other vector databases give the score alone.
        distance = 1.0 - float(result["score"])
    return VectorHit(
        text=_text(result["text"]),
        distance=float(distance),
        doc_source=_first_text((metadata.get("docSource"),)),
        title=_first_text((metadata.get("description"), metadata.get("title"))),
    )


def _workspace(fields: dict[str, Any]) -> Workspace:
    return Workspace(int(fields["id"]), _text(fields["name"]), _text(fields["slug"]))


def _name_of(location: str) -> str:
    """The file name of a location; anything that does not look like one is not believed."""
    name = location.removeprefix(FOLDER)
    if not location.startswith(FOLDER) or not name.endswith(".json") or "/" in name:
        raise ValueError("no location of a raw text")
    return name


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _first_text(values: Iterable[object]) -> str:
    """The first text that is more than a default of AnythingLLM's."""
    texts = (value for value in values if isinstance(value, str))
    return next((text for text in texts if text and text != "no description found"), "")
