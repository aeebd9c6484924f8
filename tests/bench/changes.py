"""What changes and removals take at the cost of a real AnythingLLM.

There a removal is dear: about 2 ms for each document that was ever added to the workspace. What is
told: how few requests removals travel in, and how long results wait for them. The workspace is a
fresh one, which the service makes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench import catalog, topics
from tests.bench.contestants.work import Event, Task, document
from tests.bench.program import Running, made_topics, new_task, started
from tests.bench.server import INSTANT, REAL, Server

_CHUNKS_A_DOCUMENT = 10
_SLOTS = 5


@dataclass(frozen=True, slots=True)
class Changes:
    """One pass over all documents, from its publication on.

    Args:
        what: was done.
        documents: how many.
        half: seconds until half of the results were there.
        results: seconds until all were.
        last_removal: seconds until the last removal was answered.
        uploads: of chunks.
        removals: requests to remove.
        removed: chunks.
    """

    what: str
    documents: int
    half: float
    results: float
    last_removal: float
    uploads: int
    removals: int
    removed: int


async def measure_changes(
    kafka: str, server: Server, documents: int, settings: Mapping[str, str]
) -> list[Changes]:
    """Change the first chunk of each document, then erase all documents."""
    service = catalog.service(settings=settings)
    events = [document(number, _CHUNKS_A_DOCUMENT) for number in range(documents)]
    await server.reset(INSTANT, [])
    async with topics.documents(kafka, events) as topic:
        task = new_task(kafka, server.endpoint, topic, name="changes", slots=_SLOTS)
        async with made_topics(task, service), started(service, task) as running:
            await running.until_results(documents)
            changed = [_changed(each) for each in events]
            return [
                await _pass("one chunk of ten changed", server, running, task, changed),
                await _pass("erased", server, running, task, changed, erase=True),
            ]


async def _pass(
    what: str,
    server: Server,
    running: Running,
    task: Task,
    events: Sequence[Event],
    *,
    erase: bool = False,
) -> Changes:
    before = await running.results.count()
    await server.reset(REAL, [], keep=True)
    began = time.time()
    await topics.publish(task.kafka, task.topic, events, erase=erase)
    await running.until_results(before + len(events))

    async def are_removed() -> bool:
        return (await server.stats()).removed >= len(events)

    await running.until(are_removed)
    stats = await server.stats()
    times = [each - began for each in (await running.results.all_times())[before:]]
    return Changes(
        what=what,
        documents=len(events),
        half=round(times[len(times) // 2], 2),
        results=round(times[-1], 2),
        last_removal=round(stats.last_removal - began, 2),
        uploads=stats.uploads,
        removals=stats.removals,
        removed=stats.removed,
    )


def _changed(event: Event) -> Event:
    first, *others = event["chunks"]
    return {**event, "chunks": [{**first, "content": "Changed. " + first["content"]}, *others]}
