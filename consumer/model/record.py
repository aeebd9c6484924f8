"""A record as it came from Kafka: the original bytes and where they came from."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.model.reason import FailureReason

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, order=True)
class Coordinates:
    """Where a record lies. Two records never share coordinates within one cluster."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record's bytes can't be had: Kafka's client could not unpack them.

    Args:
        reason: ``undecodable``, or ``oversized`` where its batch unfolds too far.
        problem: one line.
    """

    reason: FailureReason
    problem: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record's original bytes; a dead letter carries them on untouched.

    Args:
        at: its coordinates.
        timestamp_ms: in epoch milliseconds.
        value: None is a tombstone.
        headers: in their order.
        unreadable: set where nothing but the coordinates is known; key and value are None then.
    """

    at: Coordinates
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    unreadable: Unreadable | None = None

    @property
    def size(self) -> int:
        """Bytes of key, value and headers together: what the record takes of the byte budget."""
        in_headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + in_headers

    def header(self, name: str) -> bytes | None:
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key == name), None)
