"""What operations need of Kafka, as they see it; `consumer.wiring.kafka` provides the real one.

What operations do is proven on a Kafka in memory (`tests/doubles/kafka.py`). One suite holds it and
the real one to what stands here: tests/operations/test_kafka_ports.py.

Whatever is asked of Kafka may raise `consumer.kafka.connection.KafkaUnavailableError`: it can't be
reached, or it refuses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from consumer.kafka.batches import UNFOLD_LIMIT
from consumer.kafka.group_kinds import GroupKind
from consumer.kafka.group_lock import LockConfig
from consumer.kafka.groups import GroupOffset, Member, Places
from consumer.kafka.publisher import OutgoingRecord
from consumer.kafka.reader import FETCH_BYTES, OffsetRanges, Records
from consumer.kafka.start import Start
from consumer.kafka.topics import TopicState
from consumer.model.record import Coordinates, Record

Waiting = Callable[[tuple[Member, ...]], None]
"""Told who holds a lock, before it is waited for."""


class RecordReader(Protocol):
    """Reads topics without a group. For one task at a time."""

    async def offset_ranges(self, topic: str) -> OffsetRanges | None:
        """What the topic's partitions hold now, or None when there is no such topic."""
        ...

    async def since(self, topic: str, ranges: OffsetRanges, instant: datetime) -> OffsetRanges:
        """The same ranges from the first record on that has this timestamp or a later one."""
        ...

    def records(self, topic: str, ranges: OffsetRanges) -> Records:
        """Every record of these ranges, partition by partition, oldest first in each.

        What retention has deleted meanwhile is left out; a Kafka that goes away is no end.
        """
        ...

    async def record(self, at: Coordinates) -> Record | None:
        """The record of this place, or None when it is not there (any more)."""
        ...


class ClusterAdmin(Protocol):
    """Looks at topics and consumer groups; commits for groups without members."""

    async def cluster_id(self) -> str:
        """The cluster's id: part of every event id."""
        ...

    async def partitions(self, name: str) -> int:
        """How many partitions the topic has; 0 when there is no such topic."""
        ...

    async def states(self, names: Sequence[str]) -> Mapping[str, TopicState]:
        """The topics of these names that exist."""
        ...

    async def members(self, group: str) -> Sequence[Member]:
        """Who is in a consumer group; nobody in one that there is not."""
        ...

    async def group_kind(self, group: str) -> GroupKind | None:
        """What kind of group it is; None where there is none, or Kafka is older than kinds."""
        ...

    async def groups(self, prefix: str) -> Sequence[str]:
        """The consumer groups whose names begin like this, sorted."""
        ...

    async def places(self, group: str) -> Mapping[tuple[str, int], GroupOffset]:
        """What a consumer group has committed, by topic and partition."""
        ...

    async def commit(self, group: str, places: Places) -> None:
        """Commit for a consumer group without members.

        Raises:
            KafkaUnavailableError: it has members, a text is over 4 KiB, Kafka refuses.
        """
        ...


class RecordPublisher(Protocol):
    """Publishes for a person who waits: the first failure is raised."""

    async def publish(self, record: OutgoingRecord) -> Record:
        """Publish and wait for the acknowledgement.

        Returns:
            The record as it lies in its topic; offset and timestamp are -1 where they are not told.

        Raises:
            TooLargeForTopicError: it can never be published as it is.
            KafkaUnavailableError: it is not acknowledged; it may lie there all the same.
        """
        ...


class HeldLock(Protocol):
    """The right to be the only one, while it is ours."""

    @property
    def held(self) -> bool:
        """Whether it is ours at this moment."""
        ...

    async def confirm(self) -> None:
        """Return while it is ours.

        Raises:
            LockLostError: somebody else may hold it by now.
        """
        ...


class KafkaAccess(Protocol):
    """Opens everything above; closed again when its block ends."""

    def reader(
        self, *, unfold_limit: int = UNFOLD_LIMIT, fetch_bytes: int = FETCH_BYTES
    ) -> AbstractAsyncContextManager[RecordReader]:
        """A connected reader.

        Args:
            unfold_limit: bytes that a batch may unfold to; of more only the places are told.
            fetch_bytes: how much is fetched at once, about; few for who reads single records.
        """
        ...

    def admin(self) -> AbstractAsyncContextManager[ClusterAdmin]:
        """A connected admin."""
        ...

    def publisher(
        self, *, max_record_bytes: int, delivery_timeout: float
    ) -> AbstractAsyncContextManager[RecordPublisher]:
        """A connected publisher.

        Args:
            max_record_bytes: larger records are refused before they are sent.
            delivery_timeout: seconds after which an unacknowledged record is given up.
        """
        ...

    def lock(
        self, config: LockConfig, *, waiting: Waiting, rng: random.Random
    ) -> AbstractAsyncContextManager[HeldLock]:
        """A lock, held.

        Raises:
            TakenError: somebody else holds it, and did for the whole session timeout.
        """
        ...

    def read_topic(
        self, topic: str, *, follow: bool = False, start: Start = "beginning"
    ) -> Records:
        """Every record of a topic, oldest first within a partition.

        Args:
            topic: one that exists.
            follow: go on waiting for new records instead of ending at the end found at the start.
            start: where to begin; only for who follows.
        """
        ...
