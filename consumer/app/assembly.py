"""The stations put together: a journey over the rooms that are open."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from consumer.anythingllm import AnythingLLMStorage
from consumer.contract.dead_letter import TRACEPARENT
from consumer.kafka.publisher import OutgoingRecord, Publisher, TooLargeForTopicError
from consumer.model.record import Headers
from consumer.model.routing import Routing
from consumer.pipeline.apply import Applier
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.carried_out import MOST_REMEMBERED, CarriedOut
from consumer.pipeline.census import MayBegin, begins
from consumer.pipeline.circuit import Circuit
from consumer.pipeline.culprits import Culprits
from consumer.pipeline.deathwatch import Deathwatch
from consumer.pipeline.documents_in_work import DocumentsInWork
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.due_looks import DueLooks
from consumer.pipeline.erasure import Eraser
from consumer.pipeline.gates import Gates
from consumer.pipeline.giving_up import GivingUp
from consumer.pipeline.in_flight import InFlightBounds
from consumer.pipeline.index import Index
from consumer.pipeline.journey import Journey
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.others import Others
from consumer.pipeline.pack_size import PackSize
from consumer.pipeline.pauses import Pauses
from consumer.pipeline.poison_probe import PoisonProbe
from consumer.pipeline.ports import (
    DecodeApart,
    HoldsAll,
    InDoubtUntil,
    IsAssigned,
    IsOurs,
    Poll,
    Publish,
    TakenOverAt,
    TooLarge,
)
from consumer.pipeline.read import Reader
from consumer.pipeline.reminted_ids import RemintedIds
from consumer.pipeline.removal import Remover
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.servers import (
    ServersApplier,
    ServersDeathwatch,
    ServersDoubts,
    ServerStations,
)
from consumer.pipeline.settle import Address, Settler
from consumer.pipeline.sweep import Sweep
from consumer.pipeline.upload import Uploader
from consumer.resilience.breaker import Breaker
from consumer.resilience.death_suspect import DeathRules
from consumer.resilience.deaths import Deaths
from consumer.resilience.fuse import Fuse, FuseRules
from consumer.resilience.lengths import MANY, Lengths
from consumer.resilience.retry import RetryPolicy
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.recent import Recent
from consumer.telemetry.tracing import NO_TRACING, Tracing
from consumer.wiring.event_rules import decode_limits
from consumer.wiring.retry import retry_policy


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a pipeline works between: Kafka on one side, AnythingLLM on the other.

    Args:
        breaker: that of calls to AnythingLLM; nothing else may feed it.
        clock: monotonic seconds.
        now: wall clock, aware.
        decode_apart: decodes heavy events without holding the loop.
        may_begin: see `Census`; asked only where there are several servers.
        in_work: for whoever looks on; shared by all servers.
        recent: the same.
        tracing: notes the work on each record.
    """

    poll: Poll
    storage: AnythingLLMStorage
    breaker: Breaker
    publish: Publish
    is_assigned: IsAssigned
    is_ours: IsOurs
    taken_over_at: TakenOverAt
    holds_all: HoldsAll
    in_doubt_until: InDoubtUntil
    metrics: Metrics
    rng: random.Random
    clock: Callable[[], float]
    now: Callable[[], datetime]
    decode_apart: DecodeApart
    may_begin: MayBegin = begins
    in_work: DocumentsInWork = field(default_factory=DocumentsInWork)
    recent: Recent = field(default_factory=Recent)
    tracing: Tracing = NO_TRACING


