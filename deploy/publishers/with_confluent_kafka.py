"""Publish a document with confluent-kafka, and remove another one. It needs nothing of ours.

    pip install confluent-kafka
    python with_confluent_kafka.py localhost:9092 documents.processed

With a Schema Registry use its SerializingProducer and JSONSerializer: frames are read, too.
"""

import json
import sys
from datetime import UTC, datetime

from confluent_kafka import Producer


def main(servers: str, topic: str) -> None:
    """One document, and the tombstone of another one."""
    document = {
        "id": "guide-confluent",
        "title": "Getting started",
        "source_url": "https://docs.example/guide",
        "technology": "river-pilot",
        "updated_at": datetime.now(UTC).isoformat(),
        "chunks": [
            {"id": "guide-confluent_0", "content": "First, untie the boat."},
            {"id": "guide-confluent_1", "content": "Then wait for the tide."},
        ],
    }
    failed = []

    def delivered(error, message):
        if error is not None:
            failed.append(str(error))

    # Its own partitioner is CRC32; Java's and aiokafka's is murmur2. One document has to be in one
    # partition, whoever publishes it.
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
        }
    )
    producer.produce(topic, key=document["id"], value=json.dumps(document), on_delivery=delivered)
    producer.produce(topic, key="gone-confluent", value=None, on_delivery=delivered)
    producer.flush()
    if failed:
        sys.exit("; ".join(failed))


main(*sys.argv[1:])
