"""What the client's methods give back, and what the endpoints answer, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NotRequired, TypedDict

from consumer.model.fields import aware_instant_in
from consumer.model.names import Location, Slug
from consumer.model.outcome import FailedChunk
from consumer.resilience.breaker import BreakerState

UploadStatus = Literal["succeeded", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace; ``slug`` is its key, ``name`` is for people."""

    id: int
    name: str
    slug: Slug


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A row of a workspace's listing: one AnythingLLM document, embedded there.

    Args:
        location: AnythingLLM's handle (``custom-documents/….json``).
        doc_source: ``docSource`` verbatim; our marker, where the row is ours.
        title: the human title as it was uploaded, else AnythingLLM's own.
        created: when the row was made, ISO 8601 by the server's clock; "" where unknown.
    """

    location: Location
    doc_source: str
    title: str
    created: str

    @property
    def created_at(self) -> datetime | None:
        """`created`, in UTC; None where it is no date with a zone."""
        return aware_instant_in(self.created)


@dataclass(frozen=True, slots=True)
class WorkspaceListing:
    """A workspace with everything in it, at one time.

    Args:
        workspace: the workspace.
        rows: its documents; one location may occur twice (AnythingLLM makes a second row when a
            document is added again).
        date: the server's time of the answer.
    """

    workspace: Workspace
    rows: tuple[DocumentRow, ...]
    date: datetime


@dataclass(frozen=True, slots=True)
class SurveyedWorkspace:
    """A workspace of which only what its readiness needs was kept, however much it holds.

    Args:
        workspace: the workspace.
        rows: how many documents it lists.
        sentinels: those of them that are test documents.
        oldest: when the oldest document that is none was made; None where there is none.
        date: the server's time of the answer.
    """

    workspace: Workspace
    rows: int
    sentinels: tuple[DocumentRow, ...]
    oldest: datetime | None
    date: datetime


@dataclass(frozen=True, slots=True)
class ScannedWorkspace:
    """A workspace whose listing was read to its end, without the rows.

    Args:
        workspace: the workspace; None where there is none of that name.
        rows: how many rows it has.
        date: the server's time of the answer.
        etag: names this state of the listing; None where the server names none.
        size: bytes of the answer.
    """

    workspace: Workspace | None
    rows: int
    date: datetime
    etag: str | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in AnythingLLM's store.

    Args:
        location: its handle.
        doc_source: ``docSource`` verbatim.
        cached: whether it was embedded successfully; None where the answer does not say.
    """

    location: Location
    doc_source: str
    cached: bool | None = None


@dataclass(frozen=True, slots=True)
class FilePage:
    """A part of the list of files.

    Args:
        files: in the order of their names.
        more: whether others follow.
        date: the server's time of the answer; None where there is no folder yet.
    """

    files: tuple[StoredFile, ...]
    more: bool
    date: datetime | None


@dataclass(frozen=True, slots=True)
class VectorHit:
    """One vector that a search found; a chunk of more than 1,000 characters has several.

    Args:
        text: of the piece, with the lines AnythingLLM puts before it.
        distance: cosine distance; None where the server does not tell it.
        doc_source: ``docSource`` verbatim.
        title: the human title where known.
        score: as the server tells it; None where it is no number.
        id: as told; "" where there is none (`consumer.anythingllm.hit_ids`).
    """

    text: str
    distance: float | None
    doc_source: str
    title: str
    score: float | None = None
    id: str = ""

    @property
    def tells_nothing(self) -> bool:
        """Whether its vector, or that of the query, is none: zeros, or what is no number."""
        return self.distance is None and self.score is None


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A chunk that a search found.

    Args:
        text: of the best matching piece of the chunk, without the lines AnythingLLM puts before it.
        distance: cosine distance, smaller is nearer; None where AnythingLLM does not tell it and
            its ``score`` can't, because that is 1 (perfect) for a distance of 1 or more (nothing in
            common) as well. Only LanceDB tells it. Hits are in the right order in any case.
        title: the human title where known.
        document_id: as uploaded; None for documents that others put there, as are the rest.
        chunk_id: as uploaded.
        chunk_index: the chunk's position.
        source_url: of the document.
        technology: of the document.
        content_sha256: of the whole chunk's text.
    """

    text: str
    distance: float | None
    title: str
    document_id: str | None = None
    chunk_id: str | None = None
    chunk_index: int | None = None
    source_url: str | None = None
    technology: str | None = None
    content_sha256: str | None = None

    @property
    def foreign(self) -> bool:
        """Whether others put it there."""
        return self.document_id is None


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as it is stored; chunks stored twice are listed twice."""

    chunk_id: str
    chunk_index: int
    content_sha256: str
    location: Location


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A logical document in a workspace.

    Args:
        document_id: as uploaded; None for a document that others put there.
        title: the human title where known.
        source_url: as uploaded, or None.
        technology: as uploaded, or None.
        version: the newest version among its chunks, or None.
        total_chunks: how many chunks that version has; 0 for foreign ones.
        chunks: what is stored of it; empty for foreign ones.
        locations: the AnythingLLM documents that hold it.
    """

    document_id: str | None
    title: str
    source_url: str | None
    technology: str | None
    version: datetime | None
    total_chunks: int
    chunks: tuple[StoredChunk, ...]
    locations: tuple[Location, ...]

    @property
    def foreign(self) -> bool:
        """Whether others put it there; such documents are never changed or removed."""
        return self.document_id is None


@dataclass(frozen=True, slots=True)
class DocumentUploadResult:
    """How an upload went: the fields of an upload result (schemas/README.md) that a client knows.

    ``status`` is ``succeeded``, ``partial`` or ``failed``. Counters add up:
    ``successful_uploads + failed_uploads == total_chunks``, and uploaded and unchanged chunks
    together are the successful ones.
    """

    document_id: str
    workspace_slug: Slug
    status: UploadStatus
    total_chunks: int
    successful_uploads: int
    failed_uploads: int
    uploaded_chunk_ids: tuple[str, ...]
    unchanged_chunk_ids: tuple[str, ...]
    failed_chunk_ids: tuple[str, ...]
    removed_chunks: int
    errors: tuple[str, ...]
    failed_chunks: tuple[FailedChunk, ...]


class ComponentHealth(TypedDict):
    """How one part of AnythingLLM is; ``error`` says in a line why it is down."""

    status: Literal["up", "down", "unknown"]
    error: NotRequired[str]


class CircuitBreakerHealth(TypedDict):
    """How the circuit breaker stands, as JSON shows it (`BreakerSnapshot`)."""

    state: BreakerState
    failure_count: int
    last_failure: str | None
    last_error: str | None
    retry_after: float


class AnythingLLMHealth(TypedDict):
    """How AnythingLLM is (`AnythingLLMClient.health_check`): a dictionary that JSON can show.

    ``status`` is ``healthy``, ``degraded`` (no embedder, collector or vector database, or the
    breaker is not closed) or ``unhealthy`` (no server, or no access). ``components`` are
    ``server``, ``key``, ``collector``, ``embedder`` and ``vector_database``; none where the client
    is not connected.
    """

    status: Literal["healthy", "degraded", "unhealthy"]
    error: str | None
    endpoint: str
    version: str | None
    components: dict[str, ComponentHealth]
    circuit_breaker: CircuitBreakerHealth
