"""Letters and results for tests: as the service writes them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.contract.received_letter import Letter, letter_of
from consumer.contract.received_result import ReceivedResult, read_result
from consumer.contract.reference import Reference, reference_to
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Headers, Record

DOCUMENTS, REPLAY, LETTERS, PARKED = "docs", "docs.replay", "docs.dlq", "docs.parked"
START = datetime(2026, 3, 1, tzinfo=UTC)
TRACE = TraceId("4bf92f3577b34da6a3ce929d0e0e4736")


def at(hours: float) -> datetime:
    """An instant of the story that a test tells."""
    return START + timedelta(hours=hours)


def event_id(number: int) -> str:
    """The event id of the document at this offset."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def document_record(
    offset: int = 0,
    *,
    partition: int = 0,
    hours: float = 0.0,
    value: bytes | Mapping[str, Any] | None = b"",
    key: bytes | None = b"doc",
    headers: Headers = (),
) -> Record:
    """A record of the input topic."""
    if isinstance(value, Mapping):
        value = orjson.dumps(value)
    elif value == b"":
        value = orjson.dumps({"id": "doc", "technology": "river", "chunks": []})
    timestamp = int(at(hours).timestamp() * 1000)
    return Record(Coordinates(DOCUMENTS, partition, offset), timestamp, key, value, headers)


def letter_record(
    original: Record | None = None,
    *,
    offset: int = 0,
    failed: float = 1.0,
    replays: int = 0,
    topic: str = LETTERS,
    identity: Identity | None = Identity("doc"),
    workspace: Slug | None = Slug("river"),
    reason: FailureReason = FailureReason.REJECTED,
    message: str = "doc_chunk_3: refused by AnythingLLM (422)",
    failed_chunks: tuple[str, ...] = ("doc_chunk_3",),
    by_reference: bool = False,
    origin: Origin | None = None,
) -> Record:
    """A record of the dead-letter topic, of the event at that place of the input topic."""
    original = original or document_record()
    kept: Record | Reference = reference_to(original) if by_reference else original
    dead = DeadLetter(
        record=kept,
        origin=origin or Origin(original.at, original.timestamp_ms, replays=replays),
        cause=Cause(
            reason, message, "upload", "x.Uploader", attempts=1, failed_chunks=failed_chunks,
            http_status=422,
        ),
        event_id=event_id(original.at.offset),
        trace_id=TRACE,
        group="group",
        task="task",
        failed_at=at(failed),
        identity=identity,
        document_id=identity,
        workspace=workspace,
    )  # fmt: skip
    place = Coordinates(topic, 0, offset)
    timestamp = int(at(failed).timestamp() * 1000)
    return Record(place, timestamp, dead.key, dead.value, dead.headers)


def letter(original: Record | None = None, **options: Any) -> Letter:
    """The same, read back."""
    return letter_of(letter_record(original, **options))


def foreign_record(offset: int = 0, *, topic: str = LETTERS, value: bytes = b"\xff\x00") -> Record:
    """A record on the dead-letter topic that we did not write."""
    headers: Headers = (("error", b"something"),)
    timestamp = int(at(1).timestamp() * 1000)
    return Record(Coordinates(topic, 0, offset), timestamp, b"k", value, headers)


def parked(record: Record, offset: int = 0, *, hours: float = 2.0) -> Record:
    """A record's copy on the parked topic."""
    timestamp = int(at(hours).timestamp() * 1000)
    return replace(record, at=Coordinates(PARKED, 0, offset), timestamp_ms=timestamp)


def result(
    status: str,
    *,
    of: int = 0,
    completed: float = 1.0,
    partition: int = 0,
    replay: int | None = None,
    version: float | None = 0.0,
    identity: str | None = "doc",
    workspace: str | None = "river",
    source_hours: float = 0.0,
    **more: Any,
) -> ReceivedResult:
    """A result of the event at offset ``of``; of its replay, where that's offset is given."""
    source = {
        "topic": DOCUMENTS, "partition": partition, "offset": of,
        "timestamp": at(source_hours).isoformat(),
    }  # fmt: skip
    fields: dict[str, Any] = {
        "event_id": event_id(of),
        "status": status,
        "identity": identity,
        "document_id": identity,
        "workspace_slug": workspace,
        "source": source,
        "replay_of": None,
        "document_version": None if version is None else at(version).isoformat(),
        "completed_at": at(completed).isoformat(),
    }
    if replay is not None:
        fields["event_id"] = event_id(1_000_000 + replay)
        fields["source"] = {
            "topic": REPLAY, "partition": partition, "offset": replay,
            "timestamp": at(completed).isoformat(),
        }  # fmt: skip
        fields["replay_of"] = {
            "event_id": event_id(of), "topic": DOCUMENTS, "partition": partition, "offset": of
        }  # fmt: skip
    return read_result(orjson.dumps(fields | more))
