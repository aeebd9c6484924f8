"""By-reference letters: the value in place of an original that no topic would take, or no one has.

The value of such a letter is JSON of ours that names the original's place and how it is recognised
(schemas/README.md, "Dead letters"). It is no event payload, so it is read here, beside what writes
it, and never by `consumer.contract.envelope`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from consumer.model.fields import count_of, text_of, whole_of
from consumer.model.record import Coordinates, Headers, Record

REFERENCE_VERSION = "1.0"
PREVIEW_BYTES = 256

_KIND = "reference"
_NEEDED = frozenset(
    {"schema_version", "kind", "topic", "partition", "offset", "value_bytes", "value_sha256"}
)
# Ours have about a kilobyte. JSON of others can take twenty times its size once it is parsed.
_LARGEST_PARSED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reference:
    """A record that is too large or can't be had: where it lies and how to recognise it.

    Args:
        at: its coordinates.
        timestamp_ms: its timestamp, where known.
        key: its key; the dead letter keeps it where it is small.
        headers: its headers; likewise.
        value_bytes: the value's size, where the value could be had.
        value_sha256: hex, where the value could be had.
        preview: the first `PREVIEW_BYTES` of the value, where it could be had.
    """

    at: Coordinates
    timestamp_ms: int | None = None
    key: bytes | None = None
    headers: Headers = ()
    value_bytes: int | None = None
    value_sha256: str | None = None
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class ReceivedReference:
    """What a by-reference letter that was read back says of its original.

    Args:
        at: where that record lies, or lay.
        timestamp_ms: its timestamp there, epoch milliseconds; None where unknown.
        value_bytes: its value's size; None where its bytes could never be had.
        value_sha256: hex; None likewise.
        key_sha256: hex; None likewise, and where it had no key.
    """

    at: Coordinates
    timestamp_ms: int | None
    value_bytes: int | None
    value_sha256: str | None
    key_sha256: str | None


def reference_to(record: Record) -> Reference:
    """A record that no topic would take as a dead letter, or that can't be had, by reference."""
    if record.unreadable is not None:
        return Reference(at=record.at, timestamp_ms=record.timestamp_ms)
    value = record.value or b""
    return Reference(
        at=record.at,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        headers=record.headers,
        value_bytes=len(value),
        value_sha256=hashlib.sha256(value).hexdigest(),
        preview=value[:PREVIEW_BYTES],
    )


def encode_reference(reference: Reference, *, headers_kept: bool) -> bytes:
    """The value of a by-reference letter.

    Args:
        reference: to the original.
        headers_kept: whether the letter has the original's headers.
    """
    key = reference.key
    at = reference.at
    preview = reference.preview
    return orjson.dumps(
        {
            "schema_version": REFERENCE_VERSION,
            "kind": _KIND,
            "topic": at.topic,
            "partition": at.partition,
            "offset": at.offset,
            "timestamp_ms": reference.timestamp_ms,
            "value_bytes": reference.value_bytes,
            "value_sha256": reference.value_sha256,
            "key_bytes": None if key is None else len(key),
            "key_sha256": None if key is None else hashlib.sha256(key).hexdigest(),
            "headers_kept": headers_kept,
            "preview_base64": (
                None if preview is None else base64.b64encode(preview[:PREVIEW_BYTES]).decode()
            ),
        }
    )


def decode_reference(value: bytes | None) -> ReceivedReference | None:
    """The reference in a letter's value; None where the value is an event's payload.

    A document can't pass for a reference: it has chunks, or is invalid.
    """
    fields = _object(value)
    if fields.get("kind") != _KIND or not fields.keys() >= _NEEDED or "chunks" in fields:
        return None
    topic, numbers = fields["topic"], (fields["partition"], fields["offset"])
    if not isinstance(topic, str) or any(count_of(number) is None for number in numbers):
        return None
    return ReceivedReference(
        Coordinates(topic, *numbers),
        timestamp_ms=whole_of(fields.get("timestamp_ms")),
        value_bytes=whole_of(fields["value_bytes"]),
        value_sha256=text_of(fields["value_sha256"]),
        key_sha256=text_of(fields.get("key_sha256")),
    )


def preview_in(value: bytes | None) -> bytes | None:
    """The begin of the original that a by-reference letter keeps, for a person; None without."""
    text = text_of(_object(value).get("preview_base64"))
    try:
        return base64.b64decode(text, validate=True) if text else None
    except ValueError:
        return None


def _object(value: bytes | None) -> dict[str, Any]:
    if not value or len(value) > _LARGEST_PARSED:
        return {}
    try:
        fields = orjson.loads(value)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
