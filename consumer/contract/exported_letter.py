"""A dead letter in a file: one line of JSON, from which every byte of it can be had again.

    {"schema_version": "1.0", "topic": "…", "partition": 0, "offset": 41, "timestamp_ms": 179…,
     "key": "base64 or null", "value": "base64 or null", "headers": [["name", "base64 or null"]]}

Null is kept apart from empty: a null value is a tombstone. Headers keep their order, and a name
that stands there twice stays so.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from consumer.model.fields import MAX_WHOLE, whole_of
from consumer.model.record import Coordinates, Record

SCHEMA_VERSION = "1.0"

_MAX_TOPIC = 249
_MAX_PARTITION = 2**31 - 1


def encode_exported(record: Record) -> bytes:
    """The record as a line, without its end.

    Raises:
        ValueError: Kafka's client could not read the record, so its bytes are not known.
    """
    if record.unreadable is not None:
        raise ValueError(f"{record.at} can't be read: {record.unreadable.problem}")
    at = record.at
    return orjson.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "topic": at.topic,
            "partition": at.partition,
            "offset": at.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": _in_base64(record.key),
            "value": _in_base64(record.value),
            "headers": [[name, _in_base64(value)] for name, value in record.headers],
        }
    )


def decode_exported(line: bytes) -> Record:
    """The record in a line; fields that a later 1.x adds are ignored.

    Raises:
        ValueError: it is no exported letter; the message says why, without repeating it.
    """
    try:
        fields = orjson.loads(line)
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    if not str(fields.get("schema_version", "")).startswith("1."):
        raise ValueError("schema_version is not 1.x: not an exported dead letter")
    topic = fields.get("topic")
    if not isinstance(topic, str) or not 0 < len(topic) <= _MAX_TOPIC:
        raise ValueError("topic is missing or no topic's name")
    return Record(
        at=Coordinates(
            topic, _number(fields, "partition", 0, _MAX_PARTITION), _number(fields, "offset", 0)
        ),
        timestamp_ms=_number(fields, "timestamp_ms", -MAX_WHOLE - 1),
        key=_bytes(fields, "key"),
        value=_bytes(fields, "value"),
        headers=tuple(_headers(fields)),
    )


def _headers(fields: dict[str, Any]) -> list[tuple[str, Any]]:
    headers = fields.get("headers")
    if not isinstance(headers, list):
        raise ValueError("headers is missing or no list")
    found = []
    for header in headers:
        if not isinstance(header, list) or len(header) != 2 or not isinstance(header[0], str):
            raise ValueError("headers: each must be a pair of a name and base64 or null")
        found.append((header[0], _from_base64(header[1], "headers")))
    return found


def _bytes(fields: dict[str, Any], name: str) -> bytes | None:
    if name not in fields:
        raise ValueError(f"{name} is missing; a null one is written as null")
    return _from_base64(fields[name], name)


def _from_base64(text: object, name: str) -> bytes | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"{name} is neither base64 nor null")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name} is not base64") from None


def _in_base64(value: bytes | None) -> orjson.Fragment | None:
    # As bytes that are JSON already: as a text it would be in memory twice, 10 MB each.
    return None if value is None else orjson.Fragment(b'"%b"' % base64.b64encode(value))


def _number(fields: dict[str, Any], name: str, least: int, most: int = MAX_WHOLE) -> int:
    number = whole_of(fields.get(name))
    if number is None or not least <= number <= most:
        raise ValueError(f"{name} is missing or out of range")
    return number
