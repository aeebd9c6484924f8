"""A Kafka in memory: what a broker keeps.

`tests.doubles.kafka_clients` reads and writes it as operations do. The suite that holds both to
what the real ones do is tests/operations/test_kafka_ports.py: what is relied on has to stand there.

Nothing here waits, and every method is one step of its own: commands run on threads of theirs.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import count, islice

from aiokafka.codec import lz4_encode

from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_kinds import GroupKind
from consumer.kafka.groups import GroupOffset, Member, Places
from consumer.kafka.offset_reset import OffsetRange
from consumer.kafka.partitioning import partitions_for
from consumer.kafka.publisher import OutgoingRecord
from consumer.kafka.topics import TopicState
from consumer.model.record import Coordinates, Record, Unreadable

ADDRESS = "memory"
HOST = "127.0.0.1"
_MAX_COMMIT_TEXT = 4_096  # a broker's offset.metadata.max.bytes, which it counts in characters
_BATCH_BYTES = 61 + 20  # Kafka's framing around a record that goes alone
_DEFAULTS = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
}


class TooLargeForBroker(Exception):
    """The record is larger than its topic takes."""


@dataclass(slots=True)
class _Partition:
    start: int = 0
    end: int = 0
    records: dict[int, Record] = field(default_factory=dict)  # in the order of offsets

    def take(self, record: Record) -> None:
        self.records[self.end] = record
        self.end += 1

    def delete(self, before: int) -> None:
        self.start = max(self.start, min(before, self.end))
        self.records = {at: each for at, each in self.records.items() if at >= self.start}


@dataclass(slots=True)
class _Topic:
    partitions: list[_Partition]
    settings: dict[str, str]


@dataclass(slots=True)
class _Membership:
    """A member of a group: gone when its silence is too long."""

    member: Member
    expires: float | None = None  # None while it is heard


@dataclass(slots=True)
class _Group:
    members: dict[int, _Membership] = field(default_factory=dict)
    commits: dict[tuple[str, int], GroupOffset] = field(default_factory=dict)


class MemoryKafka:
    """See the module's docstring.

    Args:
        rng: where records without a key go.
        clock: monotonic seconds; for members that died.
    """

    def __init__(
        self, *, rng: random.Random | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cluster_id = "memory-cluster"
        self.order: dict[Coordinates, int] = {}  # in which records came, whatever their partition
        self._rng = rng or random.Random(1)
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, _Group] = {}
        self.others_groups: dict[str, GroupKind] = {}
        self._numbers = count()
        self._news: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self.step = threading.RLock()  # held for what has to be one step

    def copy(self) -> MemoryKafka:
        """Another Kafka that holds the same; what becomes of one does not change the other."""
        with self.step:
            other = MemoryKafka(clock=self._clock)
            other.order = dict(self.order)
            other._topics = deepcopy(self._topics)
            other._groups = deepcopy(self._groups)
            other.others_groups = dict(self.others_groups)
            other._numbers = count(next(self._numbers))
            return other

    # -- topics ------------------------------------------------------------------------------------

    def create(
        self, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None
    ) -> None:
        """Make a topic; nothing changes where it is there."""
        with self.step:
            made = _Topic(
                [_Partition() for _ in range(partitions)], {**_DEFAULTS, **(settings or {})}
            )
            self._topics.setdefault(name, made)

    def grow(self, name: str, partitions: int) -> None:
        """Give a topic more partitions."""
        with self.step:
            held = self._topics[name].partitions
            held += [_Partition() for _ in range(partitions - len(held))]

    def delete(self, name: str) -> None:
        """Delete a topic, and with it what groups have committed there."""
        with self.step:
            del self._topics[name]
            for group in self._groups.values():
                group.commits = {at: p for at, p in group.commits.items() if at[0] != name}

    def state(self, name: str) -> TopicState | None:
        """What a topic is; None where there is none."""
        with self.step:
            if (topic := self._topics.get(name)) is None:
                return None
            return TopicState(len(topic.partitions), dict(topic.settings))

    def ranges(self, name: str) -> dict[int, OffsetRange] | None:
        """What its partitions hold; None where there is no such topic."""
        with self.step:
            if (topic := self._topics.get(name)) is None:
                return None
            return {n: OffsetRange(p.start, p.end) for n, p in enumerate(topic.partitions)}

    # -- records -----------------------------------------------------------------------------------

    def placed(self, record: OutgoingRecord) -> OutgoingRecord:
        """The record with the partition that a producer chooses for it."""
        with self.step:
            topic = self._topics.get(record.topic)
            if topic is None or record.partition is not None:
                return record
            return replace(record, partition=self._partition_of(record, len(topic.partitions)))

    def append(self, record: OutgoingRecord) -> Coordinates:
        """Take a record as a producer sends it.

        Raises:
            KafkaUnavailableError: there is no such topic.
            TooLargeForBroker: the topic does not take it.
        """
        with self.step:
            if (topic := self._topics.get(record.topic)) is None:
                raise KafkaUnavailableError(f"{record.topic}: UnknownTopicOrPartitionError: ")
            if _packed(record) > int(topic.settings["max.message.bytes"]):
                raise TooLargeForBroker
            number = self.placed(record).partition or 0
            at = Coordinates(record.topic, number, topic.partitions[number].end)
            now = int(time.time() * 1_000)
            topic.partitions[number].take(Record(at, now, record.key, record.value, record.headers))
            self.order[at] = len(self.order)
            self._tell()
            return at

    def append_unreadable(self, topic: str, partition: int, why: Unreadable) -> None:
        """A record of which Kafka's client can only tell the place."""
        with self.step:
            held = self._topics[topic].partitions[partition]
            at = Coordinates(topic, partition, held.end)
            held.take(Record(at, int(time.time() * 1_000), None, None, unreadable=why))
            self._tell()

    def skip(self, topic: str, partition: int, offsets: int = 1) -> None:
        """Offsets that nobody receives: a transaction's marker, an aborted record."""
        with self.step:
            self._topics[topic].partitions[partition].end += offsets

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Delete what is before these offsets, by partition, as retention does; -1: everything."""
        with self.step:
            for number, offset in before.items():
                partition = self._topics[topic].partitions[number]
                partition.delete(partition.end if offset < 0 else offset)

    def fetch(self, topic: str, partition: int, offset: int, most: int) -> list[Record]:
        """The next so many records of a partition from an offset on.

        Raises:
            KafkaUnavailableError: there is no such topic.
        """
        with self.step:
            if (found := self._topics.get(topic)) is None:
                raise KafkaUnavailableError(f"reading {topic} at {ADDRESS} failed: it is gone")
            records = found.partitions[partition].records
            return list(islice((each for at, each in records.items() if at >= offset), most))

    @contextmanager
    def news(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set by every new record, commit and member."""
        event = asyncio.Event()
        with self.step:
            self._news[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self.step:
                del self._news[event]

    def _tell(self) -> None:
        for event, loop in self._news.items():
            loop.call_soon_threadsafe(event.set)

    def _partition_of(self, record: OutgoingRecord, partitions: int) -> int:
        if record.key is None:
            return self._rng.randrange(partitions)
        (number,) = partitions_for([record.key], partitions)
        return number

    # -- groups ------------------------------------------------------------------------------------

    def join(self, group: str, client_id: str) -> int:
        """Take a member into a group; its number."""
        with self.step:
            number = next(self._numbers)
            self._group(group).members[number] = _Membership(Member(client_id, HOST))
            self._tell()
            return number

    def leave(self, group: str, number: int) -> None:
        """Let a member go; one that is gone already is no error."""
        with self.step:
            self._group(group).members.pop(number, None)

    def fall_silent(self, group: str, number: int, session_timeout: float) -> None:
        """Hear nothing of a member any more: it is gone after the session timeout."""
        with self.step:
            if (found := self._group(group).members.get(number)) is not None:
                found.expires = self._clock() + session_timeout

    def lose_members(self, group: str) -> None:
        """Go on without a group's members, who do not know it."""
        with self.step:
            self._group(group).members.clear()

    def member_numbers(self, group: str) -> list[int]:
        """The numbers of those who are in a group, in the order in which they came."""
        with self.step:
            members = self._group(group).members
            now = self._clock()
            for number, each in list(members.items()):
                if each.expires is not None and each.expires <= now:
                    del members[number]
            return list(members)

    def members(self, group: str) -> list[Member]:
        """Who is in a group."""
        with self.step:
            numbers = self.member_numbers(group)
            return [self._group(group).members[number].member for number in numbers]

    def group_kind(self, group: str) -> GroupKind | None:
        """What kind of group it is; `others_groups` names those of other protocols."""
        with self.step:
            if group in self.others_groups or group not in self.groups(group):
                return self.others_groups.get(group)
            state = "Stable" if self.members(group) else "Empty"
            return GroupKind("classic", "consumer" if self.members(group) else "", state)

    def commits(self, group: str) -> dict[tuple[str, int], GroupOffset]:
        """What a group has committed."""
        with self.step:
            return dict(self._groups[group].commits) if group in self._groups else {}

    def commit(self, group: str, places: Places) -> None:
        """Commit as a member does."""
        with self.step:
            self._group(group).commits.update(places)
            self._tell()

    def commit_from_outside(self, group: str, places: Places) -> None:
        """Commit as somebody does who is in no group.

        Raises:
            KafkaUnavailableError: the group has members, a text is too long, a topic is missing.
        """
        with self.step:
            what = f"committing for {group} at {ADDRESS} failed"
            if self.member_numbers(group):
                raise KafkaUnavailableError(f"{what}: UnknownMemberIdError: {group}")
            refused = ""
            for (topic, number), place in places.items():
                held = self._topics.get(topic)
                if held is None or number >= len(held.partitions):
                    refused = refused or "UnknownTopicOrPartitionError"
                elif len(place.text) > _MAX_COMMIT_TEXT:
                    refused = refused or "OffsetMetadataTooLargeError"
                else:
                    self._group(group).commits[topic, number] = place
            if refused:
                raise KafkaUnavailableError(f"{what}: {refused}: {group}")

    def groups(self, prefix: str) -> list[str]:
        """The groups whose names begin like this, sorted."""
        with self.step:
            found = [n for n, each in self._groups.items() if each.commits or each.members]
            return sorted(name for name in found if name.startswith(prefix))

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())


def _packed(record: OutgoingRecord) -> int:
    """Bytes of a record that goes alone, packed as our producer packs."""
    headers = b"".join(name.encode() + (value or b"") + b"----" for name, value in record.headers)
    return (
        len(lz4_encode((record.key or b"") + (record.value or b"") + headers, level=1))
        + _BATCH_BYTES
    )
