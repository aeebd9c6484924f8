"""The bound: nothing but the requests, without Kafka; ``--uvloop`` for that event loop."""

from __future__ import annotations

import asyncio
import sys

import aiohttp

from tests.bench.contestants.work import Task, document, store_chunk, task_of_argument


async def run(task: Task) -> None:
    """Store all documents, so many chunks at a time; then wait to be killed."""
    events = [document(number, task.chunks_a_document) for number in range(task.documents)]
    left = iter([(event, chunk) for event in events for chunk in event["chunks"]])

    async def worker(session: aiohttp.ClientSession) -> None:
        for event, chunk in left:
            await store_chunk(session, task, event, chunk)

    connector = aiohttp.TCPConnector(limit=task.slots)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(task.slots)))
    await asyncio.Event().wait()  # its CPU time could not be read once it is gone


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(run(task_of_argument()))
    else:
        asyncio.run(run(task_of_argument()))
