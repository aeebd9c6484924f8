"""Records what real producers write: published to a Kafka, read back, noted byte for byte.

    python record.py BOOTSTRAP_SERVERS JAVA_LINES > records.json

Runs in an environment of its own (README.md beside it); imports nothing of the consumer.
JAVA_LINES is what `java/` printed: its serializers need no broker.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cloudevents.core.bindings.kafka import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import SerializingProducer
from confluent_kafka.schema_registry import (
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import StringSerializer
from faststream.confluent import KafkaBroker as ConfluentBroker
from faststream.kafka import KafkaBroker
from google.protobuf import wrappers_pb2
from pydantic import BaseModel

TOPIC = "recorded"
TIME = datetime(2026, 11, 22, 10, tzinfo=UTC)
STRING = json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"})
OBJECT = json.dumps(
    {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Document", "type": "object"}
)
AVRO = json.dumps(
    {"type": "record", "name": "Document", "fields": [{"name": "id", "type": "string"}]}
)


def document(name: str) -> dict[str, Any]:
    """An event whose id is the case's name."""
    return {
        "id": name,
        "title": "Getting started",
        "source_url": f"https://docs.example/{name}",
        "technology": "publishers",
        "chunks": [{"id": f"{name}_chunk_0", "content": f"Untie the boat, says {name}."}],
    }


class Document(BaseModel):
    """The same, as FastStream's users have it."""

    id: str
    title: str
    source_url: str
    technology: str
    chunks: list[dict[str, Any]]


async def by_faststream(servers: str) -> list[str]:
    """Both of its brokers, and whatever they take for a message."""
    bodies: dict[str, Any] = {
        "faststream-dict": document("faststream-dict"),
        "faststream-model": Document(**document("faststream-model")),
        "faststream-text": json.dumps(document("faststream-text")),
        "faststream-bytes": json.dumps(document("faststream-bytes")).encode(),
        "faststream-none": None,
    }
    async with KafkaBroker(servers) as broker:
        for name, body in bodies.items():
            await broker.publish(body, TOPIC, key=name.encode())
    name = "faststream-confluent"
    async with ConfluentBroker(servers) as confluent:
        await confluent.publish(document(name), TOPIC, key=name.encode())
    return [*bodies, name]


def by_confluent(servers: str) -> list[str]:
    """Its serializers, with a registry in memory."""
    registry = SchemaRegistryClient.new_client({"url": "mock://"})
    in_header = {"schema.id.serializer": header_schema_id_serializer}
    text = StringSerializer()
    json_key, json_value = JSONSerializer(STRING, registry), JSONSerializer(OBJECT, registry)
    protobuf = ProtobufSerializer(
        wrappers_pb2.StringValue, registry, {"use.deprecated.format": False}
    )
    cases: dict[str, tuple[Any, Any, Any]] = {
        "confluent-frame": (text, json_value, document),
        "confluent-frame-key": (json_key, json_value, document),
        "confluent-header": (
            JSONSerializer(STRING, registry, conf=in_header),
            JSONSerializer(OBJECT, registry, conf=in_header),
            document,
        ),
        "confluent-frame-tombstone": (json_key, json_value, lambda _: None),
        "confluent-avro": (text, AvroSerializer(registry, AVRO), lambda name: {"id": name}),
        "confluent-avro-header": (
            text,
            AvroSerializer(registry, AVRO, conf=in_header),
            lambda name: {"id": name},
        ),
        "confluent-protobuf": (text, protobuf, lambda name: wrappers_pb2.StringValue(value=name)),
    }
    for name, (key, value, made) in cases.items():
        producer = SerializingProducer(
            {"bootstrap.servers": servers, "key.serializer": key, "value.serializer": value}
        )
        producer.produce(TOPIC, key=name, value=made(name), headers=[])  # to be filled
        producer.flush()
    return list(cases)


async def by_cloudevents(servers: str) -> list[str]:
    """Both modes, and what its users take for data."""
    kinds: dict[str, tuple[Any, Any]] = {
        "cloudevents-binary": (to_binary, document),
        "cloudevents-structured": (to_structured, document),
        "cloudevents-structured-bytes": (to_structured, lambda n: json.dumps(document(n)).encode()),
        "cloudevents-structured-text": (to_structured, lambda n: json.dumps(document(n))),
        "cloudevents-binary-none": (to_binary, lambda _: None),
        "cloudevents-structured-none": (to_structured, lambda _: None),
    }
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    for name, (bound, data) in kinds.items():
        attributes = {
            "specversion": "1.0", "id": f"of {name}", "source": "/processor", "type": "processed",
            "datacontenttype": "application/json", "partitionkey": name, "time": TIME,
        }  # fmt: skip
        message = bound(CloudEvent(attributes, data(name)), JSONFormat())
        await producer.send_and_wait(
            TOPIC, message.value, key=message.key.encode(), headers=list(message.headers.items())
        )
    await producer.stop()
    return list(kinds)


def noted(data: bytes | None) -> Any:
    """Bytes as text where they are some."""
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    return text if text.isprintable() else {"base64": base64.b64encode(data).decode()}


async def recorded(servers: str, versions: dict[str, str], names: list[str]) -> list[Any]:
    """The records as they lie in Kafka, in the order of their names."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(TOPIC, 0)])
    found = []
    for name in names:
        record = await consumer.getone()
        producer = name.partition("-")[0]
        found.append(
            {
                "name": name,
                "producer": versions[producer],
                "key": noted(record.key),
                "value": noted(record.value),
                "headers": [[header, noted(value)] for header, value in record.headers],
            }
        )
    await consumer.stop()
    return found


def by_java(path: str) -> Iterator[dict[str, Any]]:
    """What the program beside this one printed."""

    def read(text: str) -> Any:
        return None if text == "-" else noted(base64.b64decode(text))

    for line in Path(path).read_text().splitlines():
        name, producer, key, value, *headers = line.split("\t")
        pairs = [each.split("=", 1) for each in headers]
        yield {
            "name": name,
            "producer": producer,
            "key": read(key),
            "value": read(value),
            "headers": [[header, read(text)] for header, text in pairs],
        }


async def main(servers: str, java: str) -> None:
    """Publish, read back, print."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    await admin.close()
    names = await by_faststream(servers)
    names += await asyncio.to_thread(by_confluent, servers)
    names += await by_cloudevents(servers)
    versions = {
        "faststream": f"FastStream {version('faststream')}",
        "confluent": f"confluent-kafka {version('confluent-kafka')}",
        "cloudevents": f"cloudevents {version('cloudevents')}",
    }
    records = [*await recorded(servers, versions, names), *by_java(java)]
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    print(f"[\n{lines}\n]")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
