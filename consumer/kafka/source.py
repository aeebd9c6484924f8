"""Records out of Kafka, and commits back: the consumer group as the journey sees it.

What is always true:
- One poll hands out at most one record (``max_records=1``). With more, aiokafka 0.14 drops healthy
  records it has already drained when another partition raises in the same call.
- ``max_poll_interval_ms`` has no effect, and the app watches the poll loop itself. So we can simply
  not poll while the in-flight limit is reached; pausing would throw prefetched records away. We can
  also give up a poll that waits for an assignment: nothing is drained then, and the idle detection
  that a cancelled ``getmany`` switches off for good is off already.
- `assignments.py` keeps what is ours, how it ends and what may be committed.
- `offset_reset.py` decides where to begin, never aiokafka, which does it silently.
- New partitions of a topic are noticed within ``metadata_max_age``, and a topic that was deleted
  and is back within the interval of `lags`: no restart, and none of their records is skipped.

It does not know what a record says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnsupportedCodecError,
)

from consumer.kafka.assignment import Assignment, KafkaDelivery
from consumer.kafka.assignments import Assignments, GroupListener
from consumer.kafka.batches import UNFOLD_LIMIT, install
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained, in_short
from consumer.kafka.lag import PartitionLag, PartitionStanding, standing_of
from consumer.kafka.lag_watch import LagWatch
from consumer.kafka.ledger import RecordMark
from consumer.kafka.membership import position_of, rejoin
from consumer.kafka.offset_reset import OffsetReset
from consumer.kafka.raising import RaisingPlaces, unwrapped_getmany
from consumer.kafka.records import to_record
from consumer.kafka.resumption import Resumption
from consumer.kafka.settled_metadata import anchor_of, check_of
from consumer.model.reason import FailureReason
from consumer.model.record import Coordinates, Record, Unreadable
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.repeats import RepeatedLine

log = library_logger(__name__)

# Idle detection by aiokafka is replaced by the app's watchdog (module docstring). About 24 days.
_NO_POLL_LIMIT_MS = 2**31 - 1
_FAILED_SECONDS = 1.0
_ASSIGNMENT_WAIT_SECONDS = 1.0
_PLACE_SECONDS = 10.0
# A partition of no topic: asking for it takes no record, and aiokafka still raises its errors.
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
        client_id: what the other members see of us; None: what every client of ours is called.
        auto_offset_reset: ``earliest`` or ``latest``; what that means is in `offset_reset.py`.
        session_timeout: seconds without heartbeat until the group takes our partitions away.
        drain_timeout: seconds that a revocation waits for requests in the middle.
        commit_timeout: seconds a commit may take; aiokafka itself sets no limit.
        rebalance_timeout: seconds the group waits for us in a rebalance: the drain and the commit
            must fit in.
        unfold_limit: bytes that a compressed batch may unfold to; beyond, it is dead-lettered.
        metadata_max_age: seconds after which the topics are looked at again. New partitions wait
            that long. aiokafka's own 5 minutes are long for a publisher, and one small request
            every half minute is cheap.
    """

    topics: tuple[str, ...]
    group_id: str
    client_id: str | None = None
    auto_offset_reset: str = "earliest"
    session_timeout: float = 45.0
    drain_timeout: float = 130.0
    commit_timeout: float = 30.0
    rebalance_timeout: float = 165.0
    unfold_limit: int = UNFOLD_LIMIT
    metadata_max_age: float = 30.0


