"""The composition root of `run`: opens every room in order, introduces them, closes in reverse.

Order of closing, and why: stop polling, so nothing new comes; let what is in flight settle;
commit, while the group still counts us in; leave the group, so that others take over at once;
close the producer, which has nothing left to send; close HTTP, which nobody uses any more; the
admin server last, so that an operator can watch it all.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from consumer.admin.server import AdminError, AdminServer
from consumer.anythingllm import AnythingLLMClient
from consumer.kafka.connection import KafkaUnavailableError, told_by_us
from consumer.kafka.publisher import OutgoingRecord, Publisher, TooLargeForTopicError
from consumer.kafka.source import Source
from consumer.kafka.topics import open_admin
from consumer.model.delivery import Headers
from consumer.pipeline.apply import Applier
from consumer.pipeline.index import Index
from consumer.pipeline.journey import Bounds, Journey
from consumer.pipeline.read import Reader
from consumer.pipeline.settle import Address, Settler, TooLarge
from consumer.pipeline.settled import Settled
from consumer.pipeline.upload import Uploader
from consumer.resilience.retry import RetryPolicy
from consumer.settings import Settings
from consumer.telemetry.metrics import PREFIX, Metrics
from consumer.wiring import (
    DEAD_LETTER_HEADROOM,
    anythingllm_config,
    decode_limits,
    kafka_connection,
    retry_policy,
    source_config,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")

_EXIT_INTERRUPTED = 130
_START_RETRY = RetryPolicy(attempts=1, base=1.0, cap=15.0)
_GIVE_UP_SECONDS = 5.0
_OBSERVE_SECONDS = 2.0
# Of the drain, so much is kept for requests in the middle after the last new one was allowed.
_LAST_REQUESTS_SHARE = 0.25
_POLL_STUCK_MARGIN_SECONDS = 60.0


class StartFailedError(Exception):
    """With --fail-fast: something needed is not there."""


class ServiceDiedError(Exception):
    """A fault in the program ended the service; the log has the traceback."""


class Service:
    """The running service.

    Args:
        settings: checked settings.
        fail_fast: raise instead of waiting when something needed is not there at start.
        rng: for jitter.
    """

    def __init__(
        self, settings: Settings, *, fail_fast: bool = False, rng: random.Random | None = None
    ) -> None:
        self._settings = settings
        self._fail_fast = fail_fast
        self._rng = rng or random.Random()
        self._connection = kafka_connection(settings)
        self._metrics = Metrics()
        self._stop = asyncio.Event()
        self._client = AnythingLLMClient(anythingllm_config(settings))
        self._client.on_breaker_change(lambda _, state: self._metrics.set_breaker(state))
        self._publisher = Publisher(
            self._connection,
            max_record_bytes=settings.document.max_bytes + DEAD_LETTER_HEADROOM,
            delivery_timeout=settings.kafka.delivery_timeout_seconds,
        )
        self._index = Index(
            self._client.storage,
            settings.document.identity,
            max_age=settings.index.max_age_seconds,
            clock=time.monotonic,
        )
        self._source = Source(
            self._connection,
            source_config(settings),
            self._metrics,
            on_revoked=self._forget,
        )
        self._settled = Settled()
        # Asked at every scrape: an alert must not lag behind.
        self._metrics.oldest_unsettled_seconds.set_function(self._source.oldest_open_age)
        self._journey: Journey | None = None
        self._waits_for: str | None = None
        self._anythingllm_trouble: str | None = None
        self._kafka_trouble: str | None = None

    def stop(self) -> None:
        """Begin the orderly stop; returns at once."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """True from `stop` on."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            StartFailedError: with fail_fast.
            Exception: a fault in the program; the process must end with code 1.
        """
        async with AsyncExitStack() as rooms:
            admin = AdminServer(
                self._settings.admin.host, self._settings.admin.port, self, self._metrics
            )
            await admin.start()
            rooms.push_async_callback(admin.stop)
            await self._client.connect()
            rooms.push_async_callback(self._client.disconnect)
            await self._unless_stopped(self._look_at_anythingllm())
            cluster_id = await self._until_done(self._cluster_id)
            await self._until_done(self._topics_are_there)
            rooms.push_async_callback(self._publisher.stop)
            await self._until_done(self._publisher.start)
            rooms.push_async_callback(self._source.stop)
            await self._until_done(self._source.start)
            if cluster_id is not None and not self._stop.is_set():
                await self._work(self._new_journey(cluster_id))
            remaining = self._source.open_count
        log.info("service.stopped", remaining=remaining)

    def alive(self) -> list[str]:
        """Why a restart would help; for ``/livez``."""
        stuck = self._journey.polling_for() if self._journey else 0.0
        limit = source_config(self._settings).rebalance_timeout + _POLL_STUCK_MARGIN_SECONDS
        return [f"a poll has taken {stuck:.0f} s"] if stuck > limit else []

    def ready(self) -> list[str]:
        """Why no work is done; for ``/readyz``."""
        reasons = []
        if self._journey is None:
            waits = f", waiting for {self._waits_for}" if self._waits_for else ""
            reasons.append(f"still starting{waits}")
        elif self._stop.is_set():
            reasons.append("draining")
        if not self._source.joined:
            reasons.append("not in the consumer group yet")
        if self._kafka_trouble is not None:
            reasons.append(f"Kafka: {self._kafka_trouble}")
        if self._publisher.trouble is not None:
            reasons.append(f"Kafka takes no results: {self._publisher.trouble}")
        return reasons

    def degraded(self) -> list[str]:
        """What waits although we are ready; for ``/readyz``."""
        reasons = []
        if self._source.joined and not self._source.assigned:
            reasons.append("no partition is left for this instance; it stands by")
        if (state := self._client.breaker.state) != "closed":
            reasons.append(f"the breaker is {state}: AnythingLLM does not answer")
        if self._anythingllm_trouble is not None:
            reasons.append(self._anythingllm_trouble)
        if waiting := self._metrics.registry.get_sample_value(f"{PREFIX}_documents_waiting"):
            reasons.append(f"documents that wait for AnythingLLM: {waiting:.0f}")
        return reasons

    def _forget(self) -> None:
        """Partitions went: whoever has them now may change what we know of them."""
        self._index.forget()
        self._settled.forget()

    async def _work(self, journey: Journey) -> None:
        self._journey = journey
        log.info("service.started", topics=list(source_config(self._settings).topics))
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(journey.run(), name="journey")
            others = [
                tasks.create_task(self._commit_forever(), name="commit"),
                tasks.create_task(self._observe_forever(), name="observe"),
                tasks.create_task(self._look_until_it_answers(), name="look"),
                tasks.create_task(self._drain_when_asked(journey, work), name="drain"),
            ]
            await asyncio.wait({work})
            for task in others:
                task.cancel()

    async def _drain_when_asked(self, journey: Journey, work: asyncio.Task[None]) -> None:
        await self._stop.wait()
        seconds = self._settings.shutdown.drain_seconds
        log.info("service.draining", seconds=seconds, open=self._source.open_count)
        journey.stop()
        await asyncio.sleep(seconds * (1 - _LAST_REQUESTS_SHARE))
        self._source.close_fences()
        await asyncio.sleep(seconds * _LAST_REQUESTS_SHARE)
        log.warning(
            "service.drain_incomplete",
            open=self._source.open_count,
            consequence="these records are worked again by whoever takes over",
        )
        work.cancel()

    async def _commit_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.kafka.commit_interval_seconds)
            await self._source.commit()

    async def _observe_forever(self) -> None:
        while True:
            try:
                lags = await self._source.lags()
            except KafkaUnavailableError as error:
                log.info("lag.unknown", error=str(error))
                self._kafka_trouble = str(error)
            else:
                self._metrics.set_lags(lags)
                self._kafka_trouble = None
            await asyncio.sleep(_OBSERVE_SECONDS)

    def _new_journey(self, cluster_id: str) -> Journey:
        settings = self._settings
        document, upload = settings.document, settings.upload
        reader = Reader(
            limits=decode_limits(settings),
            identity=document.identity,
            routing=settings.routing.rules(),
            replay_topic=settings.kafka.replay_topic,
            metrics=self._metrics,
            now=_now,
        )
        uploader = Uploader(
            self._client.storage,
            self._index,
            slots=asyncio.Semaphore(upload.max_chunks_in_flight),
            per_document=upload.max_chunks_per_document,
            policy=retry_policy(settings),
            rng=self._rng,
            metrics=self._metrics,
        )
        return Journey(
            self._source.poll,
            reader.read,
            Applier(
                self._client.storage,
                self._index,
                uploader,
                self._settled,
                permits=settings.routing.rules().permits,
            ),
            self._new_settler(cluster_id),
            bounds=Bounds(
                settings.intake.max_documents_in_flight, settings.intake.max_bytes_in_flight
            ),
            metrics=self._metrics,
        )

    def _new_settler(self, cluster_id: str) -> Settler:
        kafka = self._settings.kafka
        address = Address(
            results=kafka.results_topic,
            dead_letters=kafka.dead_letters_topic,
            replay=kafka.replay_topic,
            group=kafka.group_id,
            task=f"{socket.gethostname()}-{os.getpid()}",
            cluster_id=cluster_id,
        )
        return Settler(self._publish, address, metrics=self._metrics, now=_now)

    async def _publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        try:
            await self._publisher.publish(OutgoingRecord(topic, key, value, headers))
        except TooLargeForTopicError as error:
            raise TooLarge(str(error)) from error

    async def _look_at_anythingllm(self) -> None:
        """Remember how it is, and tell when that is news.

        Raises:
            StartFailedError: with fail_fast, when it does not answer or refuses our key.
        """
        health = await self._client.health_check()
        before = self._anythingllm_trouble
        if health["status"] != "unhealthy":
            self._anythingllm_trouble = None
            log.info("anythingllm.reached", status=health["status"], version=health.get("version"))
            return
        self._anythingllm_trouble = _trouble(health)
        if self._fail_fast and self._journey is None:
            raise StartFailedError(self._anythingllm_trouble)
        if before != self._anythingllm_trouble:
            log.error(
                "start.waiting",
                error=self._anythingllm_trouble,
                consequence="documents wait until it answers; nothing is lost",
            )

    async def _look_until_it_answers(self) -> None:
        """What is wrong with AnythingLLM at start stays in ``/readyz`` until it is well."""
        tries = 0
        while self._anythingllm_trouble is not None:
            tries += 1
            await asyncio.sleep(_START_RETRY.delay(tries, self._rng))
            await self._look_at_anythingllm()

    async def _until_done(self, step: Callable[[], Coroutine[object, object, T]]) -> T | None:
        """Try a step until it works or we are stopped; None in the latter case."""
        tries = 0
        while not self._stop.is_set():
            try:
                with told_by_us():
                    done = await self._unless_stopped(step())
            except KafkaUnavailableError as error:
                if self._fail_fast:
                    raise StartFailedError(f"Kafka: {error}") from error
                tries += 1
                delay = _START_RETRY.delay(tries, self._rng)
                self._waits_for = f"Kafka: {error}"
                log.error("start.waiting", error=self._waits_for, retry_in_seconds=round(delay, 1))
                await self._unless_stopped(asyncio.sleep(delay))
            else:
                self._waits_for = None
                return done
        return None

    async def _unless_stopped(self, work: Coroutine[object, object, T]) -> T | None:
        """The work's outcome; None, and the work given up, when we are stopped before that.

        A Kafka that takes connections and says nothing would hold up a stop for 40 s.
        """
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stopped.cancel()
            task.cancel()
            # Closing what was half open may hang as well.
            await asyncio.wait({task}, timeout=_GIVE_UP_SECONDS)
            if task.done() and not task.cancelled():
                task.exception()  # taken note of: it is raised above, or of no use any more

    async def _topics_are_there(self) -> None:
        kafka = self._settings.kafka
        needed = (
            kafka.documents_topic,
            kafka.replay_topic,
            kafka.results_topic,
            kafka.dead_letters_topic,
        )
        async with open_admin(self._connection) as admin:
            missing = [topic for topic in needed if not await admin.partitions(topic)]
        if missing:
            raise KafkaUnavailableError(
                f"no such topic: {', '.join(missing)}; create what is missing with: topics create"
            )

    async def _cluster_id(self) -> str:
        async with open_admin(self._connection) as admin:
            return await admin.cluster_id()


async def serve(settings: Settings, *, fail_fast: bool) -> None:
    """Run the service until a signal stops it.

    Raises:
        AdminError: the admin pages can't be served.
        StartFailedError: with fail_fast.
        ServiceDiedError: a fault in the program; told in the log.
    """
    service = Service(settings, fail_fast=fail_fast)
    _stop_on_signals(service)
    try:
        await service.run()
    except (AdminError, StartFailedError):
        raise
    except Exception as fault:
        log.critical(
            "service.died",
            exc_info=fault,
            consequence="exit code 1; nothing that was not settled is committed",
        )
        first = _first_of(fault)
        raise ServiceDiedError(f"{first.__class__.__name__}: {first}") from fault


def _trouble(health: Mapping[str, Any]) -> str:
    """The first thing that is wrong: the rest of a health check fails for the same reason."""
    for name, one in health["components"].items():
        if one["status"] != "up":
            return f"AnythingLLM's {name}: {one['error']}"
    return f"AnythingLLM: {health['error']}"


def _first_of(fault: Exception) -> Exception:
    """The first fault inside however many task groups; a group's own text says nothing."""
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _stop_on_signals(service: Service) -> None:
    """The first signal stops in order, the second at once."""
    loop = asyncio.get_running_loop()

    def received(number: int) -> None:
        if service.stopping:
            log.warning("service.stopped_at_once", signal=signal.Signals(number).name)
            os._exit(_EXIT_INTERRUPTED)
        log.info("service.stopping", signal=signal.Signals(number).name)
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)


def _now() -> datetime:
    return datetime.now(UTC)
