from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consumer.contract.received_result import read_result
from consumer.contract.upload_result import (
    MAX_BYTES,
    About,
    UploadResult,
    event_id_of,
    one_line,
    result_of,
)
from consumer.model.document import ProcessedDocument
from consumer.model.fault import Fault
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.outcome import (
    Applied,
    Deleted,
    FailedChunk,
    FailureReason,
    Outcome,
    Refused,
    Superseded,
)
from consumer.model.record import Coordinates, Headers, Record
from consumer.model.version import DocumentVersion

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
VERSION = DocumentVersion(START, 0, 41)
RECORD = Record(Coordinates("documents.processed", 0, 41), 1_795_000_000_000, b"d", b"{}")
ABOUT = About(
    record=RECORD,
    is_replay=False,
    cluster_id="cluster",
    trace_id=TraceId("a" * 32),
    identity=Identity("d"),
    document_id="d",
    document=ProcessedDocument("d", "T", "t", "u", (), content_hash="hash"),
    started_at=START,
    completed_at=START + timedelta(milliseconds=812),
)


def failed(chunk_id: str, message: str = "refused") -> FailedChunk:
    return FailedChunk(chunk_id, FailureReason.REJECTED, message, 422, 1, Fault.DOCUMENT)


def applied(
    uploaded: tuple[str, ...] = (),
    unchanged: tuple[str, ...] = (),
    failures: tuple[FailedChunk, ...] = (),
) -> Applied:
    return Applied(Slug("docs"), VERSION, uploaded, unchanged, failures, 2)


def fields(outcome: Outcome, about: About = ABOUT) -> dict[str, Any]:
    encoded: dict[str, Any] = orjson.loads(result_of(outcome, about).encode())
    return encoded


def test_a_result_reads_as_the_contract_says() -> None:
    """Field names and formats are fixed: others build on them."""
    assert fields(applied(("c1",), ("c2",), (failed("c3"),))) == {
        "schema_version": "1.0",
        "event_id": "90e54ce4-6a57-5116-a27b-e2d683b0241c",
        "trace_id": "a" * 32,
        "identity": "d",
        "document_id": "d",
        "workspace_slug": "docs",
        "status": "partial",
        "total_chunks": 3,
        "successful_uploads": 2,
        "failed_uploads": 1,
        "uploaded_chunk_ids": ["c1"],
        "unchanged_chunk_ids": ["c2"],
        "failed_chunk_ids": ["c3"],
        "removed_chunks": 2,
        "errors": ["c3: refused"],
        "failed_chunks": [
            {"chunk_id": "c3", "reason": "rejected", "message": "refused", "http_status": 422,
             "attempts": 1},
        ],
        "content_hash": "hash",
        "document_version": "2026-11-22T10:00:00Z",
        "truncated": False,
        "source": {"topic": "documents.processed", "partition": 0, "offset": 41,
                   "timestamp": "2026-11-18T11:06:40Z"},
        "replay_of": None,
        "started_at": "2026-11-22T10:00:00Z",
        "completed_at": "2026-11-22T10:00:00.812000Z",
        "duration_ms": 812,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "status", "counters"),
    [
        (applied(("a",), ("b",)), "succeeded", (2, 2, 0)),
        (applied(), "succeeded", (0, 0, 0)),
        (applied(("a",), (), (failed("b"),)), "partial", (2, 1, 1)),
        (applied((), (), (failed("b"),)), "failed", (1, 0, 1)),
        (Superseded(Slug("docs"), VERSION), "superseded", (0, 0, 0)),
        (Deleted(None, 3), "deleted", (0, 0, 0)),
        (Deleted(None, 3, (failed("a"),)), "failed", (1, 0, 1)),
        (replace(applied(("a", "b")), kept=(failed("b"), failed("c"))), "partial", (3, 1, 2)),
        (replace(applied(), kept=(failed("b"),)), "failed", (1, 0, 1)),
        (Refused(FailureReason.INVALID, ("/id: is required",), "d"), "invalid", (0, 0, 0)),
    ],
)
def test_every_outcome_has_its_status(
    outcome: Outcome, status: str, counters: tuple[int, int, int]
) -> None:
    """The three counters count chunks only where chunks were at stake; zero divides nothing."""
    told = fields(outcome)
    assert told["status"] == status
    names = ("total_chunks", "successful_uploads", "failed_uploads")
    assert tuple(told[name] for name in names) == counters


@pytest.mark.parametrize("reason", ["undecodable", "invalid", "oversized", "unroutable"])
def test_an_invalid_result_says_why_to_programs(reason: str) -> None:
    """In a word of the contract; other results have no such field, as ever."""
    encoded = result_of(Refused(FailureReason(reason), ("why",), "d"), ABOUT).encode()
    assert orjson.loads(encoded)["reason"] == read_result(encoded).reason == reason
    assert "reason" not in fields(applied(("a",)))
    assert read_result(result_of(applied(("a",)), ABOUT).encode()).reason is None


def test_what_a_deletion_removed_is_told() -> None:
    """`removed_chunks` counts for every status; the workspace is null when it was all of them."""
    told = fields(Deleted(None, 3))
    assert (told["removed_chunks"], told["workspace_slug"]) == (3, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"total_chunks": 3},
        {"status": "failed"},
        {"status": "succeeded"},
        {"status": "invalid"},
        {"uploaded_chunk_ids": []},
        {"failed_chunk_ids": []},
        {"failed_chunks": []},
        {"successful_uploads": -1},
        {"trace_id": "x"},
        {"surprise": 1},
    ],
)
def test_a_result_that_contradicts_itself_is_never_made(wrong: dict[str, Any]) -> None:
    """The invariants are checked when a result is built, not trusted."""
    right = result_of(applied(("c1",), (), (failed("c3"),)), ABOUT).model_dump()
    UploadResult(**right)
    with pytest.raises(ValidationError):
        UploadResult(**(right | wrong))


