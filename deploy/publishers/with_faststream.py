"""Publish a document with FastStream, and remove another one. It needs nothing of ours.

pip install "faststream[kafka]"
python with_faststream.py localhost:9092 documents.processed
"""

import asyncio
import sys
from datetime import UTC, datetime

from faststream.kafka import KafkaBroker
from pydantic import BaseModel


class Chunk(BaseModel):
    """A piece of the document's text."""

    id: str
    content: str


class Document(BaseModel):
    """What is required, and the version."""

    id: str
    title: str
    source_url: str
    technology: str
    updated_at: datetime
    chunks: list[Chunk]


async def main(servers: str, topic: str) -> None:
    """One document, and the tombstone of another one."""
    document = Document(
        id="guide-faststream",
        title="Getting started",
        source_url="https://docs.example/guide",
        technology="river-pilot",
        updated_at=datetime.now(UTC),
        chunks=[
            Chunk(id="guide-faststream_0", content="First, untie the boat."),
            Chunk(id="guide-faststream_1", content="Then wait for the tide."),
        ],
    )
    async with KafkaBroker(servers) as broker:
        await broker.publish(document, topic, key=document.id.encode())
        await broker.publish(None, topic, key=b"gone-faststream")


asyncio.run(main(*sys.argv[1:]))
