"""Settle: publish what became of an event, and return when Kafka has acknowledged it.

The dead letter goes first: a reader of a result that says "failed" can be sure that the letter is
there. If the process dies between the two, the event is worked again, and both are repeated under
the same event id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.contract.reference import Reference, reference_to
from consumer.contract.upload_result import About, UploadResult, result_of
from consumer.model.event import Event
from consumer.model.names import Slug
from consumer.model.outcome import (
    Applied,
    Deleted,
    FailedChunk,
    FailureReason,
    Outcome,
    Refused,
    Superseded,
)
from consumer.model.record import Headers, Record
from consumer.pipeline.long_work import beside
from consumer.pipeline.ports import Publish, TooLarge
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.recent import LatestResult, Recent, short
from consumer.telemetry.repeats import RepeatedLine
from consumer.telemetry.tracing import NO_TRACING, Tracing

log = structlog.get_logger(__name__)

_KEY_SHOWN = 200  # bytes


@dataclass(frozen=True, slots=True)
class Address:
    """Where results and dead letters go, and what they name as their origin.

    Args:
        results: topic.
        dead_letters: topic.
        replay: the topic whose records are replays.
        group: consumer group.
        task: this instance.
        cluster_id: part of every event id.
    """

    results: str
    dead_letters: str
    replay: str
    group: str
    task: str
    cluster_id: str


class Settler:
    """See the module's docstring.

    Args:
        now: wall clock, aware.
        refused_pause: seconds until a topic that takes nothing is tried again.
        clock: monotonic seconds.
        recent: remembers the latest results.
        tracing: told how each event ended.
    """

    def __init__(
        self,
        publish: Publish,
        address: Address,
        *,
        metrics: Metrics,
        now: Callable[[], datetime],
        refused_pause: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        recent: Recent | None = None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._recent = Recent() if recent is None else recent
        self._publish = publish
        self._address = address
        self._metrics = metrics
        self._now = now
        self._refused_pause = refused_pause
        self._refusals = RepeatedLine(clock)
        self._tracing = tracing

    async def settle(self, event: Event, outcome: Outcome, *, seconds: float) -> None:
        """Publish the dead letter, where there is one, and the result.

        Args:
            event: what was worked on.
            outcome: what became of it.
            seconds: how long the journey took.
        """
        about = self._about(event, outcome)
        result = await beside(lambda: result_of(outcome, about), _chunks_in(outcome))
        cause = cause_of(outcome)
        if cause is not None:
            await self._publish_letter(event, cause, result)
        if result.document_id is not None or result.identity is not None:
            key = event.record.key if event.identity is None else event.identity.encode()
            await self._publish_result(key, result)
        self._tracing.settled(result.status.value, None if cause is None else cause.reason.value)
        self._count(outcome, result, seconds)
        self._recent.settled(_latest_result(result, cause, seconds))
        self._log_settled(event, result, cause)

    def _about(self, event: Event, outcome: Outcome) -> About:
        document_id = event.document.id if event.document else None
        if isinstance(outcome, Refused):
            document_id = outcome.document_id
        return About(
            record=event.record,
            is_replay=event.record.at.topic == self._address.replay,
            cluster_id=self._address.cluster_id,
            trace_id=event.trace_id,
            identity=event.identity,
            document_id=document_id,
            document=event.document,
            started_at=event.received_at,
            completed_at=self._now(),
        )

    async def _publish_result(self, key: bytes | None, result: UploadResult) -> None:
        headers: Headers = (("trace_id", result.trace_id.encode()),)
        topic = self._address.results
        try:
            value = await beside(result.encode, result.total_chunks)
            await self._publish(topic, key, value, headers)
        except TooLarge as error:
            # Its topic takes less than it should. Without an answer the event would come again
            # and again, and the process would die of it each time.
            log.warning("result.cut", event_id=result.event_id, error=str(error))
            await self._publish_small(topic, key, result.without_lists().encode(), headers)

    async def _publish_letter(self, event: Event, cause: Cause, result: UploadResult) -> None:
        record = event.record if event.record.unreadable is None else reference_to(event.record)
        letter = self._letter(event, record, cause, result)
        topic = self._address.dead_letters
        try:
            await self._publish(topic, letter.key, letter.value, letter.headers)
        except TooLarge as error:
            log.warning("dead_letter.by_reference", at=str(event.record.at), error=str(error))
            letter = self._letter(event, reference_to(event.record), cause, result)
            await self._publish_small(topic, letter.key, letter.value, letter.headers)
        self._metrics.dead_letters.labels(cause.reason.value).inc()

    async def _publish_small(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Publish what every topic should take, and wait for a topic that does not."""
        while True:
            try:
                await self._publish(topic, key, value, headers)
            except TooLarge as error:
                self._log_refused(topic, error)
                await asyncio.sleep(self._refused_pause)
            else:
                return

    def _log_refused(self, topic: str, error: TooLarge) -> None:
        repeats = self._refusals.happened(topic)
        if repeats is None:
            return
        log.error(
            "publish.refused",
            topic=topic,
            error=str(error),
            failures=repeats.count,
            failures_by_topic=repeats.by_subject,
            consequence="nothing is committed until the topic takes it; tried again",
            what_to_do=f"raise max.message.bytes of {topic}; `check` says to what",
        )

    def _letter(
        self, event: Event, record: Record | Reference, cause: Cause, result: UploadResult
    ) -> DeadLetter:
        return DeadLetter(
            record=record,
            origin=event.origin,
            cause=cause,
            event_id=result.event_id,
            trace_id=event.trace_id,
            group=self._address.group,
            task=self._address.task,
            failed_at=result.completed_at,
            identity=event.identity,
            document_id=result.document_id,
            workspace=None if result.workspace_slug is None else Slug(result.workspace_slug),
        )

    def _count(self, outcome: Outcome, result: UploadResult, seconds: float) -> None:
        self._metrics.documents.labels(result.status.value).inc()
        self._metrics.journey_seconds.observe(seconds)
        if isinstance(outcome, Applied):
            chunks = self._metrics.chunks
            chunks.labels("uploaded").inc(len(outcome.uploaded))
            chunks.labels("unchanged").inc(len(outcome.unchanged))
            chunks.labels("failed").inc(len(outcome.failed))
        if isinstance(outcome, Applied | Deleted):
            self._metrics.chunks.labels("failed").inc(len(outcome.kept))
            self._metrics.chunks.labels("removed").inc(outcome.removed_chunks)

    def _log_settled(self, event: Event, result: UploadResult, cause: Cause | None) -> None:
        """Log the one line of a document, with everything that an operator searches for."""
        line = log.info if cause is None else log.warning
        line(
            "document.settled",
            status=result.status.value,
            identity=event.identity,
            **_key_of(event),
            document_id=result.document_id,
            workspace=None if result.workspace_slug is None else Slug(result.workspace_slug),
            event_id=result.event_id,
            total_chunks=result.total_chunks,
            uploaded=len(result.uploaded_chunk_ids),
            unchanged=len(result.unchanged_chunk_ids),
            failed=result.failed_uploads,
            removed=result.removed_chunks,
            dead_letter=None if cause is None else cause.reason.value,
            errors=result.errors[:3],
            duration_ms=result.duration_ms,
        )


