"""The record that a by-reference dead letter stands for: where it may lie, how it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from consumer.contract.received_letter import Letter
from consumer.model.record import Coordinates, Record


@dataclass(frozen=True, slots=True)
class OriginalMark:
    """How the original of a by-reference letter is recognised.

    Args:
        places: where it may lie with the timestamp it must have there (None: unknown), best first.
        value_bytes: its size, where known.
        value_sha256: hex, where known.
        key_sha256: hex; None where it had no key, or that is unknown.
    """

    places: tuple[tuple[Coordinates, int | None], ...]
    value_bytes: int | None
    value_sha256: str | None
    key_sha256: str | None


def wanted_by(letter: Letter, reference: Mapping[str, Any]) -> OriginalMark:
    """What a by-reference letter refers to.

    Args:
        letter: its headers name the first original.
        reference: its value, decoded; names the record that became a letter, which may have been
            a replay already. Anything in it may be missing or wrong.
    """
    places: list[tuple[Coordinates, int | None]] = []
    if letter.is_ours:
        places.append((letter.origin.at, letter.origin.timestamp_ms))
    topic, partition, offset = (reference.get(n) for n in ("topic", "partition", "offset"))
    if isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int):
        place = Coordinates(topic, partition, offset)
        if place not in [known for known, _ in places]:
            places.append((place, _number(reference.get("timestamp_ms"))))
    return OriginalMark(
        places=tuple(places),
        value_bytes=_number(reference.get("value_bytes")),
        value_sha256=_text(reference.get("value_sha256")),
        key_sha256=_text(reference.get("key_sha256")),
    )


def reference_in(value: bytes | None) -> dict[str, Any]:
    """The reference that a letter's value is; empty when it is none."""
    try:
        fields = orjson.loads(value or b"null")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def differs(found: Record, wanted: OriginalMark, timestamp_ms: int | None) -> bool:
    """Whether a record that lies at the original's place is another one.

    A topic that was made anew counts its offsets from 0 again.
    """
    value = found.value or b""
    known: list[tuple[object, object]] = [
        (timestamp_ms, found.timestamp_ms),
        (wanted.value_bytes, len(value)),
        (wanted.value_sha256, hashlib.sha256(value).hexdigest()),
        (wanted.key_sha256, hashlib.sha256(found.key or b"").hexdigest()),
    ]
    return any(expected is not None and expected != seen for expected, seen in known)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
