"""The journey with the real client against the simulated AnythingLLM, in virtual time.

Everything of ours between Kafka and AnythingLLM is real, and so is HTTP, over connections in
memory; records come from a list and results go to one. ``World.rebalance`` and ``World.crash`` do
what Kafka and SIGKILL do: what was not committed comes again, to a pipeline that knows nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest

from consumer.anythingllm import AnythingLLMClient
from consumer.app.assembly import Pipeline, Rooms, publishing_by
from consumer.kafka.kept_deaths import deaths_name, settled_part
from consumer.kafka.ledger import Ledger, RecordMark
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.settled_metadata import anchor_of, check_of
from consumer.model.death_count import DeathCount
from consumer.model.marker import decode_marker
from consumer.model.packing import contents_of
from consumer.model.record import Coordinates, Headers, Record
from consumer.pipeline.census import MayBegin, begins
from consumer.pipeline.ports import Publish, Release
from consumer.resilience.fence import Fence
from consumer.sandbox.simulator import Options, Simulator, VectorDb
from consumer.settings import Settings, load_settings
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import NO_TRACING, Tracing
from consumer.wiring.anythingllm import anythingllm_config
from consumer.wiring.event_rules import decode_limits
from tests.doubles.decoding import decoding_here
from tests.packing import packing_or
from tests.virtual.loop import VirtualLoop

Json = dict[str, Any]

TOPIC = "documents.processed"
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = 3600.0
RECOVERY = 60.0

on_each_database = pytest.mark.parametrize(
    "vector_db", [VectorDb.LANCEDB, VectorDb.PGVECTOR, VectorDb.CHROMA]
)
"""For a test whose promise does not depend on the vector database behind AnythingLLM."""

on_each_database_slowly = pytest.mark.parametrize(
    "vector_db",
    [
        VectorDb.LANCEDB,
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (VectorDb.PGVECTOR, VectorDb.CHROMA)
        ),
    ],
)
"""The same where that takes seconds: `make test` plays one of them."""


def event(id: str, texts: Sequence[str], *, day: float = 0, technology: str = "docs") -> Json:
    """A document's event; ``day`` orders its versions."""
    return {
        "id": id,
        "title": f"The title of {id}",
        "source_url": f"https://docs.example/{id}",
        "technology": technology,
        "content_hash": f"{id}-{day}",
        "created_at": (EPOCH + timedelta(days=day)).isoformat(),
        "chunks": [
            {"id": f"{id}_{n}", "content": text, "chunk_index": n, "total_chunks": len(texts)}
            for n, text in enumerate(texts)
        ],
    }


class Delivery:
    """A record handed out, of one assignment."""

    def __init__(self, world: World, record: Record, fence: Fence, ledger: Ledger) -> None:
        self.record = record
        self.fence = fence
        self._world = world
        self._ledger = ledger

    @property
    def ended(self) -> bool:
        return self.fence.closed

    def carried_by(self, task: asyncio.Task[object]) -> None:
        self._world.working.add(task)
        task.add_done_callback(self._world.working.discard)

    settled_before = False
    carried_out_before = False
    held_before = False

    held_until = 0.0
    taken_over_at = None

    def deaths_of(self, what: str) -> DeathCount | None:
        return self._ledger.deaths_of(deaths_name(what), self.record.at.offset)

    def note_deaths(self, what: str, count: DeathCount | None) -> None:
        self._ledger.note_deaths(deaths_name(what), self.record.at.offset, count)

    def leave_in_doubt(self, what: str, until: float) -> Release:
        return lambda: None

    def left_in_doubt(self, what: str) -> bool:
        return False

    def settled(self, *, carried_out: bool = False) -> None:
        # Not when its fence is closed: what is in the middle of its answer then is waited for.
        assert self._ledger is self._world.ledger, "settled for a former assignment"
        self._ledger.settle(self.record.at.offset, carried_out=carried_out)
        self._world.changed.set()

    def hold(self, until: float, *, carried_out: bool) -> Release:
        self._ledger.hold(self.record.at.offset, until, carried_out=carried_out)
        self._world.changed.set()

        def release() -> None:
            if self._ledger is self._world.ledger:
                self.settled(carried_out=carried_out)

        return release


class _Sending:
    """What of a publisher the settle station gets to see."""

    def __init__(self, publish: Publish, sent: list[OutgoingRecord]) -> None:
        self._publish = publish
        self._sent = sent

    async def publish(self, record: OutgoingRecord) -> None:
        await self._publish(record.topic, record.key, record.value, record.headers)
        self._sent.append(record)


