"""A stage as that of the journeys (`tests.integration.service_fixtures`), its Kafka in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

import orjson
import pytest

from consumer.kafka.groups import GroupOffset
from consumer.kafka.publisher import OutgoingRecord
from consumer.model.record import Headers, Record
from consumer.sandbox.simulator import Simulator
from consumer.settings import Settings, load_settings
from consumer.wiring.topics import topic_specs
from tests.doubles.kafka import MemoryKafka
from tests.doubles.kafka_clients import MemoryClients
from tests.doubles.service import MemoryService
from tests.staging import QUICK, SECONDS, Json, StoredView, first_by_event, lived_in

NAMES = {
    "KAFKA_BOOTSTRAP_SERVERS": "memory:9092",
    "KAFKA_GROUP_ID": "service",
    "KAFKA_DOCUMENTS_TOPIC": "documents",
    "KAFKA_REPLAY_TOPIC": "replay",
    "KAFKA_RESULTS_TOPIC": "results",
    "KAFKA_DEAD_LETTERS_TOPIC": "dlq",
    "KAFKA_PARKED_TOPIC": "parked",
    "KAFKA_SESSION_TIMEOUT_SECONDS": "1",
}


class MemoryStage(StoredView):
    """See the module's docstring; made by `open_stage`.

    Args:
        simulator: a running AnythingLLM.
        env: settings of the service and of the operators.
    """

    def __init__(self, simulator: Simulator, env: Mapping[str, str]) -> None:
        super().__init__(simulator)
        self.env = dict(env)
        self.settings = self.with_settings()
        self.kafka = MemoryKafka()
        self.clients = MemoryClients(self.kafka)
        self._services: list[tuple[MemoryService, asyncio.Task[None]]] = []

    @property
    def documents(self) -> str:
        """The input topic."""
        return self.settings.kafka.documents_topic

    def with_settings(self, **changes: str) -> Settings:
        """The stage's settings with changes."""
        return load_settings(self.env | changes)

    def create_topics(self, *purposes: str, partitions: int = 3) -> None:
        """Create the topics of these purposes, all of them by default."""
        for spec in topic_specs(self.settings, partitions):
            if not purposes or spec.purpose in purposes:
                self.kafka.create(spec.name, spec.partitions, spec.settings)

    # -- the service -------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a service runs."""
        return bool(self._services)

    def start(self, **changes: str) -> MemoryService:
        """Start a service with these settings of its own."""
        service = MemoryService(self.with_settings(**changes), self.kafka)
        self._services.append((service, asyncio.create_task(service.run(), name="service")))
        return service

    async def joined(self) -> None:
        """Return when a service is a member of its group."""
        await self._until(lambda: bool(self.kafka.members(self.settings.kafka.group_id)))

    async def stop(self) -> None:
        """Stop all services, and raise what they died of."""
        services, self._services = self._services, []
        for service, _ in services:
            service.stop()
        async with asyncio.timeout(SECONDS):
            for _, task in services:
                await task

    async def close(self) -> None:
        """End whatever still runs."""
        for service, task in self._services:
            service.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- in ----------------------------------------------------------------------------------------

    def publish(
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
        encoded = key.encode() if isinstance(key, str) else key
        name = topic or self.documents
        self.kafka.append(OutgoingRecord(name, encoded, value, headers, partition))

    def publish_all(self, events: Iterable[Json]) -> None:
        """Publish events in order."""
        for event in events:
            self.publish(event)

    def empty(self, topic: str) -> None:
        """Delete every record of a topic, as retention does."""
        self.kafka.delete_records(topic, dict.fromkeys(self.kafka.ranges(topic) or {}, -1))

    def commit_everything(self, topic: str | None = None) -> None:
        """What a service would do that loses events: all of a topic counts as done."""
        name = topic or self.documents
        ends = self.kafka.ranges(name) or {}
        places = {(name, n): GroupOffset(each.end) for n, each in ends.items()}
        self.kafka.commit(self.settings.kafka.group_id, places)

    # -- out ---------------------------------------------------------------------------------------

    def everything(self, topic: str) -> list[Record]:
        """What a topic holds now."""
        ranges = self.kafka.ranges(topic) or {}
        return [
            record
            for number, each in ranges.items()
            for record in self.kafka.fetch(topic, number, each.start, each.end)
        ]

    def as_they_came(self, topic: str) -> list[Record]:
        """The same in the order of publishing, whatever their partition."""
        return sorted(self.everything(topic), key=lambda each: self.kafka.order[each.at])

    @property
    def results(self) -> list[Json]:
        """All results so far, repeats included, as they came."""
        records = self.as_they_came(self.settings.kafka.results_topic)
        return [orjson.loads(record.value or b"null") for record in records]

    @property
    def dead_letters(self) -> list[Record]:
        """All dead letters so far, as they came."""
        return self.as_they_came(self.settings.kafka.dead_letters_topic)

    async def wait_results(self, count: int) -> list[Json]:
        """The results of the first ``count`` events that were answered, once they are there."""
        await self._until(lambda: len(first_by_event(self.results)) >= count)
        return first_by_event(self.results)

    async def wait_dead_letters(self, count: int) -> list[Record]:
        """The dead letters, once there are that many."""
        await self._until(lambda: len(self.dead_letters) >= count)
        return self.dead_letters

    async def worked(self, *events: Json) -> None:
        """Publish these, and have a service work all that there is to its end."""
        self.publish_all(events)
        self.start()
        await self.settled()
        await self.stop()

    async def settled(self) -> None:
        """Return when every event and replay is committed, by services that run."""
        await self._until(lambda: not self._left())

    def _left(self) -> bool:
        committed = self.kafka.commits(self.settings.kafka.group_id)
        kafka = self.settings.kafka
        return any(
            committed.get((topic, number), GroupOffset(0)).offset < each.end > each.start
            for topic in (kafka.documents_topic, kafka.replay_topic)
            for number, each in (self.kafka.ranges(topic) or {}).items()
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        tasks = [task for _, task in self._services]
        with self.kafka.news() as news:
            while True:
                news.clear()
                if condition():
                    return
                heard = asyncio.create_task(news.wait())
                await asyncio.wait(
                    [heard, *tasks], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in tasks:
                    if task.done():
                        task.result()
                if not heard.done():
                    heard.cancel()
                    said = [(r["document_id"], r["status"]) for r in self.results]
                    pytest.fail(f"results: {said}, letters: {len(self.dead_letters)}")


@asynccontextmanager
async def open_stage(
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    workspaces: Sequence[str] = ("docs",),
    topics: bool = True,
    vector_db: str = "lancedb",
) -> AsyncIterator[MemoryStage]:
    """A stage while the block runs."""
    async with lived_in(*workspaces, vector_db=vector_db) as server:
        reached = {"ANYTHINGLLM_ENDPOINT": server.endpoint, "ANYTHINGLLM_API_KEY": server.api_key}
        stage = MemoryStage(server, {**QUICK, **NAMES, **reached, **settings})
        if topics:
            stage.create_topics()
        try:
            yield stage
        finally:
            await stage.close()
