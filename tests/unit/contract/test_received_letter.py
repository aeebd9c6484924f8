"""Letters read back: ours as they were written, others believed in nothing, never an exception."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.contract import dead_letter as ours
from consumer.contract.received_letter import Letter, letter_of
from consumer.model.names import Identity, Slug
from consumer.model.origin import EVENT_ID, OFFSET, REPLAYS, TIMESTAMP, TOPIC, Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Headers, Record, Unreadable
from tests.unit.contract.letters import (
    LETTERS,
    TRACE,
    at,
    document_record,
    event_id,
    foreign_record,
    letter,
    letter_record,
    parked,
)


def _without(record: Record, *names: str) -> Record:
    return replace(record, headers=tuple(one for one in record.headers if one[0] not in names))


def _with(record: Record, *headers: tuple[str, bytes]) -> Record:
    return replace(_without(record, *(name for name, _ in headers)), headers=headers)


def test_a_letter_says_what_was_written() -> None:
    """Every header comes back; of the payload only technology, date and size are kept."""
    value = orjson.dumps({"technology": "river", "created_at": "2026-02-01T10:00:00"})
    original = replace(document_record(7, partition=3, hours=0.5), value=value)
    record = letter_record(original, offset=41, failed=2, replays=1, failed_chunks=("a", "b"))
    read = letter_of(record)

    assert read == Letter(
        at=Coordinates(LETTERS, 0, 41),
        timestamp_ms=record.timestamp_ms,
        is_ours=True,
        origin=replace(
            Origin(original.at, original.timestamp_ms, replays=1, event_id=event_id(7)),
            first_failed_at=at(2),
        ),
        event_id=event_id(7),
        reason="rejected",
        message="doc_chunk_3: refused by AnythingLLM (422)",
        stage="upload",
        identity=Identity("doc"),
        document_id="doc",
        workspace=Slug("river"),
        technology="river",
        attempts=1,
        failed_chunks=2,
        failed_chunk_ids=("a", "b"),
        http_status=422,
        first_failed_at=at(2),
        last_failed_at=at(2),
        trace_id=TRACE,
        group="group",
        by_reference=False,
        size=record.size,
        version=at(-27 * 24 + 10 - 24),
        tombstone=False,
    )
    assert read.event == event_id(7)
    assert read.failed_at == at(2)


def test_a_first_failure_is_kept_through_replays() -> None:
    """What a replayed event's next letter says of its origin is believed."""
    origin = Origin(
        Coordinates("docs", 2, 9), 1_770_000_000_000, 2, event_id(9), first_failed_at=at(1)
    )
    read = letter(failed=30, origin=origin)

    assert (read.origin, read.event_id) == (origin, event_id(9))
    assert (read.first_failed_at, read.last_failed_at) == (at(1), at(30))


@pytest.mark.parametrize("missing", [TOPIC, OFFSET, TIMESTAMP, EVENT_ID, ours.REASON])
def test_incomplete_headers_are_foreign(missing: str) -> None:
    """A letter without one of the headers that say what it is says nothing about itself."""
    read = letter_of(_without(letter_record(), missing))

    assert not read.is_ours
    assert read.reason == "foreign"
    assert read.event_id is None
    assert read.origin == Origin(read.at, read.timestamp_ms)
    assert read.event.startswith("foreign-")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (EVENT_ID, b"not-a-uuid"),
        (OFFSET, b"-1"),
        (OFFSET, "٣".encode()),
        (OFFSET, b"9" * 30),
        (TIMESTAMP, b""),
        (TOPIC, b"\xff\xfe"),
        (ours.REASON, b""),
    ],
)
def test_headers_that_make_no_sense_are_foreign(name: str, value: bytes) -> None:
    """No number, no UUID, no text: nobody of us wrote it."""
    forged = _without(letter_record(), name)
    forged = replace(forged, headers=(*forged.headers, (name, value)))

    assert not letter_of(forged).is_ours


def test_a_header_that_stands_there_twice_is_foreign() -> None:
    """We replace and never append, so which of the two is true nobody can say."""
    record = letter_record()
    twice = replace(record, headers=(*record.headers, (REPLAYS, b"0")))

    assert letter_of(record).is_ours
    assert not letter_of(twice).is_ours


def test_headers_that_name_the_letter_itself_are_foreign() -> None:
    """A letter can't be its own original."""
    record = letter_record()
    read = letter_of(replace(record, at=Coordinates("docs", 0, 0)))

    assert not read.is_ours


def test_a_foreign_letter_is_named_by_its_content() -> None:
    """A copy on the parked topic is the same letter; one other byte anywhere is another."""
    record = foreign_record()
    others = [
        replace(record, key=None),
        replace(record, key=b""),
        replace(record, value=None),
        replace(record, value=b""),
        replace(record, headers=()),
        replace(record, headers=(("errors", b"omething"),)),
        replace(record, headers=(("error", None),)),  # type: ignore[arg-type]  # Kafka has such
    ]
    names = [letter_of(each).event for each in (record, *others)]

    assert letter_of(parked(record, 5)).event == names[0]
    assert len(set(names)) == len(names)


