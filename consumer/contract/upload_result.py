"""UploadResult: what became of one event, for everybody (schemas/README.md, "Results").

An event has one result. Its ``event_id`` depends only on the record's place, so a result that has
to be published again after a crash is recognised as the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from consumer.model.document import ProcessedDocument
from consumer.model.names import Identity, TraceId
from consumer.model.origin import instant_of, origin_of
from consumer.model.outcome import (
    Applied,
    Deleted,
    FailedChunk,
    FailureReason,
    Outcome,
    Refused,
    Superseded,
)
from consumer.model.record import Record

SCHEMA_VERSION = "1.0"
MAX_BYTES = 512 * 1024
MAX_ERRORS = 100
MAX_ERROR_CHARACTERS = 500

# This never changes: every event id that was ever published depends on it.
_NAMESPACE = UUID("6f1d3c52-9f0e-5b51-9a57-2f8b1f3f7c11")
# The lists that may be cut from a result that is too large; each has an entry per chunk.
_CUT = ("uploaded_chunk_ids", "unchanged_chunk_ids", "failed_chunk_ids", "failed_chunks", "errors")

Count = Annotated[int, Field(ge=0)]
# Told to who makes models of the schema: else an integer of theirs has 32 bits in Java.
Long = Annotated[int, Field(json_schema_extra={"format": "int64"})]


class ResultStatus(StrEnum):
    """How an event ended.

    SUCCEEDED   the event's state is stored; nothing need have been uploaded.
    PARTIAL     some chunks are stored, the event is on the dead-letter topic.
    FAILED      no chunk is as it should be, the event is on the dead-letter topic.
    SUPERSEDED  something newer about the same identity is known; nothing was done.
    DELETED     a tombstone was carried out.
    INVALID     the event can't be carried out; it is on the dead-letter topic.
    """

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    DELETED = "deleted"
    INVALID = "invalid"


_COUNTING = (ResultStatus.SUCCEEDED, ResultStatus.PARTIAL, ResultStatus.FAILED)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Out):
    """The record that the result answers."""

    topic: str
    partition: int
    offset: Long
    timestamp: datetime = Field(description="The record's timestamp, UTC.")


class ReplayOf(_Out):
    """The original record of a replayed one."""

    event_id: str | None = Field(description="Event id of the original's result, where known.")
    topic: str
    partition: int
    offset: Long


class FailedChunkEntry(_Out):
    """A chunk that is not stored."""

    chunk_id: str
    reason: FailureReason = Field(
        description="`rejected` (refused) or `exhausted` (attempts). Later 1.x may have others."
    )
    message: str
    http_status: int | None
    attempts: Count


class UploadResult(_Out):
    """What became of one ProcessedDocument event. Readers ignore unknown fields and statuses."""

    schema_version: Literal["1.0"] = Field(
        description="1.x only adds: leave alone the fields, statuses and reasons you do not know."
    )
    event_id: str = Field(description="The same if the result is repeated: keep the first.")
    trace_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    identity: str | None = Field(description="Null where an invalid event does not show it.")
    document_id: str | None = Field(description="Null only for deletions that name no document id.")
    workspace_slug: str | None = Field(description="Null where unknown.")
    status: ResultStatus = Field(
        description="`succeeded`: stored, or nothing to do. `partial`: some chunks are stored."
        " `failed`: none is as it should be. `superseded`: something newer is known. `deleted`:"
        " a tombstone was carried out. `invalid`: can't be carried out. Later 1.x may have others."
    )
    total_chunks: Count = Field(description="0 unless succeeded, partial or failed.")
    successful_uploads: Count = Field(description="Chunks that are stored now: new or unchanged.")
    failed_uploads: Count
    uploaded_chunk_ids: list[str]
    unchanged_chunk_ids: list[str] = Field(description="Were stored already.")
    failed_chunk_ids: list[str]
    removed_chunks: Count = Field(description="Stale or double chunks that were removed.")
    errors: list[str] = Field(description="One line each, for people.")
    failed_chunks: list[FailedChunkEntry]
    content_hash: str | None = Field(description="As the event gave it.")
    document_version: datetime | None = Field(description="UTC. Null where unknown.")
    truncated: bool = Field(description="True when lists were cut to keep within 512 KiB.")
    source: Source
    replay_of: ReplayOf | None
    started_at: datetime
    completed_at: datetime
    duration_ms: Annotated[Long, Field(ge=0)]
    reason: FailureReason | None = Field(
        default=None,
        description="Why it is `invalid`: `undecodable`, `invalid`, `oversized` or `unroutable`, as"
        " `dlq.reason`. Only there, and not in results of versions that had no such field.",
    )

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        counts = (self.total_chunks, self.successful_uploads, self.failed_uploads)
        if self.status not in _COUNTING:
            _demand(counts == (0, 0, 0), f"{self.status} counts no chunks")
            return self
        _demand(counts[1] + counts[2] == counts[0], "successful + failed is not the total")
        _demand(self.status is _status_of(counts[1], counts[2]), "the status contradicts counts")
        if not self.truncated:
            stored = len(self.uploaded_chunk_ids) + len(self.unchanged_chunk_ids)
            _demand(stored == counts[1], "uploaded + unchanged is not successful_uploads")
            _demand(len(self.failed_chunk_ids) == counts[2], "failed ids are not failed_uploads")
            _demand(len(self.failed_chunks) == counts[2], "failed_chunks is not failed_uploads")
        return self

    def encode(self) -> bytes:
        """The result as it is published: UTF-8 JSON of at most `MAX_BYTES`.

        Over that, the largest of the per-chunk lists is halved until it fits and ``truncated`` is
        set; counters stay exact.
        """
        # Without what is not said: results of other statuses stay byte for byte what they were.
        fields = self.model_dump(exclude={"reason"} if self.reason is None else None)
        encoded = _json(fields)
        while len(encoded) > MAX_BYTES:
            sizes = {name: len(_json(fields[name])) for name in _CUT if fields[name]}
            if not sizes:
                break
            longest = max(sizes, key=lambda name: sizes[name])
            fields[longest] = fields[longest][: len(fields[longest]) // 2]
            fields["truncated"] = True
            encoded = _json(fields)
        return encoded

    def without_lists(self) -> UploadResult:
        """The result without its lists, for a topic that takes less than it should."""
        return self.model_copy(update={"truncated": True} | {name: [] for name in _CUT})


@dataclass(frozen=True, slots=True)
class About:
    """What a result says besides the outcome.

    Args:
        record: the record that is answered.
        is_replay: whether it came from the replay topic.
        cluster_id: Kafka's cluster id.
        trace_id: 32 lower-case hex characters.
        identity: where known.
        document_id: where readable.
        document: where it could be decoded.
        started_at: aware; when work on the event began.
        completed_at: aware; when it was done.
    """

    record: Record
    is_replay: bool
    cluster_id: str
    trace_id: TraceId
    identity: Identity | None
    document_id: str | None
    document: ProcessedDocument | None
    started_at: datetime
    completed_at: datetime


def event_id_of(record: Record, cluster_id: str) -> str:
    """The event's id: a UUID 5 over cluster id, topic, partition, offset and record timestamp."""
    at = record.at
    name = [cluster_id, at.topic, at.partition, at.offset, str(record.timestamp_ms)]
    return str(uuid5(_NAMESPACE, _json(name).decode()))


