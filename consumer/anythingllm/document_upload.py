"""Storing a whole document without a journey: a bounded number of attempts.

The steps are those of the journey: see what is stored, upload what is missing, and remove what is
stale only when all of it is stored. The difference: this gives up and says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMPendingError,
    AnythingLLMRejectedError,
    CircuitOpenError,
)
from consumer.anythingllm.models import DocumentUploadResult, UploadStatus
from consumer.anythingllm.unit_store import AnythingLLMStorage
from consumer.anythingllm.unit_upload import RawTextUpload
from consumer.model.difference import Difference, difference
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.fault import Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import StoredUnit, hash_of_ids, mark, unit_of
from consumer.model.names import Location, Slug, TraceId
from consumer.model.outcome import FailedChunk, FailureReason
from consumer.model.version import DocumentVersion
from consumer.resilience.retry import RetryPolicy

_NO_UNICODE = "not sent, the chunk or its document holds text that is no valid Unicode"


class DocumentUploads:
    """Uploads documents, each with a bounded number of attempts a chunk.

    Args:
        identity: which markers speak of the same document.
        at_once: chunks of one document at a time.
        rng: spreads the waits.
    """

    def __init__(
        self,
        storage: AnythingLLMStorage,
        *,
        identity: IdentityTemplate,
        retry: RetryPolicy,
        at_once: int,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._storage = storage
        self._identity = identity
        self._retry = retry
        self._at_once = at_once
        self._rng = rng
        self._sleep = sleep

    async def store(
        self,
        slug: Slug,
        document: ProcessedDocument,
        version: DocumentVersion,
        trace_id: TraceId | None,
        *,
        stored: Sequence[StoredUnit] | None = None,
    ) -> DocumentUploadResult:
        """Store it as far as the attempts go (`AnythingLLMClient.upload_document`).

        What the workspace has of the document is listed, where ``stored`` does not say it.
        """
        document = completed(document)
        if stored is None:
            identity = self._identity.of(document)
            stored = await self._storage.listing(
                slug, lambda marker: self._identity.of_marker(marker) == identity, trace_id=trace_id
            )
        found = await self._found(slug, document, stored, trace_id)
        changes = compare(document, [u for u in stored if u.location in found], version)
        failed: dict[str, FailedChunk] = {}
        if changes.missing:
            await self._prepare(slug, trace_id)
            missing = [document.chunks[position] for position in changes.missing]
            failed = await self._upload(slug, document, missing, version, trace_id)
        errors = [f"chunk {chunk_id}: {each.message}" for chunk_id, each in failed.items()]
        removed = 0
        stale = (*changes.stale, *(unit for unit in stored if unit.location not in found))
        if stale and not failed:
            removed = await self._remove(slug, stale, errors, trace_id)
        return _result(slug, document, changes, failed, removed, errors)

    async def _prepare(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Return when the workspace is ready, however late the vector database shows that."""
        while True:
            try:
                return await self._storage.prepare(slug, trace_id=trace_id)
            except AnythingLLMPendingError as error:
                await self._sleep(error.retry_after or 0.0)

    async def _found(
        self,
        slug: Slug,
        document: ProcessedDocument,
        stored: Sequence[StoredUnit],
        trace_id: TraceId | None,
    ) -> frozenset[Location]:
        """All units but those with wanted texts that are listed and not stored."""

        def texts() -> Mapping[str, str]:
            return {_digest(chunk, document): chunk.content for chunk in document.chunks}

        return await self._storage.found(slug, stored, texts, trace_id=trace_id)

    async def _upload(
        self,
        slug: Slug,
        document: ProcessedDocument,
        chunks: Sequence[Chunk],
        version: DocumentVersion,
        trace_id: TraceId | None,
    ) -> dict[str, FailedChunk]:
        """Upload chunks side by side; those that failed, by id, in the document's order."""
        fates: dict[str, FailedChunk | None] = {}
        sent: list[tuple[Chunk, RawTextUpload]] = []
        todo = iter(chunks)

        async def work(todo: Iterator[Chunk]) -> None:
            for chunk in todo:
                try:
                    unit = unit_of((chunk,), document, version)
                    upload = self._storage.upload(slug, unit, trace_id=trace_id)
                except (UnicodeEncodeError, TypeError):
                    fates[chunk.id] = _failed(chunk, AnythingLLMRejectedError(_NO_UNICODE), 0)
                else:
                    fates[chunk.id] = await self._attempts(upload, chunk, sent)

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._at_once, len(chunks))):
                workers.create_task(work(todo))
        # One after the other: what one search shows, the next ones need not look for.
        for chunk, upload in sent:
            fates[chunk.id] = await self._attempts(upload, chunk)
        by_id = ((chunk.id, fates[chunk.id]) for chunk in chunks)
        return {chunk_id: fate for chunk_id, fate in by_id if fate is not None}

    async def _attempts(
        self,
        upload: RawTextUpload,
        chunk: Chunk,
        sent: list[tuple[Chunk, RawTextUpload]] | None = None,
    ) -> FailedChunk | None:
        """Attempt it until its fate is known; or until it is sent, where `sent` takes it."""
        attempt = 0
        while True:
            try:
                if await upload.attempt() is not None:
                    return None
                if sent is not None:
                    sent.append((chunk, upload))
                    return None
            except AnythingLLMPendingError as error:
                # A look is no attempt; looks end with the time of ambiguity.
                await self._sleep(error.retry_after or 0.0)
            except AnythingLLMError as error:
                attempt += 1
                if _is_final(error) or attempt >= self._retry.attempts:
                    is_stored = await upload.abandon() is not None
                    return None if is_stored else _failed(chunk, error, attempt)
                await self._sleep(self._wait(error, attempt))

    def _wait(self, error: AnythingLLMError, attempt: int) -> float:
        if error.retry_after is not None:
            return min(error.retry_after, self._retry.cap)
        return self._retry.delay(attempt, self._rng)

    async def _remove(
        self, slug: Slug, stale: Sequence[StoredUnit], errors: list[str], trace_id: TraceId | None
    ) -> int:
        locations = [unit.location for unit in stale]
        left: Collection[str] = ()
        try:
            await self._storage.erase(slug, stale, trace_id=trace_id)
        except AnythingLLMError as error:
            errors.append(f"stale chunks were not removed: {error.message}")
            left = error.left or locations
        return sum(len(unit.digests) for unit in stale if unit.location not in left)


