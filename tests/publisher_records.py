"""What real producers wrote (tests/data/publishers), and what the service has to make of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from consumer.model.record import Headers

FOLDER = Path(__file__).parent / "data" / "publishers"

STORED, DELETED = "succeeded", "deleted"

REFUSED: Mapping[str, str] = {
    "confluent-avro": "Avro or Protobuf is not read; publish it with a serializer for JSON Schema",
    "confluent-avro-header": "Avro or Protobuf is not read; publish it with a serializer for JSON",
    "confluent-protobuf": "Avro or Protobuf is not read; publish it with a serializer for JSON",
    "cloudevents-binary-none": "is empty; a tombstone is a record without a value",
    "cloudevents-structured-none": "/data: is missing: an envelope has to hold a document",
    "connect-null": "/payload: is null: an envelope has to hold a document",
}
"""Those that are no events, with words of the reason."""

REMOVALS = frozenset(
    {"faststream-none", "confluent-frame-tombstone", "connect-tombstone", "spring-tombstone"}
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record.

    Args:
        name: also the identity of its document.
        producer: with its version.
    """

    name: str
    producer: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def outcome(self) -> str:
        """The status of its result, or the reason why it is refused."""
        if self.name in REFUSED:
            return REFUSED[self.name]
        return DELETED if self.name in REMOVALS else STORED

    @property
    def text(self) -> str:
        """Of its only chunk."""
        return f"Untie the boat, says {self.name}."


def recorded() -> list[Recorded]:
    """All of them."""
    return [
        Recorded(
            name=each["name"],
            producer=each["producer"],
            key=_bytes(each["key"]),
            value=_bytes(each["value"]),
            headers=tuple((name, _bytes(value) or b"") for name, value in each["headers"]),
        )
        for each in orjson.loads((FOLDER / "records.json").read_bytes())
    ]


def _bytes(noted: Any) -> bytes | None:
    if noted is None:
        return None
    return noted.encode() if isinstance(noted, str) else base64.b64decode(noted["base64"])