def result_of(outcome: Outcome, about: About) -> UploadResult:
    """The result of this outcome."""
    match outcome:
        case Applied():
            return _applied(outcome, about)
        case Superseded():
            said: dict[str, Any] = {"document_version": outcome.version.instant}
            return _result(about, ResultStatus.SUPERSEDED, workspace_slug=outcome.slug, **said)
        case Deleted(kept=()):
            removed = outcome.removed_chunks
            return _result(
                about, ResultStatus.DELETED, workspace_slug=outcome.slug, removed_chunks=removed
            )
        case Deleted():
            return _not_deleted(outcome, about)
        case Refused():
            problems = _lines(outcome.problems)
            return _result(about, ResultStatus.INVALID, errors=problems, reason=outcome.reason)


def _applied(outcome: Applied, about: About) -> UploadResult:
    failed = (*outcome.failed, *outcome.kept)
    # A chunk is as it should be only when its former text is gone as well.
    ids = {chunk.chunk_id for chunk in failed}
    uploaded = [each for each in outcome.uploaded if each not in ids]
    unchanged = [each for each in outcome.unchanged if each not in ids]
    stored = len(uploaded) + len(unchanged)
    return _result(
        about,
        _status_of(stored, len(failed)),
        workspace_slug=outcome.slug,
        total_chunks=stored + len(failed),
        successful_uploads=stored,
        uploaded_chunk_ids=uploaded,
        unchanged_chunk_ids=unchanged,
        removed_chunks=outcome.removed_chunks,
        document_version=outcome.version.instant,
        **_failures(failed),
    )