def completed(document: ProcessedDocument) -> ProcessedDocument:
    """The document with what its maker left out: a title, and where its chunks stand."""
    chunks = tuple(
        chunk if chunk.index >= 0 else replace(chunk, index=position)
        for position, chunk in enumerate(document.chunks)
    )
    title = document.title or document.id
    if title == document.title and chunks == document.chunks:
        return document
    return replace(document, title=title, chunks=chunks)


def compare(
    document: ProcessedDocument, stored: Sequence[StoredUnit], version: DocumentVersion
) -> Difference[StoredUnit]:
    """Which chunks of a document are stored, as positions, given the units of its identity."""
    digests = [_digest(chunk, document) for chunk in document.chunks]
    ids = [hash_of_ids((chunk.id,)) for chunk in document.chunks]
    return difference(digests, stored, version, ids=ids)


def _digest(chunk: Chunk, document: ProcessedDocument) -> str:
    try:
        return mark(chunk, document).digest
    except UnicodeEncodeError:
        return ""  # nothing stored has it; uploading it is refused with a message


def _is_final(error: AnythingLLMError) -> bool:
    """Whether another attempt within seconds can't help."""
    return error.fault is Fault.DOCUMENT or isinstance(error, CircuitOpenError)


def _failed(chunk: Chunk, error: AnythingLLMError, attempts: int) -> FailedChunk:
    rejected = error.fault is Fault.DOCUMENT
    return FailedChunk(
        chunk_id=chunk.id,
        reason=FailureReason.REJECTED if rejected else FailureReason.EXHAUSTED,
        message=error.message,
        http_status=error.http_status,
        attempts=attempts,
        fault=error.fault,
    )


def _result(
    slug: Slug,
    document: ProcessedDocument,
    changes: Difference[StoredUnit],
    failed: dict[str, FailedChunk],
    removed: int,
    errors: Sequence[str],
) -> DocumentUploadResult:
    total = len(document.chunks)
    ids = [chunk.id for chunk in document.chunks]
    uploaded = tuple(ids[n] for n in changes.missing if ids[n] not in failed)
    successful = total - len(failed)
    status: UploadStatus = "succeeded" if not failed else "partial" if successful else "failed"
    return DocumentUploadResult(
        document_id=document.id,
        workspace_slug=slug,
        status=status,
        total_chunks=total,
        successful_uploads=successful,
        failed_uploads=len(failed),
        uploaded_chunk_ids=uploaded,
        unchanged_chunk_ids=tuple(ids[n] for n in changes.unchanged),
        failed_chunk_ids=tuple(failed),
        removed_chunks=removed,
        errors=tuple(errors),
        failed_chunks=tuple(failed.values()),
    )
