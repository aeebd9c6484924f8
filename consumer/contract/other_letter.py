"""Dead letters that others wrote by a known convention: what they say of themselves. Pure.

- Kafka Connect (4.x, with ``errors.deadletterqueue.context.headers.enable``): names and numbers are
  text. Key, value, headers and timestamp are the original's, byte for byte.
- Spring Kafka (``DeadLetterPublishingRecoverer`` since 2.7): numbers are big-endian. Key and value
  are what the application's serializers made of the objects, so bytes may differ. A record that is
  refused again gets each header again: the first tells the first original, the last the last cause.
- Kafka's broker, for a share group (4.4.0, KIP-1191): names and numbers are text. There is neither
  key nor value unless the group has ``errors.deadletterqueue.copy.record.enable``, and never a
  header of the original. Where the broker knows no name of the topic its id stands there instead.

What they say is shown, and believed only as far as an operator insists: anybody can write this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.model.fields import whole_in
from consumer.model.record import Coordinates, Record

_LONGEST_NAME = 512  # bytes of a topic or group that is believed
_LONGEST_TEXT = 4_000  # bytes of a message that are read
_SHOWN = 1_000  # characters of it


class Convention(StrEnum):
    """Who writes dead letters like this, as people call it."""

    CONNECT = "Kafka Connect"
    SPRING = "Spring Kafka"
    SHARE_GROUP = "share group"


@dataclass(frozen=True, slots=True)
class OtherLetter:
    """What such a letter says.

    Args:
        convention: who writes like this.
        original: where the record lay that was given up.
        timestamp_ms: when that was written, epoch milliseconds; None where it is not told.
        owner: the connector, or the consumer group; "" where that is not told.
        message: why it was given up, one line.
        has_payload: whether key and value are the original's, or were meant to be.
    """

    convention: Convention
    original: Coordinates
    timestamp_ms: int | None
    owner: str
    message: str
    has_payload: bool

    @property
    def writer(self) -> str:
        """Who wrote it, for people."""
        return f"{self.convention} ({self.owner})" if self.owner else self.convention.value


def other_letter_of(record: Record) -> OtherLetter | None:
    """What a letter says by one of the conventions; None where none of them is complete in it."""
    headers = _Headers.of(record)
    for read in (_share_group, _spring, _connect):
        if (found := read(headers, record)) is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _Headers:
    """The headers by name: their first values, and their last."""

    first: Mapping[str, bytes]
    last: Mapping[str, bytes]

    @classmethod
    def of(cls, record: Record) -> _Headers:
        # A header's value may be null on the wire, whatever the type says.
        told = [(name, value or b"") for name, value in record.headers]
        return cls(dict(reversed(told)), dict(told))

    def name(self, header: str) -> str:
        """The text of a header that names something; "" where it is none or too long."""
        value = self.first.get(header, b"")
        return _text(value) if len(value) <= _LONGEST_NAME else ""

    def place(
        self, prefix: str, number: Callable[[bytes | None, int], int | None]
    ) -> Coordinates | None:
        """The place of the original, where all of it is told."""
        topic = self.name(f"{prefix}topic")
        partition = number(self.first.get(f"{prefix}partition"), 4)
        offset = number(self.first.get(f"{prefix}offset"), 8)
        if not topic or partition is None or offset is None:
            return None
        return Coordinates(topic, partition, offset)

    def cause(self, kind: str, message: str) -> str:
        """The last cause: the kind of the exception without its package, and what it says."""
        exception = _one_line(self.last.get(kind, b"")).rpartition(".")[2]
        said = _one_line(self.last.get(message, b""))
        return ": ".join(filter(None, (exception, said)))


def _share_group(headers: _Headers, record: Record) -> OtherLetter | None:
    place = headers.place("__dlq.errors.", _digits)
    if place is None:
        return None
    count = _digits(headers.first.get("__dlq.errors.delivery.count"), 2)
    said = _one_line(headers.last.get("__dlq.errors.message", b""))
    times = "" if count is None else f"deliveries: {count}"
    return OtherLetter(
        Convention.SHARE_GROUP,
        place,
        None,
        headers.name("__dlq.errors.group"),
        "; ".join(filter(None, (said, times))),
        has_payload=record.key is not None or record.value is not None,
    )


def _spring(headers: _Headers, _: Record) -> OtherLetter | None:
    place = headers.place("kafka_dlt-original-", _big_endian)
    if place is None:
        return None
    return OtherLetter(
        Convention.SPRING,
        place,
        _big_endian(headers.first.get("kafka_dlt-original-timestamp"), 8),
        headers.name("kafka_dlt-original-consumer-group"),
        headers.cause("kafka_dlt-exception-cause-fqcn", "kafka_dlt-exception-message")
        or headers.cause("kafka_dlt-key-exception-fqcn", "kafka_dlt-key-exception-message"),
        has_payload=True,
    )


def _connect(headers: _Headers, _: Record) -> OtherLetter | None:
    place = headers.place("__connect.errors.", _digits)
    if place is None:
        return None
    return OtherLetter(
        Convention.CONNECT,
        place,
        None,
        headers.name("__connect.errors.connector.name"),
        headers.cause(
            "__connect.errors.exception.class.name", "__connect.errors.exception.message"
        ),
        has_payload=True,
    )


def _digits(value: bytes | None, size: int) -> int | None:
    """A number in decimal digits that fits into a signed one of so many bytes."""
    number = whole_in(_text(value)) if value and len(value) <= _LONGEST_NAME else None
    return number if number is not None and number < 1 << (8 * size - 1) else None


def _big_endian(value: bytes | None, size: int) -> int | None:
    """A signed number of so many bytes, as Java's ByteBuffer writes it; None below 0."""
    if value is None or len(value) != size:
        return None
    number = int.from_bytes(value, "big", signed=True)
    return number if number >= 0 else None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ""


def _one_line(value: bytes) -> str:
    """Bytes of whatever others wrote, made fit to be shown in a line."""
    return " ".join(value[:_LONGEST_TEXT].decode("utf-8", "replace").split())[:_SHOWN]
