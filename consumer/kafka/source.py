"""Records out of Kafka, and commits back: the consumer group as the journey sees it.

What is always true:
- One poll hands out at most one record (``max_records=1``). With more, aiokafka 0.14 drops healthy
  records it has already drained when another partition raises in the same call.
- ``max_poll_interval_ms`` is out of the way, and the app watches the poll loop itself. That lets us
  simply not poll while the window is full: pausing would throw prefetched records away. It also
  lets us give up a poll that waits for an assignment; nothing is drained then, and the idle
  detection that a cancelled ``getmany`` switches off for good is off already.
- Commits are explicit, per partition, and only of the current assignment. aiokafka rebalances in
  the background, so a bare ``commit()`` could commit what another member owns by then.
- Every assignment has an epoch of its own: a fence, a ledger. On revocation the fence closes, what
  is in the middle of a request gets time to finish, the prefix is committed, all is forgotten.

It refuses to know what a record says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    UnsupportedCodecError,
)

from consumer.kafka.assignment import Assignment, Delivery
from consumer.kafka.batches import UNFOLD_LIMIT, install
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained, in_short
from consumer.kafka.lease import Lease
from consumer.kafka.progress import commit_settled, how_far_behind
from consumer.kafka.records import to_record
from consumer.model.delivery import Record
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

# Idle detection by aiokafka is replaced by the app's watchdog (module docstring). About 24 days.
_NO_POLL_LIMIT_MS = 2**31 - 1
_FAILED_SECONDS = 1.0
_ASSIGNMENT_PATIENCE_SECONDS = 1.0
# A partition of no topic: asking for it takes no record and still has aiokafka tell its errors.
_NOWHERE = TopicPartition("", 0)
# What aiokafka 0.14 says on every call once its coordination task has died.
_ENDED = "Unexpected error during coordination"
# With the default drain of 20 s a stop without Kafka has to end within Kubernetes' 30 s.
_LAST_COMMIT_SECONDS = 4.0
_LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """How to take part in the group.

    Args:
        topics: input topics; the range assignor keeps equal partition numbers together.
        group_id: consumer group.
        auto_offset_reset: ``earliest``, ``latest`` or ``none``.
        session_timeout: seconds without heartbeat until the group takes our partitions away.
        drain_timeout: seconds that a revocation waits for requests in the middle.
        commit_timeout: seconds a commit may take; aiokafka itself sets no limit.
        unfold_limit: bytes that a compressed batch may unfold to; beyond, it is dead-lettered.
    """

    topics: tuple[str, ...]
    group_id: str
    auto_offset_reset: str = "earliest"
    session_timeout: float = 45.0
    drain_timeout: float = 130.0
    commit_timeout: float = 30.0
    unfold_limit: int = UNFOLD_LIMIT

    @property
    def rebalance_timeout(self) -> float:
        """Seconds the group waits for us in a rebalance: the drain and the commit must fit in."""
        return max(self.session_timeout, self.drain_timeout + self.commit_timeout + 5.0)


class Source:
    """See the module's docstring.

    Args:
        connection: where Kafka is.
        config: how to take part in the group.
        metrics: counts.
        on_revoked: called when partitions went: what was known of them may change behind us.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        config: SourceConfig,
        metrics: Metrics,
        *,
        on_revoked: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._config = config
        self._metrics = metrics
        self._on_revoked = on_revoked
        self._clock = clock
        self._consumer: AIOKafkaConsumer | None = None
        self._assignments: dict[TopicPartition, Assignment] = {}
        self._failure: BaseException | None = None
        self._joined_group = False
        self._commit_lock = asyncio.Lock()
        self._lease = Lease(config.session_timeout, clock)
        self._fed_at = clock()

    async def start(self) -> None:
        """Join the group.

        Raises:
            KafkaUnavailableError: with the cause; call again later.
        """
        install(self._config.unfold_limit)
        async with explained("joining the consumer group", self._connection):
            consumer = AIOKafkaConsumer(
                **self._connection.client_options(),
                group_id=self._config.group_id,
                enable_auto_commit=False,
                auto_offset_reset=self._config.auto_offset_reset,
                isolation_level="read_committed",
                partition_assignment_strategy=(RangePartitionAssignor,),
                session_timeout_ms=int(self._config.session_timeout * 1000),
                heartbeat_interval_ms=int(self._config.session_timeout * 1000 / 10),
                rebalance_timeout_ms=int(self._config.rebalance_timeout * 1000),
                max_poll_interval_ms=_NO_POLL_LIMIT_MS,
            )
            consumer.subscribe(list(self._config.topics), listener=_Listener(self))
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        self._lease.begin()
        self._consumer = consumer

    @property
    def joined(self) -> bool:
        """True while the group counts us in and has said what is ours, be it nothing."""
        return self._joined_group

    @property
    def assigned(self) -> bool:
        """True while the group has given us partitions (it may give a spare member none)."""
        return bool(self._assignments)

    @property
    def open_count(self) -> int:
        """Records handed out and not settled, over all partitions."""
        return sum(a.ledger.open_count for a in self._assignments.values())

    def oldest_open_age(self) -> float:
        """Seconds since the longest unsettled record was received; 0 when nothing is open."""
        since = [a.ledger.oldest_open_since for a in self._assignments.values()]
        return max((self._clock() - at for at in since if at is not None), default=0.0)

    @property
    def starved_seconds(self) -> float:
        """How long records have been waiting for us without any being received.

        A consumer that silently stops fetching looks healthy from everywhere else (aiokafka has
        had such faults). Whoever has no room for records says so with `not_hungry`.
        """
        return self._clock() - self._fed_at

    def not_hungry(self) -> None:
        """Nothing could be received, or need be: no reason to call it starving."""
        self._fed_at = self._clock()

    async def poll(self, timeout: float = 0.2) -> Delivery | None:
        """The next record, or None when there was none for `timeout` seconds."""
        if self._failure is not None:
            raise RuntimeError("the rebalance listener failed") from self._failure
        try:
            # Without an assignment as well: only there does aiokafka tell what keeps it from one.
            batch = await self._ask(list(self._assignments), timeout)
        except (CorruptRecordException, UnsupportedCodecError) as error:
            # A checksum that did not fit: aiokafka has thrown the batch away and fetches it again.
            # What the other partitions have fetched stays where it is (``max_records=1``).
            log.warning("source.poll_failed", error=in_short(error))
            await asyncio.sleep(timeout)
            return None
        except KafkaError as error:
            await self._rest_after(error)
            return None
        except Exception as error:  # parsers of record formats before Kafka 0.11 raise anything
            log.warning("source.poll_failed", error=in_short(error))
            await asyncio.sleep(_FAILED_SECONDS)
            return None
        return self._first(batch)

    async def listen(self) -> None:
        """Let aiokafka tell what went wrong in the background, also while nothing is polled.

        Its coordinator waits with such an error until somebody calls it: a consumer whose window
        is full for the time of an outage would never join again.

        Raises:
            KafkaError: group coordination has ended for good; only a restart helps.
        """
        try:
            await self._ask([_NOWHERE], 0.0)
        except KafkaError as error:
            await self._rest_after(error)

    async def _ask(
        self, partitions: list[TopicPartition], timeout: float
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """One ``getmany``; nothing when a rebalance makes it wait much longer than asked."""
        milliseconds = int(timeout * 1000)
        try:
            async with asyncio.timeout(timeout + _ASSIGNMENT_PATIENCE_SECONDS):
                answer: dict[TopicPartition, list[ConsumerRecord]] = await self._joined().getmany(
                    *partitions, timeout_ms=milliseconds, max_records=1
                )
                return answer
        except TimeoutError:
            return {}

    async def _rest_after(self, error: Exception) -> None:
        if _ENDED in str(error):
            raise error
        log.error(
            "source.failed",
            error=in_short(error),
            consequence="tried again; without its partitions this instance does nothing",
            what_to_do="check the brokers, and our permission to read the topics and use the group",
        )
        await asyncio.sleep(_FAILED_SECONDS)

    def _first(self, batch: dict[TopicPartition, list[ConsumerRecord]]) -> Delivery | None:
        for partition, records in batch.items():
            for record in records:
                # Without an assignment the record belongs to the next owner, who fetches it again.
                if (assignment := self._assignments.get(partition)) is None:
                    continue
                self.not_hungry()
                if not assignment.ledger.receive(record.offset, self._clock()):
                    assignment = self._begun_again(partition, record.offset)
                return Delivery(self._told(to_record(record)), assignment)
        return None

    def _told(self, record: Record) -> Record:
        if record.unreadable is not None:
            self._metrics.unreadable_records.inc()
            log.error(
                "record.unreadable",
                at=str(record.at),
                error=record.unreadable.problem,
                consequence="dead-lettered by its coordinates; the others are worked",
                what_to_do="find out who wrote it: its producer or the way to the disk is broken",
            )
        return record

    def _begun_again(self, partition: TopicPartition, offset: int) -> Assignment:
        """A new assignment for a partition whose offsets went back: its topic was made anew.

        Dropping such records instead would lose all of them up to where the old ones ended.
        """
        log.error(
            "partition.went_back",
            topic=partition.topic,
            partition=partition.partition,
            offset=offset,
            consequence="work on the old records is dropped; the new ones are worked from here",
        )
        self._assignments[partition].end()
        assignment = self._new_assignment(partition)
        assignment.ledger.receive(offset, self._clock())
        self._assignments[partition] = assignment
        return assignment

    async def commit(self) -> None:
        """Commit every partition's settled prefix; a failure is told and survived."""
        async with self._commit_lock:
            await self._commit(self._assignments)

    async def _commit(self, assignments: dict[TopicPartition, Assignment]) -> None:
        if not self._lease.over:  # else these offsets may be somebody else's to commit
            timeout = self._config.commit_timeout
            await commit_settled(self._joined(), assignments, self._metrics, timeout)

    async def lags(self) -> dict[tuple[str, int], int]:
        """Records between the committable position and the end, by topic and partition.

        Raises:
            KafkaUnavailableError: the ends can't be had now.
        """
        async with explained("reading end offsets", self._connection), asyncio.timeout(10):
            behind = await how_far_behind(self._joined(), self._assignments)
        if not any(one.unfetched for one in behind.values()):
            self.not_hungry()
        return {(tp.topic, tp.partition): one.unsettled for tp, one in behind.items()}

    async def stop(self) -> None:
        """Commit what is settled and leave the group, quickly or not at all.

        Whoever stops us kills us soon; a commit that is missing then means a little work again.
        """
        if self._consumer is None:
            return
        try:
            async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                await self.commit()
        except TimeoutError:
            log.warning("commit.failed", error="no answer", consequence="work is done again")
        consumer, self._consumer = self._consumer, None
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await consumer.stop()
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("source.stop_failed", error=in_short(error))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # aiokafka 0.14 cancels its fetches and, while the broker is away, lets that out.
            log.warning("source.stop_failed", error="Kafka is away")

    def close_fences(self) -> None:
        """End every wait of all current work; requests in the middle go on."""
        for assignment in self._assignments.values():
            assignment.fence.close()

    async def _revoked(self) -> None:
        """Drain, commit, forget: aiokafka 0.14 is eager, so a rebalance takes everything."""
        ending = dict(self._assignments)
        self._joined_group = False
        if not ending:
            return
        self._metrics.rebalances.inc()
        started = self._clock()
        for assignment in ending.values():
            assignment.fence.close()
        drained = await _all_idle(ending.values(), self._config.drain_timeout)
        for assignment in ending.values():
            assignment.end()
        async with self._commit_lock:
            if self._consumer is not None:
                await self._commit(ending)
        self._forget_assignments()
        log.info(
            "assignment.revoked",
            partitions=len(ending),
            dropped=sum(a.ledger.open_count for a in ending.values()),
            drained_in_time=drained,
            duration_ms=int((self._clock() - started) * 1000),
        )

    def _forget_assignments(self) -> None:
        self._assignments = {}
        self._metrics.partitions_assigned.set(0)
        self._on_revoked()

    def _assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self._joined_group = True
        self.not_hungry()
        self._assignments = {tp: self._new_assignment(tp) for tp in partitions}
        self._metrics.partitions_assigned.set(len(self._assignments))
        log.info(
            "assignment.received", partitions=sorted(str(a) for a in self._assignments.values())
        )

    def _new_assignment(self, partition: TopicPartition) -> Assignment:
        return Assignment(f"{partition.topic}-{partition.partition}", lambda: self._lease.over)

    async def keep_lease(self) -> None:
        """Renew the lease for ever; when it ran out, drop everything and join the group anew."""
        while True:
            await asyncio.sleep(self._lease.renewal_interval)
            if not self._lease.renew():
                self._expire()

    def _expire(self) -> None:
        ending = self._assignments
        for assignment in ending.values():
            assignment.end()
        self._joined_group = False
        self._forget_assignments()
        stood_still = self._lease.begin()
        log.error(
            "assignment.expired",
            partitions=len(ending),
            dropped=sum(a.ledger.open_count for a in ending.values()),
            stood_still_seconds=round(stood_still, 1),
            consequence="nothing of it is committed or published; joining the group anew",
        )
        # Even if the group still counts us in: our position is behind what was dropped.
        self._joined().subscribe(list(self._config.topics), listener=_Listener(self))

    def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise KafkaUnavailableError("the source is not started")
        return self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Hands rebalances on. aiokafka logs and swallows what a listener raises; poll raises it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        try:
            await self._source._revoked()
        except Exception as error:
            self._source._failure = error

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._source._assigned(assigned)


async def _all_idle(assignments: Iterable[Assignment], timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            for assignment in assignments:
                await assignment.idle()
    except TimeoutError:
        return False
    return True
