"""A lock that Kafka itself watches, by membership of a consumer group: one process at a time.

What is always true:

- The member to which the group has assigned *all* partitions of a topic holds the lock. A group
  never assigns a partition to two members, so two members can't hold the lock at once.
- A process that wants the lock looks first, and does not join while there is a member: joining
  would make the holder wait for the new assignment. Processes that joined at the same moment leave
  again, except for the one that got the first partition, which waits for the others to leave.
- A holder that dies keeps the lock until the group notices, after the session timeout. A dead
  holder looks like one that works, so a process that comes meanwhile waits that long before it
  gives up.
- A lock that was lost stays lost, even if the group takes us in again: another process may have
  held it meanwhile. Lost means that the group gave us another member id, or that it did not answer
  for so long that it may have gone on without us (`lease.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained
from consumer.kafka.groups import Member
from consumer.kafka.lease import Lease
from consumer.kafka.membership import hear_heartbeats, member_id
from consumer.kafka.topics import open_admin, partitions_of

_LOOK_SECONDS = 0.2
_NOTICED_SECONDS = 2.0  # beyond the session timeout: the group looks at its members now and then
_JOIN_SECONDS = 60.0
_ALONE_SECONDS = 3.0
_LEAVE_SECONDS = 3.0
_NO_POLL_LIMIT_MS = 2**31 - 1


class TakenError(Exception):
    """Another process holds the lock.

    Args:
        holders: the members; may be empty where others came at the same moment.
    """

    def __init__(self, holders: tuple[Member, ...]) -> None:
        super().__init__(", ".join(member.client_id for member in holders) or "somebody")
        self.holders = holders


class LockLostError(Exception):
    """The group may have gone on without us: another process may hold the lock by now."""


@dataclass(frozen=True, slots=True)
class LockConfig:
    """Which lock, and as whom.

    Args:
        group: the consumer group whose membership it is.
        topic: one that exists and that we may read; nothing is read from it.
        client_id: what others see of us.
        session_timeout: seconds after which the group counts a silent member as dead.
    """

    group: str
    topic: str
    client_id: str
    session_timeout: float


class GroupLock:
    """The lock while it is ours; made by `group_lock`.

    Args:
        config: which lock.
        partitions: how many partitions the topic has.
        clock: monotonic seconds.
    """

    def __init__(self, config: LockConfig, partitions: int, clock: Callable[[], float]) -> None:
        self._config = config
        self._wanted = frozenset(TopicPartition(config.topic, n) for n in range(partitions))
        self._clock = clock
        self._lease = Lease(config.session_timeout, clock)
        self._consumer: AIOKafkaConsumer | None = None
        self._given: frozenset[TopicPartition] = frozenset()
        self._name = ""
        self._turning: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours at this moment."""
        return not self.lost and self._given >= self._wanted

    @property
    def lost(self) -> bool:
        """Whether another process may hold it; once true it stays so."""
        if self._consumer is None or self._lease.over:
            return True
        return bool(self._name) and member_id(self._consumer) != self._name

    async def confirm(self) -> None:
        """Return while the lock is ours. Where others have joined by mistake, wait until they left.

        Raises:
            LockLostError: it is lost.
        """
        give_up = self._clock() + max(self._config.session_timeout, 3 * _ALONE_SECONDS)
        while not self.held:
            if self.lost or self._clock() > give_up:
                raise LockLostError(self._config.group)
            await asyncio.sleep(_LOOK_SECONDS / 4)

    async def join(self, connection: KafkaConnection) -> bool:
        """Join the group; whether the lock is ours.

        Raises:
            KafkaUnavailableError: the group can't be joined.
        """
        milliseconds = int(self._config.session_timeout * 1000)
        async with explained("joining the group of the lock", connection):
            self._consumer = AIOKafkaConsumer(
                **connection.client_options() | {"client_id": self._config.client_id},
                group_id=self._config.group,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                partition_assignment_strategy=(RangePartitionAssignor,),
                session_timeout_ms=milliseconds,
                heartbeat_interval_ms=milliseconds // 10,
                rebalance_timeout_ms=milliseconds,
                max_poll_interval_ms=_NO_POLL_LIMIT_MS,
            )
            self._consumer.subscribe([self._config.topic], listener=_LockListener(self))
            async with asyncio.timeout(_JOIN_SECONDS):
                await self._consumer.start()
        hear_heartbeats(self._consumer, self._lease.heard, self._clock)
        self._lease.turn()  # joining may have taken long
        self._lease.begin()
        self._name = member_id(self._consumer)
        self._turning = asyncio.create_task(self._turn(), name="turns of the lock's lease")
        return await self._alone()

    async def _alone(self) -> bool:
        """Whether all partitions are ours. The one with the first partition waits for others."""
        give_up = self._clock() + _ALONE_SECONDS
        first = TopicPartition(self._config.topic, 0)
        while not self.held:
            if self.lost or self._clock() > give_up or (self._given and first not in self._given):
                return False
            await asyncio.sleep(_LOOK_SECONDS / 4)
        return True

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(self._lease.turn_interval)
            self._lease.turn()

    def given(self, partitions: Iterable[TopicPartition]) -> None:
        """Take what the group assigns, and fetch nothing of it."""
        self._given = frozenset(partitions)
        if self._consumer is not None:
            self._consumer.pause(*self._given)
        if not self.lost:
            self._lease.turn()
            self._lease.begin()

    def taken(self) -> None:
        """Note that the group assigns anew."""
        self._given = frozenset()

    async def leave(self) -> None:
        """Leave the group: the lock is free at once."""
        consumer, self._consumer = self._consumer, None
        if self._turning is not None:
            self._turning.cancel()
            await asyncio.gather(self._turning, return_exceptions=True)
        if consumer is not None:
            with suppress(KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await consumer.stop()


class _LockListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, lock: GroupLock) -> None:
        self._lock = lock

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._lock.taken()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._lock.given(assigned)