def test_a_record_that_can_t_be_read_is_known_by_its_place() -> None:
    """Nothing of it is known, so it is no copy of anything."""
    why = Unreadable(FailureReason.UNDECODABLE, "a header's name is no UTF-8")
    record = Record(Coordinates(LETTERS, 1, 2), 5, None, None, unreadable=why)
    read = letter_of(record)

    assert read.event == f"{LETTERS}-1@2"
    assert read.unreadable == "a header's name is no UTF-8"
    assert not read.tombstone
    assert "a header's name" in read.message


def test_a_tombstone_is_told_from_an_empty_value() -> None:
    """Null removes a document, an empty value is undecodable."""
    assert letter(document_record(value=None)).tombstone
    assert not letter(replace(document_record(), value=b"")).tombstone


def test_a_reference_names_its_record() -> None:
    """Where it lay, how large it was, and how to recognise it."""
    original = document_record(41, partition=2, value=b"x" * 1000)
    read = letter(original, by_reference=True)

    assert read.by_reference
    assert read.referred is not None
    assert read.referred.at == original.at
    assert read.referred.value_bytes == 1000
    assert read.referred.timestamp_ms == original.timestamp_ms
    assert len(read.referred.value_sha256 or "") == 64
    assert len(read.referred.key_sha256 or "") == 64
    assert read.version is None


def test_a_document_does_not_pass_for_a_reference() -> None:
    """Only with our headers, and only with exactly the fields of a reference."""
    forged = {
        "schema_version": "1.0", "kind": "reference", "topic": "docs", "partition": 0,
        "offset": 1, "value_bytes": 1, "value_sha256": "00",
    }  # fmt: skip

    assert letter(document_record(value=forged)).by_reference
    assert not letter(document_record(value=forged | {"chunks": []})).by_reference
    assert not letter_of(foreign_record(value=orjson.dumps(forged))).by_reference


def test_a_date_far_in_the_future_counts_as_the_record_s() -> None:
    """As everywhere: else a letter with such a date would never be stale."""
    original = document_record(value={"updated_at": "2099-01-01"})

    assert letter(original).version == at(0)


NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "header", "version"),
    [
        (b'\x00\x00\x00\x00\x07{"technology":"river"}', ("ce_specversion", b"1.0"), NOON),
        (
            b'{"specversion":"1.0","type":"t","source":"s","data":{"technology":"river"}}',
            ("content-type", b"application/cloudevents+json"),
            None,
        ),
        (b'{"schema":null,"payload":{"technology":"river"}}', ("ce_specversion", b"1.0"), NOON),
    ],
)
def test_a_payload_in_an_envelope_is_found(
    value: bytes, header: tuple[str, bytes], version: datetime | None
) -> None:
    """By the original's headers, which every letter keeps."""
    time = ("ce_time", b"2026-02-28T12:00:00Z")
    read = letter(document_record(value=value, headers=(header, time)))

    assert (read.technology, read.version) == ("river", version)


@pytest.mark.parametrize(
    "header",
    [b"", b"5", b"[]", b'{"count": -1, "ids": []}', b'{"count": 1, "ids": "abc"}', b"\xff"],
)
def test_garbage_in_place_of_failed_chunks_is_none(header: bytes) -> None:
    """The header is shown to people and compared with what is stored: it has to be sound."""
    record = _without(letter_record(), ours.FAILED_CHUNKS)
    record = replace(record, headers=(*record.headers, (ours.FAILED_CHUNKS, header)))
    read = letter_of(record)

    assert read.is_ours
    assert (read.failed_chunks, read.failed_chunk_ids) == (0, ())


NAMES = st.one_of(st.sampled_from(ours.ADDED_HEADERS), st.text(max_size=5))
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from([b"0", b"-1", b"1", event_id(1).encode(), b"9999-12-31T23:59:59-23:59"]),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=30).map(tuple)


@settings(deadline=None)
@given(
    key=st.none() | st.binary(max_size=10),
    value=st.none() | st.binary(max_size=50) | st.just(b'{"kind": "reference"}'),
    headers=HEADERS,
    timestamp=st.integers(-(2**63), 2**63 - 1),
)
def test_no_record_makes_it_raise(
    key: bytes | None, value: bytes | None, headers: Headers, timestamp: int
) -> None:
    """Anybody can write anything to a topic, and all of it has to be listed."""
    read = letter_of(Record(Coordinates(LETTERS, 0, 0), timestamp, key, value, headers))

    assert read.event
    assert read.failed_at.tzinfo is not None
    assert read.is_ours == (read.reason != "foreign" and read.event_id is not None)
