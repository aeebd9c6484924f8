"""Publish a document with aiokafka and this project's kit, and remove another one.

In an environment that has this project, and so aiokafka:

python with_aiokafka.py localhost:9092 documents.processed
"""

import asyncio
import sys
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from consumer.publishing import DocumentDraft, RecordMaker, stable_id, trace_headers


async def main(servers: str, topic: str) -> None:
    """One document, and the tombstone of another one."""
    url = "https://docs.example/guide"
    draft = DocumentDraft(
        id=stable_id(url),  # the same whenever the page is published again
        title="Getting started",
        source_url=url,
        technology="river-pilot",
        updated_at=datetime.now(UTC),
    )
    draft.add_chunk("First, untie the boat.")
    draft.add_chunk("Then wait for the tide.")
    maker = RecordMaker()  # RecordMaker(identity=...) where DOCUMENT_IDENTITY is set
    records = [
        maker.document(draft.encode(), headers=trace_headers()),
        maker.tombstone(stable_id("https://docs.example/gone")),
    ]
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        for record in records:
            await producer.send_and_wait(
                topic, key=record.key, value=record.value, headers=list(record.headers)
            )


asyncio.run(main(*sys.argv[1:]))
