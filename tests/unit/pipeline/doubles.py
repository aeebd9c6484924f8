"""In-memory doubles of the pipeline's ports, and values for its tests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from consumer.model.delivery import Coordinates, Headers, Record
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.fault import Failure
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import StoredUnit, Unit, unit_of
from consumer.model.version import DocumentVersion
from consumer.pipeline.index import Index
from consumer.pipeline.upload import Uploader
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

DAY = datetime(2026, 3, 1, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def version(day: float = 0, offset: int = 0, partition: int | None = 0) -> DocumentVersion:
    return DocumentVersion(DAY + timedelta(days=day), partition, offset)


def document(id: str, *texts: str) -> ProcessedDocument:
    chunks = tuple(Chunk(f"{id}_{n}", text, n) for n, text in enumerate(texts))
    url = f"https://docs.example/{id}"
    return ProcessedDocument(
        id=id, title=id, technology="docs", source_url=url, chunks=chunks, created_at=DAY
    )


def stored(id: str, text: str, day: float = 0, location: str = "") -> StoredUnit:
    whole = document(id, text)
    unit = unit_of(whole.chunks, whole, version(day))
    return StoredUnit(location or f"custom-documents/{id}-{text}.json", unit.marker)


def record(
    value: bytes | None, *, key: bytes | None = b"k", headers: Headers = (), offset: int = 0
) -> Record:
    at = Coordinates("in", 0, offset)
    return Record(at, int(DAY.timestamp() * 1000), key, value, headers)


class Gate:
    """Lets callers through while it is open, and counts who waits."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.arrived = asyncio.Semaphore(0)

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        self.arrived.release()
        await self._open.wait()


Answer = Callable[[Unit, int], Failure | None]


def always_stored(unit: Unit, attempt: int) -> Failure | None:
    return None


@dataclass
class Upload:
    """A `UnitUpload` whose outcome its storage decides."""

    storage: Storage
    slug: str
    unit: Unit
    attempts: int = 0

    async def attempt(self) -> StoredUnit:
        self.attempts += 1
        storage = self.storage
        storage.calls.append(f"upload {self.unit.text}")
        storage.in_flight += 1
        storage.most_in_flight = max(storage.most_in_flight, storage.in_flight)
        try:
            await storage.uploading.passed()
            await asyncio.sleep(0)
        finally:
            storage.in_flight -= 1
        failure = storage.answer(self.unit, self.attempts)
        if failure is not None:
            raise failure
        unit = StoredUnit(f"custom-documents/{self.unit.text}.json", self.unit.marker)
        storage.units.append(unit)
        return unit


@dataclass
class Storage:
    """`ports.Storage` in memory: one workspace for all slugs."""

    answer: Answer = always_stored
    units: list[StoredUnit] = field(default_factory=list)
    slugs: list[str] = field(default_factory=lambda: ["docs"])
    calls: list[str] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    listing_fails: list[Failure] = field(default_factory=list)
    removal_fails: list[Failure] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    listing_gate: Gate = field(default_factory=Gate)
    uploading: Gate = field(default_factory=Gate)
    preparing: Gate = field(default_factory=Gate)

    async def prepare(self, slug: str, *, trace_id: str) -> None:
        self.prepared.append(slug)
        await self.preparing.passed()

    async def listing(self, slug: str, *, trace_id: str) -> Sequence[StoredUnit]:
        self.calls.append(f"listing {slug}")
        if self.listing_fails:
            raise self.listing_fails.pop(0)
        answer = list(self.units)  # as it was when the question arrived
        await self.listing_gate.passed()
        return answer

    async def workspaces(self, *, trace_id: str) -> Sequence[str]:
        return list(self.slugs)

    def upload(self, slug: str, unit: Unit, *, trace_id: str, check: Callable[[], None]) -> Upload:
        return Upload(self, slug, unit)

    async def remove(self, slug: str, locations: Sequence[str], *, trace_id: str) -> None:
        self.calls.append(f"remove {len(locations)}")
        if self.removal_fails:
            raise self.removal_fails.pop(0)
        self.units = [unit for unit in self.units if unit.location not in locations]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def index_of(storage: Storage, clock: Clock | None = None, max_age: float = 600.0) -> Index:
    identity = IdentityTemplate.parse("{id}")
    return Index(storage, identity, max_age=max_age, clock=clock or Clock())


def uploader_of(
    storage: Storage,
    index: Index | None = None,
    *,
    slots: int = 5,
    per_document: int = 5,
    clock: Callable[[], float] | None = None,
) -> Uploader:
    extra = {} if clock is None else {"clock": clock}
    return Uploader(
        storage,
        index or index_of(storage),
        slots=asyncio.Semaphore(slots),
        per_document=per_document,
        policy=RetryPolicy(3, 0.001, 0.002),
        rng=random.Random(1),
        metrics=Metrics(),
        **extra,
    )


@asynccontextmanager
async def finishing(*tasks: asyncio.Task[object]) -> AsyncIterator[None]:
    """Leaves no task behind."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