@asynccontextmanager
async def group_lock(
    connection: KafkaConnection,
    config: LockConfig,
    *,
    waiting: Callable[[tuple[Member, ...]], None],
    rng: random.Random,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[GroupLock]:
    """Hold the lock.

    Args:
        connection: where Kafka is.
        config: which lock, as whom.
        waiting: called once with the holders, before the wait for them.
        rng: spreads processes that came at the same moment.
        clock: monotonic seconds.

    Raises:
        TakenError: another process holds it, and did for the whole session timeout.
        KafkaUnavailableError: Kafka can't be reached, or there is no such topic.
    """
    partitions = await partitions_of(connection, config.topic)
    give_up = clock() + config.session_timeout + _NOTICED_SECONDS
    seen = False
    while True:
        holders = await _until_free(connection, config, give_up, clock, None if seen else waiting)
        seen = seen or holders
        lock = GroupLock(config, partitions, clock)
        try:
            if await lock.join(connection):
                yield lock
                return
        finally:
            await lock.leave()
        await asyncio.sleep(rng.uniform(_LOOK_SECONDS, 5 * _LOOK_SECONDS))


async def _until_free(
    connection: KafkaConnection,
    config: LockConfig,
    give_up: float,
    clock: Callable[[], float],
    waiting: Callable[[tuple[Member, ...]], None] | None,
) -> bool:
    """Return when the group has no members; whether it had any."""
    seen = False
    async with open_admin(connection) as admin:
        while members := tuple(await admin.members(config.group)):
            if clock() > give_up:
                raise TakenError(members)
            if not seen and waiting is not None:
                waiting(members)
            seen = True
            await asyncio.sleep(_LOOK_SECONDS)
    if clock() > give_up + _JOIN_SECONDS:
        raise KafkaUnavailableError("others came at the same moment again and again; try later")
    return seen
