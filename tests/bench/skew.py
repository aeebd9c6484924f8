"""A document of 10,000 chunks among 1,000 of five: how long the small ones wait for their results.

All are there when the service starts, the large one first. A small one's time goes from the first
upload of all to its result. The large one's chunks are short: longer ones would exceed the default
of `DOCUMENT_MAX_BYTES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles

from tests.bench import catalog, topics
from tests.bench.contestants.work import CHUNKS_A_DOCUMENT, Event, document
from tests.bench.program import WORKSPACE, made_topics, new_task, started
from tests.bench.server import LATENCY, Server

_LARGE = "bench-large"
_LARGE_CHARACTERS = 500
_SLOTS = 50


@dataclass(frozen=True, slots=True)
class Skew:
    """What came of it.

    Args:
        chunks: of the large document.
        alone: the small ones' 95th percentile without it, in seconds.
        beside: the same with it.
        ratio: of both.
        large: seconds until the large one's result.
    """

    chunks: int
    alone: float
    beside: float
    ratio: float
    large: float


async def measure_skew(
    kafka: str, server: Server, documents: int, chunks: int, settings: Mapping[str, str]
) -> Skew:
    """Without the large document, then with it.

    Raises:
        RuntimeError: not all chunks were stored, or some twice.
    """
    small = [document(number, CHUNKS_A_DOCUMENT) for number in range(documents)]
    large = {**document(documents, chunks, _LARGE_CHARACTERS), "id": _LARGE}
    alone = await _times(kafka, server, small, settings)
    beside = await _times(kafka, server, [large, *small], settings)
    took = beside.pop(_LARGE)
    without, with_it = _95th(alone), _95th(beside)
    return Skew(
        chunks=chunks,
        alone=round(without, 2),
        beside=round(with_it, 2),
        ratio=round(with_it / without, 2),
        large=round(took, 2),
    )


async def _times(
    kafka: str, server: Server, events: list[Event], settings: Mapping[str, str]
) -> dict[str, float]:
    """Seconds until each document's result."""
    service = catalog.service(settings=settings)
    await server.reset(LATENCY, [WORKSPACE])
    async with topics.documents(kafka, events) as topic:
        task = new_task(kafka, server.endpoint, topic, name="skew", slots=_SLOTS)
        async with made_topics(task, service), started(service, task) as running:
            await running.until_results(len(events))
            times = await running.results.times()
    stats, chunks = await server.stats(), sum(len(each["chunks"]) for each in events)
    if stats.uploads != chunks:
        raise RuntimeError(f"{chunks} chunks, {stats.uploads} uploads")
    began = stats.measured_from
    return {key: at - began for key, at in times.items()}


def _95th(times: Mapping[str, float]) -> float:
    return quantiles(times.values(), n=20)[-1]
