"""Dead letters for the operators' tests: of a service that fails, and of anybody."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.contract.reference import Reference, reference_to
from consumer.contract.upload_result import event_id_of
from consumer.model.names import Identity, TraceId
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Record
from tests.doubles.stage import MemoryStage
from tests.staging import Json, document, texts
from tests.unit.contract.letters import letter_record

FIELDS = {
    "event", "standing", "at", "foreign", "reason", "message", "stage", "identity", "document_id",
    "workspace", "technology", "attempts", "failed_chunks", "failed_chunk_ids", "http_status",
    "first_failed_at", "failed_at", "original", "replays", "replayed", "last_status", "trace_id",
    "group", "tombstone", "by_reference", "bytes", "other",
}  # fmt: skip
STEERING = b"\x1b[2J\x1b]0;title\x07"  # what takes over a terminal


async def failing(stage: MemoryStage) -> None:
    """A refused chunk of twenty, an invalid event, garbage, an unroutable one."""
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    refused = texts("guide", 20)
    refused[3] += " REFUSED"
    stage.publish(document("guide", refused), partition=0)
    stage.publish(document("sick", ["a text"]) | {"title": 17}, partition=0)
    stage.publish(b"\xff\xfe\x00 no json", key="some key", partition=0)
    stage.publish(document("lost", ["a text"], technology="日本語"), partition=1)
    await stage.worked()
    assert len(stage.dead_letters) == 4


def foreign_letters() -> list[tuple[bytes | None, bytes | None, Any]]:
    """Key, value and headers of what others may write to a dead-letter topic."""
    genuine = letter_record()
    return [
        (b"k", b"v", ()),
        (None, None, ()),
        (None, None, (("a", b"b"),)),
        (b"", b"", (("", b""),)),
        (secrets.token_bytes(300), secrets.token_bytes(3_000), (("x", secrets.token_bytes(50)),)),
        (b"k", b"{}", (("__connect.errors.topic", b"t"), ("__connect.errors.offset", b"5"))),
        (b"k", STEERING, (("dlq.reason", b"\x1b[31mred"), ("dlq.reason", b"x"))),
        (b"k", None, (("null value", None),)),
        (genuine.key, genuine.value, (*genuine.headers, ("dlq.replays", b"0"))),
    ]


def foreign(stage: MemoryStage) -> list[Record]:
    """All of these on the stage's topic."""
    topic = stage.settings.kafka.dead_letters_topic
    for key, value, headers in foreign_letters():
        stage.publish(value, key=key, headers=headers, topic=topic)
    return stage.everything(topic)


def same(record: Record) -> tuple[object, ...]:
    """What has to be the same of a copy."""
    return record.key, record.value, record.headers


def refuse(stage: MemoryStage, word: str = "REFUSED", status: int = 422) -> None:
    """Have AnythingLLM refuse every text with this word."""
    stage.simulator.faults.add("status", status=status, path="*/raw-text", contains=word)


async def refused(stage: MemoryStage, count: int = 1, word: str = "REFUSED") -> list[Json]:
    """So many documents that are refused whole, dead letters of them, and the service running."""
    refuse(stage, word)
    events = [
        document(f"{word.lower()}-{n}", [f"{word} {n}", f"{word} {n} b"]) for n in range(count)
    ]
    letters, results = len(stage.dead_letters), len(stage.results)
    stage.publish_all(events)
    if not stage.running:
        stage.start()
    await stage.wait_dead_letters(letters + count)
    await stage.wait_results(results + count)  # published behind the letters
    return events


def by_reference(stage: MemoryStage, record: Record, **changes: object) -> None:
    """A dead letter that only refers to a record, as the service writes it."""
    reference = reference_to(record)
    if changes:
        fields = {name: getattr(reference, name) for name in Reference.__slots__}
        reference = Reference(**(fields | changes))
    letter = DeadLetter(
        record=reference,
        origin=Origin(record.at, reference.timestamp_ms or 0),
        cause=Cause(FailureReason.OVERSIZED, "too large for its topic", "settle", "x"),
        event_id=event_id_of(record, stage.kafka.cluster_id),
        trace_id=TraceId("0" * 31 + "1"),
        group=stage.settings.kafka.group_id,
        task="test",
        failed_at=datetime(2026, 3, 2, tzinfo=UTC),
        identity=Identity("large"),
        document_id="large",
    )
    topic = stage.settings.kafka.dead_letters_topic
    stage.publish(letter.value, key=letter.key, headers=letter.headers, topic=topic)
