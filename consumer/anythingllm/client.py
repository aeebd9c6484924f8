"""The AnythingLLM client, usable on its own.

async with AnythingLLMClient(AnythingLLMConfig(endpoint, api_key)) as client:
    hits = await client.search_workspace("docs", "how do I ...")
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from consumer.anythingllm.api import checked_slug, no_workspace
from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.document_upload import DocumentUploads
from consumer.anythingllm.errors import (
    AnythingLLMRejectedError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    is_sick,
)
from consumer.anythingllm.health import PROBE_SECONDS, breaker_status, check_health
from consumer.anythingllm.models import (
    AnythingLLMHealth,
    DocumentUploadResult,
    SearchHit,
    StoredDocument,
    VectorHit,
    Workspace,
)
from consumer.anythingllm.parts import Parts
from consumer.anythingllm.search_hits import search_hits
from consumer.anythingllm.server_register import ServerRegister
from consumer.anythingllm.stored_documents import stored_documents
from consumer.anythingllm.transport import SPARE_CONNECTIONS, Errand, Transport
from consumer.anythingllm.unit_store import REMOVALS_IN_FLIGHT, AnythingLLMStorage
from consumer.anythingllm.vector_databases import UNKNOWN, distances
from consumer.model.blank import is_blank
from consumer.model.document import ProcessedDocument
from consumer.model.fault import Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Marker, StoredUnit
from consumer.model.names import Slug, TraceId
from consumer.model.version import DocumentVersion
from consumer.resilience.breaker import Breaker, BreakerSnapshot, BreakerState
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.tracing import NO_TRACING, Tracing

log = library_logger(__name__)

_OVERFETCH = 3  # vectors asked for per wanted chunk: a chunk of 3,000 characters has about three
_MOST_VECTORS = 20_000  # asked for at most, however many vectors the nearest chunks have


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AnythingLLMClient:
    """Everything this package can do with one AnythingLLM (1.16; older from 2025-04 on).

    Every method takes a `trace_id` (32 hex characters, sent as ``traceparent``), ends in time, and
    passes the circuit breaker, which counts connection errors, timeouts and 5xx; `health_check`
    alone does not pass it. Failures are `AnythingLLMError`; while the breaker is open they are
    `CircuitOpenError` with ``retry_after``. Unconnected, methods raise `RuntimeError`.

    Args:
        config: how to reach it.
        clock: monotonic seconds.
        now: the wall clock, aware.
        rng: spreads waits, makes span ids.
        sleep: waits.
        calls_feed_breaker: False where the caller feeds it (`circuit_breaker`), because it knows
            more than single calls. Calls then only ask whether it is closed.
        tracing: notes every request that has a trace id.
    """

    def __init__(
        self,
        config: AnythingLLMConfig,
        *,
        calls_feed_breaker: bool = True,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._config = config
        self._now = now
        self._identity = IdentityTemplate.parse(config.identity)
        rng = rng or random.Random()
        self._breaker = Breaker(
            failure_threshold=config.circuit_breaker.failure_threshold,
            recovery_timeout=config.circuit_breaker.recovery_timeout,
            is_failure=is_sick,
            clock=clock,
            now=now,
            on_change=_log_change,
        )
        self._transport = Transport(
            config,
            self._breaker,
            calls_feed_breaker=calls_feed_breaker,
            clock=clock,
            now=now,
            rng=rng,
            connections=config.max_chunks_in_flight + REMOVALS_IN_FLIGHT + SPARE_CONNECTIONS,
            tracing=tracing,
        )
        parts = Parts(config, self._transport, clock=clock, sleep=sleep)
        self._errand = parts.errand
        self._api, self._probing = parts.api, parts.probing
        self._database, self._limit = parts.database, parts.limit
        self._embedder, self._workspaces = parts.embedder, parts.workspaces
        self._readiness, self._storage = parts.readiness, parts.storage
        self._creator = parts.creator
        self._uploads = DocumentUploads(
            self._storage,
            identity=self._identity,
            retry=config.retry,
            at_once=config.max_chunks_in_flight,
            rng=rng,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        state = "connected" if self._transport.connected else "unconnected"
        return f"<AnythingLLMClient {self._config.base_url} {state} {self._breaker!r}>"

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Make the connection pool; nothing is sent, so a server that is down is no error here.

        Raises:
            AnythingLLMError: the CA file can't be read.
        """
        await self._transport.open()

    async def disconnect(self) -> None:
        """Close every connection; what is under way fails. May be called twice."""
        await self._readiness.close()
        await self._transport.close()

    @property
    def storage(self) -> AnythingLLMStorage:
        """Units instead of documents, on the same connections and breaker, for the journey."""
        return self._storage

    def register(self, group: str) -> ServerRegister:
        """This AnythingLLM as one of several behind the stream of a consumer group."""
        return ServerRegister(
            self._api,
            self._creator,
            self._storage.listings,
            group=group,
            errand=self._errand,
            timeout=self._config.timeout,
        )

    @property
    def breaker(self) -> BreakerSnapshot:
        """The state of the circuit breaker."""
        return self._breaker.snapshot()

    @property
    def circuit_breaker(self) -> Breaker:
        """The breaker itself, for a caller that feeds it."""
        return self._breaker

    def on_breaker_change(self, listener: Callable[[BreakerState, BreakerState], None]) -> None:
        """Have ``listener(old, new)`` called whenever the breaker changes its state."""
        self._breaker.add_listener(listener)

    async def health_check(self, trace_id: str | None = None) -> AnythingLLMHealth:
        """How AnythingLLM is; never raises.

        Returns:
            What was found, by name.
            ``status`` (``healthy``, ``degraded``: no embedder, collector or vector database, or the
            breaker is not closed, ``unhealthy``: no server or no access), ``error`` (one line when
            not healthy), ``endpoint``, ``version`` where known, ``components`` (``server``,
            ``key``, ``collector``, ``embedder``, ``vector_database``, each with ``status``
            ``up``, ``down`` or ``unknown``, and ``error`` where down), ``circuit_breaker``
            (``state``, ``failure_count``, ``last_failure``, ...). An embedder whose vectors no
            search could use counts as down, and so does a vector database where nothing is found,
            or where every search fails: it is, it has lost all it had, or what is stored has
            another length than what the embedder gives.
        """
        if not self._transport.connected:
            return {
                "status": "unhealthy",
                "error": "the client is not connected",
                "endpoint": self._config.base_url,
                "version": None,
                "components": {},
                "circuit_breaker": breaker_status(self._breaker),
            }
        seconds = min(self._config.timeout, PROBE_SECONDS)
        return await check_health(
            self._probing,
            self._embedder,
            self._database,
            self._breaker,
            lambda: self._errand(seconds, _trace(trace_id)),
            self._config.base_url,
        )

    async def list_workspaces(self, trace_id: str | None = None) -> list[Workspace]:
        """All workspaces, whatever their slugs look like."""
        return list(await self._api.workspaces(self._ordinary(trace_id)))

    async def get_or_create_workspace(
        self, workspace_slug: str, name: str | None = None, trace_id: str | None = None
    ) -> Workspace:
        """The workspace of this slug, created where it is missing.

        Args:
            workspace_slug: 1 to 255 of ``a-z0-9_-``.
            name: the display name of a workspace that is created; the slug where None.
            trace_id: see the class.
        """
        listing, _ = await self._workspaces.ensure(
            self._ordinary(trace_id), Slug(workspace_slug), name
        )
        return listing.workspace

    async def upload_document(
        self, workspace_slug: str, document: ProcessedDocument, trace_id: str | None = None
    ) -> DocumentUploadResult:
        """Store a document's chunks so that they can be searched.

        Only chunks whose text, title or source URL are not stored yet are uploaded; when all are
        stored, chunks of its earlier versions are removed. A chunk that is not stored after its
        attempts (`AnythingLLMConfig.retry`) is in ``failed_chunks``: calling again uploads only
        what is missing.

        Raises:
            AnythingLLMError: nothing could be tried (no listing, no workspace, open breaker).
            AnythingLLMTimeoutError: `AnythingLLMConfig.document_timeout` is over; what is stored
                by then stays, and calling again goes on from there.
        """
        slug = checked_slug(workspace_slug)
        version = DocumentVersion(document.updated_at or document.created_at or self._now())
        async with self._within_document_timeout("upload_document"):
            return await self._uploads.store(slug, document, version, _trace(trace_id))

    async def store_version(
        self,
        workspace_slug: str,
        document: ProcessedDocument,
        version: DocumentVersion,
        trace_id: str | None = None,
        *,
        stored: Sequence[StoredUnit] | None = None,
    ) -> DocumentUploadResult:
        """As `upload_document`, with the version that the document's event has.

        Where it is known what the workspace has of the document (``stored``), it is not listed.

        Raises:
            AnythingLLMError: see `upload_document`.
        """
        slug = checked_slug(workspace_slug)
        async with self._within_document_timeout("store_version"):
            return await self._uploads.store(
                slug, document, version, _trace(trace_id), stored=stored
            )

    async def search_workspace(
        self, workspace_slug: str, query: str, limit: int = 20, trace_id: str | None = None
    ) -> list[SearchHit]:
        """The chunks nearest to the query, the nearest first, at most ``limit``.

        Fewer where the vector database does not give as many vectors. A hit without a score is
        last and has no distance.

        Raises:
            ValueError: a limit below 1.
            AnythingLLMRejectedError: a blank query.
            NoWorkspaceError: there is no such workspace.
            AnythingLLMServerError: AnythingLLM says that nothing is there, and the workspace lists
                documents: on some vector databases that means an outage.
        """
        if limit < 1:
            raise ValueError("limit must be at least 1")
        if is_blank(query):
            raise AnythingLLMRejectedError("a blank query can't be searched for: nothing was sent")
        errand = self._ordinary(trace_id)
        top = limit * _OVERFETCH
        while True:
            found = await self._limit.nearest(self._api, errand, Slug(workspace_slug), query, top)
            if not found.hits:
                await self._refuse_empty(Slug(workspace_slug), errand)
            hits = search_hits(await self._with_distances(found.hits, errand))
            is_last = found.is_all or found.asked < top or top >= _MOST_VECTORS
            if len(hits) >= limit or is_last:
                return hits[:limit]
            top = min(top * 4, _MOST_VECTORS)

    async def _refuse_empty(self, slug: Slug, errand: Errand) -> None:
        """Raise where a search that found nothing is no answer."""
        database = await self._database(errand)
        if not database.is_empty_when_down:
            return
        if rows := (await self._api.row_counts(errand)).get(slug, 0):
            unknown = " Say with ANYTHINGLLM_VECTOR_DB which one it is." * (database is UNKNOWN)
            raise AnythingLLMServerError(
                f"nothing is found in workspace {slug!r} (documents listed: {rows:,}): "
                "AnythingLLM's vector database is down, or has lost their vectors "
                f"(`workspaces verify` tells).{unknown}",
                fault=Fault.THEIRS,
            )

    async def _with_distances(
        self, vectors: Sequence[VectorHit], errand: Errand
    ) -> Sequence[VectorHit]:
        """The same hits; only where the server tells no distance its database is asked for."""
        told = [(each.distance, each.score) for each in vectors]
        if all(distance is not None for distance, _ in told):
            return vectors
        found = distances(told, await self._database(errand))
        return [replace(v, distance=each) for v, each in zip(vectors, found, strict=True)]

    async def list_workspace_documents(
        self, workspace_slug: str, trace_id: str | None = None
    ) -> list[StoredDocument]:
        """The logical documents of a workspace.

        Raises:
            NoWorkspaceError: there is no such workspace.
        """
        slug = Slug(workspace_slug)
        listing = await self._api.workspace(self._ordinary(trace_id), slug)
        if listing is None:
            raise no_workspace(slug)
        return stored_documents(listing.rows)

    async def delete_document(
        self,
        workspace_slug: str,
        document_id: str,
        identity: str | None = None,
        trace_id: str | None = None,
    ) -> bool:
        """Remove a document's chunks from AnythingLLM.

        Args:
            workspace_slug: where it is.
            document_id: as uploaded.
            identity: also whatever has this identity by `AnythingLLMConfig.identity`: a page that
                was re-processed has stored chunks under other document ids.
            trace_id: see the class.

        Returns:
            Whether nothing of it is left, also when there never was anything of it. Where a proxy
            refuses removals its files stay in AnythingLLM's store: no search finds them.

        Raises:
            NoWorkspaceError: there is no such workspace.
            RemovalRefusedError: a proxy refuses both ways to remove it.
            StillFoundError: AnythingLLM says that it is gone, and a search finds it: its vector
                database refused the removal. The message names the cure.
            AnythingLLMError: anything else.
        """

        def is_meant(marker: Marker) -> bool:
            is_same = self._identity.of_marker(marker) == identity
            return is_same or marker.document_id == document_id

        slug, trace = Slug(workspace_slug), _trace(trace_id)
        async with self._within_document_timeout("delete_document"):
            units = await self._units(slug, is_meant, trace)
            texts = (document_id,) if identity is None else (document_id, identity)
            # Also where nothing is listed: a removal that was refused before took only the rows.
            await self._storage.erase(slug, units, is_meant, texts, trace_id=trace)
            return not units or not await self._storage.listing(slug, is_meant, trace_id=trace)

    async def _units(
        self, slug: Slug, is_meant: Callable[[Marker], bool], trace_id: TraceId | None
    ) -> list[StoredUnit]:
        """What a workspace, which has to be there, has of a document."""
        units: list[StoredUnit] = []

        def take(unit: StoredUnit) -> None:
            if is_meant(unit.marker):
                units.append(unit)

        listed = await self._storage.scan(slug, take, trace_id=trace_id)
        if listed is not None and listed.workspace_id is None:
            raise no_workspace(slug)
        return units

    @asynccontextmanager
    async def _within_document_timeout(self, what: str) -> AsyncIterator[None]:
        seconds = self._config.document_timeout
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise AnythingLLMTimeoutError(
                f"{what}: not done within {seconds:g} s; call it again, it goes on from there",
                ambiguous=True,
            ) from error

    async def delete_workspace(self, workspace_slug: str, trace_id: str | None = None) -> None:
        """Delete a workspace with its vectors, as tests and demos do with their own.

        The documents' files stay in AnythingLLM's store: delete the documents first.

        Raises:
            AnythingLLMRejectedError: another workspace has the same collection in the vector
                database, and would be emptied.
            NoWorkspaceError: there is no such workspace.
            AnythingLLMError: AnythingLLM's deletion protection is on, or anything else.
        """
        slug = Slug(workspace_slug)
        if others := await self._workspaces.others_sharing(self._ordinary(trace_id), slug):
            raise AnythingLLMRejectedError(
                f"workspace {slug!r} is not deleted: workspace {others[0].slug!r} has the same "
                "collection in AnythingLLM's vector database, and would be empty afterwards"
            )
        self._readiness.forget(slug)
        await self._api.delete_workspace(self._ordinary(trace_id), slug)

    def _ordinary(self, trace_id: str | None) -> Errand:
        return self._errand(self._config.timeout, _trace(trace_id))


def _trace(trace_id: str | None) -> TraceId | None:
    return None if trace_id is None else TraceId(trace_id)


def _log_change(old: str, new: str) -> None:
    log.warning("breaker.changed", old=old, new=new)