class Pipeline:
    """The stations, and what they share.

    Args:
        queues: shared with those of other servers; None: there are no others.
        servers: that have one budget together for what is remembered.
    """

    def __init__(
        self,
        settings: Settings,
        rooms: Rooms,
        *,
        queues: KeyQueues | None = None,
        servers: int = 1,
    ) -> None:
        self._settings = settings
        self._rooms = rooms
        self._looks = DueLooks(settings.anythingllm.ambiguity_seconds, rooms.clock)
        self._doubts = Doubts(
            self._looks, settings.anythingllm.ambiguity_seconds, rooms.clock, rooms.now
        )
        self._carried_out = CarriedOut(self._doubts.__contains__, MOST_REMEMBERED // servers)
        self._queues = KeyQueues() if queues is None else queues
        self.gates = _gates(settings, rooms, outages_aside=queues is not None)
        self.index = Index(
            rooms.storage,
            settings.document.identity,
            max_age=settings.index.max_age_seconds,
            max_bytes=settings.index.max_bytes // servers,
            clock=rooms.clock,
            metrics=rooms.metrics,
            is_ours=rooms.is_ours,
        )
        # People reset a workspace because it is sick, or without a reason that we see. What is
        # known of it is worthless then.
        self.gates.pauses.when_paused(self.index.forget)
        rooms.storage.when_changed(self.index.changed)
        rooms.storage.when_sentinels_left(self._looks.doubt)
        self._backoff = Backoff(
            self.gates,
            _patient_policy(settings),
            rng=rooms.rng,
            metrics=rooms.metrics,
            tracing=rooms.tracing,
        )
        self._remover = Remover(
            rooms.storage,
            self.index,
            self.gates,
            self._backoff,
            self._doubts,
            ambiguity=settings.anythingllm.ambiguity_seconds,
            clock=rooms.clock,
        )
        self._eraser = Eraser(self._remover, rooms.storage, self.index, self._backoff, self._doubts)
        self._routing = settings.routing.rules()
        self._sweep = Sweep(
            rooms.storage,
            self.index,
            self._remover,
            self.gates,
            self._queues,
            self._carried_out,
            self._looks,
            self._doubts,
            permits=self._routing.permits,
            is_assigned=rooms.is_assigned,
            is_ours=rooms.is_ours,
            taken_over_at=rooms.taken_over_at,
            clock=rooms.clock,
            metrics=rooms.metrics,
        )
        self.reminted = RemintedIds(rooms.metrics)
        self._slots = RequestSlots(
            asyncio.Semaphore(settings.upload.max_chunks_in_flight), self.gates
        )
        self._deathwatch = self._new_deathwatch()

    def journey(self, cluster_id: str) -> Journey:
        """The journey, not begun; the cluster id becomes part of every event id."""
        journey = new_journey(
            self._settings,
            self._rooms,
            cluster_id,
            self._new_applier(lambda: journey.taken),
            self._doubts,
            self._deathwatch,
            queues=self._queues,
        )
        return journey

    def stations(self, places: int, taken: Callable[[], float]) -> ServerStations:
        """What works on this server, where it is one of several.

        Args:
            places: how many documents may be in work there.
            taken: the share of the places in flight that documents have.
        """
        return ServerStations(
            self._new_applier(taken),
            self._doubts,
            self._deathwatch,
            self.gates,
            asyncio.Semaphore(places),
        )

    def _new_applier(self, taken: Callable[[], float]) -> Applier:
        culprits = Culprits()
        pack_size = PackSize(self._settings.upload.chunks_per_pack, taken)
        return Applier(
            self._rooms.storage,
            self.index,
            self.gates,
            self._uploader(culprits),
            self._eraser,
            self._backoff,
            self._carried_out,
            self.reminted,
            self._looks,
            self._doubts,
            permits=self._routing.permits,
            culprits=culprits,
            pack_size=pack_size.now,
            repack_size=pack_size.at_rest,
        )

    def _uploader(self, culprits: Culprits) -> Uploader:
        rooms, gates, upload = self._rooms, self.gates, self._settings.upload
        policy = _patient_policy(self._settings)
        recovery = self._settings.breaker.recovery_seconds
        giving_up = GivingUp(
            rooms.storage,
            gates,
            PoisonProbe(rooms.storage, self._slots, rooms.rng),
            Lengths(
                rooms.clock,
                recovery=recovery,
                many=MANY if self._settings.fuse.share else 0,
            ),
            attempts=policy.attempts,
            recovery=recovery,
            clock=rooms.clock,
        )
        return Uploader(
            rooms.storage,
            self.index,
            gates,
            giving_up,
            self._backoff,
            self._eraser,
            self._doubts,
            self._deathwatch,
            culprits,
            slots=self._slots,
            per_document=upload.max_chunks_per_document,
            policy=policy,
            rng=rooms.rng,
            metrics=rooms.metrics,
            in_work=rooms.in_work,
        )

    def _new_deathwatch(self) -> Deathwatch:
        rooms, ambiguity = self._rooms, self._settings.anythingllm.ambiguity_seconds
        return Deathwatch(
            rooms.storage,
            self._slots,
            self.gates,
            Deaths(DeathRules()),
            Others(rooms.holds_all, rooms.taken_over_at, rooms.in_doubt_until, ambiguity),
            rng=rooms.rng,
            clock=rooms.clock,
            now=rooms.now,
            metrics=rooms.metrics,
        )

    def watchers(self) -> Mapping[str, Coroutine[object, object, None]]:
        """What runs beside the journey, by name. Each ends only with an exception."""
        return {
            "circuit": self.gates.circuit.watch(),
            "deathwatch": self._deathwatch.watch(),
            "sweep": self._sweep.keep_looking(),
        }

    async def end_sweeping(self) -> bool:
        """Return when the sweep sends nothing any more; whether all removals have ended."""
        return await self._sweep.end()

    def forget(self) -> None:
        """Forget what is known: partitions went, and their new owners may change it."""
        self.index.forget()
        self._carried_out.forget()
        self._sweep.begin()
        # The documents that would have tried are gone: a workspace would stay paused for ever.
        self.gates.pauses.excuse()


def new_journey(
    settings: Settings,
    rooms: Rooms,
    cluster_id: str,
    applier: Applier | ServersApplier,
    doubts: Doubts | ServersDoubts,
    deathwatch: Deathwatch | ServersDeathwatch,
    *,
    queues: KeyQueues,
) -> Journey:
    """A journey over these stations, not begun; the cluster id becomes part of every event id."""
    intake = settings.intake
    reader = _reader(settings, rooms, settings.routing.rules())
    return Journey(
        rooms.poll,
        partial(reader.read_apart, decode_apart=rooms.decode_apart),
        applier,
        _settler(settings, rooms, cluster_id),
        doubts,
        deathwatch,
        queues=queues,
        bounds=InFlightBounds(
            intake.max_documents_in_flight, intake.max_bytes_in_flight, intake.max_aside_bytes
        ),
        metrics=rooms.metrics,
        clock=rooms.clock,
        in_work=rooms.in_work,
        tracing=rooms.tracing,
    )


def _gates(settings: Settings, rooms: Rooms, *, outages_aside: bool) -> Gates:
    recovery, fuse = settings.breaker.recovery_seconds, settings.fuse
    circuit = Circuit(rooms.breaker, rooms.storage.probe, clock=rooms.clock)
    pauses = Pauses(
        _patient_policy(settings),
        recovery=recovery,
        well_at=lambda: circuit.well_at,
        rng=rooms.rng,
        clock=rooms.clock,
        metrics=rooms.metrics,
    )
    rules = FuseRules(fuse.share, fuse.window, fuse.minimum, recovery)
    return Gates(
        circuit,
        pauses,
        Fuse(rules, rooms.clock),
        metrics=rooms.metrics,
        outages_aside=outages_aside,
        tracing=rooms.tracing,
    )


def _patient_policy(settings: Settings) -> RetryPolicy:
    """Our policy with no pause longer than a recovery period.

    A longer one would keep work waiting after the end of an outage.
    """
    policy = retry_policy(settings)
    cap = min(policy.cap, settings.breaker.recovery_seconds)
    return RetryPolicy(policy.attempts, min(policy.base, cap), cap)


def _reader(settings: Settings, rooms: Rooms, routing: Routing) -> Reader:
    return Reader(
        limits=decode_limits(settings),
        identity=settings.document.identity,
        routing=routing,
        replay_topic=settings.kafka.replay_topic,
        metrics=rooms.metrics,
        now=rooms.now,
        envelopes=settings.document.envelopes,
    )


def publishing_by(publisher: Publisher, *, results: str, tracing: Tracing = NO_TRACING) -> Publish:
    """The publisher as the settle station takes it.

    Args:
        publisher: connected.
        results: the topic whose records are wholly ours. They get the ``traceparent`` of their
            sending, by us or by instrumentation, never by both. Dead letters carry the headers of
            others, so theirs has a name of our own.
        tracing: notes each record.
    """

    async def publish(topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        is_ours = topic == results
        with tracing.send(topic, key, value) as span:
            traced = _traced(span.carried, is_ours=is_ours)
            is_open = is_ours and not traced
            record = OutgoingRecord(topic, key, value, headers + traced, open=is_open)
            try:
                await publisher.publish(record)
            except TooLargeForTopicError as error:
                raise TooLarge(str(error)) from error

    return publish


def _traced(carried: Mapping[str, str], *, is_ours: bool) -> Headers:
    if is_ours:
        return tuple((name, value.encode()) for name, value in carried.items())
    parent = carried.get("traceparent")
    return () if parent is None else ((TRACEPARENT, parent.encode()),)


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

    return Settler(
        rooms.publish,
        address,
        metrics=rooms.metrics,
        now=rooms.now,
        recent=rooms.recent,
        tracing=rooms.tracing,
    )
