"""An unchanged re-publish: documents that are stored as they are come once more.

The service is on one core. Its time goes from the first result of the second pass to the last, so
that starting and reading what the workspace lists are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench import catalog, topics
from tests.bench.contestants.work import document
from tests.bench.program import WORKSPACE, Running, made_topics, new_task, started
from tests.bench.server import INSTANT, Server

_CHUNKS_A_DOCUMENT = 10
_SLOTS = 50


@dataclass(frozen=True, slots=True)
class Republish:
    """What came of it.

    Args:
        documents: in the second pass.
        documents_per_second: by the clock, on one core that others may use, too.
        documents_per_cpu_second: by the CPU time that the service used.
        uploads: in the second pass.
    """

    documents: int
    documents_per_second: float
    documents_per_cpu_second: float
    uploads: int


async def measure_republish(
    kafka: str, server: Server, documents: int, settings: Mapping[str, str], times: int = 3
) -> Republish:
    """Store documents, then publish them so many times unchanged."""
    service = catalog.service(settings=settings)
    events = [document(number, _CHUNKS_A_DOCUMENT) for number in range(documents)]
    await server.reset(INSTANT, [WORKSPACE])
    async with topics.documents(kafka, events) as topic:
        task = new_task(kafka, server.endpoint, topic, name="republish", slots=_SLOTS)
        async with made_topics(task, service):
            async with started(service, task) as running:
                await running.until_results(documents)
            uploads = (await server.stats()).uploads
            for _ in range(times):
                await topics.publish(kafka, topic, events)
            async with started(service, task) as running:
                seconds, cpu = await _second_pass(running, documents, documents * (1 + times))
    return Republish(
        documents=documents * times,
        documents_per_second=round(documents * times / seconds, 1),
        documents_per_cpu_second=round(documents * times / cpu, 1),
        uploads=(await server.stats()).uploads - uploads,
    )


async def _second_pass(running: Running, before: int, after: int) -> tuple[float, float]:
    """Seconds from the first new result to the last, and of CPU time meanwhile."""
    running.pin(0)
    await running.until_results(before + 1, seconds=0.01)
    cpu = running.cpu_seconds()
    await running.until_results(after)
    cpu = running.cpu_seconds() - cpu
    times = (await running.results.all_times())[before:]
    return times[-1] - times[0], cpu