class World:
    """See the module's docstring. Make it with `world`."""

    def __init__(
        self,
        loop: VirtualLoop,
        sim: Simulator,
        seed: int,
        environment: Json,
        *,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.loop = loop
        self.tracing = tracing
        self.sim = sim
        one = {"ANYTHINGLLM_ENDPOINT": sim.endpoint, "ANYTHINGLLM_API_KEY": sim.api_key}
        several = "ANYTHINGLLM_ENDPOINTS" in environment
        self.settings: Settings = load_settings(
            {
                **({} if several else one),
                "BREAKER_RECOVERY_SECONDS": str(RECOVERY),
                "UPLOAD_CHUNKS_PER_PACK": packing_or("1"),
                "UPLOAD_PACKS_TRIAL": "true",
                **environment,
            }
        )
        self.records: list[Record] = []
        self.results: list[Json] = []
        self.letters: list[dict[str, str]] = []
        self.sent: list[OutgoingRecord] = []
        self.working: set[asyncio.Task[object]] = set()
        self.changed = asyncio.Event()
        self.metrics = Metrics()
        self.taken_over_at: float | None = None  # as Kafka would say after a crash
        self.has_others = False  # instances that have partitions
        self.may_begin: MayBegin = begins  # to make marks of several servers
        self.breaker: list[tuple[float, str]] = []
        self._seed = seed
        self._committed = 0
        self._deaths = ""  # of the metadata of the commit only that is kept
        self._position = 0
        self._news = asyncio.Event()
        self._fence = Fence("assignment")
        self._ledger = Ledger("test")
        self._tasks: list[asyncio.Task[None]] = []

    # What a test does

    def publish(
        self,
        value: Json | None,
        *,
        key: str | None = None,
        workspace: str | None = None,
        traceparent: str | None = None,
    ) -> int:
        """Append a record (None: a tombstone, for that workspace); its offset."""
        offset = len(self.records)
        name = key or (value or {})["id"]
        stamp = int((EPOCH + timedelta(days=30, seconds=self.loop.now)).timestamp() * 1000)
        body = None if value is None else orjson.dumps(value)
        given = {"workspace": workspace, "traceparent": traceparent}
        headers = tuple((name, text.encode()) for name, text in given.items() if text is not None)
        record = Record(Coordinates(TOPIC, 0, offset), stamp, name.encode(), body, headers)
        self.records.append(record)
        self._news.set()
        return offset

    async def start(self) -> None:
        """A process that knows nothing begins at the committed offset."""
        self._position = self._committed
        self._fence, self._ledger = Fence("assignment"), self._new_ledger()
        self._seed += 1
        self.client = self._new_client()
        await self.client.connect()
        self.pipeline = self._new_pipeline(self.client)
        works = (self.pipeline.journey("cluster").run(), *self.pipeline.watchers().values())
        self._tasks = [asyncio.create_task(work) for work in works]
        for task in self._tasks:
            task.add_done_callback(lambda _: self.changed.set())

    async def rebalance(self) -> None:
        """The partition goes and comes back to the same process, which drains."""
        self._fence.close()
        if self.working:
            await asyncio.wait(self.working)
        self._commit()
        self.pipeline.forget()
        self._position = self._committed
        self._fence, self._ledger = Fence("assignment"), self._new_ledger()
        self._news.set()

    async def crash(self, *, commit: bool = True) -> None:
        """The process is gone in the middle of whatever it did."""
        if commit:
            self._commit()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.disconnect()
        self.working.clear()

    async def settled(self, *, within: float = HOUR) -> None:
        """Every record is settled."""
        await self._until(self._done, within)

    async def has_results(self, count: int, *, within: float = HOUR) -> None:
        """So many results were published."""
        await self._until(lambda: len(self.results) >= count, within)

    async def idle(self, seconds: float) -> None:
        """Time passes."""
        await asyncio.sleep(seconds)
        self._check()

    # What a test looks at

    @property
    def open(self) -> int:
        """Records received and not settled."""
        return self._ledger.open_count

    @property
    def ledger(self) -> Ledger:
        """Of the assignment that lasts."""
        return self._ledger

    def fuse_blown(self) -> bool:
        """Whether nobody is given up now."""
        return self.pipeline.gates.fuse.blown

    def statuses(self) -> Counter[str]:
        """How often each status was answered, repeats of an event counted once."""
        first = {result["event_id"]: result["status"] for result in reversed(self.results)}
        return Counter(first.values())

    def last(self, status: str) -> float:
        """When the last result of this status was published."""
        return max(float(result["at"]) for result in self.results if result["status"] == status)

    def stored(self, slug: str = "docs") -> Counter[str]:
        """The chunk ids that stand in a workspace and can be found, with their copies."""
        found: Counter[str] = Counter()
        for source, _, copies in self.sim.chunks(slug):
            marker = decode_marker(source)
            if marker is not None and copies:
                found.update(chunk.id for chunk in marker.chunks)
        return found

    def copies(self) -> Counter[int]:
        """How many chunks can be found how often, over all workspaces, listed or not."""
        every: Counter[str] = Counter()
        for slug in self.sim.state.workspaces:
            every += self.stored(slug) + self.orphans(slug)
        return Counter(every.values())

    def orphans(self, slug: str = "docs") -> Counter[str]:
        """The chunk ids that searches in a workspace find although nothing lists them any more."""
        found: Counter[str] = Counter()
        for source, _ in self.sim.orphans(slug):
            marker = decode_marker(source)
            if marker is not None:
                found.update(chunk.id for chunk in marker.chunks)
        return found

    def uploads(self) -> int:
        """Chunks that AnythingLLM took so far, sentinels not counted."""
        stored = self.sim.journal.of("document.stored")
        markers = (decode_marker(entry["doc_source"]) for entry in stored)
        return sum(len(marker.chunks) for marker in markers if marker is not None)

    def texts(self, slug: str = "docs") -> list[str]:
        """Of all chunks and strange documents that a workspace lists, in order."""
        listed = (text for _, text, _ in self.sim.chunks(slug))
        return sorted(each for text in listed for each in contents_of(text))

    def requests(self, path: str = "") -> int:
        """Requests answered so far whose path contains this."""
        return sum(path in entry["path"] for entry in self.sim.journal.of("request.answered"))

    async def _until(self, condition: Callable[[], bool], within: float) -> None:
        """Return when the condition holds, at the moment it does."""
        async with asyncio.timeout(within):
            while not condition():
                self._check()
                self.changed.clear()
                await self.changed.wait()

    def _done(self) -> bool:
        return self._position == len(self.records) and self._ledger.open_count == 0

    def _check(self) -> None:
        """Raise what a task of ours died of."""
        for task in self._tasks:
            if task.done():
                task.result()

    def _new_ledger(self) -> Ledger:
        ledger = Ledger("test")
        ledger.begin_at(self._committed, metadata=self._deaths)
        return ledger

    def _commit(self) -> None:
        if (due := self._ledger.due) is not None:
            self._ledger.committed(due.offset, due.metadata)
            self._committed = due.offset
            self._deaths = due.metadata.removeprefix(settled_part(due.metadata))

    async def _poll(self, timeout: float) -> Delivery | None:
        if self._position == len(self.records):
            self._news.clear()
            # Longer than asked: nobody stops this journey, and each look would cost real time.
            with suppress(TimeoutError):
                async with asyncio.timeout(60):
                    await self._news.wait()
        if self._position >= len(self.records):
            return None
        record = self.records[self._position]
        self._position += 1
        mark = RecordMark(check_of(record), anchor_of(record, "cluster"))
        self._ledger.receive(record.at.offset, self.loop.now, mark)
        return Delivery(self, record, self._fence, self._ledger)

    async def _publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        await asyncio.sleep(0.005)
        if topic == self.settings.kafka.results_topic:
            self.results.append({**orjson.loads(value or b""), "at": self.loop.now})
            self.changed.set()
        else:
            self.letters.append({name: content.decode() for name, content in headers})

    def _new_client(self) -> AnythingLLMClient:
        client = AnythingLLMClient(
            anythingllm_config(self.settings),
            calls_feed_breaker=False,
            clock=self.loop.time,
            rng=random.Random(self._seed),
            tracing=self.tracing,
        )
        client.on_breaker_change(lambda _, new: self.breaker.append((self.loop.now, new)))
        return client

    def _new_pipeline(self, client: AnythingLLMClient) -> Pipeline:
        return Pipeline(self.settings, self._rooms(client))

    def _rooms(self, client: AnythingLLMClient) -> Rooms:
        return Rooms(
            poll=self._poll,
            storage=client.storage,
            breaker=client.circuit_breaker,
            publish=publishing_by(
                cast(Publisher, _Sending(self._publish, self.sent)),
                results=self.settings.kafka.results_topic,
                tracing=self.tracing,
            ),
            is_assigned=lambda: True,
            is_ours=lambda partition: partition == 0,
            taken_over_at=lambda: self.taken_over_at,
            holds_all=lambda: not self.has_others,
            in_doubt_until=lambda: 0.0,
            metrics=self.metrics,
            rng=random.Random(self._seed),
            clock=self.loop.time,
            now=lambda: EPOCH + timedelta(days=30, seconds=self.loop.now),
            decode_apart=decoding_here(decode_limits(self.settings)),
            may_begin=self.may_begin,
            tracing=self.tracing,
        )


@asynccontextmanager
async def world(
    *,
    seed: int = 1,
    options: Options | None = None,
    vector_db: str = VectorDb.LANCEDB,
    tracing: Tracing = NO_TRACING,
    **environment: str,
) -> AsyncIterator[World]:
    """A running world; call it on a virtual loop (`tests.virtual.loop.virtually`).

    Args:
        seed: of everything random on our side.
        options: of the simulated server.
        vector_db: behind it, where no options are given.
        tracing: of the service.
        environment: settings by their names.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    start = EPOCH.timestamp() + 30 * 86_400
    chosen = replace(options or Options(vector_db=vector_db), seed=seed)
    sim = Simulator(chosen, clock=lambda: start + loop.now)
    await sim.start()
    made = World(loop, sim, seed, environment, tracing=tracing)
    try:
        await made.start()
        yield made
    finally:
        await made.crash(commit=False)
        sim.faults.clear()
        await sim.close()