class KafkaSource:
    """See the module's docstring.

    Args:
        on_revoking: called when partitions are going; returns when what belongs to no single one of
            them has ended, and whether it is known how.
        on_revoked: called when partitions went: others may now change what we know of them.
        clock: monotonic seconds.
        epoch: epoch seconds.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        config: SourceConfig,
        metrics: Metrics,
        *,
        on_revoking: Callable[[], Awaitable[bool]],
        on_revoked: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._consumer: AIOKafkaConsumer | None = None
        self._assignments = Assignments(
            session_timeout=config.session_timeout,
            drain_timeout=config.drain_timeout,
            commit_timeout=config.commit_timeout,
            metrics=metrics,
            on_assigned=self.not_hungry,
            on_revoking=on_revoking,
            on_revoked=on_revoked,
            clock=clock,
            epoch=epoch,
        )
        self._fed_at = clock()
        self._offset_reset = OffsetReset(config.auto_offset_reset, metrics)
        self._raising = RaisingPlaces()
        self._failures = RepeatedLine(clock)
        self._lag_watch = LagWatch(connection, config.topics, clock)
        self._behind: dict[TopicPartition, PartitionLag] = {}
        self.stable_lags: dict[tuple[str, int], int] = {}
        """As `lags` found them, but up to the last stable offset: what Kafka gives out now."""

    async def start(self, cluster_id: str = "") -> None:
        """Join the group.

        Args:
            cluster_id: of this Kafka; what was committed in another one is not believed.

        Raises:
            KafkaUnavailableError: with the cause; call again later.
        """
        install(self._config.unfold_limit)
        self._assignments.cluster_id = cluster_id
        async with explained("joining the consumer group", self._connection):
            options = self._connection.client_options()
            consumer = AIOKafkaConsumer(
                **options | {"client_id": self._config.client_id or options["client_id"]},
                group_id=self._config.group_id,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                partition_assignment_strategy=(RangePartitionAssignor,),
                session_timeout_ms=int(self._config.session_timeout * 1000),
                heartbeat_interval_ms=int(self._config.session_timeout * 1000 / 10),
                rebalance_timeout_ms=int(self._config.rebalance_timeout * 1000),
                max_poll_interval_ms=_NO_POLL_LIMIT_MS,
                metadata_max_age_ms=int(self._config.metadata_max_age * 1000),
            )
            listener = GroupListener(self._assignments, consumer)
            consumer.subscribe(list(self._config.topics), listener=listener)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        self._assignments.begin(consumer)
        self._consumer = consumer

    @property
    def joined(self) -> bool:
        """True while the group counts us in and has said what is ours, be it nothing."""
        return self._assignments.joined

    @property
    def assigned(self) -> bool:
        """True while the group has given us partitions (it may give a spare member none)."""
        return bool(self._assignments.by_partition)

    @property
    def placed(self) -> bool:
        """True when it is fixed for every assigned partition where it begins.

        Until then ``latest`` would skip what is published.
        """
        consumer = self._consumer
        return consumer is not None and all(
            position_of(consumer, each) is not None for each in self._assignments.by_partition
        )

    def held_back(self) -> list[str]:
        """Partitions that a transaction has held back for long, each in a few words."""
        return self._lag_watch.held_back()

    def partitions(self) -> list[PartitionStanding]:
        """How far we are with each partition of ours, by what is in memory."""
        now, ours = self._clock(), self._assignments.by_partition
        return [standing_of(each, ours[each], self._behind.get(each), now) for each in sorted(ours)]

    def owns(self, topic: str, partition: int | None) -> bool:
        """Whether a partition is ours at the moment."""
        owned = self._assignments.by_partition
        return any(each.topic == topic and each.partition == partition for each in owned)

    @property
    def taken_over_at(self) -> float | None:
        """When a partition of ours was last taken over from an owner that did not end in order."""
        every = (each.taken_over_at for each in self._assignments.by_partition.values())
        return max((at for at in every if at is not None), default=None)

    @property
    def holds_all(self) -> bool:
        """Whether all partitions of all input topics are ours: no other member has any work."""
        if self._consumer is None or self._assignments.over:
            return False
        ours = self._assignments.by_partition
        numbers = {
            topic: self._consumer.partitions_for_topic(topic) for topic in self._config.topics
        }
        return all(
            numbers[topic] and all(TopicPartition(topic, n) in ours for n in numbers[topic])
            for topic in numbers
        )

    @property
    def in_doubt_until(self) -> float:
        """Until when something may come that former owners had begun, epoch seconds; 0: nothing."""
        every = self._assignments.by_partition.values()
        return max((each.former_doubts.until for each in every), default=0.0)

    @property
    def open_count(self) -> int:
        """Records handed out and not settled, over all partitions."""
        return sum(a.ledger.open_count for a in self._assignments.by_partition.values())

    def oldest_open_age(self) -> float:
        """Seconds since the longest unsettled record was received; 0 when nothing is open."""
        since = [a.ledger.oldest_open_since for a in self._assignments.by_partition.values()]
        return max((self._clock() - at for at in since if at is not None), default=0.0)

    @property
    def starved_seconds(self) -> float:
        """How long records have been waiting for us without any being received.

        A consumer that silently stops fetching looks healthy from everywhere else (aiokafka has
        had such faults). A caller that has no room for records says so with `not_hungry`.
        """
        return self._clock() - self._fed_at

    def not_hungry(self) -> None:
        """Note that nothing could be received, or had to be: this is no starving."""
        self._fed_at = self._clock()

    async def poll(self, timeout: float = 0.2) -> KafkaDelivery | None:
        """The next record, or None when there was none for `timeout` seconds."""
        if self._assignments.failure is not None:
            raise RuntimeError("the rebalance listener failed") from self._assignments.failure
        raising = self._raising.worst(self._assignments.by_partition)
        if raising is not None:
            return await self._poll_unwrapped(raising, timeout)
        try:
            # Without an assignment as well: only here does aiokafka raise what keeps it from one.
            batch = await self._ask(self._askable(), timeout)
        except (CorruptRecordException, UnsupportedCodecError) as error:
            # A checksum that did not fit: aiokafka has thrown the batch away and fetches it again.
            # What the other partitions have fetched stays where it is (``max_records=1``).
            log.warning("source.poll_failed", error=in_short(error))
            self._step_back()
            await asyncio.sleep(timeout)
            return None
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            await self._find_place(error)
            return None
        except RecordTooLargeError as error:
            await self._fetch_again(error)
            return None
        except KafkaError as error:
            self._step_back()
            await self._rest_after(error)
            return None
        except Exception as error:
            # Parsers of record formats before Kafka 0.11 raise anything, and so does whatever is
            # wrapped round the client, with the record that it was about to hand over in its hands.
            log.warning("source.poll_failed", error=in_short(error))
            self._raising.raised(self._step_back())
            await asyncio.sleep(_FAILED_SECONDS)
            return None
        if batch is None:
            self._step_back()
            return None
        if not batch:
            self._follow()
        return self._first(batch)

    async def _poll_unwrapped(
        self, partition: TopicPartition, timeout: float
    ) -> KafkaDelivery | None:
        """The next record of a partition whose polls keep raising, without what wraps the client.

        Where the client itself raises, the record is dead-lettered by its place: it would hold up
        all that lie behind it for ever.
        """
        before = self._assignments.by_partition[partition]
        try:
            batch = await self._ask([partition], timeout, unwrapped_getmany(self._joined()))
        except Exception as error:
            log.warning("source.poll_failed", error=in_short(error))
            position = position_of(self._joined(), partition)
            received = before.ledger.next_offset
            if position is None or received is None or position <= received:
                await asyncio.sleep(_FAILED_SECONDS)
                return None
            problem = f"every poll raises on it: {in_short(error)}"[:200]
            at = Coordinates(partition.topic, partition.partition, position - 1)
            record = Record(at, 0, None, None, (), Unreadable(FailureReason.UNDECODABLE, problem))
            self._raising.passed(partition)
            return self._received(partition, before, self._noted(record))
        if batch:
            log.warning(
                "source.unwrapped",
                topic=partition.topic,
                partition=partition.partition,
                consequence="one record is taken without what is wrapped round Kafka's client",
                what_to_do="see the source.poll_failed lines: instrumentation raises on the record",
            )
        return self._first(batch or {})

    def _askable(self) -> list[TopicPartition]:
        """The partitions to ask for: none whose beginning is not known yet."""
        ours = self._assignments.by_partition
        placed = [partition for partition, each in ours.items() if each.placed]
        return placed or ([_NOWHERE] if ours else [])

    def _follow(self) -> None:
        """After a poll that gave nothing: what is left before the positions is no event."""
        for partition, assignment in self._assignments.by_partition.items():
            position = position_of(self._joined(), partition)
            if position is not None and assignment.placed:
                assignment.ledger.follow(position)

    def _step_back(self) -> list[tuple[TopicPartition, int]]:
        """Go back to what was received, after a poll that raised; where that moved something.

        The client may have taken records out of its buffer and moved its positions on. Left there,
        the next commit would pass records that nobody has seen.
        """
        consumer = self._joined()
        moved = []
        for partition, assignment in self._assignments.by_partition.items():
            position, received = position_of(consumer, partition), assignment.ledger.next_offset
            if position is None or position == received:
                continue
            if received is None:
                rejoin(consumer)  # nobody knows where it began: the group says it anew
            elif position > received:
                consumer.seek(partition, received)
                moved.append((partition, received))
        return moved

    async def listen(self) -> None:
        """Let aiokafka raise what went wrong in the background, also while nothing is polled.

        Its coordinator holds such an error until the next call. A consumer whose in-flight limit is
        reached for the time of an outage would never join again.

        Raises:
            KafkaError: group coordination has ended for good; only a restart helps.
        """
        try:
            await self._ask([_NOWHERE], 0.0)
        except KafkaError as error:
            await self._rest_after(error)

    async def _ask(
        self,
        partitions: list[TopicPartition],
        timeout: float,
        getmany: Callable[..., Awaitable[Any]] | None = None,
    ) -> dict[TopicPartition, list[ConsumerRecord]] | None:
        """One ``getmany``; None when a rebalance makes it wait much longer than asked."""
        milliseconds = int(timeout * 1000)
        try:
            async with asyncio.timeout(timeout + _ASSIGNMENT_WAIT_SECONDS):
                ask = getmany or self._joined().getmany
                answer: dict[TopicPartition, list[ConsumerRecord]] = await ask(
                    *partitions, timeout_ms=milliseconds, max_records=1
                )
                return answer
        except TimeoutError:
            return None

    async def _rest_after(self, error: Exception) -> None:
        if _ENDED in str(error):
            raise error
        if (repeats := self._failures.happened(self._config.group_id)) is not None:
            log.error(
                "source.failed",
                error=in_short(error),
                failures=repeats.count,
                consequence="tried again; without its partitions this instance does nothing",
                what_to_do="check the brokers, and our permission to read the topics and to use"
                f" the group {self._config.group_id}",
            )
        await asyncio.sleep(_FAILED_SECONDS)

    async def _find_place(self, error: NoOffsetForPartitionError | OffsetOutOfRangeError) -> None:
        """Go on where a committed offset is missing or out of range."""
        before = dict(self._assignments.by_partition)
        if not before:
            return  # the member that has the partition now gets the same error
        try:
            async with asyncio.timeout(_PLACE_SECONDS):
                places = await self._offset_reset.after(self._joined(), error)
        except (KafkaError, TimeoutError, OSError) as trouble:
            log.warning("source.poll_failed", error=in_short(trouble))
            await asyncio.sleep(_FAILED_SECONDS)
            return
        for partition, place in places.items():
            assignment = before.get(partition)
            # A partition that was assigned to us anew meanwhile has a place of its own.
            is_ours = self._assignments.by_partition.get(partition) is assignment
            if assignment is None or not is_ours:
                continue
            self._joined().seek(partition, place)
            if isinstance(error, OffsetOutOfRangeError) and place < error.args[0][partition]:
                self._assignments.begin_again(partition, place)
            elif assignment.ledger.is_empty:
                assignment.ledger.begin_at(place)

    async def _fetch_again(self, error: RecordTooLargeError) -> None:
        """Return to a record that the broker did not send whole: aiokafka 0.14 has stepped past it.

        Brokers since Kafka 0.10.1 send the first batch whole, however large, so a further try gets
        it. Left alone, the offset of the next record would be committed, and this one lost.
        """
        _text, partition, offset, _limit = error.args
        log.error(
            "record.cut_off",
            topic=partition.topic,
            partition=partition.partition,
            offset=offset,
            consequence="fetched again; its partition waits until the broker sends it whole",
            what_to_do="check the version of the brokers: Kafka since 0.10.1 does",
        )
        if partition in self._assignments.by_partition:
            self._joined().seek(partition, offset)
        await asyncio.sleep(_FAILED_SECONDS)

    def _first(self, batch: dict[TopicPartition, list[ConsumerRecord]]) -> KafkaDelivery | None:
        for partition, records in batch.items():
            for record in records:
                # Without an assignment the record belongs to the next owner, who fetches it again.
                if (assignment := self._assignments.by_partition.get(partition)) is None:
                    continue
                self.not_hungry()
                self._raising.passed(partition)
                self._offset_reset.worked(partition.topic)
                return self._received(partition, assignment, self._noted(to_record(record)))
        return None

    def _received(
        self, partition: TopicPartition, assignment: Assignment, record: Record
    ) -> KafkaDelivery:
        mark = RecordMark(check_of(record), anchor_of(record, self._assignments.cluster_id))
        if not assignment.ledger.receive(record.at.offset, self._clock(), mark):
            assignment = self._assignments.begin_again(partition, record.at.offset)
            assignment.ledger.receive(record.at.offset, self._clock(), mark)
        before = assignment.resumption.settled_before(record)
        if (why := assignment.resumption.dropped) is not None:
            log.warning(
                "commit.metadata_dropped",
                partition=str(assignment),
                because=why,
                consequence="what was settled behind an open event is worked again",
            )
            assignment.resumption = Resumption()
            assignment.taken_over_at = self._clock()
            assignment.ledger.disbelieve()
        return KafkaDelivery(record, assignment, before)

    def _noted(self, record: Record) -> Record:
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

    async def commit(self) -> None:
        """Commit every partition's settled prefix. A failure is logged and survived."""
        await self._assignments.commit()

    async def lags(self) -> dict[tuple[str, int], int]:
        """Records between the committable position and the end, by topic and partition.

        Raises:
            KafkaUnavailableError: the ends can't be had now, or a topic of ours does not exist.
        """
        behind = await self._lag_watch.look(self._joined(), self._assignments.by_partition)
        self._behind = behind
        if not any(one.available for one in behind.values()):
            self.not_hungry()
        self.stable_lags = {
            (tp.topic, tp.partition): one.unsettled - one.held_back for tp, one in behind.items()
        }
        return {(tp.topic, tp.partition): one.unsettled for tp, one in behind.items()}

    async def stop(self) -> None:
        """Commit what is settled and leave the group, quickly or not at all.

        A process that is stopped is killed soon. A missing commit then means a little work again.
        """
        if self._consumer is None:
            return
        try:
            async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                await self._assignments.commit_last()
        except TimeoutError:
            log.warning("commit.failed", error="no answer", consequence="work is done again")
        consumer, self._consumer = self._consumer, None
        self._assignments.end()
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
        """End every wait of all current work. Requests in the middle go on."""
        for assignment in self._assignments.by_partition.values():
            assignment.fence.close()

    async def keep_lease(self) -> None:
        """Watch for ever that the group can still be counting us in (`lease.py`)."""
        await self._assignments.keep()

    def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise KafkaUnavailableError("the source is not started")
        return self._consumer
