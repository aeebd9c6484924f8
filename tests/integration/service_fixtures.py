"""The running service between a real Kafka and a simulated AnythingLLM, for journey tests.

``Stage`` sets the five topics up under names of their own, starts as many services as a test
wants, publishes, and hears what they answer. Nothing here sleeps to wait for something: results
and dead letters arrive through followers that wake whoever waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from consumer.app import Service
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.kafka.topics import open_admin
from consumer.model.record import Headers, Record
from consumer.operations.ports import KafkaAccess
from consumer.sandbox.kafka import LocalKafka
from consumer.sandbox.simulator import Simulator
from consumer.settings import Settings, load_settings
from consumer.wiring.kafka import kafka_clients, kafka_connection
from consumer.wiring.topics import topic_specs
from tests.published import validated
from tests.staging import QUICK, SECONDS, Json, StoredView, first_by_event, lived_in
from tests.staging import document as document
from tests.staging import eventually as eventually
from tests.staging import header as header
from tests.staging import statuses as statuses
from tests.staging import texts as texts
from tests.topics import create_topics

_LOOK_SECONDS = 0.02
_CLOSING_SECONDS = 15.0


@dataclass(slots=True)
class Running:
    """A service that runs as a task of this process."""

    service: Service
    task: asyncio.Task[None]

    async def has_open(self, records: int, seconds: float = SECONDS) -> None:
        """Return when so many records are in its hands, received and not settled."""
        await eventually(lambda: self.service._source.open_count == records, seconds)

    async def ready(self, seconds: float = SECONDS) -> None:
        """Return when it has its partitions."""
        await eventually(lambda: self.task.done() or not self.service.condition.ready(), seconds)
        assert not self.task.done(), "the service ended while it was starting"

    async def stop(self, seconds: float = SECONDS) -> None:
        """Stop it as SIGTERM does, and raise what it died of."""
        self.service.stop()
        async with asyncio.timeout(seconds):
            await self.task


@dataclass(slots=True)
class Heard:
    """What one topic has said so far."""

    records: list[Record] = field(default_factory=list)


class Stage(StoredView):
    """See the module's docstring; made by the fixture `stage` or by `open_stage`.

    Args:
        kafka: a running broker.
        simulator: a running AnythingLLM.
        env: settings that all services of the stage have.
    """

    def __init__(self, kafka: LocalKafka, simulator: Simulator, env: Mapping[str, str]) -> None:
        super().__init__(simulator)
        self.kafka = kafka
        self.env = dict(env)
        self.settings = self.with_settings()
        self.connection: KafkaConnection = kafka_connection(self.settings)
        self.clients: KafkaAccess = kafka_clients(self.settings)
        self.running: list[Running] = []
        self._publisher = Publisher(self.connection, give_up=True)
        self._heard: dict[str, Heard] = {}
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    @property
    def documents(self) -> str:
        """The input topic."""
        return self.settings.kafka.documents_topic

    def with_settings(self, **changes: str) -> Settings:
        """The stage's settings with changes."""
        return load_settings(self.env | changes)

    # -- before and after --------------------------------------------------------------------------

    async def create_topics(self, *purposes: str, partitions: int = 3) -> None:
        """Create the topics of these purposes (all of them by default), and listen to ours."""
        specs = topic_specs(self.settings, partitions)
        chosen = [s for s in specs if not purposes or s.purpose in purposes]
        await create_topics(self.connection, chosen)
        ours = {self.settings.kafka.results_topic, self.settings.kafka.dead_letters_topic}
        for name in (spec.name for spec in chosen if spec.name in ours):
            self.follow(name)

    def follow(self, topic: str) -> None:
        """Hear everything that is published to a topic."""
        heard = self._heard.setdefault(topic, Heard())
        self._followers[topic] = asyncio.create_task(self._listen(topic, heard))

    async def unfollow(self, topic: str) -> None:
        """Stop listening, before a topic is removed."""
        follower = self._followers.pop(topic, None)
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _listen(self, topic: str, heard: Heard) -> None:
        async for record in read_topic(self.connection, topic, follow=True):
            heard.records.append(record)
            self._changed.set()

    async def close(self) -> None:
        """Stop everything and remove the topics."""
        for running in self.running:
            running.service.stop()
        tasks = [running.task for running in self.running]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
        with suppress(TimeoutError, KafkaUnavailableError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._say_farewell()
        tasks += self._followers.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._publisher.stop()
        async with open_admin(self.connection) as admin:
            await admin.delete([spec.name for spec in topic_specs(self.settings)])

    async def _say_farewell(self) -> None:
        """Let every follower hear something: who is cancelled while he connects leaks a socket."""
        for topic in self._followers:
            heard = self._heard[topic]
            known = len(heard.records)
            await self.publish(b"farewell", key=None, topic=topic)
            await self._heard_more_than(known, heard)

    async def _heard_more_than(self, known: int, heard: Heard) -> None:
        while len(heard.records) <= known:
            self._changed.clear()
            await self._changed.wait()

    # -- the service -------------------------------------------------------------------------------

    async def start(self, *, ready: bool = True, **changes: str) -> Running:
        """Start a service.

        Args:
            ready: wait until it has partitions.
            changes: settings of this one.
        """
        service = Service(self.with_settings(**changes))
        running = Running(service, asyncio.create_task(service.run(), name="service"))
        running.task.add_done_callback(lambda _: self._changed.set())
        self.running.append(running)
        if ready:
            await running.ready()
        return running

    async def stop(self) -> None:
        """Stop all services that still run."""
        for running in self.running:
            await running.stop()

    async def finish(self) -> None:
        """Wait until every event is committed, then stop.

        That is promised of services that run. A stop commits quickly or not at all, and nothing
        where the member is just joining anew.
        """
        await self.wait_committed()
        await self.stop()

    # -- in ----------------------------------------------------------------------------------------

    async def publish(
        self,
        value: bytes | Json | None,
        *,
        key: bytes | str | None = "",
        headers: Headers = (),
        partition: int | None = None,
        topic: str | None = None,
    ) -> None:
        """Publish an event; its key is the document's id unless another is given."""
        if isinstance(value, dict):
            key = value.get("id") if key == "" else key
            value = orjson.dumps(value)
        if self._publisher._producer is None:
            await self._publisher.start()
        encoded = key.encode() if isinstance(key, str) else key
        record = OutgoingRecord(topic or self.documents, encoded, value, headers, partition)
        await self._publisher.publish(record)

    async def publish_all(self, events: Iterable[Json]) -> None:
        """Publish events in order."""
        for event in events:
            await self.publish(event)

    # -- out ---------------------------------------------------------------------------------------

    @property
    def results(self) -> list[Json]:
        """All results so far, repeats included; each has to fit what is published of results."""
        heard = self._heard[self.settings.kafka.results_topic].records
        return [validated(record.value or b"null") for record in heard]

    @property
    def result_records(self) -> list[Record]:
        """The same as records."""
        return list(self._heard[self.settings.kafka.results_topic].records)

    async def wait_results(self, count: int, seconds: float = SECONDS) -> list[Json]:
        """The results of the first ``count`` events that were answered, once they are there."""
        await self._until(lambda: len(first_by_event(self.results)) >= count, seconds)
        return first_by_event(self.results)

    @property
    def dead_letters(self) -> list[Record]:
        """All dead letters so far."""
        return list(self._heard[self.settings.kafka.dead_letters_topic].records)

    async def wait_dead_letters(self, count: int, seconds: float = SECONDS) -> list[Record]:
        """The dead letters, once there are that many."""
        await self._until(lambda: len(self.dead_letters) >= count, seconds)
        return self.dead_letters

    async def everything(self, topic: str) -> list[Record]:
        """What a topic holds now: to prove that something is *not* there."""
        return [record async for record in read_topic(self.connection, topic)]

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    self._nobody_died()
                    await self._changed.wait()
        except TimeoutError:
            said = [(r["document_id"], r["status"]) for r in self.results]
            pytest.fail(f"waited {seconds} s; results: {said}, letters: {len(self.dead_letters)}")

    def _nobody_died(self) -> None:
        for task in [*(running.task for running in self.running), *self._followers.values()]:
            if task.done() and not task.cancelled() and (died := task.exception()) is not None:
                raise died

    # -- what is true afterwards -------------------------------------------------------------------

    async def offsets(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of the input topic: the group's committed offsets (0 where none) and the ends."""
        committed = await self.committed()
        ends = dict.fromkeys(committed, 0)
        for record in await self.everything(self.documents):
            ends[record.at.partition] = max(ends[record.at.partition], record.at.offset + 1)
        return committed, ends

    async def committed(self) -> dict[int, int]:
        """The group's committed offset in each partition of the input topic; 0 where none."""
        found = await self._committed()
        async with open_admin(self.connection) as admin:
            partitions = await admin.partitions(self.documents)
        offsets = dict.fromkeys(range(partitions), 0)
        for partition, said in found.items():
            if partition.topic == self.documents:
                offsets[partition.partition] = max(said.offset, 0)
        return offsets

    async def _committed(self) -> dict[TopicPartition, Any]:
        admin = AIOKafkaAdminClient(**self.connection.client_options())
        await admin.start()
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    with suppress(GroupCoordinatorNotAvailableError):
                        group = self.settings.kafka.group_id
                        return dict(await admin.list_consumer_group_offsets(group))
                    await asyncio.sleep(_LOOK_SECONDS)  # a young broker makes its groups' topic
        finally:
            await admin.close()

    async def assert_all_committed(self) -> None:
        """After the services were stopped: every event of the input topic is committed."""
        committed, ends = await self.offsets()
        assert committed == ends

    async def wait_committed(self, seconds: float = SECONDS) -> None:
        """Return when every event is committed, by services that still run."""
        give_up = time.monotonic() + seconds
        while True:
            committed, ends = await self.offsets()
            if committed == ends:
                return
            if time.monotonic() > give_up:
                pytest.fail(f"after {seconds:.0f} s {committed} is committed of {ends}")
            await asyncio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def open_stage(
    kafka: LocalKafka,
    unique_name: Callable[[str], str],
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    simulator: Simulator | None = None,
    workspaces: Sequence[str] = ("docs",),
    topics: bool = True,
) -> AsyncIterator[Stage]:
    """A stage; gone with its topics and services afterwards."""
    async with AsyncExitStack() as stack:
        server = simulator
        if server is None:
            server = await stack.enter_async_context(lived_in(*workspaces))
        base = unique_name("journey")
        names = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_GROUP_ID": unique_name("group"),
            "KAFKA_DOCUMENTS_TOPIC": f"{base}-in",
            "KAFKA_REPLAY_TOPIC": f"{base}-replay",
            "KAFKA_RESULTS_TOPIC": f"{base}-results",
            "KAFKA_DEAD_LETTERS_TOPIC": f"{base}-dlq",
            "KAFKA_PARKED_TOPIC": f"{base}-parked",
            "ANYTHINGLLM_ENDPOINT": server.endpoint,
            "ANYTHINGLLM_API_KEY": server.api_key,
        }
        stage = Stage(kafka, server, QUICK | names | dict(settings))
        stack.push_async_callback(stage.close)
        if topics:
            await stage.create_topics()
        yield stage


class MakeStage(Protocol):
    async def __call__(
        self,
        settings: Mapping[str, str] = ...,
        *,
        simulator: Simulator | None = ...,
        workspaces: Sequence[str] = ...,
        topics: bool = ...,
    ) -> Stage: ...


@pytest.fixture
async def make_stage(
    kafka: LocalKafka, unique_name: Callable[[str], str]
) -> AsyncIterator[MakeStage]:
    """Makes stages with settings of their own on the session's Kafka."""
    async with AsyncExitStack() as stack:

        async def make(settings: Mapping[str, str] = {}, **options: Any) -> Stage:
            stage = open_stage(kafka, unique_name, settings, **options)
            return await stack.enter_async_context(stage)

        yield make


@pytest.fixture
async def stage(make_stage: MakeStage) -> Stage:
    """A stage with the usual settings and the used workspace ``docs``."""
    return await make_stage()