def test_an_event_id_depends_on_the_records_place_alone() -> None:
    """A repeat after a crash is recognised; two records never share an id."""
    same = Record(RECORD.at, RECORD.timestamp_ms, None, b"other bytes")
    assert event_id_of(same, "cluster") == event_id_of(RECORD, "cluster")
    others = [
        (RECORD, "cluster-2"),
        (replace(RECORD, timestamp_ms=RECORD.timestamp_ms + 1), "cluster"),
        (replace(RECORD, at=Coordinates("documents.processed", 0, 42)), "cluster"),
        (replace(RECORD, at=Coordinates("documents.processed", 4, 1)), "cluster"),
        (replace(RECORD, at=Coordinates("documents.processed", 41, 0)), "cluster"),
        (replace(RECORD, at=Coordinates("documents", 0, 41)), "cluster"),
    ]
    assert len({event_id_of(*other) for other in [*others, (RECORD, "cluster")]}) == 7


def test_a_replay_names_its_original() -> None:
    """The replay has an event id of its own and tells whose replay it is."""
    original = "0b2f52ba-6f43-5c0d-8f0d-6f4f2c6a9f57"
    headers: Headers = (
        ("__connect.errors.topic", b"documents.processed"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.offset", b"41"),
        ("dlq.original-timestamp", b"1795000000000"),
        ("dlq.event-id", original.encode()),
    )
    record = Record(Coordinates("documents.processed.replay", 3, 0), 5, b"d", b"{}", headers)
    about = replace(ABOUT, record=record, is_replay=True)
    told = fields(applied(("a",)), about)
    named = {"topic": "documents.processed", "partition": 3, "offset": 41, "event_id": original}
    assert told["replay_of"] == named
    assert told["event_id"] == event_id_of(record, "cluster")
    assert fields(applied(("a",)), replace(about, is_replay=False))["replay_of"] is None


def test_errors_are_single_lines_and_bounded() -> None:
    """One line each, cut, and not more than a screenful: nothing of an event may flood a result."""
    told = fields(Refused(FailureReason.INVALID, ("a\nb\x1b[31m\u2028c" + "x" * 900,) * 150, "d"))
    assert len(told["errors"]) == 101
    assert told["errors"][-1] == "and 50 more"
    assert all(error.isprintable() and len(error) <= 500 for error in told["errors"])
    assert told["errors"][0].startswith("a b [31m c")


def test_a_clock_set_back_gives_no_negative_duration() -> None:
    """Wall clocks may jump."""
    about = replace(ABOUT, completed_at=START - timedelta(seconds=1))
    assert fields(applied(), about)["duration_ms"] == 0


def test_a_large_result_is_cut_but_counts_exactly() -> None:
    """Over 512 KiB the longest per-chunk lists are cut first; short lists and counters stay."""
    many = tuple(f"some_rather_long_document_id_chunk_{number}" for number in range(20_000))
    told = fields(applied(many, ("u1", "u2"), (failed("f1"),)))
    assert told["truncated"] is True
    assert len(orjson.dumps(told)) <= MAX_BYTES
    assert (told["total_chunks"], told["successful_uploads"]) == (20_003, 20_002)
    assert told["unchanged_chunk_ids"] == ["u1", "u2"]
    assert told["failed_chunk_ids"] == ["f1"]
    kept = told["uploaded_chunk_ids"]
    assert 4_000 < len(kept) < 20_000
    assert kept == list(many[: len(kept)])


@settings(max_examples=30)
@given(st.integers(0, 1_500), st.integers(0, 1_500), st.integers(0, 1_500), st.integers(1, 300))
def test_every_result_fits(uploaded: int, unchanged: int, broken: int, width: int) -> None:
    """Whatever a document holds, its result can be published, and can be read back."""

    def ids(prefix: str, count: int) -> tuple[str, ...]:
        return tuple(f"{prefix}{number}".ljust(width, "é") for number in range(count))

    failures = tuple(failed(chunk_id, "m" * 600) for chunk_id in ids("f", broken))
    encoded = result_of(applied(ids("a", uploaded), ids("b", unchanged), failures), ABOUT).encode()
    assert len(encoded) <= MAX_BYTES
    read = read_result(encoded)
    assert read.successful_uploads == uploaded + unchanged
    assert read.failed_uploads == broken


def test_a_reader_ignores_what_it_does_not_know() -> None:
    """Later 1.x versions add fields and statuses: old readers go on."""
    told = fields(applied(("a",)))
    newer = told | {"schema_version": "1.7", "status": "postponed", "mood": {"good": True}}
    read = read_result(orjson.dumps(newer))
    assert (read.status, read.event_id) == ("postponed", told["event_id"])
    assert read.document_version == START
    assert read.source.offset == 41


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{}", b'{"event_id":1}', b"\xff"])
def test_what_is_no_result_is_told_apart(value: bytes) -> None:
    """A foreign message on the results topic is an error to skip, with what is wrong."""
    with pytest.raises(ValueError, match="not an upload result"):
        read_result(value)


@given(st.text(), st.integers(10, 50))
def test_one_line_is_one_line(text: str, width: int) -> None:
    """No control character, no line break, no more than allowed."""
    line = one_line(text, width)
    assert line == "" or line.isprintable()
    assert len(line) <= width
