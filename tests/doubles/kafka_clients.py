"""The ports of operations over a Kafka in memory (`tests.doubles.kafka`)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from consumer.kafka.batches import UNFOLD_LIMIT
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_kinds import GroupKind
from consumer.kafka.group_lock import LockConfig, LockLostError, TakenError
from consumer.kafka.groups import GroupOffset, Member, Places
from consumer.kafka.offset_reset import OffsetRange
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.kafka.reader import FETCH_BYTES, OffsetRanges, Records
from consumer.kafka.start import Start
from consumer.kafka.topics import TopicState, no_such_topic
from consumer.model.reason import FailureReason
from consumer.model.record import Coordinates, Record, Unreadable
from consumer.operations.ports import Waiting
from tests.doubles.kafka import ADDRESS, MemoryKafka, TooLargeForBroker

_LOOK_SECONDS = 0.01
_TOLD_SECONDS = 0.1  # beyond the session timeout


_AT_ONCE = 100


class Killed(BaseException):
    """What a process would not live to see: nothing of it runs after this."""


@dataclass(slots=True)
class _Fate:
    """What becomes of a line.

    Args:
        error: what whoever calls meets, from some call on.
        wait: how many calls of its kind there are up to that one.
        kind: how these begin.
        done: whether that one takes effect all the same.
    """

    error: type[BaseException]
    wait: int
    kind: str
    done: bool

    def meets(self, what: str) -> bool:
        """Whether this call is that one, or comes after it."""
        if self.wait and what.startswith(self.kind):
            self.wait -= 1
        return not self.wait


@dataclass(slots=True)
class _Member:
    group: str
    number: int
    session_timeout: float


@dataclass(slots=True)
class Line:
    """The line between one process and Kafka: it remembers what was asked, and can be cut.

    Args:
        kafka: at its other end.
    """

    kafka: MemoryKafka
    calls: list[str] = field(default_factory=list)
    members: list[_Member] = field(default_factory=list)
    _fate: _Fate | None = None

    def cut(self) -> None:
        """Let nothing through until `mend`; the group hears nothing of our members."""
        self._fate = _Fate(KafkaUnavailableError, 0, "", done=False)
        self._fall_silent()

    def break_at(self, call: int, kind: str = "", *, done: bool = False) -> None:
        """Be cut by a call.

        Args:
            call: from 1 on; the first one that gets no answer.
            kind: count only calls that begin like this.
            done: whether that one takes effect all the same.
        """
        self._fate = _Fate(KafkaUnavailableError, call, kind, done)

    def kill_at(self, call: int, kind: str = "", *, done: bool = False) -> None:
        """As `break_at`, but the process does not survive that call: it raises `Killed`."""
        self._fate = _Fate(Killed, call, kind, done)

    def interrupt_at(self, call: int, kind: str = "") -> None:
        """As `break_at`, but somebody presses Ctrl-C there."""
        self._fate = _Fate(KeyboardInterrupt, call, kind, done=False)

    def mend(self) -> None:
        """Let everything through."""
        self._fate = None

    @contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """One call, which is one step.

        Raises:
            KafkaUnavailableError: it got no answer.
            Killed: nobody is left to hear one.
        """
        with self.kafka.step:
            self.calls.append(what)
            fate = self._fate
            if fate is None or not fate.meets(what):
                yield
                return
            self._fall_silent()
            if fate.done:
                fate.done = False
                yield
            raise fate.error(f"{what} at {ADDRESS} failed: no answer")

    def _fall_silent(self) -> None:
        for each in self.members:
            self.kafka.fall_silent(each.group, each.number, each.session_timeout)
        self.members.clear()


class MemoryClients:
    """`consumer.operations.ports.KafkaAccess` in memory, of one process.

    Args:
        kafka: which.
    """

    def __init__(self, kafka: MemoryKafka) -> None:
        self.kafka = kafka
        self.line = Line(kafka)

    @asynccontextmanager
    async def reader(
        self, *, unfold_limit: int = UNFOLD_LIMIT, fetch_bytes: int = FETCH_BYTES
    ) -> AsyncIterator[MemoryReader]:
        with self.line.asked("connecting"):
            reader = MemoryReader(self.line, unfold_limit)
        yield reader

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[MemoryAdmin]:
        with self.line.asked("connecting"):
            admin = MemoryAdmin(self.line)
        yield admin

    @asynccontextmanager
    async def publisher(
        self, *, max_record_bytes: int, delivery_timeout: float
    ) -> AsyncIterator[MemoryPublisher]:
        with self.line.asked("connecting the producer"):
            publisher = MemoryPublisher(self.line, max_record_bytes)
        yield publisher

    @asynccontextmanager
    async def lock(
        self, config: LockConfig, *, waiting: Waiting, rng: random.Random
    ) -> AsyncIterator[MemoryLock]:
        with self.line.asked("connecting"):
            if self.kafka.state(config.topic) is None:
                raise no_such_topic(config.topic)
        member = await self._joined(config, waiting)
        try:
            yield MemoryLock(self.kafka, member)
        finally:
            # Who can't say that he leaves has left all the same; the group notices later.
            with (
                suppress(KafkaUnavailableError),
                self.line.asked("leaving the group of the lock"),
            ):
                self.kafka.leave(member.group, member.number)

    async def _joined(self, config: LockConfig, waiting: Waiting) -> _Member:
        give_up = time.monotonic() + config.session_timeout + _TOLD_SECONDS
        told = False
        while True:
            with self.line.asked(f"looking at group {config.group}"):
                members = tuple(self.kafka.members(config.group))
                if not members:
                    number = self.kafka.join(config.group, config.client_id)
                    member = _Member(config.group, number, config.session_timeout)
                    self.line.members.append(member)
                    return member
            if time.monotonic() > give_up:
                raise TakenError(members)
            if not told:
                waiting(members)
                told = True
            await asyncio.sleep(_LOOK_SECONDS)

    async def read_topic(
        self, topic: str, *, follow: bool = False, start: Start = "beginning"
    ) -> Records:
        async with self.reader() as reader:
            ranges = await reader.offset_ranges(topic)
            if ranges is None:
                raise no_such_topic(topic)
            if follow:
                places = await _places(reader, topic, ranges, start)
                found = _followed(self.kafka, topic, places)
            else:
                found = reader.records(topic, ranges)
            async with aclosing(found) as records:
                async for record in records:
                    yield record


async def _places(
    reader: MemoryReader, topic: str, ranges: OffsetRanges, start: Start
) -> dict[int, int]:
    if isinstance(start, datetime):
        ranges = await reader.since(topic, ranges, start)
    places = {n: each.end if start == "now" else each.start for n, each in ranges.items()}
    return {**places, **start} if isinstance(start, Mapping) else places


async def _followed(kafka: MemoryKafka, topic: str, places: dict[int, int]) -> Records:
    with kafka.news() as news:
        while True:
            news.clear()
            for number in places:
                for record in kafka.fetch(topic, number, places[number], _AT_ONCE):
                    places[number] = record.at.offset + 1
                    yield record
            await news.wait()


class MemoryReader:
    """`consumer.operations.ports.RecordReader` in memory."""

    def __init__(self, line: Line, unfold_limit: int) -> None:
        self._line = line
        self._kafka = line.kafka
        self._unfold_limit = unfold_limit

    async def offset_ranges(self, topic: str) -> OffsetRanges | None:
        with self._line.asked(f"looking at {topic}"):
            return self._kafka.ranges(topic)

    async def since(self, topic: str, ranges: OffsetRanges, instant: datetime) -> OffsetRanges:
        earliest = int(instant.timestamp() * 1_000)
        found = {}
        with self._line.asked(f"looking at {topic}"):
            for number, offsets in ranges.items():
                every = self._kafka.fetch(topic, number, 0, offsets.end)
                late = [each.at.offset for each in every if each.timestamp_ms >= earliest]
                found[number] = OffsetRange(min([*late, offsets.end]), offsets.end)
        return found

    async def records(self, topic: str, ranges: OffsetRanges) -> Records:
        for number, offsets in sorted(ranges.items()):
            if offsets.end <= offsets.start:
                continue
            async for record in self._partition(topic, number, offsets.start):
                if record.at.offset >= offsets.end:
                    break
                yield record

    async def _partition(self, topic: str, number: int, offset: int) -> Records:
        while True:
            with self._line.asked(f"reading {topic}"):
                found = self._kafka.fetch(topic, number, offset, _AT_ONCE)
            for record in found:
                yield self._unfolded(record)
            if not found:
                return
            offset = found[-1].at.offset + 1
            await asyncio.sleep(0)  # as on a network, others may come first

    async def record(self, at: Coordinates) -> Record | None:
        with self._line.asked(f"reading {at.topic}"):
            offsets = (self._kafka.ranges(at.topic) or {}).get(at.partition)
            if offsets is None or not offsets.start <= at.offset < offsets.end:
                return None
            found = self._kafka.fetch(at.topic, at.partition, at.offset, 1)
        return self._unfolded(found[0]) if found and found[0].at == at else None

    def _unfolded(self, record: Record) -> Record:
        if record.size <= self._unfold_limit:
            return record
        problem = f"its batch unfolds to more than {self._unfold_limit:,} bytes"
        why = Unreadable(FailureReason.OVERSIZED, problem)
        return replace(record, key=None, value=None, headers=(), unreadable=why)


class MemoryAdmin:
    """`consumer.operations.ports.ClusterAdmin` in memory."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._kafka = line.kafka

    async def cluster_id(self) -> str:
        with self._line.asked("reading the cluster id"):
            return self._kafka.cluster_id

    async def partitions(self, name: str) -> int:
        with self._line.asked(f"looking at topic {name}"):
            state = self._kafka.state(name)
            return state.partitions if state is not None else 0

    async def states(self, names: Sequence[str]) -> Mapping[str, TopicState]:
        with self._line.asked("reading topics"):
            found = {name: self._kafka.state(name) for name in names}
            return {name: state for name, state in found.items() if state is not None}

    async def members(self, group: str) -> Sequence[Member]:
        with self._line.asked(f"looking at group {group}"):
            return self._kafka.members(group)

    async def group_kind(self, group: str) -> GroupKind | None:
        with self._line.asked(f"looking at group {group}"):
            return self._kafka.group_kind(group)

    async def groups(self, prefix: str) -> Sequence[str]:
        with self._line.asked("listing consumer groups"):
            return self._kafka.groups(prefix)

    async def places(self, group: str) -> Mapping[tuple[str, int], GroupOffset]:
        with self._line.asked(f"reading the offsets of {group}"):
            return self._kafka.commits(group)

    async def commit(self, group: str, places: Places) -> None:
        with self._line.asked(f"committing for {group}"):
            self._kafka.commit_from_outside(group, places)


