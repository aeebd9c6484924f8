"""Reading a workspace that holds many of our markers, and what its picture takes in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consumer.anythingllm.upload_body import upload_body
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import unit_of
from consumer.model.names import Slug
from consumer.model.version import DocumentVersion
from tests.bench import catalog, topics
from tests.bench.contestants.work import document
from tests.bench.program import WORKSPACE, made_topics, new_task, started
from tests.bench.server import INSTANT, Server

_CHUNKS_A_DOCUMENT = 10
_SLOTS = 5
_BATCH = 1_000  # documents
_VERSION = DocumentVersion(datetime(2026, 1, 1, tzinfo=UTC), 0, 0)


@dataclass(frozen=True, slots=True)
class Index:
    """What came of one size.

    Args:
        markers: in the workspace.
        seconds: from the listing's answer to the upload that waited for it.
        memory_mb: resident afterwards.
        peak_memory_mb: resident at most.
        bytes_per_marker: of the memory, beyond that with no markers.
    """

    markers: int
    seconds: float
    memory_mb: float
    peak_memory_mb: float
    bytes_per_marker: float


async def measure_index(
    kafka: str, server: Server, counts: Sequence[int], settings: Mapping[str, str]
) -> list[Index]:
    """A new document for a workspace of so many markers, by a fresh process each."""
    empty = await _measure(kafka, server, 0, 0.0, settings)
    found = [await _measure(kafka, server, each, empty.memory_mb, settings) for each in counts]
    return [empty, *found]


async def _measure(
    kafka: str, server: Server, markers: int, bare_mb: float, settings: Mapping[str, str]
) -> Index:
    service = catalog.service(settings=settings)
    await server.reset(INSTANT, [WORKSPACE])
    for batch in _metadata(markers):
        await server.fill(WORKSPACE, batch)
    async with topics.documents(kafka, [document(0)]) as topic:
        task = new_task(kafka, server.endpoint, topic, name="index", slots=_SLOTS)
        async with made_topics(task, service), started(service, task) as running:
            await running.until_results(1)
            memory, peak = running.memory_mb(), running.peak_memory_mb()
    stats = await server.stats()
    return Index(
        markers=markers,
        seconds=round(stats.measured_from - stats.first_listing, 2),
        memory_mb=round(memory, 1),
        peak_memory_mb=round(peak, 1),
        bytes_per_marker=round((memory - bare_mb) * 1024 * 1024 / markers, 1) if markers else 0.0,
    )


def _metadata(markers: int) -> Iterator[list[dict[str, Any]]]:
    """What the service sends with uploads, in batches: of documents that no event speaks of."""
    total = markers // _CHUNKS_A_DOCUMENT
    for start in range(0, total, _BATCH):
        numbers = range(start, min(start + _BATCH, total))
        yield [each for number in numbers for each in _of_document(number)]


def _of_document(number: int) -> Iterator[dict[str, Any]]:
    stored = ProcessedDocument(
        id=f"stored-{number}",
        title=f"Stored {number}",
        technology="bench",
        source_url=f"https://example.com/stored/{number}",
        chunks=tuple(
            Chunk(f"stored-{number}_{n}", f"{number} {n}", n) for n in range(_CHUNKS_A_DOCUMENT)
        ),
    )
    for chunk in stored.chunks:
        unit = unit_of((chunk,), stored, _VERSION)
        yield upload_body(Slug(WORKSPACE), unit, unit.marker.encode())["metadata"]
