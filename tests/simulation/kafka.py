"""Kafka in memory, as far as the service meets it: topics with gaps, a group that rebalances.

`SimulatedConsumer` stands where `consumer.kafka` has aiokafka 0.14's consumer; everything of ours
above it (source, assignments, lease, ledger, commits) is real. What it does as the real one does:

- A rebalance takes everything from everybody. A member hears of it with its next heartbeat, is
  revoked, and joins; the group waits for all, up to the rebalance timeout, and goes on without
  those who did not come. Heartbeats go on while a member is being revoked.
- Who is silent for the session timeout is put out; what it commits afterwards is refused, and its
  next heartbeat tells it. A commit of a member is taken until the next generation begins.
- Offsets may have nothing at them: transaction markers, and what compaction took away. Positions
  go over them; a poll that meets only them hands out nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord, OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from consumer.model.record import Coordinates, Headers, Record
from tests.virtual.loop import OWNER, VirtualLoop

INITIAL_DELAY = 0.1  # seconds that a new group waits for more members
METADATA_LIMIT = 4096  # the broker's offset.metadata.max.bytes
_REACH_SECONDS = 40.0  # after which a request that meets nobody fails
_NO_GENERATION = -1
_ROUND_TRIP = 0.001


@dataclass(slots=True)
class Log:
    """One partition: records by offset. What is not there is a marker, or was compacted away."""

    at: TopicPartition
    records: dict[int, Record] = field(default_factory=dict)
    end: int = 0

    def first_from(self, offset: int) -> tuple[Record | None, int]:
        """The next record, and the position behind it; without one, the end."""
        while offset < self.end:
            if (record := self.records.get(offset)) is not None:
                return record, offset + 1
            offset += 1
        return None, offset


@dataclass(slots=True)
class Seat:
    """A member as the group sees it."""

    owner: str
    session: float
    patience: float
    expires: asyncio.TimerHandle | None = None
    joined: asyncio.Future[tuple[int, tuple[TopicPartition, ...]]] | None = None


class Group:
    """The coordinator of one consumer group.

    Args:
        kafka: its topics.
        loop: its time.
    """

    def __init__(self, kafka: SimulatedKafka, loop: VirtualLoop) -> None:
        self._kafka = kafka
        self._loop = loop
        self._context = copy_context()  # its timers run on when the member that set them is dead
        self._names = 0
        self._patience: asyncio.TimerHandle | None = None
        self.generation = 0
        self.joining = False
        self.seats: dict[str, Seat] = {}
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self.owners: dict[TopicPartition, str] = {}

    def rebalance(self) -> None:
        """Begin a new round, as a change of the topics would."""
        if self.joining:
            return
        self.joining = True
        longest = max((seat.patience for seat in self.seats.values()), default=0.0)
        self._patience = self._later(longest, self._go_on_without)

    async def join(
        self, name: str, owner: str, session: float, patience: float
    ) -> tuple[str, int, tuple[TopicPartition, ...]]:
        """JoinGroup and SyncGroup: the member's name, the generation, and what is assigned."""
        first = not self.seats
        if name not in self.seats:
            self._names += 1
            name = f"{owner}-{self._names}"
            self.seats[name] = Seat(owner, session, patience)
        seat = self.seats[name]
        joined = seat.joined = self._loop.create_future()
        self._silence(seat)
        self.rebalance()
        if first:
            self._later(INITIAL_DELAY, self._complete)
        else:
            self._complete()
        generation, assigned = await joined
        return name, generation, assigned

    def heartbeat(self, name: str, generation: int) -> None:
        """Raises what the group answers."""
        self._check(name, generation)
        self._hear(name)
        if self.joining:
            raise RebalanceInProgressError

    def commit(
        self, name: str, generation: int, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        """Raises what the group answers."""
        self._check(name, generation)
        if any(len(at.metadata.encode()) > METADATA_LIMIT for at in offsets.values()):
            raise OffsetMetadataTooLargeError
        self._hear(name)
        for partition, at in offsets.items():
            self._kafka.commit_seen(partition, at.offset, self.seats[name].owner)
            self.committed[partition] = at

    def leave(self, name: str) -> None:
        """A member goes, and says so."""
        if (seat := self.seats.pop(name, None)) is not None:
            self._silence(seat)
            self.rebalance()
            self._complete()

    def _check(self, name: str, generation: int) -> None:
        if name not in self.seats:
            raise UnknownMemberIdError
        if generation != self.generation:
            raise IllegalGenerationError

    def _hear(self, name: str) -> None:
        seat = self.seats[name]
        self._silence(seat)
        seat.expires = self._later(seat.session, self._expired, name)

    def _later(
        self, seconds: float, do: Callable[..., object], *what: object
    ) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, do, *what, context=self._context)

    def _silence(self, seat: Seat) -> None:
        if seat.expires is not None:
            seat.expires.cancel()
            seat.expires = None

    def _expired(self, name: str) -> None:
        self._kafka.happened("group.expired")
        self._kafka.idle_since.setdefault(self.seats[name].owner, self._loop.now)
        self.leave(name)

    def _go_on_without(self) -> None:
        for name, seat in list(self.seats.items()):
            if seat.joined is None:
                self._silence(seat)
                del self.seats[name]
        self._complete()

    def _complete(self) -> None:
        if not self.joining or any(seat.joined is None for seat in self.seats.values()):
            return
        if self._patience is not None:
            self._patience.cancel()
        self.joining = False
        self.generation += 1
        shares = self._kafka.shared_out(sorted(self.seats))
        self.owners = {each: name for name, share in shares.items() for each in share}
        for name, seat in self.seats.items():
            joined, seat.joined = seat.joined, None
            if joined is not None and not joined.done():
                joined.set_result((self.generation, shares[name]))
            self._hear(name)


