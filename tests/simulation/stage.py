"""Members of one group over one simulated AnythingLLM, in virtual time; everything of ours is real.

A member is what `consumer.app.service` puts together: source, journey, client, watchers, the drain.
A member that is killed stands still for ever: nothing of it runs any more, no `finally` either; the
kernel resets its connections, and the group finds out by itself.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from unittest.mock import patch

import orjson
from aiohttp import web
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from consumer.anythingllm.database_control import REMOVES_SECONDS
from consumer.anythingllm.document_removal import NOWHERE
from consumer.anythingllm.sentinel import is_sentinel, sentinel_text
from consumer.kafka import source as source_module
from consumer.model import origin as of
from consumer.model.record import Headers, Record
from consumer.sandbox.simulator import Options, Simulator
from consumer.settings import Settings, load_settings
from tests.packing import packing_or
from tests.simulation.kafka import SimulatedKafka
from tests.simulation.member import AGENT, Member, Surroundings
from tests.simulation.schedule import Hit, On, Setup
from tests.virtual.loop import OWNER, VirtualLoop

Json = dict[str, Any]

DOCUMENTS = "documents.processed"
REPLAYS = "documents.processed.replay"
RESULTS = "documents.upload-results"
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
START = EPOCH + timedelta(days=30)
STRANGE = "a stranger's text in "
DELETES_FAIL = frozenset({"vectors-kept", "database-down"})
_PORT = 3001
_OTHER_DIMENSION = 32
_SENTINEL_TEXT = sentinel_text("").encode()
_PUBLISH_SECONDS = 0.005

PATHS: Mapping[str, tuple[str, str]] = {
    "upload": ("POST", "*/raw-text"),
    "embed": ("POST", "*/update-embeddings"),
    "check": ("GET", "*/document/raw-*"),
    "listing": ("GET", "*/workspace/*"),
    "removal": ("DELETE", "*/remove-documents"),
    "search": ("POST", "*/vector-search"),
    "counts": ("GET", "*/vector_stores"),
    "workspaces": ("GET", "*/workspaces"),
    "create": ("POST", "*/workspace/new"),
    "key": ("GET", "*/auth"),
    "collector": ("GET", "*/accepted-file-types"),
    "embedder": ("POST", "*/openai/embeddings"),
    "metrics": ("GET", "*/metrics"),
    "any": ("*", "*"),
}
"""Method and path of each endpoint, as rules of the simulated server take them."""


def endpoint_of(method: str, path: str) -> str:
    """Which endpoint a request is for."""
    tail = path.rstrip("/").rsplit("/", 2)
    last = tail[-1]
    match method, last:
        case "POST", "raw-text":
            return "upload"
        case "POST", "update-embeddings":
            return "embed"
        case "POST", "vector-search":
            return "search"
        case "DELETE", "remove-documents":
            return "removal"
        case "GET", _ if len(tail) > 1 and tail[-2] == "workspace":
            return "listing"
        case "GET", _ if last.startswith("raw-"):
            return "check"
    return "other"


class Observer(Protocol):
    """Is told of everything while it happens, and keeps what is not as it should be."""

    def published(self, record: Record, value: Json | None) -> None: ...

    def committed(self, partition: TopicPartition, offset: int) -> None: ...

    def answered(self, owner: str, result: Json) -> None: ...

    def lettered(self, headers: Mapping[str, str]) -> None: ...

    def changing(self, owner: str, endpoint: str) -> None: ...

    def removed(self, slug: str, source: str, kept: int) -> None: ...

    def died(self, owner: str, error: BaseException) -> None: ...


class WatchedSimulator(Simulator):
    """Tells of every request that arrives, and of every row that was removed."""

    arrives: Callable[[web.BaseRequest], Any]
    removed: Callable[[str, str, str, int], None]
    inserted: Callable[[], None]

    def watch(self) -> None:
        """Begin to tell."""
        record = self.journal.record
        sources: dict[str, str] = {}  # by location; a file may go before its row does

        def told(action: str, **fields: Any) -> None:
            record(action, **fields)
            if action == "document.stored":
                sources[fields["location"]] = fields["doc_source"]
            if action == "vectors.stored" and "/raw-the-title-" in fields["location"]:
                self.inserted()
            if action == "document.unembedded" and fields["vectors"]:
                location = fields["location"]
                source = sources.get(location, "")
                self.removed(fields["slug"], location, source, fields["kept"])

        self.journal.record = told  # type: ignore[method-assign]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await self.arrives(request)
        return await super()._handle(request)


@functools.lru_cache(maxsize=256)
def _settings(setup: Setup, endpoint: str, key: str, packing: str) -> Settings:
    return load_settings(
        {
            "ANYTHINGLLM_ENDPOINT": endpoint,
            "ANYTHINGLLM_API_KEY": key,
            "ANYTHINGLLM_AMBIGUITY_SECONDS": str(setup.ambiguity),
            "UPLOAD_TIMEOUT_SECONDS": str(setup.upload_timeout),
            "REMOVAL_TIMEOUT_SECONDS": str(setup.removal_timeout),
            "INDEX_MAX_AGE_SECONDS": str(setup.max_age),
            "KAFKA_SESSION_TIMEOUT_SECONDS": str(setup.session),
            "KAFKA_COMMIT_INTERVAL_SECONDS": str(setup.commit_every),
            "INTAKE_MAX_DOCUMENTS_IN_FLIGHT": str(setup.in_flight),
            "UPLOAD_MAX_CHUNKS_PER_DOCUMENT": str(setup.per_document),
            "UPLOAD_CHUNKS_PER_PACK": packing,
            "UPLOAD_PACKS_TRIAL": "true",
            "SHUTDOWN_DRAIN_SECONDS": str(setup.drain),
        }
    )


@dataclass(frozen=True)
class Kept:
    """How it came that a row went and its vectors stayed.

    Args:
        by_event: whether for an event; else it was a look after left-overs.
        at_once: within the minute in which nobody can know that removals have begun to fail. A test
            of removals that had begun before may have gone well, however long it took.
    """

    by_event: bool
    at_once: bool


@dataclass
class _Bell:
    """Who waits for the nth time that something happens."""

    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)


class Stage:
    """See the module's docstring. Make it with `staged`.

    Args:
        loop: its time.
        setup: how things are.
        seed: of what is random.
        observer: told of everything.
    """

    def __init__(self, loop: VirtualLoop, setup: Setup, seed: int, observer: Observer) -> None:
        self.loop = loop
        self.setup = setup
        self.seed = seed
        self.observer = observer
        self.watch_lease = False  # it costs time, and is needed only where somebody stands still
        self.members: dict[str, Member] = {}
        self.dead: list[Member] = []
        self.sim_down = False
        self.counts: Counter[str] = Counter()
        self.events: dict[str, Record] = {}  # by name, for replays
        self.strange_vectors = False  # some may have been of another length
        self.hands: dict[str, list[float]] = {}  # when people changed a workspace
        self.kept: dict[tuple[str, str], Kept] = {}  # by workspace and docSource
        self._removals: dict[str, tuple[float, bool]] = {}  # by location: when, and by an event
        self._put_back: set[str] = set()  # locations that one request takes out and puts in
        self._deletes_fail_since = 0.0
        self._test_began = self._test_looked = 0.0  # of the last test document
        self._bells: dict[str, _Bell] = {}
        clock_start = START.timestamp()
        self.sim = WatchedSimulator(
            Options(port=_PORT, seed=seed, vector_db=setup.vector_db),
            clock=lambda: clock_start + loop.now,
        )
        self.sim.arrives = self._arrives
        self.sim.removed = self._removed
        self.sim.inserted = lambda: self.happened("insert")
        self.sim.watch()
        self.kafka = SimulatedKafka(
            loop,
            {DOCUMENTS: setup.partitions, REPLAYS: setup.partitions},
            happened=self.happened,
            commit_seen=self._commits,
        )

    # What happens, and who waits for it

    def happened(self, what: str) -> None:
        """Count it, and wake who waits for it."""
        self.counts[what] += 1
        bell = self._bells.get(what)
        if bell is None:
            return
        for nth, waiter in bell.waiting:
            if nth <= self.counts[what] and not waiter.done():
                waiter.set_result(None)

    async def moment(self, on: On, within: float) -> None:
        """Return at that moment, or when it has not come in time."""
        if self.counts[on.what] < on.nth:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._bells.setdefault(on.what, _Bell()).waiting.append((on.nth, waiter))
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await waiter
        if on.seconds:
            await asyncio.sleep(on.seconds)
        for _ in range(on.turns):
            await asyncio.sleep(0)

    async def _arrives(self, request: web.BaseRequest) -> None:
        endpoint = endpoint_of(request.method, request.path)
        if endpoint == "search" and _SENTINEL_TEXT in await request.read():
            self._test_looked = self.loop.now
        if endpoint in ("upload", "embed", "removal"):
            body = orjson.loads(await request.read())
            if self._is_about_sentinels(endpoint, body):
                self._test_began = self.loop.now if endpoint == "upload" else self._test_began
                endpoint = "sentinel"
            else:
                owner = request.headers.get("User-Agent", "").removeprefix(AGENT)
                self.observer.changing(owner, endpoint)
            by_event = "traceparent" in request.headers
            for location in (*body.get("names", ()), *body.get("deletes", ())):
                self._removals[location] = (self.loop.now, by_event)
            self._put_back |= {*body.get("deletes", ())} & {*body.get("adds", ())}
        self.happened(endpoint)

    def _removed(self, slug: str, location: str, source: str, kept: int) -> None:
        """A row went that had vectors; so many of them are still there."""
        if kept:
            self.happened("vectors.kept")
            sent, by_event = self._removals.get(location, (0.0, False))
            since = self._deletes_fail_since
            tested = self._test_looked if self._test_began <= since else since
            at_once = sent - max(since, tested) <= REMOVES_SECONDS
            self.kept[slug, source] = Kept(by_event, at_once)
        if location in self._put_back:  # no search found it, and it is put in anew at once
            self._put_back.discard(location)
        else:
            self.observer.removed(slug, source, kept)

    def _is_about_sentinels(self, endpoint: str, body: Json) -> bool:
        if endpoint == "upload":
            return is_sentinel(body["metadata"]["docSource"])
        named: Sequence[str] = body["names"] if endpoint == "removal" else body["adds"]
        # They may be gone by now; and one that does not exist is harmless.
        return all("/raw-readiness-check-" in name or name == NOWHERE for name in named)

    def _commits(self, partition: TopicPartition, offset: int, owner: str) -> None:
        self.happened("commit")
        self.observer.committed(partition, offset)

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """What members publish with: results and letters."""
        owner = OWNER.get()
        name = "result" if topic == RESULTS else "letter"
        self.happened(name)
        while True:
            try:
                await self.kafka.reach(owner)
                break
            except KafkaTimeoutError:
                await asyncio.sleep(1)
        if topic == RESULTS:
            self.observer.answered(owner, orjson.loads(value or b""))
        else:
            self.observer.lettered({key: content.decode() for key, content in headers})
        self.happened(f"{name}.written")
        await asyncio.sleep(_PUBLISH_SECONDS)

    # What publishers do

    def partition_of(self, identity: str) -> int:
        """One identity, one partition."""
        return sum(identity.encode()) % self.setup.partitions

    def now_ms(self) -> int:
        """The wall clock."""
        return int((START.timestamp() + self.loop.now) * 1000)

    def write(
        self, identity: str, value: Json | None, *, headers: Headers = (), name: str = ""
    ) -> None:
        """An event on the documents topic."""
        body = None if value is None else orjson.dumps(value)
        partition = self.partition_of(identity)
        record = self.kafka.append(
            DOCUMENTS, partition, identity.encode(), body, headers, self.now_ms()
        )
        if name:
            self.events[name] = record
        self.observer.published(record, value)
        self.happened("published")

    def replay(self, name: str, *, repack: bool = False, rebuild: bool = False) -> None:
        """An event once more, on the replay topic, with its origin in headers."""
        original = self.events.get(name)
        if original is None:
            return
        at = original.at
        origin = (
            (of.TOPIC, at.topic),
            (of.PARTITION, str(at.partition)),
            (of.OFFSET, str(at.offset)),
            (of.TIMESTAMP, str(original.timestamp_ms)),
            *(((of.REPACK, "true"),) if repack else ()),
            *(((of.REBUILD, "2026-01-01T00:00:00Z"),) if rebuild else ()),
        )
        headers = (*original.headers, *((name, text.encode()) for name, text in origin))
        record = self.kafka.append(
            REPLAYS, at.partition, original.key, original.value, headers, self.now_ms()
        )
        value = None if original.value is None else orjson.loads(original.value)
        self.observer.published(record, value)
        self.happened("published")

    # What befalls members

    def start(self, name: str) -> None:
        """A new process of this name, if none runs."""
        if name in self.members:
            return
        self.seed += 1
        starts = len(self.dead) + len(self.members)
        owner = f"{name}{starts}"
        packing = packing_or(self.setup.packing).split(",")
        packs = packing[starts % len(packing)]
        around = Surroundings(
            self.loop,
            _settings(self.setup, self.sim.endpoint, self.sim.api_key, packs),
            self.kafka,
            lambda: START + timedelta(seconds=self.loop.now),
            self.publish,
            self.observer.died,
            self.watch_lease,
        )
        member = self.members[name] = Member(around, owner, self.seed)
        member.begin()
        self.happened("start")

    def crash(self, name: str) -> None:
        """SIGKILL."""
        if (member := self.members.pop(name, None)) is None:
            return
        self.dead.append(member)
        self.loop.freeze(member.owner)
        self.loop.network.break_off(member.owns)
        self.kafka.consumers.pop(member.owner, None)
        self.kafka.idle_since.pop(member.owner, None)

    async def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL for who does not end."""
        if (member := self.members.get(name)) is None:
            return
        member.stop()
        done, _ = await asyncio.wait({member.task}, timeout=self.setup.drain + 30)
        if self.members.get(name) is not member:
            return
        if done:
            del self.members[name]
            self.dead.append(member)
        else:
            self.crash(name)

    # What befalls AnythingLLM

    def add_faults(self, hits: Iterable[Hit]) -> None:
        """Things that go wrong with requests from now on."""
        for hit in hits:
            method, path = PATHS[hit.on]
            if hit.slug:
                path = path.replace("workspace/*", f"workspace/{hit.slug}")
            details: Json = {
                "method": method, "path": path, "contains": hit.contains, "skip": hit.skip,
                "times": hit.times, "status": hit.status, "seconds": hit.seconds,
                "apply": hit.apply, "late": hit.late,
            }  # fmt: skip
            if hit.retry_after is not None:
                details["headers"] = {"Retry-After": str(hit.retry_after)}
            self.sim.faults.add(hit.kind, **details)

    def break_database(self, what: str, *, broken: bool) -> None:
        """Break or mend the vector database (the last four of `schedule.Change`)."""
        faults = self.sim.faults
        did_fail = faults.vectors_kept or faults.database_down
        match what:
            case "vectors-refused":
                faults.vectors_refused = broken
            case "vectors-kept":
                faults.vectors_kept = broken
            case "database-down":
                faults.database_down = broken
            case "dimension":
                faults.embedder_dimension = _OTHER_DIMENSION if broken else None
                self.strange_vectors = True
        if broken and not did_fail and what in DELETES_FAIL:
            self._deletes_fail_since = self.loop.now

    def usual(self) -> None:
        """Nothing is wrong but what is so to the very end."""
        self.sim.faults.clear()
        self.sim.faults.latency = self.setup.latency
        self.sim.faults.visible_after_seconds = self.setup.visible_after

    def mend(self, *, but: Sequence[Hit] = ()) -> None:
        """Everything goes well again, but for these."""
        self.usual()
        self.add_faults(but)

    async def prepare(self, slug: str) -> None:
        """A workspace in use by strangers."""
        sim = self.sim
        workspace = sim.state.create_workspace(slug, {})
        metadata = {
            "url": "", "title": "strange.txt", "docAuthor": "", "description": "",
            "docSource": "a stranger", "chunkSource": "", "published": "", "wordCount": 1,
            "token_count_estimate": 1,
        }  # fmt: skip
        file = sim.state.add_file("strange", metadata, STRANGE + slug)
        assert await sim.model.add(workspace, file)
        sim.damage("aged", slug, seconds=3600)

    def sentinels(self) -> bool:
        """Whether a test document is in any workspace."""
        return any(
            is_sentinel(source)
            for slug in self.sim.state.workspaces
            for source, _, _ in self.sim.chunks(slug)
        )

    def change_by_hand(self, what: str, slug: str) -> None:
        """People empty a workspace, make it anew, or delete it, in AnythingLLM's pages."""
        workspace = self.sim.state.workspaces.get(slug)
        if workspace is None:
            return
        self.hands.setdefault(slug, []).append(self.loop.now)
        for source, _ in self.sim.orphans(slug):  # an event may have told of them
            self.kept.setdefault((slug, source), Kept(by_event=False, at_once=True))
        self.sim.model.delete_workspace(workspace)
        if what == "delete":
            return
        new = self.sim.state.create_workspace(slug, {})
        if what == "empty":
            new.id, new.fields["id"] = workspace.id, workspace.id
            new.changes += workspace.changes + 1  # or a listing of before would be kept for it

    def paused(self) -> frozenset[str]:
        """The workspaces that some member's pages name as sick."""
        pipelines = [member.pipeline for member in self.members.values() if member.pipeline]
        return frozenset(slug for each in pipelines for slug in each.gates.pauses.paused)

    # The end

    async def settled(self, within: float) -> bool:
        """Everything published is settled and committed; false when it is not in time."""
        end = self.loop.now + within
        pause = 1.0
        while not self._done():
            if self.loop.now >= end:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, 30.0)
        return True

    def _done(self) -> bool:
        committed = self.kafka.group.committed
        for partition, log in self.kafka.logs.items():
            if not log.records:
                continue
            at = committed.get(partition)
            if at is None or at.offset <= max(log.records):
                return False
        return True

    async def close(self) -> None:
        """End every task. Those of dead members run on into a network that refuses them."""
        self.loop.network.refuses = True
        self.loop.network.break_off()
        everybody = [*self.dead, *self.members.values()]
        me = asyncio.current_task()
        for member in everybody:
            self.loop.thaw(member.owner)
            self.kafka.reconnect(member.owner)
        while left := {task for task in asyncio.all_tasks() if task is not me}:
            for task in left:
                task.cancel()
            await asyncio.wait(left)


@asynccontextmanager
async def staged(setup: Setup, seed: int, observer: Observer) -> AsyncIterator[Stage]:
    """A stage whose AnythingLLM runs; nobody of ours does yet."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    stage = Stage(loop, setup, seed, observer)
    # The one place where the service meets aiokafka's consumer.
    with patch.object(source_module, "AIOKafkaConsumer", stage.kafka.consumer):
        try:
            for slug in setup.prepared:
                await stage.prepare(slug)
            await stage.sim.start()
            stage.usual()
            yield stage
        finally:
            await stage.close()
            await stage.sim.close()
