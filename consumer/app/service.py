"""The running service: opens every room in order, works, closes in reverse.

The order of closing, and why: stop polling, so nothing new comes; let what is in flight settle;
commit, while the group still counts us in; leave the group, so that others take over at once;
close the producer, which has nothing left to send; close HTTP, which is not used any more; close
the admin server last, so that an operator can watch all of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial

import structlog

from consumer.admin.server import AdminServer
from consumer.app.assembly import Pipeline, Rooms, publishing_by
from consumer.app.condition import Condition
from consumer.app.errors import StartFailedError
from consumer.app.first_marks import FirstMarks
from consumer.app.joining import Joining, JoiningBounds, awaited_members
from consumer.app.open_servers import client_of, homes_of, open_servers
from consumer.app.servers import ServersPipeline
from consumer.app.starting import Starting, cluster_id_of, group_is_for_us, topics_are_there
from consumer.app.status_page import status_page
from consumer.app.status_work import Sources
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.publisher import Publisher
from consumer.kafka.source import KafkaSource
from consumer.pipeline.documents_in_work import DocumentsInWork
from consumer.pipeline.heavy_events import HeavyEvents
from consumer.pipeline.journey import Journey
from consumer.settings import Settings
from consumer.telemetry.rates import SAMPLE_SECONDS, Rates
from consumer.telemetry.recent import Recent
from consumer.telemetry.tracing import Tracing
from consumer.wiring.events import decode_limits
from consumer.wiring.kafka import kafka_connection
from consumer.wiring.source import source_config
from consumer.wiring.topics import DEAD_LETTER_HEADROOM
from consumer.wiring.tracing import TracingUnavailableError, tracing_of

log = structlog.get_logger(__name__)

_OBSERVE_SECONDS = 2.0
# Of the drain, so much is kept for requests in the middle after the last new one was allowed.
_LAST_REQUESTS_SHARE = 0.25


class Service:
    """See the module's docstring.

    Args:
        fail_fast: raise instead of waiting when something needed is not there at start.

    Raises:
        StartFailedError: what traces need is not installed, or set to what can't be.
    """

    def __init__(
        self, settings: Settings, *, fail_fast: bool = False, rng: random.Random | None = None
    ) -> None:
        self._settings = settings
        self._fail_fast = fail_fast
        self._connection = kafka_connection(settings)
        self._stop = asyncio.Event()
        rng = rng or random.Random()
        self._tracing = _tracing_of(settings)
        self._servers = open_servers(settings, rng, partial(client_of, tracing=self._tracing))
        self._metrics = self._servers.metrics
        self._in_work, self._recent = DocumentsInWork(), Recent()
        self._rates = Rates(self._servers.every_metrics, time.monotonic)
        self._starting = Starting(self._stop, fail_fast=fail_fast, rng=rng)
        self._publisher = Publisher(
            self._connection,
            max_record_bytes=settings.document.max_bytes + DEAD_LETTER_HEADROOM,
            delivery_timeout=settings.kafka.delivery_timeout_seconds,
        )
        self._source = KafkaSource(
            self._connection,
            source_config(settings),
            self._metrics,
            on_revoking=lambda: self._pipeline.end_sweeping(),
            on_revoked=lambda: self._pipeline.forget(),
        )
        self._pipeline = self._new_pipeline(rng)
        # Asked at every scrape: an alert must not lag behind.
        self._metrics.oldest_unsettled_seconds.set_function(self._source.oldest_open_age)
        self._joining = Joining(
            lambda: not (self._source.joined or self._source.assigned),
            awaited_members(self._connection, settings.kafka.group_id),
            JoiningBounds(
                settings.kafka.session_timeout_seconds, settings.rebalance_timeout_seconds
            ),
            time.monotonic,
        )
        self._condition = Condition(
            stop=self._stop,
            starting=self._starting,
            joining=self._joining,
            source=self._source,
            publisher=self._publisher,
            servers=self._servers.conditions(self._pipeline),
            homes=homes_of(self._pipeline),
            metrics=self._metrics,
            poll_limit=settings.rebalance_timeout_seconds,
        )
        self._page = status_page(settings, self._looked_at())

    def stop(self) -> None:
        """Begin the orderly stop; returns at once."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """True from `stop` on."""
        return self._stop.is_set()

    @property
    def condition(self) -> Condition:
        """How it is, as the probes see it."""
        return self._condition

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            AdminError: the admin pages can't be served.
            StartFailedError: with fail_fast, or where no waiting helps.
            Exception: a fault in the program; the process must end with code 1.
        """
        start, source, publisher = self._starting, self._source, self._publisher
        async with AsyncExitStack() as open_rooms:
            where = self._settings.admin
            admin = AdminServer(
                where.host, where.port, self._condition, self._metrics, page=self._page
            )
            await admin.start()
            open_rooms.push_async_callback(admin.stop)
            open_rooms.push_async_callback(self._tracing.close)
            await self._servers.connect()
            open_rooms.push_async_callback(self._servers.disconnect)
            await start.unless_stopped(self._servers.look(fail_fast=self._fail_fast))
            cluster_id = await start.until_done(lambda: cluster_id_of(self._connection))
            await start.until_done(lambda: topics_are_there(self._connection, self._topics()))
            group = self._settings.kafka.group_id
            await start.until_done(lambda: group_is_for_us(self._connection, group))
            open_rooms.push_async_callback(publisher.stop)
            await start.until_done(publisher.start)
            open_rooms.push_async_callback(source.stop)
            await start.until_done(lambda: self._joining.beside(source.start(cluster_id or "")))
            if cluster_id is not None and not self._stop.is_set():
                await self._work(self._pipeline.journey(cluster_id))
            remaining = source.open_count
        log.info("service.stopped", remaining=remaining)

    async def _work(self, journey: Journey) -> None:
        self._condition.journey = journey
        log.info("service.started", topics=list(source_config(self._settings).topics))
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(journey.run(), name="journey")
            others = [
                tasks.create_task(self._commit_forever(), name="commit"),
                tasks.create_task(self._observe_forever(), name="observe"),
                tasks.create_task(self._sample_forever(), name="sample"),
                tasks.create_task(self._source.keep_lease(), name="lease"),
                tasks.create_task(self._joining.watch(), name="joining"),
                tasks.create_task(self._servers.look_until_well(), name="watch"),
                *(
                    tasks.create_task(watcher, name=name)
                    for name, watcher in self._pipeline.watchers().items()
                ),
                tasks.create_task(self._drain_when_asked(journey, work), name="drain"),
            ]
            await asyncio.wait({work})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._last_requests_seconds):
                    await self._pipeline.end_sweeping()
            for task in others:
                task.cancel()

    async def _drain_when_asked(self, journey: Journey, work: asyncio.Task[None]) -> None:
        await self._stop.wait()
        source = self._source
        seconds = self._settings.shutdown.drain_seconds
        log.info("service.draining", seconds=seconds, open=source.open_count)
        journey.stop()
        await asyncio.sleep(seconds * (1 - _LAST_REQUESTS_SHARE))
        source.close_fences()
        await asyncio.sleep(self._last_requests_seconds)
        log.warning(
            "service.drain_incomplete",
            open=source.open_count,
            consequence="these records are worked again by whoever takes over",
        )
        work.cancel()

    @property
    def _last_requests_seconds(self) -> float:
        return self._settings.shutdown.drain_seconds * _LAST_REQUESTS_SHARE

    async def _commit_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.kafka.commit_interval_seconds)
            await self._source.commit()

    async def _observe_forever(self) -> None:
        while True:
            await self._source.listen()
            if self._condition.journey is not None and not self._condition.journey.has_room:
                self._source.not_hungry()
            try:
                lags = await self._source.lags()
            except KafkaUnavailableError as error:
                self._source.not_hungry()  # what Kafka does not send is not the source's fault
                log.info("lag.unknown", error=str(error))
                self._condition.kafka_trouble = str(error)
            else:
                self._metrics.set_lags(lags, self._source.stable_lags)
                self._condition.kafka_trouble = None
            await asyncio.sleep(_OBSERVE_SECONDS)

    async def _sample_forever(self) -> None:
        while True:
            self._rates.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def _looked_at(self) -> Sources:
        return Sources(
            condition=self._condition,
            servers=self._servers.conditions(self._pipeline),
            homes=homes_of(self._pipeline),
            partitions=self._source.partitions,
            publisher_trouble=lambda: self._publisher.trouble,
            in_work=self._in_work,
            recent=self._recent,
            rates=self._rates,
            places=self._settings.intake.max_documents_in_flight,
        )

    def _new_pipeline(self, rng: random.Random) -> Pipeline | ServersPipeline:
        documents = self._settings.kafka.documents_topic
        first = self._servers.clients[0]
        rooms = Rooms(
            poll=self._source.poll,
            storage=first.storage,
            breaker=first.circuit_breaker,
            publish=publishing_by(
                self._publisher,
                results=self._settings.kafka.results_topic,
                tracing=self._tracing,
            ),
            is_assigned=lambda: self._source.assigned,
            is_ours=lambda partition: self._source.owns(documents, partition),
            taken_over_at=lambda: self._source.taken_over_at,
            holds_all=lambda: self._source.holds_all,
            in_doubt_until=lambda: self._source.in_doubt_until,
            metrics=self._metrics,
            rng=rng,
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
            decode_apart=HeavyEvents(decode_limits(self._settings)).decode,
            may_begin=FirstMarks(self._connection, self._settings.kafka.group_id),
            in_work=self._in_work,
            recent=self._recent,
            tracing=self._tracing,
        )
        return self._servers.new_pipeline(rooms)

    def _topics(self) -> tuple[str, ...]:
        """The topics without which nothing can be done."""
        kafka = self._settings.kafka
        return (
            kafka.documents_topic,
            kafka.replay_topic,
            kafka.results_topic,
            kafka.dead_letters_topic,
        )


def _tracing_of(settings: Settings) -> Tracing:
    try:
        return tracing_of(settings)
    except TracingUnavailableError as error:
        raise StartFailedError(f"{error}: {error.what_to_do}") from error
