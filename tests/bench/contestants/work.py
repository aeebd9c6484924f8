"""The work that every contestant does, and how it is told: no word of ours is imported here.

A contestant is a program that gets one `Task` as JSON, its only argument. The same for all: every
chunk of a document is uploaded and its file asked whether it is embedded, then one result is
published and awaited. It ends by SIGTERM, as a service does.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

Event = dict[str, Any]

CHUNKS_A_DOCUMENT = 5
_TEXT = "Lorem ipsum dolor sit amet, a lamp is trimmed before sunrise. " * 17
CHARACTERS = 1_000
_HEADERS = {"Authorization": "Bearer bench-key", "Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Task:
    """What a contestant works on.

    Args:
        endpoint: of the server, without a path.
        workspace: where to.
        slots: requests in flight, where the contestant can be told.
        documents: how many there are.
        chunks_a_document: of each.
        kafka: ``host:port``.
        topic: where the documents are.
        results: the topic for results.
        group: a consumer group that nobody used before.
    """

    endpoint: str
    workspace: str
    slots: int
    documents: int
    chunks_a_document: int
    kafka: str
    topic: str
    results: str
    group: str


def task_of_argument() -> Task:
    """The task of this process."""
    return Task(**orjson.loads(sys.argv[1]))


def document(number: int, chunks: int = CHUNKS_A_DOCUMENT, characters: int = CHARACTERS) -> Event:
    """A document of chunks of so many characters; no two texts are the same."""
    return {
        "id": f"bench-{number}",
        "title": f"Bench {number}",
        "technology": "bench",
        "source_url": f"https://example.com/{number}",
        "chunks": [
            {"id": f"bench-{number}_{n}", "content": f"{number} {n} {_TEXT}"[:characters]}
            for n in range(chunks)
        ],
    }


async def store_chunk(
    session: aiohttp.ClientSession, task: Task, event: Event, chunk: Event
) -> None:
    """Upload a chunk and look whether it is embedded.

    Raises:
        RuntimeError: it is not.
    """
    body = {
        "textContent": chunk["content"],
        "addToWorkspaces": task.workspace,
        "metadata": {"title": event["title"], "docSource": chunk["id"]},
    }
    url = f"{task.endpoint}/api/v1/document/"
    async with session.post(url + "raw-text", data=orjson.dumps(body), headers=_HEADERS) as answer:
        answer.raise_for_status()
        location = orjson.loads(await answer.read())["documents"][0]["location"]
    async with session.get(url + location.rpartition("/")[2], headers=_HEADERS) as answer:
        if not orjson.loads(await answer.read())["document"]["cached"]:
            raise RuntimeError("it was not embedded")


async def store_document(session: aiohttp.ClientSession, task: Task, event: Event) -> bytes:
    """Store all chunks at once; the result to publish."""
    await asyncio.gather(*(store_chunk(session, task, event, each) for each in event["chunks"]))
    result = {"document_id": event["id"], "status": "success", "chunks": len(event["chunks"])}
    return orjson.dumps(result)
