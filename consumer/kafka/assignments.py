"""The partitions that are assigned to us, until they are revoked or lost, or the lease runs out.

Rules:

- Every assignment is an epoch of its own, with a fence and a ledger. On revocation the fence
  closes, work in the middle of a request gets time to finish, the settled prefix is committed, and
  the assignment is forgotten.
- A lost assignment is not drained: nothing of it is committed or published, because another member
  has it already. Lost means that the group has gone on without us (a heartbeat or a commit was
  refused), or that it did not answer for so long that it may have (`lease.py`). Every step of the
  work checks both, because a task of ours that watches them may run too late.
- Commits are explicit, per partition, and only of the current assignment. aiokafka rebalances in
  the background, so a bare ``commit()`` could commit what another member owns by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from consumer.kafka.assignment import Assignment, FormerDoubts
from consumer.kafka.commits import commit_settled
from consumer.kafka.connection import in_short
from consumer.kafka.kept_deaths import settled_part
from consumer.kafka.lease import Lease
from consumer.kafka.membership import (
    committed_of,
    hear_heartbeats,
    let_go_of_gone_topics,
    rejoin,
    thrown_out,
)
from consumer.kafka.resumption import Resumption
from consumer.kafka.settled_metadata import SettledBehind, decode
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.metrics import Metrics

log = library_logger(__name__)

_RECALL_SECONDS = 10.0
DOUBT_GRACE_SECONDS = 900.0  # after the end of a doubt; by then somebody has looked


class Assignments:
    """See the module's docstring.

    Args:
        session_timeout: seconds of silence after which the group gives our partitions away.
        drain_timeout: seconds that a revocation waits for requests in the middle.
        commit_timeout: seconds a commit may take; aiokafka itself sets no limit.
        on_assigned: called when partitions came.
        on_revoking: called when partitions are going; returns when what belongs to no single one of
            them has ended, and whether it is known how.
        on_revoked: called when partitions went: others may now change what we know of them.
        clock: monotonic seconds.
        epoch: epoch seconds; doubts are told to the next owner by that.
    """

    def __init__(
        self,
        *,
        session_timeout: float,
        drain_timeout: float,
        commit_timeout: float,
        metrics: Metrics,
        on_assigned: Callable[[], None],
        on_revoking: Callable[[], Awaitable[bool]],
        on_revoked: Callable[[], None],
        clock: Callable[[], float],
        epoch: Callable[[], float],
    ) -> None:
        self._epoch = epoch
        self._drain_timeout = drain_timeout
        self._commit_timeout = commit_timeout
        self._metrics = metrics
        self._on_assigned = on_assigned
        self._on_revoking = on_revoking
        self._on_revoked = on_revoked
        self._clock = clock
        self._lease = Lease(session_timeout, clock)
        self._consumer: AIOKafkaConsumer | None = None
        self._commit_lock = asyncio.Lock()
        self.by_partition: dict[TopicPartition, Assignment] = {}
        self.joined = False
        self.cluster_id = ""
        self.failure: BaseException | None = None

    @property
    def over(self) -> bool:
        """True while another member may own what we have."""
        if self._lease.over:
            return True
        return self._consumer is not None and thrown_out(self._consumer)

    @property
    def unheard_seconds(self) -> float:
        """Seconds since the group last proved that it counts us in."""
        return self._lease.unheard_seconds

    def begin(self, consumer: AIOKafkaConsumer) -> None:
        """Note that a consumer has joined the group."""
        hear_heartbeats(consumer, self._lease.heard, self._clock)
        let_go_of_gone_topics(consumer)
        self._lease.turn()  # joining may have taken minutes
        self._lease.begin()
        self._consumer = consumer

    def end(self) -> None:
        """Note that the consumer is leaving."""
        self._consumer = None

    async def commit(self) -> None:
        """Commit every partition's settled prefix. A failure is logged and survived."""
        async with self._commit_lock:
            await self._commit(self.by_partition)

    async def commit_last(self) -> None:
        """The same when no work will begin any more, which the next owner reads in it."""
        if await self._on_revoking():
            for assignment in self.by_partition.values():
                assignment.finish()
        await self.commit()

    async def _commit(self, assignments: dict[TopicPartition, Assignment]) -> None:
        if self._consumer is None or self.over:
            return  # these offsets may be another member's to commit
        for assignment in assignments.values():
            assignment.ledger.expire(self._epoch() - DOUBT_GRACE_SECONDS)
        await commit_settled(self._consumer, assignments, self._metrics, self._commit_timeout)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Take what the group assigns."""
        self.joined = True
        self._lease.begin()
        self._on_assigned()
        self.by_partition = {
            partition: self._new(partition, placed=False) for partition in partitions
        }
        self._metrics.partitions_assigned.set(len(self.by_partition))
        log.info(
            "assignment.received", partitions=sorted(str(a) for a in self.by_partition.values())
        )

    def _new(self, partition: TopicPartition, *, placed: bool) -> Assignment:
        name = f"{partition.topic}-{partition.partition}"
        return Assignment(name, lambda: self.over, placed=placed)

    async def recall(self, consumer: AIOKafkaConsumer) -> None:
        """Find out where the assignments begin and what was settled before; then they are placed.

        What can't be found out is worked again: a repeated result costs less than a rebalance that
        never ends.
        """
        assignments = self.by_partition
        try:
            async with asyncio.timeout(_RECALL_SECONDS):
                committed = await committed_of(consumer, assignments.keys())
            read = {
                partition: self._begin_at(assignments[partition], found.offset, found.metadata)
                for partition, found in committed.items()
            }
            for partition, assignment in assignments.items():
                assignment.former_doubts = _former_doubts(read, partition.partition)
            # Before any work begins: if we die, the next owner has to know that we did.
            await self._commit(assignments)
        except (KafkaError, TimeoutError, OSError) as error:
            for assignment in assignments.values():
                assignment.taken_over_at = assignment.taken_over_at or self._clock()
            log.warning(
                "assignment.not_recalled",
                error=in_short(error),
                consequence="what was settled behind an open event is worked again",
            )
        finally:
            for assignment in assignments.values():
                assignment.placed = True

    def _begin_at(self, assignment: Assignment, offset: int, metadata: str) -> SettledBehind | None:
        behind = decode(settled_part(metadata), offset)
        assignment.ledger.begin_at(offset, behind=behind, metadata=metadata)
        if behind is None or not behind.ended:
            assignment.taken_over_at = self._clock()
        if behind is not None:
            assignment.resumption = Resumption(behind, self.cluster_id)
        elif settled_part(metadata):
            log.info(
                "commit.metadata_dropped",
                partition=str(assignment),
                because="others wrote it, or a version that is not known here",
            )
        return behind

    def begin_again(self, partition: TopicPartition, offset: int) -> Assignment:
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
        self.by_partition[partition].end()
        assignment = self.by_partition[partition] = self._new(partition, placed=True)
        assignment.ledger.begin_at(offset)
        return assignment

    async def revoked(self) -> None:
        """Drain, commit, forget: aiokafka 0.14 is eager, so a rebalance takes everything."""
        ending = dict(self.by_partition)
        self.joined = False
        if not ending:
            return
        self._metrics.rebalances.inc()
        if self.over:
            self._lose(ending)
            return
        started = self._clock()
        for assignment in ending.values():
            assignment.fence.close()
        drained = await self._drained(ending.values())
        for assignment in ending.values():
            if drained:
                assignment.finish()
            assignment.end()
        async with self._commit_lock:
            await self._commit(ending)
        self._forget()
        log.info(
            "assignment.revoked",
            partitions=len(ending),
            dropped=_open_in(ending.values()),
            drained_in_time=drained,
            duration_ms=int((self._clock() - started) * 1000),
        )

    async def _drained(self, ending: Iterable[Assignment]) -> bool:
        """Wait until nothing of ours is under way; false when that takes too long or may come."""
        try:
            async with asyncio.timeout(self._drain_timeout):
                await self._on_revoking()
                for assignment in ending:
                    await assignment.idle()
                return await self._on_revoking()
        except TimeoutError:
            return False

    def _lose(self, ending: dict[TopicPartition, Assignment]) -> None:
        """Drop all: the group has gone on without us, and a drain would publish it twice."""
        self._drop(ending)
        log.warning(
            "assignment.lost",
            partitions=len(ending),
            dropped=_open_in(ending.values()),
            consequence="nothing of it is committed or published; joining the group anew",
        )

    async def keep(self) -> None:
        """Watch the lease for ever. When it has run out, drop everything and join anew."""
        while True:
            await asyncio.sleep(self._lease.turn_interval)
            stood_still = self._lease.turn()
            if self.by_partition and self._lease.over:
                self._expire(stood_still)

    def _expire(self, stood_still: float) -> None:
        ending = self.by_partition
        self.joined = False
        self._drop(ending)
        log.error(
            "assignment.expired",
            partitions=len(ending),
            dropped=_open_in(ending.values()),
            stood_still_seconds=round(stood_still, 1),
            unheard_seconds=round(self.unheard_seconds, 1),
            consequence="nothing of it is committed or published; joining the group anew",
        )
        if self._consumer is not None:
            # Even if the group still counts us in: our position is behind what was dropped.
            rejoin(self._consumer)

    def _drop(self, ending: dict[TopicPartition, Assignment]) -> None:
        for assignment in ending.values():
            assignment.end()
        self._forget()

    def _forget(self) -> None:
        self.by_partition = {}
        self._metrics.partitions_assigned.set(0)
        self._on_revoked()


class GroupListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Hands rebalances on. aiokafka swallows what a listener raises, so the next poll raises it."""

    def __init__(self, assignments: Assignments, consumer: AIOKafkaConsumer) -> None:
        self._assignments = assignments
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """All of them: aiokafka 0.14 never takes a part."""
        try:
            await self._assignments.revoked()
        except Exception as error:
            self._assignments.failure = error

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """All of them."""
        self._assignments.assigned(assigned)
        try:
            await self._assignments.recall(self._consumer)
        except Exception as error:
            self._assignments.failure = error


def _former_doubts(
    read: Mapping[TopicPartition, SettledBehind | None], number: int
) -> FormerDoubts:
    of_number = [behind for at, behind in read.items() if behind and at.partition == number]
    names = frozenset[int]().union(*(behind.in_doubt for behind in of_number))
    return FormerDoubts(names, max((behind.held_until for behind in of_number), default=0))


def _open_in(assignments: Iterable[Assignment]) -> int:
    return sum(assignment.ledger.open_count for assignment in assignments)
