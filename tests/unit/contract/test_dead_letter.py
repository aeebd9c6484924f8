from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contract.dead_letter import (
    ADDED_HEADERS,
    MAX_KEPT_BYTES,
    Cause,
    DeadLetter,
    restored,
    stacktrace_of,
)
from consumer.contract.reference import PREVIEW_BYTES, Reference, reference_to
from consumer.model.names import TraceId
from consumer.model.origin import LETTER, RUN, origin_of
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Headers, Record

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ALLOWANCE = 64 * 1024  # What the dead-letter topic takes beyond the input topic.


def letter(
    record: Record | Reference, *, cause: Cause | None = None, is_replay: bool = False, **more: Any
) -> DeadLetter:
    if cause is None:
        cause = Cause(FailureReason.INVALID, "/id: is required", "decode", "consumer.pipeline")
    whole = record if isinstance(record, Record) else Record(record.at, 1, None, None)
    return DeadLetter(
        record=record,
        origin=origin_of(whole, is_replay=is_replay),
        cause=cause,
        event_id="0b2f52ba-6f43-5c0d-8f0d-6f4f2c6a9f57",
        trace_id=TraceId("a" * 32),
        group="g",
        task="host-1",
        failed_at=NOW,
        **more,
    )


def record(value: bytes | None = b"\xff\x00{", headers: Headers = ()) -> Record:
    return Record(Coordinates("documents.processed", 2, 41), 1_795_000_000_000, b"k\xfe", value,
                  headers)  # fmt: skip


def as_dict(headers: Headers) -> dict[str, str]:
    assert len({name for name, _ in headers}) == len(headers)
    return {name: value.decode() for name, value in headers}


def test_the_headers_are_those_of_the_contract() -> None:
    """Names and formats are fixed; what is unknown is left out."""
    cause = Cause(
        FailureReason.REJECTED, "chunk c2:\nrefused", "upload", "consumer.pipeline.upload",
        exception="x.Y", stacktrace="x.Y\n  at a.py f:1", attempts=3, failed_chunks=("c2", "c3"),
        http_status=422,
    )  # fmt: skip
    told = letter(record(), cause=cause, identity="i", document_id="d", workspace="docs")
    assert as_dict(told.headers) == {
        "__connect.errors.topic": "documents.processed",
        "__connect.errors.partition": "2",
        "__connect.errors.offset": "41",
        "__connect.errors.connector.name": "anythingllm-consumer",
        "__connect.errors.task.id": "host-1",
        "__connect.errors.stage": "upload",
        "__connect.errors.class.name": "consumer.pipeline.upload",
        "__connect.errors.exception.class.name": "x.Y",
        "__connect.errors.exception.message": "chunk c2: refused",
        "__connect.errors.exception.stacktrace": "x.Y\n  at a.py f:1",
        "dlq.reason": "rejected",
        "dlq.group": "g",
        "dlq.identity": "i",
        "dlq.document-id": "d",
        "dlq.workspace": "docs",
        "dlq.attempts": "3",
        "dlq.failed-chunks": '{"count":2,"ids":["c2","c3"]}',
        "dlq.http-status": "422",
        "dlq.first-failed-at": "2026-11-22T10:00:00Z",
        "dlq.last-failed-at": "2026-11-22T10:00:00Z",
        "dlq.original-timestamp": "1795000000000",
        "dlq.event-id": "0b2f52ba-6f43-5c0d-8f0d-6f4f2c6a9f57",
        "dlq.trace-id": "a" * 32,
        "dlq.replays": "0",
    }
    least = as_dict(letter(record()).headers)
    unknown = {"dlq.identity", "dlq.document-id", "dlq.workspace", "dlq.http-status",
               "dlq.failed-chunks"}  # fmt: skip
    assert unknown.isdisjoint(least)


OURS = {*ADDED_HEADERS, RUN, LETTER}  # a generator may take them from the code

HEADERS = st.lists(
    st.tuples(st.text(max_size=20).filter(lambda name: name not in OURS),
              st.binary(max_size=50)),
    max_size=6,
).map(tuple)  # fmt: skip