class SimulatedKafka:
    """Topics and one group.

    Args:
        loop: its time.
        topics: how many partitions each has.
        happened: told of what happens, by name.
        commit_seen: told of every commit before it is taken.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        topics: Mapping[str, int],
        *,
        happened: Callable[[str], None],
        commit_seen: Callable[[TopicPartition, int, str], None],
    ) -> None:
        self._loop = loop
        self.topics = topics
        self.happened = happened
        self.commit_seen = commit_seen
        self.logs = {
            TopicPartition(topic, number): Log(TopicPartition(topic, number))
            for topic, count in topics.items()
            for number in range(count)
        }
        self.group = Group(self, loop)
        self._away: dict[str, asyncio.Event] = {}
        self.consumers: dict[str, SimulatedConsumer] = {}  # by owner
        self.heartbeats_apart = 1.0  # times their interval
        # Members that are revoked, or put out for their silence, until they are assigned.
        self.idle_since: dict[str, float] = {}

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
    ) -> Record:
        """A record at the end of a partition."""
        log = self.logs[TopicPartition(topic, partition)]
        at = Coordinates(topic, partition, log.end)
        record = log.records[log.end] = Record(at, timestamp_ms, key, value, headers)
        log.end += 1
        self._tell()
        return record

    def append_nothing(self, topic: str, partition: int) -> None:
        """An offset that is no event: a transaction's marker, or what compaction took away."""
        self.logs[TopicPartition(topic, partition)].end += 1
        self._tell()

    def consumer(self, *_: str, **options: Any) -> SimulatedConsumer:
        """What the service makes instead of an `AIOKafkaConsumer`."""
        return SimulatedConsumer(self, self._loop, OWNER.get(), options)

    def cut_off(self, owner: str) -> None:
        """This process has no way to Kafka any more."""
        self._away.setdefault(owner, asyncio.Event())

    def reconnect(self, owner: str) -> None:
        """It has one again."""
        if (back := self._away.pop(owner, None)) is not None:
            back.set()

    async def reach(self, owner: str) -> None:
        """A request's way to a broker; raises `KafkaTimeoutError` where there is none for long."""
        await asyncio.sleep(_ROUND_TRIP)
        while (back := self._away.get(owner)) is not None:
            try:
                async with asyncio.timeout(_REACH_SECONDS):
                    await back.wait()
            except TimeoutError:
                raise KafkaTimeoutError from None

    def is_away(self, owner: str) -> bool:
        """Whether this process can't reach Kafka."""
        return owner in self._away

    def shared_out(self, names: Sequence[str]) -> dict[str, tuple[TopicPartition, ...]]:
        """Who gets what, by the range assignor."""
        shares: dict[str, list[TopicPartition]] = {name: [] for name in names}
        for topic, count in self.topics.items():
            each, more = divmod(count, max(len(names), 1))
            start = 0
            for place, name in enumerate(names):
                size = each + (place < more)
                shares[name] += [TopicPartition(topic, n) for n in range(start, start + size)]
                start += size
        return {name: tuple(share) for name, share in shares.items()}

    def _tell(self) -> None:
        for consumer in self.consumers.values():
            consumer.news.set()


