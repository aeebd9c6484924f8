"""The stations introduced to each other: a journey over the rooms that are open."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.anythingllm import AnythingLLMStorage
from consumer.kafka.publisher import OutgoingRecord, Publisher, TooLargeForTopicError
from consumer.kafka.source import Source
from consumer.model.delivery import Headers
from consumer.model.routing import Routing
from consumer.pipeline.apply import Applier
from consumer.pipeline.index import Index
from consumer.pipeline.journey import Bounds, Journey
from consumer.pipeline.read import Reader
from consumer.pipeline.settle import Address, Settler, TooLarge
from consumer.pipeline.settled import Settled
from consumer.pipeline.upload import Uploader
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics
from consumer.wiring import decode_limits, retry_policy


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a journey goes through.

    Args:
        source: where records come from.
        storage: AnythingLLM.
        publisher: where results and dead letters leave.
        index: what is stored.
        settled: what was settled since the assignment.
        metrics: counts.
        rng: for jitter.
    """

    source: Source
    storage: AnythingLLMStorage
    publisher: Publisher
    index: Index
    settled: Settled
    metrics: Metrics
    rng: random.Random


def new_journey(settings: Settings, rooms: Rooms, cluster_id: str) -> Journey:
    """A journey, not begun.

    Args:
        settings: bounds, limits, names.
        rooms: what it goes through.
        cluster_id: part of every event id.
    """
    routing = settings.routing.rules()
    return Journey(
        rooms.source.poll,
        _reader(settings, rooms, routing).read,
        _applier(settings, rooms, routing),
        _settler(settings, rooms, cluster_id),
        bounds=Bounds(settings.intake.max_documents_in_flight, settings.intake.max_bytes_in_flight),
        metrics=rooms.metrics,
    )


def _reader(settings: Settings, rooms: Rooms, routing: Routing) -> Reader:
    return Reader(
        limits=decode_limits(settings),
        identity=settings.document.identity,
        routing=routing,
        replay_topic=settings.kafka.replay_topic,
        metrics=rooms.metrics,
        now=_now,
    )


def _applier(settings: Settings, rooms: Rooms, routing: Routing) -> Applier:
    upload = settings.upload
    uploader = Uploader(
        rooms.storage,
        rooms.index,
        slots=asyncio.Semaphore(upload.max_chunks_in_flight),
        per_document=upload.max_chunks_per_document,
        policy=retry_policy(settings),
        rng=rooms.rng,
        metrics=rooms.metrics,
    )
    return Applier(rooms.storage, rooms.index, uploader, rooms.settled, permits=routing.permits)


def _settler(settings: Settings, rooms: Rooms, cluster_id: str) -> Settler:
    kafka = settings.kafka
    address = Address(
        results=kafka.results_topic,
        dead_letters=kafka.dead_letters_topic,
        replay=kafka.replay_topic,
        group=kafka.group_id,
        task=f"{socket.gethostname()}-{os.getpid()}",
        cluster_id=cluster_id,
    )

    async def publish(topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        try:
            await rooms.publisher.publish(OutgoingRecord(topic, key, value, headers))
        except TooLargeForTopicError as error:
            raise TooLarge(str(error)) from error

    return Settler(publish, address, metrics=rooms.metrics, now=_now)


def _now() -> datetime:
    return datetime.now(UTC)