class MemoryPublisher:
    """`consumer.operations.ports.RecordPublisher` in memory.

    A record that its topic refuses takes those with it that are under way behind it, in the same
    partition: an idempotent producer can't go on in the middle of a sequence.
    """

    def __init__(self, line: Line, max_record_bytes: int) -> None:
        self._line = line
        self._kafka = line.kafka
        self._max_record_bytes = max_record_bytes
        self._under_way: list[OutgoingRecord] = []
        self._lost: list[OutgoingRecord] = []

    async def publish(self, record: OutgoingRecord) -> Record:
        too_large = TooLargeForTopicError(f"{record.size} bytes for {record.topic}")
        if record.size > self._max_record_bytes:
            raise too_large
        record = self._kafka.placed(record)
        self._under_way.append(record)
        try:
            await asyncio.sleep(0)  # as on a network, somebody else may come first
            with self._line.asked(f"publishing to {record.topic}"):
                return self._send(record)
        except TooLargeForBroker:
            raise too_large from None
        finally:
            self._under_way = [each for each in self._under_way if each is not record]
            self._lost = [each for each in self._lost if each is not record]

    def _send(self, record: OutgoingRecord) -> Record:
        if any(each is record for each in self._lost):
            raise KafkaUnavailableError(f"{record.topic}: OutOfOrderSequenceNumber")
        try:
            at = self._kafka.append(record)
            (lies,) = self._kafka.fetch(at.topic, at.partition, at.offset, 1)
            return lies
        except TooLargeForBroker:
            place = record.topic, record.partition
            self._lost += [r for r in self._under_way if (r.topic, r.partition) == place]
            raise


class MemoryLock:
    """`consumer.operations.ports.HeldLock` in memory."""

    def __init__(self, kafka: MemoryKafka, member: _Member) -> None:
        self._kafka = kafka
        self.group, self._number = member.group, member.number
        self._lost = False

    @property
    def held(self) -> bool:
        self._lost |= self._number not in self._kafka.member_numbers(self.group)
        return not self._lost

    async def confirm(self) -> None:
        if not self.held:
            raise LockLostError(self.group)
