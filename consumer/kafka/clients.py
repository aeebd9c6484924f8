"""Everything that is opened of one Kafka by who looks at it or mends it, in one value."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from consumer.kafka.batches import UNFOLD_LIMIT
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.group_lock import GroupLock, LockConfig, group_lock
from consumer.kafka.groups import Member
from consumer.kafka.publisher import Publisher
from consumer.kafka.reader import FETCH_BYTES, Records, TopicReader, open_reader, read_topic
from consumer.kafka.start import Start
from consumer.kafka.topics import TopicAdmin, open_admin


@dataclass(frozen=True, slots=True)
class KafkaClients:
    """Opens clients of one Kafka; each is closed when its block ends.

    All of them raise `KafkaUnavailableError` where Kafka can't be reached or refuses.

    Args:
        connection: where Kafka is.
    """

    connection: KafkaConnection

    def reader(
        self, *, unfold_limit: int = UNFOLD_LIMIT, fetch_bytes: int = FETCH_BYTES
    ) -> AbstractAsyncContextManager[TopicReader]:
        """See `open_reader`."""
        return open_reader(self.connection, unfold_limit=unfold_limit, fetch_bytes=fetch_bytes)

    def admin(self) -> AbstractAsyncContextManager[TopicAdmin]:
        """See `open_admin`."""
        return open_admin(self.connection)

    @asynccontextmanager
    async def publisher(
        self, *, max_record_bytes: int, delivery_timeout: float
    ) -> AsyncIterator[Publisher]:
        """A connected `Publisher` that gives up at the first failure: a person waits."""
        publisher = Publisher(
            self.connection,
            max_record_bytes=max_record_bytes,
            delivery_timeout=delivery_timeout,
            give_up=True,
        )
        await publisher.start()
        try:
            yield publisher
        finally:
            await publisher.stop()

    def lock(
        self,
        config: LockConfig,
        *,
        waiting: Callable[[tuple[Member, ...]], None],
        rng: random.Random,
    ) -> AbstractAsyncContextManager[GroupLock]:
        """See `group_lock`."""
        return group_lock(self.connection, config, waiting=waiting, rng=rng)

    def read_topic(
        self, topic: str, *, follow: bool = False, start: Start = "beginning"
    ) -> Records:
        """See `read_topic`."""
        return read_topic(self.connection, topic, follow=follow, start=start)
