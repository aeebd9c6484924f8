#!/usr/bin/env bash
# confluent-kafka 2.16.1 (Python): with header_schema_id_serializer, which puts the schema's id into a
# header instead of in front of the value, SerializingProducer.produce fails with "Missing headers"
# unless it is given headers, though there are none of the caller's. An empty list is enough; it is
# filled in place, so one list for all messages would collect the ids of all of them.
#
# Seen: "without: Missing headers", "with []: delivered", "the list of the caller: ['__value_schema_id']".
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "confluent-kafka[json,schemaregistry]==2.16.1"
cat > "$folder/headers.py" <<'PYTHON'
from importlib.metadata import version

from confluent_kafka import SerializingProducer
from confluent_kafka.error import ValueSerializationError
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer

SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "title": "D", "type": "object"}'
registry = SchemaRegistryClient.new_client({"url": "mock://"})
serializer = JSONSerializer(
    SCHEMA, registry, conf={"schema.id.serializer": header_schema_id_serializer}
)
# librdkafka's own broker in memory: no Kafka is needed.
producer = SerializingProducer(
    {"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "value.serializer": serializer}
)
said = []
print("confluent-kafka", version("confluent-kafka"))
try:
    producer.produce("t", value={"a": 1})
except ValueSerializationError as error:
    print("without:", error.args[0].str())
headers = []
producer.produce("t", value={"a": 1}, headers=headers, on_delivery=lambda e, m: said.append(e))
producer.flush(10)
print("with []:", "delivered" if said == [None] else said)
print("the list of the caller:", [name for name, _ in headers])
PYTHON
"$folder/venv/bin/python" "$folder/headers.py" 2>/dev/null | tee "$folder/out"
grep -q "^without: Missing headers$" "$folder/out"
grep -q "^with \[\]: delivered$" "$folder/out"
