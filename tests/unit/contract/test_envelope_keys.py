"""The identity in a record's key, however a serializer wrapped it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contract.envelope import (
    UNOPENED,
    Envelope,
    KeyEnvelopeError,
    Wrapping,
    identity_bytes,
    opened_key,
    wrapped_key,
    wrapping_of,
)

FRAME = b"\x00\x00\x00\x00\x07"
CONNECT = b'{"schema":{"type":"string","optional":false},"payload":"guide-1"}'
SCHEMA_IN_HEADER = wrapping_of((("__key_schema_id", b"\x01" + bytes(16)),))


@pytest.mark.parametrize(
    "key",
    [b"guide-1", b'"guide-1"', FRAME + b'"guide-1"', CONNECT, FRAME + CONNECT, b' "guide-1"'[1:]],
)
def test_one_document_has_one_identity(key: bytes) -> None:
    """Whoever frames keys speaks of the same document as who doesn't."""
    assert opened_key(key, Wrapping()) == identity_bytes(key, Wrapping()) == b"guide-1"


@pytest.mark.parametrize(
    "key",
    [
        b"", b'"', b'"a', b'a"', b"{", b"{id}", b'{"id":"guide-1"}', b"[]", b"7", b"null", b"\xff",
        b'{"schema":1,"payload":"x","more":1}', b'https://docs.example/?q="x"', b'"a" "b"',
    ],
)  # fmt: skip
def test_what_only_looks_wrapped_is_the_identity(key: bytes) -> None:
    """It was one before there were envelopes."""
    assert opened_key(key, Wrapping()) == key


def test_an_identity_in_quotation_marks_keeps_them_where_it_is_quoted() -> None:
    """One text is taken out, once."""
    assert opened_key(rb'"\"guide-1\""', Wrapping()) == b'"guide-1"'
    assert opened_key(b'"guide-1"', UNOPENED) == b'"guide-1"'
    assert opened_key(FRAME + b"x", UNOPENED) == FRAME + b"x"


def test_a_schema_in_the_header_leaves_json_as_it_is() -> None:
    """So confluent-kafka's newer serializers write it."""
    assert opened_key(b'"guide-1"', SCHEMA_IN_HEADER) == b"guide-1"


@pytest.mark.parametrize(
    ("key", "wrapping", "why"),
    [
        (FRAME, Wrapping(), "is cut short"),
        (FRAME[:2], Wrapping(), "is cut short"),
        (FRAME + b"\x0eguide-1", Wrapping(), "a key in Avro or Protobuf is not read"),
        (b"\x0eguide-1", SCHEMA_IN_HEADER, "a key in Avro or Protobuf is not read"),
        # Avro's length of 17 characters is a quotation mark.
        (b'"a-guide-to-rivers', SCHEMA_IN_HEADER, "a key in Avro or Protobuf is not read"),
        (b"7", SCHEMA_IN_HEADER, "must be text, but it is a number"),
        (b'{"id":"x"}', SCHEMA_IN_HEADER, "must be text, but it is an object"),
        (FRAME + b"null", Wrapping(), "must be text, but what is behind its frame is null"),
        (FRAME + b"7", Wrapping(), "must be text, but what is behind its frame is a number"),
        (FRAME + b'{"id":"x"}', Wrapping(), "behind its frame is an object"),
        (b'{"schema":null,"payload":null}', Wrapping(), "must be text, but its payload is null"),
        (b'{"schema":1,"payload":{"id":"x"}}', Wrapping(), "its payload is an object"),
    ],
)
def test_an_envelope_without_an_identity_says_so(key: bytes, wrapping: Wrapping, why: str) -> None:
    """A tombstone that names nothing must not remove something else."""
    with pytest.raises(KeyEnvelopeError, match=why):
        opened_key(key, wrapping)
    assert identity_bytes(key, wrapping) == key
    assert identity_bytes(None, wrapping) is None


def test_a_huge_key_is_not_parsed() -> None:
    """Of 8 MiB it could hold the loop for a second; no identity is as long."""
    key = b'{"schema":[' + b"[]," * 50_000 + b'[]],"payload":"guide-1"}'

    assert opened_key(key, Wrapping()) == key
    longest = ("\x01" * 20_000).encode()  # six times as long where it is escaped
    assert opened_key(orjson.dumps(longest.decode()), Wrapping()) == longest


@pytest.mark.parametrize("identity", [b'"guide-1"', CONNECT, b'{"schema":null,"payload":7}', b'""'])
@pytest.mark.parametrize("envelope", Envelope)
def test_an_identity_that_looks_like_an_envelope_is_written_in_one(
    identity: bytes, envelope: Envelope
) -> None:
    """Else its tombstone would remove another document."""
    key, headers = wrapped_key(identity, envelope)

    assert opened_key(key, wrapping_of(headers)) == identity


@given(st.binary(max_size=30))
def test_any_key_is_opened_or_refused(key: bytes) -> None:
    """Nothing else is raised, whatever the bytes."""
    assert identity_bytes(key, Wrapping()) is not None
