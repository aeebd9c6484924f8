"""Dead letters as others write them, by their sources; the broker's own as it wrote them."""

from __future__ import annotations

import struct

from consumer.model.record import Coordinates, Headers, Record
from tests.unit.contract.letters import LETTERS, at

LATER = int(at(2.0).timestamp() * 1000)


def _record(key: bytes | None, value: bytes | None, headers: Headers, timestamp: int) -> Record:
    return Record(Coordinates(LETTERS, 0, 7), timestamp, key, value, headers)


def share_headers(original: Record) -> Headers:
    """Of Kafka 4.4.0, for a record that a member of a share group rejected."""
    return (
        ("__dlq.errors.topic", original.at.topic.encode()),
        ("__dlq.errors.partition", str(original.at.partition).encode()),
        ("__dlq.errors.offset", str(original.at.offset).encode()),
        ("__dlq.errors.group", b"sharers"),
        ("__dlq.errors.delivery.count", b"1"),
        ("__dlq.errors.message", b"Offset rejected by client."),
    )


def share_record(original: Record, *, copied: bool = False) -> Record:
    """A letter of the broker; with key and value where the group asks for copies."""
    key, value = (original.key, original.value) if copied else (None, None)
    return _record(key, value, share_headers(original), LATER)


def spring_headers(original: Record) -> Headers:
    """Of Spring Kafka 3 and 4: numbers are those of Java's ByteBuffer."""
    return (
        ("kafka_dlt-original-topic", original.at.topic.encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", original.at.partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", original.at.offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", original.timestamp_ms)),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", b"spring-app"),
        ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailed"),
        ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
        ("kafka_dlt-exception-message", b"Listener failed;\n no such page"),
        ("kafka_dlt-exception-stacktrace", b"java.lang.IllegalStateException\n\tat X.java:1"),
    )


def spring_record(original: Record, *, value: bytes | None = None) -> Record:
    """A letter of Spring, with a value of its own serializer where one is given."""
    headers = (*original.headers, *spring_headers(original))
    return _record(original.key, value or original.value, headers, LATER)


def connect_record(original: Record) -> Record:
    """A letter of Kafka Connect 4: everything is the original's, and so is the timestamp."""
    headers = (
        *original.headers,
        ("__connect.errors.topic", original.at.topic.encode()),
        ("__connect.errors.partition", str(original.at.partition).encode()),
        ("__connect.errors.offset", str(original.at.offset).encode()),
        ("__connect.errors.connector.name", b"pages-sink"),
        ("__connect.errors.task.id", b"0"),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("__connect.errors.class.name", b"org.apache.kafka.connect.json.JsonConverter"),
        (
            "__connect.errors.exception.class.name",
            b"org.apache.kafka.connect.errors.DataException",
        ),
        ("__connect.errors.exception.message", b"Converting byte[] failed"),
        ("__connect.errors.exception.stacktrace", b"..."),
    )
    return _record(original.key, original.value, headers, original.timestamp_ms)
