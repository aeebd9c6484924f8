"""In-memory doubles of the pipeline's ports, and values for its tests."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from consumer.model.copies import ComparableUnit
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.fault import Failure, Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import Listed
from consumer.model.marker import Marker, StoredUnit, Unit, unit_of
from consumer.model.names import Location, Slug, TraceId
from consumer.model.record import Coordinates, Headers, Record
from consumer.model.remains import Remains
from consumer.model.version import DocumentVersion
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.carried_out import CarriedOut
from consumer.pipeline.circuit import Circuit
from consumer.pipeline.culprits import Culprits
from consumer.pipeline.deathwatch import Deathwatch
from consumer.pipeline.documents_in_work import DocumentsInWork
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.due_looks import DueLooks
from consumer.pipeline.erasure import Eraser
from consumer.pipeline.gates import Gates
from consumer.pipeline.giving_up import GivingUp
from consumer.pipeline.index import Index
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.others import Others
from consumer.pipeline.pauses import Pauses
from consumer.pipeline.poison_probe import PoisonProbe
from consumer.pipeline.removal import Remover
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.sweep import Sweep
from consumer.pipeline.upload import Uploader
from consumer.resilience.breaker import Breaker
from consumer.resilience.death_suspect import DeathRules
from consumer.resilience.deaths import Deaths
from consumer.resilience.fence import Fence
from consumer.resilience.fuse import Fuse, FuseRules
from consumer.resilience.lengths import Lengths
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

AMBIGUITY = 600.0
_POLICY = RetryPolicy(3, 0.001, 0.002)

DAY = datetime(2026, 3, 1, tzinfo=UTC)
TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")


def version(day: float = 0, offset: int = 0, partition: int | None = 0) -> DocumentVersion:
    return DocumentVersion(DAY + timedelta(days=day), partition, offset)


def document(id: str, *texts: str) -> ProcessedDocument:
    chunks = tuple(Chunk(f"{id}_{n}", text, n) for n, text in enumerate(texts))
    url = f"https://docs.example/{id}"
    return ProcessedDocument(
        id=id, title=id, technology="docs", source_url=url, chunks=chunks, created_at=DAY
    )


def stored(
    id: str, text: str, day: float = 0, location: str = "", *, offset: int = 0
) -> StoredUnit:
    whole = document(id, text)
    unit = unit_of(whole.chunks, whole, version(day, offset))
    return StoredUnit(Location(location or f"custom-documents/{id}-{text}.json"), unit.marker)


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
    check: Callable[[], None]
    attempts: int = 0

    async def attempt(self) -> StoredUnit | None:
        self.attempts += 1
        storage = self.storage
        if self.unit.text in storage.in_doubt:
            storage.calls.append(f"look for {self.unit.text}")
            raise storage.in_doubt.pop(self.unit.text)
        self.check()
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
        if storage.is_proven_later and self.attempts == 1:
            return None
        unit = StoredUnit(Location(f"custom-documents/{self.unit.text}.json"), self.unit.marker)
        storage.units.append(unit)
        return unit

    def proven(self) -> StoredUnit | None:
        return None

    @property
    def going(self) -> Sequence[Location]:
        return self.storage.going_by_uploads

    @property
    def may_still_come(self) -> bool:
        return self.unit.text in self.storage.may_still_come

    @property
    def removed(self) -> Sequence[StoredUnit]:
        return self.storage.removed_by_uploads

    async def abandon(self) -> StoredUnit | None:
        self.storage.calls.append(f"abandon {self.unit.text}")
        is_stored = self.unit.text in self.storage.stored_after_all
        return StoredUnit(Location("after-all.json"), self.unit.marker) if is_stored else None


@dataclass
class Storage:
    """`ports.Storage` in memory: one workspace for all slugs."""

    answer: Answer = always_stored
    units: list[StoredUnit] = field(default_factory=list)
    slugs: list[str] = field(default_factory=lambda: ["docs"])
    stored_after_all: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    listing_fails: list[Failure] = field(default_factory=list)
    removal_fails: list[Failure] = field(default_factory=list)
    forbids: Sequence[StoredUnit] = ()
    in_flight: int = 0
    most_in_flight: int = 0
    is_proven_later: bool = False
    listing_gate: Gate = field(default_factory=Gate)
    uploading: Gate = field(default_factory=Gate)
    preparing: Gate = field(default_factory=Gate)
    removing: Gate = field(default_factory=Gate)
    workspace_id: int | None = 1
    preparing_fails: list[Failure] = field(default_factory=list)
    embedding: Callable[[str], Failure | None] = lambda text: None
    storing_control: Callable[[str], Failure | None] = lambda text: None
    probes_fail: list[Failure] = field(default_factory=list)
    distrusted: list[str] = field(default_factory=list)
    may_still_come: set[str] = field(default_factory=set)
    in_doubt: dict[str, Failure] = field(default_factory=dict)
    not_found: set[str] = field(default_factory=set)
    rows_are_proof: bool = True
    proofs_fail: list[Failure] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)  # by a search, where they are listed
    vectors_kept: list[StoredUnit] = field(default_factory=list)
    looked_for: list[tuple[list[Location], list[str]]] = field(default_factory=list)
    removed_by_uploads: list[StoredUnit] = field(default_factory=list)
    going_by_uploads: list[Location] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    controls_fail: list[Failure] = field(default_factory=list)
    is_gone: bool = False
    last_answer: float = 0.0
    clock: Callable[[], float] = time.monotonic

    async def prepare(self, slug: str, *, trace_id: str) -> None:
        self.prepared.append(slug)
        await self.preparing.passed()
        if self.preparing_fails:
            raise self.preparing_fails.pop(0)

    async def probe(self, *, trace_id: str | None = None) -> None:
        self.calls.append("probe")
        if self.probes_fail:
            raise self.probes_fail.pop(0)

    async def embeds(self, text: str, *, trace_id: str) -> None:
        self.calls.append(f"embed {text}")
        failure = self.embedding(text)
        if failure is not None:
            raise failure

    async def store_control(
        self, slug: str, text: str, *, trace_id: str, check: Callable[[], None]
    ) -> None:
        check()
        self.calls.append("store control")
        self.controls.append(text)
        if self.is_gone:
            raise _nobody()
        if self.controls_fail:
            raise self.controls_fail.pop(0)
        failure = self.storing_control(text)
        if failure is not None:
            raise failure
        self.last_answer = self.clock()

    async def answers(self, *, trace_id: str | None = None) -> None:
        self.calls.append("look")
        if self.is_gone:
            raise _nobody()
        self.last_answer = self.clock()

    def answered_at(self) -> float:
        return self.last_answer

    def begun_requests(self) -> int | None:
        return len(self.calls)

    async def silent(self) -> None:
        self.calls.append("silent")

    def distrust(self, slug: str) -> None:
        self.distrusted.append(slug)

    async def scan(
        self,
        slug: str,
        take: Callable[[StoredUnit], None],
        *,
        unless: str | None = None,
        trace_id: str,
    ) -> Listed | None:
        self.calls.append(f"listing {slug}")
        answer = list(self.units)  # as it was when the question arrived
        listed = Listed(
            self.workspace_id, len(answer), f"W/{self.workspace_id}-{hash(tuple(answer))}"
        )
        await self.listing_gate.passed()
        if self.listing_fails:
            raise self.listing_fails.pop(0)
        if listed.etag == unless:
            return None
        for number, unit in enumerate(answer):
            take(unit)
            if number % 500 == 499:
                await asyncio.sleep(0)  # rows arrive in pieces
        return listed

    async def is_sole(self, *, lacks: bool, trace_id: TraceId) -> None:
        pass

    async def rows_prove(self, *, trace_id: TraceId) -> bool:
        return self.rows_are_proof

    def is_proven(self, location: Location) -> bool:
        return location not in self.not_found

    async def prove(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> None:
        check()
        self.calls.append("prove")
        if self.proofs_fail:
            raise self.proofs_fail.pop(0)
        self.not_found -= {row.location for row in rows} & self.shown

    async def found(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        texts: Callable[[], Mapping[str, str]],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> frozenset[Location]:
        return frozenset(row.location for row in rows if row.location not in self.not_found)

    async def remains(
        self,
        slug: Slug,
        is_gone: Callable[[Marker], bool],
        locations: Sequence[Location],
        texts: Sequence[str],
        relist: Callable[[], Awaitable[None]],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> Remains | None:
        check()
        self.looked_for.append((list(locations), list(texts)))
        left = tuple(unit.marker for unit in self.vectors_kept if is_gone(unit.marker))
        if left:
            await relist()
            left = tuple(marker for marker in left if is_gone(marker))
        return Remains(left, "cure") if left else None

    async def workspaces(self, *, trace_id: TraceId) -> Sequence[Slug]:
        return [Slug(slug) for slug in self.slugs]

    def upload(self, slug: str, unit: Unit, *, trace_id: str, check: Callable[[], None]) -> Upload:
        return Upload(self, slug, unit, check)

    async def tidy(self, slug: str, *, trace_id: str) -> None:
        self.calls.append(f"tidy {slug}")

    async def remove(
        self,
        slug: str,
        locations: Sequence[str],
        *,
        trace_id: str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        check()
        self.calls.append(f"remove {len(locations)}")
        await self.removing.passed()
        await asyncio.sleep(0)
        if self.removal_fails:
            raise self.removal_fails.pop(0)
        gone = set(locations)
        if gone & {unit.location for unit in self.forbids}:
            forbidden = Failure("403: not allowed", http_status=403)
            forbidden.left = tuple(locations)
            raise forbidden
        self.units = [unit for unit in self.units if unit.location not in gone]


def _nobody() -> Failure:
    failure = Failure("nobody is there", fault=Fault.THEIRS)
    failure.not_there = True
    return failure


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def index_of(
    storage: Storage,
    clock: Clock | None = None,
    max_age: float = 600.0,
    *,
    identity: str = "{id}",
    max_bytes: int = 2**30,
    metrics: Metrics | None = None,
    is_ours: Callable[[int | None], bool] = lambda _: True,
) -> Index:
    return Index(
        storage,
        IdentityTemplate.parse(identity),
        max_age=max_age,
        max_bytes=max_bytes,
        clock=clock or Clock(),
        metrics=metrics or Metrics(),
        is_ours=is_ours,
    )


def gates_of(
    storage: Storage,
    *,
    clock: Callable[[], float] = time.monotonic,
    recovery: float = 60.0,
    threshold: int = 1_000_000,
    fuse: FuseRules | None = None,
    policy: RetryPolicy | None = None,
    metrics: Metrics | None = None,
) -> Gates:
    """Gates of which the breaker opens only where a test asks for a threshold."""
    metrics = metrics or Metrics()
    breaker = Breaker(
        failure_threshold=threshold,
        recovery_timeout=recovery,
        is_failure=lambda _: True,
        clock=clock,
    )
    circuit = Circuit(breaker, storage.probe, clock=clock)
    pauses = Pauses(
        policy or _POLICY,
        recovery=recovery,
        well_at=lambda: circuit.well_at,
        rng=random.Random(1),
        clock=clock,
        metrics=metrics,
    )
    return Gates(circuit, pauses, Fuse(fuse or FuseRules(share=0.0), clock), metrics=metrics)


def backoff_of(gates: Gates, policy: RetryPolicy = _POLICY) -> Backoff:
    return Backoff(gates, policy, rng=random.Random(1), metrics=Metrics())


def looks_of(clock: Callable[[], float] = time.monotonic) -> DueLooks:
    return DueLooks(AMBIGUITY, clock)


def doubts_of(
    looks: DueLooks | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: DAY,
) -> Doubts:
    return Doubts(looks or looks_of(clock), AMBIGUITY, clock, now)


def remover_of(
    storage: Storage,
    index: Index,
    gates: Gates,
    *,
    doubts: Doubts | None = None,
    clock: Callable[[], float] = time.monotonic,
    policy: RetryPolicy = _POLICY,
) -> Remover:
    return Remover(
        storage,
        index,
        gates,
        backoff_of(gates, policy),
        doubts or doubts_of(None, clock),
        ambiguity=AMBIGUITY,
        clock=clock,
    )


def eraser_of(
    storage: Storage,
    index: Index,
    gates: Gates,
    remover: Remover | None = None,
    doubts: Doubts | None = None,
) -> Eraser:
    remover = remover or remover_of(storage, index, gates)
    return Eraser(remover, storage, index, backoff_of(gates), doubts or doubts_of())


def deathwatch_of(
    storage: Storage,
    gates: Gates,
    *,
    slots: RequestSlots | None = None,
    others: Others | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: DAY,
) -> Deathwatch:
    """A watch of the only instance there is."""
    return Deathwatch(
        storage,
        slots or RequestSlots(asyncio.Semaphore(5), gates),
        gates,
        Deaths(DeathRules()),
        others or Others(lambda: True, lambda: None, lambda: 0.0, AMBIGUITY),
        rng=random.Random(1),
        clock=clock,
        now=now,
        metrics=Metrics(),
    )


def giving_up_of(
    storage: Storage,
    gates: Gates,
    slots: RequestSlots,
    *,
    rng: random.Random | None = None,
    recovery: float = 0.001,
    clock: Callable[[], float] = time.monotonic,
    many: int = 0,
) -> GivingUp:
    """One that judges within milliseconds, and holds no length, unless a test asks for more."""
    return GivingUp(
        storage,
        gates,
        PoisonProbe(storage, slots, rng or random.Random(1)),
        Lengths(clock, recovery=recovery, many=many),
        attempts=3,
        recovery=recovery,
        clock=clock,
    )


def uploader_of(
    storage: Storage,
    index: Index | None = None,
    *,
    slots: int | asyncio.Semaphore = 5,
    per_document: int = 5,
    gates: Gates | None = None,
    looks: DueLooks | None = None,
    doubts: Doubts | None = None,
    deathwatch: Deathwatch | None = None,
    culprits: Culprits | None = None,
    metrics: Metrics | None = None,
    in_work: DocumentsInWork | None = None,
) -> Uploader:
    slots = asyncio.Semaphore(slots) if isinstance(slots, int) else slots
    gates = gates or gates_of(storage)
    index = index or index_of(storage)
    shared = RequestSlots(slots, gates)
    rng = random.Random(1)
    return Uploader(
        storage,
        index,
        gates,
        giving_up_of(storage, gates, shared, rng=rng),
        backoff_of(gates),
        eraser_of(storage, index, gates),
        doubts or doubts_of(looks),
        deathwatch or deathwatch_of(storage, gates, slots=shared),
        culprits or Culprits(),
        slots=shared,
        per_document=per_document,
        policy=_POLICY,
        rng=rng,
        metrics=metrics or Metrics(),
        in_work=in_work,
    )


def sweep_of(
    storage: Storage,
    index: Index,
    gates: Gates,
    queues: KeyQueues,
    *,
    carried_out: CarriedOut | None = None,
    looks: DueLooks | None = None,
    doubts: Doubts | None = None,
    clock: Callable[[], float] = time.monotonic,
    is_assigned: Callable[[], bool] = lambda: True,
    permits: Callable[[str], bool] = lambda slug: True,
    taken_over_at: Callable[[], float | None] = lambda: None,
    metrics: Metrics | None = None,
) -> Sweep:
    looks = looks or looks_of(clock)
    doubts = doubts or doubts_of(looks, clock)
    return Sweep(
        storage,
        index,
        remover_of(storage, index, gates, doubts=doubts, clock=clock),
        gates,
        queues,
        carried_out or CarriedOut(),
        looks,
        doubts,
        permits=permits,
        is_assigned=is_assigned,
        is_ours=lambda partition: partition == 0,
        taken_over_at=taken_over_at,
        clock=clock,
        metrics=metrics or Metrics(),
    )


@dataclass
class WatchedRight:
    """A `RightToWork` that notes how it is waited."""

    fence: Fence = field(default_factory=lambda: Fence("test"))
    ways: list[str] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        return self.fence.closed

    def check(self) -> None:
        self.fence.check()

    def following(self) -> WatchedRight:
        return self

    def short(self) -> AbstractAsyncContextManager[None]:
        return self._waiting("short")

    def long(self) -> AbstractAsyncContextManager[None]:
        return self._waiting("long")

    def aside(self) -> AbstractAsyncContextManager[None]:
        return self._waiting("aside")

    @asynccontextmanager
    async def _waiting(self, way: str) -> AsyncIterator[None]:
        self.ways.append(way)
        async with self.fence.waiting():
            yield


@asynccontextmanager
async def finishing(*tasks: asyncio.Task[object]) -> AsyncIterator[None]:
    """Leaves no task behind."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
