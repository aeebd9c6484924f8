"""The identity in a record's key, out of what serializers wrap keys in.

The same envelopes as round values: a Schema Registry frame, a JSON string, Kafka Connect's JSON
with schema. One text is taken out, once: an identity that has quotation marks of its own keeps
them. A key that only looks like an envelope is the identity as it stands.
"""

from __future__ import annotations

from consumer.contract.envelope.json_text import UNREADABLE, kind_of, strictly
from consumer.contract.envelope.opening import FRAME, FRAME_BYTES, PAYLOAD, SCHEMA
from consumer.contract.envelope.wrapping import Wrapping

_BEGINS = (b'"', b"{")


class KeyEnvelopeError(Exception):
    """A key is wrapped and holds no identity; the message completes "the key ..."."""


def opened_key(key: bytes, wrapping: Wrapping) -> bytes:
    """The identity in a key; it need not be UTF-8 where the key is in no envelope.

    Raises:
        KeyEnvelopeError: an envelope that holds no text.
    """
    if not wrapping.opens or not key:
        return key
    if key.startswith(FRAME):
        return _framed(key[FRAME_BYTES:])
    if key.startswith(_BEGINS):
        found = _parsed(key)
        if isinstance(found, str):
            return found.encode()
        if isinstance(found, dict) and found.keys() == {SCHEMA, PAYLOAD}:
            return _text(found[PAYLOAD], "its payload")
        return key
    if wrapping.key_schema:
        raise KeyEnvelopeError(f"has its schema in a header, and {_UNREAD}")
    return key


def identity_bytes(key: bytes | None, wrapping: Wrapping) -> bytes | None:
    """As `opened_key`; the key as it stands where it is none or holds no identity."""
    try:
        return key and opened_key(key, wrapping)
    except KeyEnvelopeError:
        return key


def _framed(inside: bytes) -> bytes:
    if not inside:
        raise KeyEnvelopeError("is cut short: a Schema Registry frame with nothing behind it")
    found = _parsed(inside)
    if isinstance(found, dict) and found.keys() == {SCHEMA, PAYLOAD}:
        return _text(found[PAYLOAD], "its payload")
    if found is None and inside.strip() != b"null":
        raise KeyEnvelopeError(f"has a Schema Registry frame, and what is behind it {_UNREAD}")
    return _text(found, "what is behind its frame")


def _text(found: object, what: str) -> bytes:
    if not isinstance(found, str):
        raise KeyEnvelopeError(f"must be text, but {what} is {_named(found)}")
    return found.encode()


def _named(found: object) -> str:
    return "an object" if isinstance(found, dict) else kind_of(found)


def _parsed(key: bytes) -> object:
    """None for what is no JSON."""
    try:
        return strictly(key)
    except UNREADABLE:
        return None


_UNREAD = "is no JSON: a key in Avro or Protobuf is not read; publish keys with a string serializer"
