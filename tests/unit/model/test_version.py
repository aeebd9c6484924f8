from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from consumer.model.document import ProcessedDocument
from consumer.model.origin import Origin, instant_of, origin_of
from consumer.model.record import Coordinates, Headers, Record
from consumer.model.version import DocumentVersion, version_of

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
REPLAY_HEADERS: Headers = (
    ("__connect.errors.topic", b"documents.processed"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"41"),
    ("dlq.original-timestamp", str(NOW_MS - 5_000).encode()),
    ("dlq.event-id", b"0b2f52ba-6f43-5c0d-8f0d-6f4f2c6a9f57"),
    ("dlq.first-failed-at", b"2026-11-22T09:59:57Z"),
    ("dlq.replays", b"2"),
)


def document(
    updated_at: datetime | None = None, created_at: datetime | None = None
) -> ProcessedDocument:
    return ProcessedDocument("d", "T", "t", "u", (), updated_at=updated_at, created_at=created_at)


def record(timestamp_ms: int = NOW_MS, headers: Headers = ()) -> Record:
    return Record(Coordinates("in", 1, 7), timestamp_ms, b"k", b"v", headers)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("doc", "instant"),
    [
        (document(updated_at=NOW - HOUR, created_at=NOW - 2 * HOUR), NOW - HOUR),
        (document(created_at=NOW - 2 * HOUR), NOW - 2 * HOUR),
        (document(), NOW),
        (None, NOW),
        (document(updated_at=NOW + 24 * HOUR), NOW + 24 * HOUR),
    ],
)
def test_the_version_is_the_newest_date_the_event_gives(
    doc: ProcessedDocument | None, instant: datetime
) -> None:
    """`updated_at`, else `created_at`, else the record's timestamp; and the record's place."""
    assert version_of(doc, record()) == (DocumentVersion(instant, 1, 7), False)


def test_a_version_from_the_future_is_capped() -> None:
    """More than a day ahead of its record counts as the record's time, or nothing could follow."""
    ahead = document(updated_at=NOW + 24 * HOUR + timedelta(seconds=1))
    assert version_of(ahead, record()) == (DocumentVersion(NOW, 1, 7), True)


@pytest.mark.parametrize("timestamp_ms", [-1, 0, -(2**63)])
def test_a_record_without_a_timestamp_caps_nothing(timestamp_ms: int) -> None:
    """Kafka's -1 says that there is no time, not that it is 1970."""
    version, was_capped = version_of(document(updated_at=NOW), record(timestamp_ms))
    assert (version.instant, was_capped) == (NOW, False)


def test_a_replayed_record_keeps_its_original_place_and_time() -> None:
    """Otherwise a replay of an old version would look newer than what came after it."""
    replayed = record(headers=REPLAY_HEADERS)
    version, _ = version_of(document(), replayed, is_replay=True)
    assert version == DocumentVersion(NOW - timedelta(seconds=5), 3, 41)
    origin = origin_of(replayed, is_replay=True)
    assert origin.at == Coordinates("documents.processed", 3, 41)
    assert origin.event_id == "0b2f52ba-6f43-5c0d-8f0d-6f4f2c6a9f57"
    assert origin.first_failed_at == NOW - timedelta(seconds=3)
    assert origin.replays == 2


def test_headers_on_the_input_topic_are_not_believed() -> None:
    """Anybody may write there: a claimed place could overrule newer events."""
    assert version_of(document(), record(headers=REPLAY_HEADERS))[0] == DocumentVersion(NOW, 1, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("__connect.errors.partition", b"-1"),
        ("__connect.errors.offset", b"1e3"),
        ("__connect.errors.offset", "٤١".encode()),
        ("__connect.errors.offset", b"9" * 30),
        ("__connect.errors.topic", b"\xff"),
        ("__connect.errors.topic", b""),
        ("dlq.original-timestamp", b"2026-11-22"),
    ],
)
def test_damaged_replay_headers_make_the_record_its_own_original(name: str, value: bytes) -> None:
    """Half an origin is none."""
    headers = tuple((key, value if key == name else given) for key, given in REPLAY_HEADERS)
    damaged = record(headers=headers)
    assert origin_of(damaged, is_replay=True) == Origin(damaged.at, damaged.timestamp_ms)


@pytest.mark.parametrize("name", ["dlq.event-id", "dlq.first-failed-at", "dlq.replays"])
def test_lesser_replay_headers_may_be_damaged(name: str) -> None:
    """They are left out; the place still counts."""
    headers = tuple((key, b"\xffx" if key == name else given) for key, given in REPLAY_HEADERS)
    assert origin_of(record(headers=headers), is_replay=True).at.offset == 41


@pytest.mark.parametrize("timestamp_ms", [-(2**63), -1, 0, 1, NOW_MS, 2**53, 2**63 - 1])
def test_any_timestamp_is_an_instant(timestamp_ms: int) -> None:
    """Kafka lets a producer write any 64-bit number."""
    assert instant_of(timestamp_ms).tzinfo is UTC