class SimulatedConsumer:
    """One member's client: the part of `AIOKafkaConsumer`, and its inside, that we use.

    Args:
        kafka: what it speaks to.
        loop: its time.
        owner: the process.
        options: as they are given to aiokafka.
    """

    def __init__(
        self, kafka: SimulatedKafka, loop: VirtualLoop, owner: str, options: Mapping[str, Any]
    ) -> None:
        self._kafka = kafka
        self._loop = loop
        self.owner = owner
        self._listener: Any = None
        self._positions: dict[TopicPartition, int | None] = {}
        self._reassigning = True
        self._turn = 0
        self._coordination: asyncio.Task[None] | None = None
        self.news = asyncio.Event()
        self.before_assigned: Callable[[], object] = lambda: None
        self._coordinator = _Coordinator(kafka, owner, options)
        self._client = SimpleNamespace(force_metadata_update=self._nothing)
        self._subscription = SimpleNamespace(
            subscription=SimpleNamespace(assignment=_Assigned(kafka, self._positions))
        )

    async def _nothing(self) -> None:
        """Metadata is never old here."""

    def subscribe(self, topics: Sequence[str], listener: object) -> None:
        self._listener = listener

    async def start(self) -> None:
        self._kafka.consumers[self.owner] = self
        self._coordination = asyncio.create_task(self._coordinate())

    async def stop(self) -> None:
        self._kafka.consumers.pop(self.owner, None)
        if self._coordination is not None:
            self._coordination.cancel()
            with suppress(asyncio.CancelledError):
                await self._coordination
        await self._kafka.reach(self.owner)
        self._kafka.group.leave(self._coordinator.member_id)

    def behind(self) -> bool:
        """Whether a poll would find something, or has to say something."""
        if self._reassigning or self._kafka.is_away(self.owner):
            return False
        return any(
            at is None or at < self._kafka.logs[partition].end
            for partition, at in self._positions.items()
        )

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int = 1
    ) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        assert max_records == 1
        end = self._loop.now + timeout_ms / 1000
        while True:
            self.news.clear()
            if not self._reassigning and not self._kafka.is_away(self.owner):
                for partition in self._in_turn(partitions or tuple(self._positions)):
                    if (record := self._next(partition)) is not None:
                        return {partition: [_as_aiokafka(record)]}
            if self._loop.now >= end:
                return {}
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await self.news.wait()

    def _in_turn(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        ours = [partition for partition in partitions if partition in self._positions]
        self._turn += 1
        start = self._turn % len(ours) if ours else 0
        return ours[start:] + ours[:start]

    def _next(self, partition: TopicPartition) -> Record | None:
        at = self._positions[partition]
        if at is None:
            committed = self._kafka.group.committed.get(partition)
            if committed is None:
                raise NoOffsetForPartitionError(partition)
            at = committed.offset
        record, self._positions[partition] = self._kafka.logs[partition].first_from(at)
        return record

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")
        self._positions[partition] = offset
        self.news.set()

    async def position(self, partition: TopicPartition) -> int:
        at = self._positions.get(partition)
        if at is not None:
            return at
        committed = self._kafka.group.committed.get(partition)
        return 0 if committed is None else int(committed.offset)

    async def committed(self, partition: TopicPartition) -> int | None:
        await self._kafka.reach(self.owner)
        at = self._kafka.group.committed.get(partition)
        return None if at is None else int(at.offset)

    async def commit(
        self, offsets: Mapping[TopicPartition, int | tuple[int, str] | OffsetAndMetadata]
    ) -> None:
        wanted = {partition: _with_metadata(at) for partition, at in offsets.items()}
        if not wanted.keys() <= self._positions.keys():
            raise IllegalStateError("a partition is not assigned")
        await self._coordinator.commit_offsets(None, wanted)

    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        await self._kafka.reach(self.owner)
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._kafka.reach(self.owner)
        return {partition: self._kafka.logs[partition].end for partition in partitions}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        count = self._kafka.topics.get(topic)
        return None if count is None else set(range(count))

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    async def _coordinate(self) -> None:
        coordinator = self._coordinator
        while True:
            self._reassigning = True
            self._kafka.idle_since[self.owner] = self._loop.now
            self._kafka.happened("revoked")
            async with coordinator.beating():
                await self._listener.on_partitions_revoked(tuple(self._positions))
            # Who wants it anew from now on gets it anew once more.
            coordinator.rejoin.clear()
            assigned = await coordinator.join()
            self._positions.clear()
            self._positions.update(dict.fromkeys(assigned))
            self._reassigning = False
            self._kafka.idle_since.pop(self.owner, None)
            self._kafka.happened("assigned")
            self.before_assigned()
            await self._listener.on_partitions_assigned(assigned)
            self.news.set()
            async with coordinator.beating():
                await coordinator.rejoin.wait()


class _Coordinator:
    """The inside of aiokafka's group coordinator that `consumer.kafka.membership` knows."""

    def __init__(self, kafka: SimulatedKafka, owner: str, options: Mapping[str, Any]) -> None:
        self._kafka = kafka
        self.owner = owner
        self._session = options["session_timeout_ms"] / 1000
        self._interval = options["heartbeat_interval_ms"] / 1000
        self._patience = options["rebalance_timeout_ms"] / 1000
        self.rejoin = asyncio.Event()
        self.generation = _NO_GENERATION
        self.member_id = ""

    def request_rejoin(self) -> None:
        self.rejoin.set()

    async def join(self) -> tuple[TopicPartition, ...]:
        while True:
            try:
                await self._kafka.reach(self.owner)
            except KafkaTimeoutError:
                continue
            self.member_id, self.generation, assigned = await self._kafka.group.join(
                self.member_id, self.owner, self._session, self._patience
            )
            if not self._kafka.is_away(self.owner):
                return assigned

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Heartbeats go on meanwhile."""
        task = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            task.cancel()

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(self._interval * self._kafka.heartbeats_apart)
            await self._do_heartbeat()

    async def _do_heartbeat(self) -> bool:
        try:
            if self._kafka.is_away(self.owner):
                await self._kafka.reach(self.owner)
            self._kafka.group.heartbeat(self.member_id, self.generation)
        except KafkaTimeoutError:
            return False
        except RebalanceInProgressError:
            self.request_rejoin()
        except (UnknownMemberIdError, IllegalGenerationError):
            self._reset()
            return False
        return True

    async def commit_offsets(
        self, assignment: object, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        try:
            await asyncio.shield(self._do_commit_offsets(assignment, offsets))
        except (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError) as error:
            raise CommitFailedError from error

    async def _do_commit_offsets(
        self, assignment: object, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> None:
        await self._kafka.reach(self.owner)
        try:
            self._kafka.group.commit(self.member_id, self.generation, offsets)
        except (UnknownMemberIdError, IllegalGenerationError):
            self._reset()
            raise

    async def fetch_committed_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        await self._kafka.reach(self.owner)
        committed = self._kafka.group.committed
        return {each: committed[each] for each in partitions if each in committed}

    def _reset(self) -> None:
        self.generation = _NO_GENERATION
        self.member_id = ""
        self.request_rejoin()


class _Assigned:
    """A subscription's assignment as `consumer.kafka.membership` looks at it."""

    def __init__(
        self, kafka: SimulatedKafka, positions: Mapping[TopicPartition, int | None]
    ) -> None:
        self._kafka = kafka
        self._positions = positions

    @property
    def tps(self) -> tuple[TopicPartition, ...]:
        return tuple(self._positions)

    def state_value(self, partition: TopicPartition) -> SimpleNamespace:
        position = self._positions[partition]
        return SimpleNamespace(
            has_valid_position=position is not None,
            position=position,
            highwater=self._kafka.logs[partition].end,
        )


def _with_metadata(at: int | tuple[int, str] | OffsetAndMetadata) -> OffsetAndMetadata:
    return OffsetAndMetadata(at, "") if isinstance(at, int) else OffsetAndMetadata(*at)


def _as_aiokafka(record: Record) -> ConsumerRecord[bytes, bytes]:
    at = record.at
    return ConsumerRecord(
        topic=at.topic,
        partition=at.partition,
        offset=at.offset,
        timestamp=record.timestamp_ms,
        timestamp_type=0,
        key=record.key,
        value=record.value,
        checksum=None,
        serialized_key_size=len(record.key or b""),
        serialized_value_size=len(record.value or b""),
        headers=record.headers,
    )