@given(st.none() | st.binary(), st.none() | st.binary(), HEADERS)
def test_the_original_comes_back_byte_for_byte(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Replay is publishing the same again: key, value, and headers with order and doubles."""
    original = Record(Coordinates("in", 0, 1), 1, key, value, headers)
    told = letter(original)
    assert (told.key, told.value) == (key, value)
    assert restored(told.headers) == headers


def test_headers_are_set_once_over_replays() -> None:
    """A second failure replaces what the first said, and keeps where it all began."""
    first = letter(record())
    replay_headers = tuple(
        (name, b"1" if name == "dlq.replays" else value) for name, value in first.headers
    )
    replayed = Record(
        Coordinates("documents.processed.replay", 2, 0), 99, b"k", b"v",
        (("own", b"1"), *replay_headers),
    )  # fmt: skip
    second = letter(replayed, is_replay=True)
    second = replace(second, event_id="x", failed_at=NOW + timedelta(hours=1))
    told = as_dict(second.headers)
    assert told["own"] == "1"
    assert told["__connect.errors.topic"] == "documents.processed"
    assert told["__connect.errors.offset"] == "41"
    assert told["dlq.original-timestamp"] == "1795000000000"
    assert told["dlq.event-id"] == first.event_id
    assert told["dlq.first-failed-at"] == "2026-11-22T10:00:00Z"
    assert told["dlq.last-failed-at"] == "2026-11-22T11:00:00Z"
    assert told["dlq.replays"] == "1"


def test_headers_of_ours_on_the_input_topic_count_for_nothing() -> None:
    """A publisher who copies a dead letter's headers (or forges them) moves no coordinates."""
    forged = letter(record(headers=(("dlq.replays", b"-9"), ("__connect.errors.topic", b"evil"))))
    told = as_dict(forged.headers)
    assert (told["dlq.replays"], told["__connect.errors.topic"]) == ("0", "documents.processed")


def test_headers_stay_within_what_the_topic_takes_more() -> None:
    """However long ids and messages are, a value that fitted the input fits the dead letters."""
    cause = Cause(
        FailureReason.REJECTED, "é" * 100_000, "upload", "x", exception="y",
        stacktrace="日" * 100_000, failed_chunks=tuple("é" * 512 for _ in range(20_000)),
    )  # fmt: skip
    told = letter(record(b""), cause=cause, identity="i" * 16_384, document_id="d" * 1_024)
    assert told.size < ALLOWANCE
    failed = orjson.loads(as_dict(told.headers)["dlq.failed-chunks"])
    assert failed["count"] == 20_000
    assert 0 < len(failed["ids"]) < 10


def test_an_identity_too_long_to_carry_is_left_out() -> None:
    """Half an identity would be another document's."""
    assert "dlq.identity" not in as_dict(letter(record(), identity="i" * 20_000).headers)


def test_a_stack_trace_shows_places_only() -> None:
    """No messages, no source, no variables: foreign exceptions quote what they were given."""
    secret = "CANARY"

    def inner() -> None:
        raise KeyError(secret)

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError(f"bad {secret}") from error

    with pytest.raises(ValueError, match=secret) as caught:
        outer()
    shown = stacktrace_of(caught.value)
    assert "builtins.ValueError" in shown
    assert "builtins.KeyError" in shown
    assert "test_dead_letter.py inner:" in shown
    assert secret not in shown
    assert str(Path(__file__).resolve().parents[3]) not in shown


def test_a_stack_trace_of_a_circle_ends() -> None:
    """Exceptions can be each other's context."""
    one, two = ValueError(), KeyError()
    one.__context__, two.__context__ = two, one
    assert stacktrace_of(one) == "builtins.ValueError\nbuiltins.KeyError"


def test_a_record_too_large_goes_by_reference() -> None:
    """Where it lies, how to recognise it, and its first bytes; small keys and headers stay."""
    value = b"{\xff" + b"x" * 1000
    told = letter(reference_to(record(value, headers=(("h", b"1"), ("dlq.reason", b"old")))))
    assert told.value is not None
    assert orjson.loads(told.value) == {
        "schema_version": "1.0",
        "kind": "reference",
        "topic": "documents.processed",
        "partition": 2,
        "offset": 41,
        "timestamp_ms": 1_795_000_000_000,
        "value_bytes": len(value),
        "value_sha256": hashlib.sha256(value).hexdigest(),
        "key_bytes": 2,
        "key_sha256": hashlib.sha256(b"k\xfe").hexdigest(),
        "headers_kept": True,
        "preview_base64": base64.b64encode(value[:PREVIEW_BYTES]).decode(),
    }
    assert told.key == b"k\xfe"
    assert restored(told.headers) == (("h", b"1"),)


def test_a_reference_fits_whatever_made_the_record_too_large() -> None:
    """Key and headers may be what is too large: then they are left behind as well."""
    huge = Record(Coordinates("in", 0, 1), 1, b"k" * 1_000_000, b"", (("h", b"x" * 1_000_000),))
    told = letter(reference_to(huge))
    assert told.key is None
    assert restored(told.headers) == ()
    assert told.size < ALLOWANCE
    assert told.value is not None
    assert orjson.loads(told.value)["headers_kept"] is False


def test_a_record_whose_bytes_cant_be_had_is_named_by_its_place() -> None:
    """Coordinates alone are enough for a dead letter."""
    told = letter(Reference(Coordinates("in", 0, 1)))
    assert told.value is not None
    fields = orjson.loads(told.value)
    assert (fields["offset"], fields["value_sha256"], fields["preview_base64"]) == (1, None, None)
    assert told.key is None


def test_small_keys_and_headers_are_kept_to_the_byte() -> None:
    """The limit for what a reference keeps is inclusive."""
    edge = Record(Coordinates("in", 0, 1), 1, b"k" * MAX_KEPT_BYTES, b"")
    assert letter(reference_to(edge)).key == edge.key
    over = Record(Coordinates("in", 0, 1), 1, b"k" * (MAX_KEPT_BYTES + 1), b"")
    assert letter(reference_to(over)).key is None
