"""By-reference letters: what is written in place of an original, and what is read back of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson
import pytest

from consumer.contract.reference import (
    ReceivedReference,
    Reference,
    decode_reference,
    encode_reference,
    reference_to,
)
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record, Unreadable
from tests.unit.contract.letters import document_record

ORIGINAL = document_record(41, partition=2, value=b"x" * 1000, key=b"\xff key")


def read_back(reference: Reference) -> ReceivedReference | None:
    return decode_reference(encode_reference(reference, headers_kept=True))


def test_a_reference_is_read_back_as_it_was_written() -> None:
    """Where the original lay, how large it was, and how it is recognised."""
    assert read_back(reference_to(ORIGINAL)) == ReceivedReference(
        at=ORIGINAL.at,
        timestamp_ms=ORIGINAL.timestamp_ms,
        value_bytes=1000,
        value_sha256=hashlib.sha256(b"x" * 1000).hexdigest(),
        key_sha256=hashlib.sha256(b"\xff key").hexdigest(),
    )


def test_of_a_record_that_could_not_be_had_only_its_place_is_known() -> None:
    """Nothing is made up: neither a size nor a digest of nothing."""
    why = Unreadable(FailureReason.UNDECODABLE, "damaged")
    record = Record(Coordinates("docs", 1, 2), 5, None, None, unreadable=why)

    assert read_back(reference_to(record)) == ReceivedReference(record.at, 5, None, None, None)


def test_a_record_without_a_key_has_no_digest_of_one() -> None:
    """An empty key is one."""
    without = read_back(reference_to(replace(ORIGINAL, key=None)))
    empty = read_back(reference_to(replace(ORIGINAL, key=b"")))

    assert without is not None
    assert without.key_sha256 is None
    assert empty is not None
    assert empty.key_sha256 == hashlib.sha256(b"").hexdigest()


FORGED = {
    "schema_version": "1.0", "kind": "reference", "topic": "docs", "partition": 0,
    "offset": 1, "value_bytes": 1, "value_sha256": "00",
}  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"chunks": []},
        {"partition": "2"},
        {"partition": -1},
        {"offset": True},
        {"offset": 2**63},
        {"topic": 5},
        {"kind": "document"},
    ],
)
def test_a_document_does_not_pass_for_a_reference(more: dict[str, object]) -> None:
    """A publisher may write any fields: what is not exactly a reference is a payload."""
    assert decode_reference(orjson.dumps(FORGED)) is not None
    assert decode_reference(orjson.dumps(FORGED | more)) is None


@pytest.mark.parametrize("name", sorted(FORGED))
def test_a_reference_is_whole_or_none(name: str) -> None:
    """What lacks a field that all versions have was written by others."""
    assert decode_reference(orjson.dumps({k: v for k, v in FORGED.items() if k != name})) is None


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b"17", b'"reference"'])
def test_a_value_that_is_no_object_is_no_reference(value: bytes | None) -> None:
    """Anybody can write to the topic."""
    assert decode_reference(value) is None


def test_a_reference_is_never_large() -> None:
    """A megabyte of JSON is not parsed to find out: ours have a few hundred bytes."""
    assert decode_reference(orjson.dumps(FORGED | {"more": "x" * 2**20})) is None


@pytest.mark.parametrize(
    "more",
    [
        {"value_bytes": "many"},
        {"value_sha256": 5},
        {"key_sha256": []},
        {"timestamp_ms": "now"},
        {"timestamp_ms": True},
    ],
)
def test_nonsense_in_a_field_counts_as_not_known(more: dict[str, object]) -> None:
    """The place is enough to look for the original."""
    reference = decode_reference(orjson.dumps(FORGED | more))

    assert reference is not None
    assert all(getattr(reference, name) is None for name in more)