def _latest_result(result: UploadResult, cause: Cause | None, seconds: float) -> LatestResult:
    """What is remembered of a result: texts of events are cut, lists are left out."""
    return LatestResult(
        at=result.completed_at,
        status=result.status.value,
        identity=None if result.identity is None else short(result.identity),
        document_id=None if result.document_id is None else short(result.document_id),
        workspace=result.workspace_slug,
        event_id=result.event_id,
        chunks=result.total_chunks,
        failed=result.failed_uploads,
        seconds=seconds,
        dead_letter=None if cause is None else cause.reason,
        http_status=None if cause is None else cause.http_status,
        error=short(result.errors[0]) if result.errors else "",
    )


def _key_of(event: Event) -> dict[str, bytes]:
    """What names an event that says nothing of itself: by convention its key is its identity."""
    if event.identity is not None or event.record.key is None:
        return {}
    return {"key": event.record.key[:_KEY_SHOWN]}


def _chunks_in(outcome: Outcome) -> int:
    match outcome:
        case Applied():
            return len(outcome.uploaded) + len(outcome.unchanged) + len(outcome.failed)
        case Deleted():
            return len(outcome.kept)
        case Superseded() | Refused():
            return 0


def cause_of(outcome: Outcome) -> Cause | None:
    """Why the event becomes a dead letter, or None when it does not. Pure."""
    match outcome:
        case Refused():
            unroutable = outcome.reason is FailureReason.UNROUTABLE
            return Cause(
                reason=outcome.reason,
                message="; ".join(outcome.problems),
                stage="plan" if unroutable else "decode",
                class_name="consumer.pipeline.read.Reader",
            )
        case Applied(failed=(), kept=kept) | Deleted(kept=kept) if kept:
            return _cause(kept, "remove", "consumer.pipeline.erasure.Eraser")
        case Applied(failed=failed) if failed:
            return _cause(failed, "upload", "consumer.pipeline.upload.Uploader")
        case Applied() | Superseded() | Deleted():
            return None


def _cause(chunks: Sequence[FailedChunk], stage: str, class_name: str) -> Cause:
    exhausted = any(chunk.reason is FailureReason.EXHAUSTED for chunk in chunks)
    return Cause(
        reason=FailureReason.EXHAUSTED if exhausted else FailureReason.REJECTED,
        message="; ".join(f"{chunk.chunk_id}: {chunk.message}" for chunk in chunks[:3]),
        stage=stage,
        class_name=class_name,
        attempts=max(chunk.attempts for chunk in chunks),
        failed_chunks=tuple(chunk.chunk_id for chunk in chunks),
        http_status=next((c.http_status for c in chunks if c.http_status), None),
    )
