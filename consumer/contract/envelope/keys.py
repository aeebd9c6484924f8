"""The identity in a record's key, out of what serializers wrap keys in.

The same envelopes as round values: a Schema Registry frame, a JSON string, Kafka Connect's JSON
with schema. One text is taken out, once: an identity that has quotation marks of its own keeps
them. A key that only looks like an envelope is the identity as it stands.

A frame, and a header that has the key's schema, say for certain that a serializer was at work: what
is behind them has to be JSON.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from consumer.contract.envelope.json_text import UNREADABLE, kind_of, strictly
from consumer.contract.envelope.opening import FRAME, FRAME_BYTES, PAYLOAD, SCHEMA
from consumer.contract.envelope.wrapping import Wrapping

_BEGINS = (b'"', b"{")
# No identity that a marker could name is as long in any envelope. Nobody counts the values of a
# key: one of 8 MiB could hold the loop for a second.
_LONGEST = 128 * 1024


class KeyEnvelopeError(Exception):
    """A key is wrapped and holds no identity; the message completes "the key ..."."""


def opened_key(key: bytes, wrapping: Wrapping) -> bytes:
    """The identity in a key; it need not be UTF-8 where the key is in no envelope.

    A key of more than 128 KiB is taken as it stands.

    Raises:
        KeyEnvelopeError: an envelope that holds no text.
    """
    if not wrapping.opens or not key or len(key) > _LONGEST:
        return key
    if key.startswith(FRAME):
        return _framed(key[FRAME_BYTES:])
    if wrapping.key_schema:
        return _serialized(key, "has its schema in a header, and", "it")
    found = _parsed(key) if key.startswith(_BEGINS) else None
    if isinstance(found, str) or _is_connect(found):
        return _text(found, "it")
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
    begin = "has a Schema Registry frame, and what is behind it"
    return _serialized(inside, begin, "what is behind its frame")


def _serialized(key: bytes, begin: str, what: str) -> bytes:
    """The identity in what has to be JSON; the other two are for the error."""
    found = _parsed(key)
    if found is None and key.strip() != b"null":
        raise KeyEnvelopeError(f"{begin} {_UNREAD}")
    return _text(found, what)


def _is_connect(found: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(found, dict) and found.keys() == {SCHEMA, PAYLOAD}


def _text(found: object, what: str) -> bytes:
    if _is_connect(found):
        found, what = found[PAYLOAD], "its payload"
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