def _not_deleted(outcome: Deleted, about: About) -> UploadResult:
    return _result(
        about,
        ResultStatus.FAILED,
        workspace_slug=outcome.slug,
        total_chunks=len(outcome.kept),
        removed_chunks=outcome.removed_chunks,
        **_failures(outcome.kept),
    )


def _failures(failed: Sequence[FailedChunk]) -> dict[str, Any]:
    return {
        "failed_uploads": len(failed),
        "failed_chunk_ids": [chunk.chunk_id for chunk in failed],
        "errors": _lines([f"{chunk.chunk_id}: {chunk.message}" for chunk in failed]),
        "failed_chunks": [_entry(chunk) for chunk in failed],
    }


def _result(about: About, status: ResultStatus, **said: Any) -> UploadResult:
    record = about.record
    duration = about.completed_at - about.started_at
    silent: dict[str, Any] = {
        "workspace_slug": None, "total_chunks": 0, "successful_uploads": 0, "failed_uploads": 0,
        "uploaded_chunk_ids": [], "unchanged_chunk_ids": [], "failed_chunk_ids": [],
        "removed_chunks": 0, "errors": [], "failed_chunks": [], "document_version": None,
        "reason": None,
    }  # fmt: skip
    return UploadResult(
        schema_version=SCHEMA_VERSION,
        event_id=event_id_of(record, about.cluster_id),
        trace_id=about.trace_id,
        identity=about.identity,
        document_id=about.document_id,
        status=status,
        content_hash=about.document.content_hash if about.document is not None else None,
        truncated=False,
        source=Source(
            topic=record.at.topic,
            partition=record.at.partition,
            offset=record.at.offset,
            timestamp=instant_of(record.timestamp_ms),
        ),
        replay_of=_replay_of(about),
        started_at=about.started_at,
        completed_at=about.completed_at,
        # Not below zero, because the wall clock may have been set back in between.
        duration_ms=max(0, round(duration.total_seconds() * 1000)),
        **(silent | said),
    )


def _replay_of(about: About) -> ReplayOf | None:
    origin = origin_of(about.record, is_replay=about.is_replay)
    if origin.at == about.record.at:
        return None
    at = origin.at
    return ReplayOf(
        event_id=origin.event_id, topic=at.topic, partition=at.partition, offset=at.offset
    )


def _entry(chunk: FailedChunk) -> FailedChunkEntry:
    return FailedChunkEntry(
        chunk_id=chunk.chunk_id,
        reason=chunk.reason,
        message=one_line(chunk.message, MAX_ERROR_CHARACTERS),
        http_status=chunk.http_status,
        attempts=chunk.attempts,
    )


def _status_of(stored: int, failed: int) -> ResultStatus:
    if failed == 0:
        return ResultStatus.SUCCEEDED
    return ResultStatus.PARTIAL if stored else ResultStatus.FAILED


def _lines(problems: Sequence[str]) -> list[str]:
    lines = [one_line(problem, MAX_ERROR_CHARACTERS) for problem in problems[:MAX_ERRORS]]
    more = len(problems) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def one_line(text: str, max_characters: int) -> str:
    """The text on one line without control characters, cut where it is longer."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    line = " ".join(text.split())
    return line if len(line) <= max_characters else line[: max_characters - 3] + "..."


def _demand(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
