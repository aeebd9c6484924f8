"""The developer API of AnythingLLM 1.16 (``/api/v1``): one method an endpoint, nothing clever.

What an answer proves is decided elsewhere; here it is only made into values. Slugs and file names
are checked before they become part of a path: a comma would write into two workspaces, ``..``
would change the path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from consumer.anythingllm.calls import Answer, Call
from consumer.anythingllm.effects import SAID_NO, STRANGE
from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
    AnythingLLMProtocolError,
    AnythingLLMRejectedError,
    NonsenseError,
    NoWorkspaceError,
    leave_in_doubt,
)
from consumer.anythingllm.listing_parser import ListingParser, first_text, workspace_of
from consumer.anythingllm.models import (
    DocumentRow,
    FilePage,
    ScannedWorkspace,
    StoredFile,
    SurveyedWorkspace,
    VectorHit,
    Workspace,
    WorkspaceListing,
)
from consumer.anythingllm.nonsense import PROBE_TEXTS, nonsense
from consumer.anythingllm.sentinel import is_sentinel
from consumer.anythingllm.transport import Errand, Transport
from consumer.anythingllm.vector_hits import ReadHits, read_hits
from consumer.model.fields import need_list, need_text
from consumer.model.marker import decode_marker
from consumer.model.names import Location, Slug
from consumer.model.slug import is_slug
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

FOLDER = "custom-documents/"  # where every raw text goes
_RAW_TEXT = "/v1/document/raw-text"
_KEY_SECONDS = 10.0  # a check of the key that takes longer shows nothing

T = TypeVar("T")


class Api:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        transport: sends the calls.
        is_probe: whether all calls are probes: they do not pass the breaker.
    """

    def __init__(self, transport: Transport, *, is_probe: bool = False) -> None:
        self._transport = transport
        self._is_probe = is_probe
        self._told_of: set[Slug] = set()  # workspaces whose odd hits were warned about
        self._on_listed: list[Callable[[Iterable[Slug]], None]] = []

    def as_probe(self) -> Api:
        """The same, past the breaker; what one of them has told the other need not tell."""
        probe = Api(self._transport, is_probe=True)
        probe._told_of, probe._on_listed = self._told_of, self._on_listed
        return probe

    def when_listed(self, listener: Callable[[Iterable[Slug]], None]) -> None:
        """Have the listener called with the slugs of all workspaces whenever an answer has them."""
        self._on_listed.append(listener)

    async def workspaces(self, errand: Errand) -> tuple[Workspace, ...]:
        """All workspaces."""
        call = Call("GET", "/v1/workspaces", expect=("workspaces",))
        fields = await self._call(errand, call)
        with _Shape(call):
            every = tuple(workspace_of(each) for each in need_list(fields["workspaces"]))
        self._listed([each.slug for each in every])
        return every

    async def workspaces_as_told(self, errand: Errand) -> Sequence[Mapping[str, Any]]:
        """All workspaces with everything that AnythingLLM tells of them beside their documents."""
        call = Call("GET", "/v1/workspaces", expect=("workspaces",))
        fields = await self._call(errand, call)
        with _Shape(call):
            return [dict(each) for each in need_list(fields["workspaces"])]

    async def workspace(self, errand: Errand, slug: Slug) -> WorkspaceListing | None:
        """One workspace with its documents; None where there is none (200 with an empty list).

        Raises:
            AnythingLLMProtocolError: all of it would take more memory than one answer may.
        """
        rows: list[DocumentRow] = []
        found = await self.scan(errand, slug, rows.append, bounded=True)
        workspace = found.workspace if found else None
        return WorkspaceListing(workspace, tuple(rows), found.date) if found and workspace else None

    async def survey(self, errand: Errand, slug: Slug) -> SurveyedWorkspace | None:
        """One workspace without its documents, however many; None where there is none."""
        sentinels: list[DocumentRow] = []
        oldest: datetime | None = None

        def take(row: DocumentRow) -> None:
            nonlocal oldest
            if is_sentinel(row.doc_source):
                sentinels.append(row)
            elif (made := row.created_at) is not None:
                oldest = made if oldest is None else min(oldest, made)

        found = await self.scan(errand, slug, take)
        if found is None or found.workspace is None:
            return None
        return SurveyedWorkspace(found.workspace, found.rows, tuple(sentinels), oldest, found.date)

    async def scan(
        self,
        errand: Errand,
        slug: Slug,
        take: Callable[[DocumentRow], None],
        *,
        unless: str | None = None,
        bounded: bool = False,
    ) -> ScannedWorkspace | None:
        """Read one workspace's listing row by row; None where it still has the ETag `unless`.

        Rows prove nothing before this has returned: a listing may turn out to be cut short.

        Args:
            errand: deadline and trace.
            slug: the workspace.
            take: gets the rows as they arrive; its exceptions leave this method.
            unless: the ETag of a listing that was read before.
            bounded: whether a listing larger than an answer may be is refused: all of it is kept.
        """
        call = Call("GET", f"/v1/workspace/{checked_slug(slug)}")
        parser = ListingParser(slug)
        count = 0

        def piece(raw: bytes) -> None:
            nonlocal count
            with _Shape(call):
                rows = parser.feed(raw)
            count += len(rows)
            for row in rows:
                take(row)

        call = self._as_sent(call)
        asking = self._transport.stream(errand, call, piece, unless=unless, bounded=bounded)
        answer = await self._judging(errand, call, asking)
        if not answer.changed:
            return None
        with _Shape(call):
            return ScannedWorkspace(parser.end(), count, answer.date, answer.etag, answer.size)

    async def new_workspace(self, errand: Errand, name: str) -> Workspace:
        """Create a workspace; the server makes the slug, with a random tail if it is taken."""
        call = Call("POST", "/v1/workspace/new", {"name": name}, expect=("workspace",))
        fields = await self._call(errand, call)
        with _Shape(call):
            return workspace_of(fields["workspace"])

    async def rename_workspace(self, errand: Errand, slug: Slug, name: str) -> Workspace:
        """Change the display name; the slug stays."""
        return await self.update_workspace(errand, slug, {"name": name})

    async def update_workspace(
        self, errand: Errand, slug: Slug, settings: Mapping[str, Any]
    ) -> Workspace:
        """Change what people set in it, its display name among that; the slug stays."""
        path = f"/v1/workspace/{checked_slug(slug)}/update"
        call = Call("POST", path, dict(settings), expect=("workspace",))
        with _missing(slug):
            fields = await self._call(errand, call)
        with _Shape(call):
            return workspace_of(fields["workspace"])

    async def delete_workspace(self, errand: Errand, slug: Slug) -> None:
        """Delete a workspace with its vectors; answers plain text."""
        call = Call("DELETE", f"/v1/workspace/{checked_slug(slug)}", text_ok=True)
        with _missing(slug):
            await self._call(errand, call)

    async def raw_text(self, errand: Errand, body: dict[str, Any]) -> StoredFile:
        """Store a text; ``success`` does not mean that it was embedded."""
        call = Call("POST", _RAW_TEXT, body, expect=("success", "documents"))
        fields = await self._call(errand, call)
        with _Shape(call):
            document = need_list(fields["documents"])[0]
            location = Location(need_text(document["location"]))
            _name_of(location)
            return StoredFile(location, need_text(document["docSource"]))

    async def file(self, errand: Errand, location: Location) -> StoredFile | None:
        """A stored file, or None where there is none."""
        name = _name_of(location)
        call = Call("GET", f"/v1/document/{quote(name, safe='')}", expect=("document",))
        try:
            fields = await self._call(errand, call)
        except AnythingLLMNotFoundError:
            return None
        with _Shape(call):
            document = fields["document"]
            if document["name"] != name:
                raise ValueError("another file")
            return StoredFile(
                location, need_text(document["docSource"]), document["cached"] is True
            )

    async def move(self, errand: Errand, location: Location, to: Location) -> None:
        """Give a file another name. One that a workspace lists stays as it is, with success."""
        body = {"files": [{"from": FOLDER + _name_of(location), "to": FOLDER + _name_of(to)}]}
        await self._call(errand, Call("POST", "/v1/document/move-files", body, expect=("success",)))

    async def embed(self, errand: Errand, slug: Slug, locations: Sequence[Location]) -> None:
        """Embed stored files into a workspace; says nothing about which of them failed."""
        path = f"/v1/workspace/{checked_slug(slug)}/update-embeddings"
        call = Call("POST", path, {"adds": list(locations)}, expect=("workspace",))
        with _missing(slug):
            await self._call(errand, call)

    async def remove(self, errand: Errand, locations: Sequence[Location]) -> None:
        """Remove files with their rows and vectors everywhere; unknown ones are no error."""
        body = {"names": list(locations)}
        call = Call("DELETE", "/v1/system/remove-documents", body, expect=("success",))
        fields = await self._call(errand, call)
        if fields["success"] is not True:
            refused = AnythingLLMError(f"{call}: answered that it did not remove the documents")
            raise leave_in_doubt(refused, SAID_NO)

    async def relist(
        self,
        errand: Errand,
        slug: Slug,
        *,
        adds: Sequence[Location] = (),
        deletes: Sequence[Location] = (),
    ) -> tuple[Location, ...]:
        """Take rows out of a workspace, then embed stored files into it; files are left alone.

        Each location in `deletes` takes out one row, the oldest of that file.

        Returns:
            The location of every row that the workspace lists afterwards: the only sign of success.
        """
        path = f"/v1/workspace/{checked_slug(slug)}/update-embeddings"
        body = {"adds": list(adds), "deletes": list(deletes)}
        call = Call("POST", path, body, expect=("workspace",))
        with _missing(slug):
            fields = await self._call(errand, call)
        with _Shape(call):
            rows = need_list(fields["workspace"]["documents"])
            return tuple(Location(need_text(row["docpath"])) for row in rows)

    async def unlist(self, errand: Errand, slug: Slug, locations: Sequence[Location]) -> None:
        """As `relist` with ``deletes``, for workspaces of any size: what is listed is not read.

        Nothing in the answer says which of them were listed, or that one could not be taken out.
        """
        path = f"/v1/workspace/{checked_slug(slug)}/update-embeddings"
        call = self._as_sent(Call("POST", path, {"adds": [], "deletes": list(locations)}))
        with _missing(slug):
            asking = self._transport.stream(errand, call, lambda _: None)
            await self._judging(errand, call, asking)

    async def files(self, errand: Errand, offset: int, limit: int) -> FilePage:
        """A page of the files where every raw text goes; older servers give all at once."""
        path = f"/v1/documents/folder/{FOLDER[:-1]}?offset={offset}&limit={limit}"
        call = Call("GET", path, expect=("documents",))
        try:
            answer = await self._ask(errand, call)
        except AnythingLLMNotFoundError:
            return FilePage((), more=False, date=None)  # nothing was ever uploaded
        with _Shape(call):
            files = tuple(
                StoredFile(
                    Location(FOLDER + name),
                    first_text(each.get("docSource")),
                    each["cached"] is True,
                )
                for each in need_list(answer.fields["documents"])
                if isinstance(name := each["name"], str)
            )
            return FilePage(files, more=answer.fields.get("hasMore") is True, date=answer.date)

    async def row_counts(self, errand: Errand) -> dict[Slug, int]:
        """How many rows each workspace has, counted by the server's database, not from a list."""
        call = Call("GET", "/v1/openai/vector_stores", expect=("data",))
        fields = await self._call(errand, call)
        with _Shape(call):
            counts = {
                Slug(need_text(each["id"])): int(each["file_counts"]["total"])
                for each in need_list(fields["data"])
            }
        self._listed(counts)
        return counts

    def _listed(self, slugs: Iterable[Slug]) -> None:
        for listener in self._on_listed:
            listener(slugs)

    async def reranked(self, errand: Errand) -> frozenset[Slug]:
        """The slugs of workspaces whose searches are reranked: those look at 50 vectors at most."""
        call = Call("GET", "/v1/workspaces", expect=("workspaces",))
        fields = await self._call(errand, call)
        with _Shape(call):
            return frozenset(
                Slug(need_text(each["slug"]))
                for each in need_list(fields["workspaces"])
                if each.get("vectorSearchMode") == "rerank"
            )

    async def search(
        self, errand: Errand, slug: Slug, query: str, top: int
    ) -> tuple[VectorHit, ...]:
        """The nearest vectors of a workspace, whatever their distance, in the server's order.

        That is the nearest first. By scores what has nothing in common would come first. Hits
        without a score come last, and are warned about once a workspace.
        """
        path = f"/v1/workspace/{checked_slug(slug)}/vector-search"
        body = {"query": query, "topN": top, "scoreThreshold": 0}
        call = Call("POST", path, body, expect=("results",), only_asks=True)
        with _missing(slug):
            fields = await self._call(errand, call)
        with _Shape(call):
            read = read_hits(need_list(fields["results"]))
        if read.odd and slug not in self._told_of:
            self._told_of.add(slug)
            _warn(slug, read)
        return read.hits

    async def vector_count(self, errand: Errand) -> int:
        """How many vectors all workspaces have, as far as the vector database tells.

        Some tell 0 whatever they have, and pgvector's server tells 0 while the database is down.
        """
        call = Call("GET", "/v1/system/vector-count", expect=("vectorCount",))
        fields = await self._call(errand, call)
        with _Shape(call):
            return int(fields["vectorCount"])

    async def ping(self, errand: Errand) -> None:
        """Whether the server's process answers; needs no key."""
        await self._call(errand, Call("GET", "/ping", expect=("online",), guarded=False))

    async def version(self, errand: Errand) -> str | None:
        """The server's version where it sends one (the official image does)."""
        call = Call("GET", "/utils/metrics", expect=("online",), guarded=False)
        version = (await self._call(errand, call)).get("appVersion")
        return version if isinstance(version, str) else None

    async def vector_database(self, errand: Errand) -> str | None:
        """The name of the vector database behind the server; needs no key."""
        call = Call("GET", "/utils/metrics", expect=("online",), guarded=False)
        name = (await self._call(errand, call)).get("vectorDB")
        return name if isinstance(name, str) else None

    async def check_key(self, errand: Errand) -> None:
        """Whether the key is accepted."""
        call = Call("GET", "/v1/auth", expect=("authenticated",), guarded=False)
        await self._call(errand, call)

    async def check_collector(self, errand: Errand) -> None:
        """Whether the document collector is up: this answers 404 when it is not."""
        path = "/v1/document/accepted-file-types"
        await self._call(errand, Call("GET", path, expect=("types",), guarded=False))

    async def check_embedder(self, errand: Errand) -> int:
        """Whether the embedder gives vectors that a search can use, and how long; stores nothing.

        Raises:
            NonsenseError: it answers, and gives others.
        """
        vectors = await self._embeddings(errand, PROBE_TEXTS, guarded=False)
        why = nonsense(vectors, of=len(PROBE_TEXTS))
        if why is not None:
            raise NonsenseError(
                f"AnythingLLM's embedder answers with success, and gives {why}: no search finds"
                " what is stored with them"
            )
        return len(need_list(vectors[0]))

    async def embeddings(self, errand: Errand, texts: Sequence[str]) -> None:
        """Have texts embedded and stored nowhere; fails if one of them can't be embedded."""
        vectors = await self._embeddings(errand, texts, guarded=True)
        if len(vectors) != len(texts) or not all(vectors):
            raise AnythingLLMProtocolError(
                "AnythingLLM POST /v1/openai/embeddings: answered without a vector a text",
                http_status=200,
            )

    async def _embeddings(
        self, errand: Errand, texts: Sequence[str], *, guarded: bool
    ) -> list[object]:
        call = Call(
            "POST",
            "/v1/openai/embeddings",
            {"input": list(texts)},
            expect=("data",),
            guarded=guarded,
            only_asks=True,
        )
        fields = await self._call(errand, call)
        with _Shape(call):
            return [each["embedding"] for each in need_list(fields["data"])]

    async def _call(self, errand: Errand, call: Call) -> dict[str, Any]:
        return (await self._ask(errand, call)).fields

    async def _ask(self, errand: Errand, call: Call) -> Answer:
        call = self._as_sent(call)
        return await self._judging(errand, call, self._transport.ask(errand, call))

    def _as_sent(self, call: Call) -> Call:
        return replace(call, guarded=False) if self._is_probe else call

    async def _judging(self, errand: Errand, call: Call, asking: Awaitable[T]) -> T:
        """The answer.

        A 403 is an outage only where the key itself is refused. A refusal (413, 422) of anything
        but a document's upload is not the document's fault: what a proxy answers to a look would
        dead-letter a text that is stored.
        """
        try:
            return await asking
        except AnythingLLMRejectedError as error:
            if call.path == _RAW_TEXT or error.http_status is None:
                raise
            raise _no_document(call, error) from error
        except AnythingLLMAuthenticationError as error:
            if not call.guarded or not await self._accepts_key(errand):
                raise
            forbidden = AnythingLLMForbiddenError(
                f"{call}: answered {error.http_status} although the API key is accepted: "
                "AnythingLLM, or a proxy before it, forbids this",
                http_status=error.http_status,
            )
            forbidden.unproven = error.unproven
            # AnythingLLM itself forbids removals only.
            forbidden.by_intermediary = call.method == "POST"
            raise forbidden from error

    async def _accepts_key(self, errand: Errand) -> bool:
        soon = min(errand.deadline, errand.clock() + _KEY_SECONDS)
        try:
            await self.check_key(replace(errand, deadline=soon))
        except AnythingLLMError:
            return False
        return True


