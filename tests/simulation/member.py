"""One process of the service: what `consumer.app.service` puts together, over a simulated Kafka."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from consumer.anythingllm import AnythingLLMClient
from consumer.app.assembly import Pipeline, Rooms
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.source import KafkaSource
from consumer.model.record import Headers
from consumer.pipeline.journey import Journey
from consumer.pipeline.ports import Publish
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics
from consumer.wiring.anythingllm import anythingllm_config
from consumer.wiring.event_rules import decode_limits
from consumer.wiring.source import source_config
from tests.doubles.decoding import decoding_here
from tests.simulation.kafka import SimulatedConsumer, SimulatedKafka
from tests.virtual.loop import OWNER, VirtualLoop

AGENT = "simulation/"
CLUSTER = "cluster"
_LAST_REQUESTS_SHARE = 0.25  # as in `consumer.app.service`
_IDLE = 30.0  # seconds: who has nothing to do looks again that often


@dataclass(frozen=True)
class Surroundings:
    """What all members share.

    Args:
        loop: their time.
        settings: theirs.
        kafka: where events come from.
        now: the time of day.
        publish: where results and letters go.
        died: told of a process that ends with an exception.
        watch_lease: whether the lease is watched: it costs time, and is needed only where somebody
            stands still or loses his way to Kafka.
    """

    loop: VirtualLoop
    settings: Settings
    kafka: SimulatedKafka
    now: Callable[[], datetime]
    publish: Publish
    died: Callable[[str, BaseException], None]
    watch_lease: bool


class Member:
    """One process.

    Args:
        around: where it lives.
        owner: which member, and which incarnation of it.
        seed: of what is random in it.
    """

    def __init__(self, around: Surroundings, owner: str, seed: int) -> None:
        self._around = around
        self.owner = owner
        self._seed = seed
        self.metrics = Metrics()
        self.pipeline: Pipeline | None = None
        self.consumer: SimulatedConsumer | None = None
        self.active = asyncio.Event()
        self._journey: Journey | None = None
        self._stop = asyncio.Event()
        self.task: asyncio.Task[None]

    def begin(self) -> None:
        """Start the process."""
        context = copy_context()
        context.run(OWNER.set, self.owner)
        self.task = self._around.loop.create_task(self._live(), context=context)

    def owns(self, context: Context) -> bool:
        """Whether something was made by this process."""
        return context.get(OWNER) == self.owner

    def stop(self) -> None:
        """The orderly stop."""
        self._stop.set()

    async def _live(self) -> None:
        try:
            await self._serve()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._around.died(self.owner, error)

    async def _serve(self) -> None:
        around, loop, settings = self._around, self._around.loop, self._around.settings
        config = replace(anythingllm_config(settings), user_agent=AGENT + self.owner)
        client = AnythingLLMClient(
            config, calls_feed_breaker=False, clock=loop.time, rng=random.Random(self._seed)
        )
        documents = settings.kafka.documents_topic
        source = KafkaSource(
            KafkaConnection("kafka:9092"),
            source_config(settings),
            self.metrics,
            on_revoking=lambda: pipeline.end_sweeping(),
            on_revoked=lambda: pipeline.forget(),
            clock=loop.time,
            epoch=lambda: around.now().timestamp(),
        )
        pipeline = Pipeline(
            settings,
            Rooms(
                poll=functools.partial(self._poll, source),
                storage=client.storage,
                breaker=client.circuit_breaker,
                publish=self._publish,
                is_assigned=lambda: source.assigned,
                is_ours=lambda partition: source.owns(documents, partition),
                taken_over_at=lambda: source.taken_over_at,
                holds_all=lambda: source.holds_all,
                in_doubt_until=lambda: source.in_doubt_until,
                metrics=self.metrics,
                rng=random.Random(self._seed),
                clock=loop.time,
                now=around.now,
                decode_apart=decoding_here(decode_limits(settings)),
            ),
        )
        self.pipeline = pipeline
        async with client:
            await source.start(CLUSTER)
            self.consumer = around.kafka.consumers[self.owner]
            try:
                if not around.watch_lease:
                    # Nobody stands still, and noting once a second that we run would only cost.
                    self.consumer.before_assigned = source._assignments._lease.turn
                await self._work(source, pipeline)
            finally:
                await source.stop()

    async def _work(self, source: KafkaSource, pipeline: Pipeline) -> None:
        """As `consumer.app.service.Service._work`."""
        journey = self._journey = pipeline.journey(CLUSTER)
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(journey.run())
            others = [
                tasks.create_task(self._commit_forever(source)),
                *(tasks.create_task(watcher) for watcher in pipeline.watchers().values()),
                tasks.create_task(self._drain_when_asked(source, journey, work)),
            ]
            if self._around.watch_lease:
                others.append(tasks.create_task(source.keep_lease()))
            await asyncio.wait({work})
            with suppress(TimeoutError):
                share = self._around.settings.shutdown.drain_seconds * _LAST_REQUESTS_SHARE
                async with asyncio.timeout(share):
                    await pipeline.end_sweeping()
            for task in others:
                task.cancel()

    async def _drain_when_asked(
        self, source: KafkaSource, journey: Journey, work: asyncio.Task[None]
    ) -> None:
        await self._stop.wait()
        seconds = self._around.settings.shutdown.drain_seconds
        journey.stop()
        assert self.consumer is not None
        self.consumer.news.set()
        await asyncio.sleep(seconds * (1 - _LAST_REQUESTS_SHARE))
        source.close_fences()
        await asyncio.sleep(seconds * _LAST_REQUESTS_SHARE)
        work.cancel()

    async def _commit_forever(self, source: KafkaSource) -> None:
        """As the service does; while nothing is received or answered, looking would only cost."""
        while True:
            await asyncio.sleep(self._around.settings.kafka.commit_interval_seconds)
            self.active.clear()
            await source.commit()
            await self._unless_idle(self.active)

    async def _unless_idle(self, event: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE):
                await event.wait()

    async def _publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        await self._around.publish(topic, key, value, headers)
        self.active.set()

    async def _poll(self, source: KafkaSource, timeout: float) -> Any:
        """`KafkaSource.poll`, asked when there is something to tell, and now and then."""
        consumer = self.consumer
        assert consumer is not None
        consumer.news.clear()
        if not consumer.behind():
            await self._unless_idle(consumer.news)
        delivery = await source.poll(0.0)
        if delivery is None:
            await asyncio.sleep(timeout)
        self.active.set()
        return delivery