def checked_slug(slug: object) -> Slug:
    """The slug, if it may become part of a path. An event may have anything in its place.

    Raises:
        AnythingLLMRejectedError: it may not; nothing was sent.
    """
    if isinstance(slug, str) and is_slug(slug):
        return Slug(slug)
    raise AnythingLLMRejectedError(
        f"{ascii(slug)[:80]} is no workspace slug (1 to 255 of a-z, 0-9, _ and -): nothing was sent"
    )


def no_workspace(slug: Slug, *, http_status: int | None = None) -> NoWorkspaceError:
    """What is said of a workspace that is not there, whatever was asked of it."""
    return NoWorkspaceError(f"AnythingLLM has no workspace {slug!r}", http_status=http_status)


@contextmanager
def _missing(slug: Slug) -> Iterator[None]:
    """A 400 to a call about a workspace means that there is no such workspace."""
    try:
        yield
    except AnythingLLMError as error:
        if error.http_status != 400:
            raise
        missing = no_workspace(slug, http_status=400)
        missing.unproven = error.unproven
        raise missing from error


def _no_document(call: Call, error: AnythingLLMRejectedError) -> AnythingLLMError:
    refused = AnythingLLMError(
        f"{call}: answered {error.http_status}, which refuses the request and no document",
        http_status=error.http_status,
    )
    refused.unproven, refused.by_intermediary = error.unproven, error.by_intermediary
    return refused


@dataclass(frozen=True, slots=True)
class _Shape:
    """Anything that goes wrong while an answer is taken apart is the answer's fault."""

    call: Call

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, IndexError, TypeError, ValueError)):
            call = self.call
            strange = AnythingLLMProtocolError(
                f"{call}: the answer has another shape than AnythingLLM 1.16 gives it",
                http_status=200,
            )
            raise leave_in_doubt(strange, STRANGE, changes=call.changes) from error


def _warn(slug: Slug, read: ReadHits) -> None:
    markers = (decode_marker(hit.doc_source) for hit in read.odd)
    marker = next((each for each in markers if each is not None), None)
    log.warning(
        "search.odd_hits",
        workspace=slug,
        document_id=marker.document_id if marker is not None else None,
        odd=len(read.odd),
        hits=len(read.hits),
        consequence="they come last, or are left out; the others are not affected",
        what_to_do="the embedder may have given zeros, or the vector database is damaged: publish"
        " a tombstone for the document, then the document again",
    )


def _name_of(location: Location) -> str:
    """The file name of a location; only what looks like one is believed."""
    name = location.removeprefix(FOLDER)
    if not location.startswith(FOLDER) or not name.endswith(".json") or "/" in name:
        raise ValueError("no location of a raw text")
    return name
