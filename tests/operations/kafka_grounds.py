"""Where the suite of the ports is played: on a real Kafka and on the one in memory.

A ground gives the ports, and does to Kafka what no operation does: topics that come, go and lose
records, records that nobody can read, transactions, lines that are cut.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from consumer.kafka.clients import KafkaClients
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.group_lock import GroupLock
from consumer.kafka.publisher import OutgoingRecord
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.model.reason import FailureReason
from consumer.model.record import Unreadable
from consumer.operations.ports import HeldLock, KafkaAccess
from tests.doubles.kafka import MemoryKafka
from tests.doubles.kafka_clients import MemoryClients, MemoryLock
from tests.integration import kafka_support
from tests.integration.kafka_proxy import Proxy, proxy_to


class Wire(Protocol):
    """A line to Kafka of its own, which can be cut."""

    @property
    def access(self) -> KafkaAccess: ...

    def cut(self, *, silently: bool = True) -> None:
        """Let nothing through any more; the other side notices at once, or only by the silence."""


class Ground(Protocol):
    """See the module's docstring."""

    session: float  # seconds after which a silent member is counted as dead; as few as possible

    @property
    def access(self) -> KafkaAccess: ...

    @property
    def nowhere(self) -> KafkaAccess:
        """A Kafka that is not there."""
        ...

    async def topic(self, partitions: int = 1, **settings: str | int) -> str:
        """A new topic's name; settings with _ for the dots."""
        ...

    async def grow(self, topic: str, partitions: int) -> None: ...

    async def delete(self, topic: str) -> None: ...

    async def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """As retention does; -1: all of a partition."""
        ...

    async def transaction(self, topic: str, value: bytes, *, kept: bool) -> None:
        """A record in partition 0 by a transaction that is committed, or aborted."""
        ...

    async def unreadable(self, topic: str) -> None:
        """A record in partition 0 that Kafka's client can't read."""
        ...

    def member(self, group: str, topic: str, client_id: str) -> AbstractAsyncContextManager[None]:
        """Somebody in a group while the block runs."""
        ...

    def wire(self) -> AbstractAsyncContextManager[Wire]: ...

    async def thrown_out(self, lock: HeldLock) -> None:
        """The group goes on without the holder of a lock, and takes it in again."""
        ...


class MemoryGround:
    """In memory."""

    session = 0.2

    def __init__(self) -> None:
        self.kafka = MemoryKafka()
        self.access = MemoryClients(self.kafka)
        self.nowhere = MemoryClients(self.kafka)
        self.nowhere.line.cut()

    async def topic(self, partitions: int = 1, **settings: str | int) -> str:
        name = f"topic-{secrets.token_hex(4)}"
        self.kafka.create(name, partitions, _named(settings))
        return name

    async def grow(self, topic: str, partitions: int) -> None:
        self.kafka.grow(topic, partitions)

    async def delete(self, topic: str) -> None:
        self.kafka.delete(topic)

    async def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        self.kafka.delete_records(topic, before)

    async def transaction(self, topic: str, value: bytes, *, kept: bool) -> None:
        if kept:
            self.kafka.append(OutgoingRecord(topic, None, value, partition=0))
        self.kafka.skip(topic, 0, 1 if kept else 2)

    async def unreadable(self, topic: str) -> None:
        why = Unreadable(FailureReason.UNDECODABLE, "a header's name is no UTF-8")
        self.kafka.append_unreadable(topic, 0, why)

    @asynccontextmanager
    async def member(self, group: str, topic: str, client_id: str) -> AsyncIterator[None]:
        number = self.kafka.join(group, client_id)
        try:
            yield
        finally:
            self.kafka.leave(group, number)

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[MemoryWire]:
        yield MemoryWire(self.kafka)

    async def thrown_out(self, lock: HeldLock) -> None:
        assert isinstance(lock, MemoryLock)
        self.kafka.lose_members(lock.group)


class MemoryWire:
    """A process's own line."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self.access = MemoryClients(kafka)

    def cut(self, *, silently: bool = True) -> None:
        self.access.line.cut()


class RealGround:
    """On a real broker; what was made there goes when the block ends (`real_ground`)."""

    session = 2.0

    def __init__(self, connection: KafkaConnection) -> None:
        self.connection = connection
        self.access = KafkaClients(connection)
        self.nowhere = KafkaClients(KafkaConnection("127.0.0.1:1"))
        self.made: list[str] = []

    async def topic(self, partitions: int = 1, **settings: str | int) -> str:
        spec = TopicSpec(f"test-{secrets.token_hex(6)}", "a test", partitions, _named(settings))
        async with open_admin(self.connection) as admin:
            await admin.create([spec], replication_factor=1)
        self.made.append(spec.name)
        return spec.name

    async def grow(self, topic: str, partitions: int) -> None:
        await kafka_support.grow(self.connection, topic, partitions)

    async def delete(self, topic: str) -> None:
        self.made.remove(topic)
        await kafka_support.delete(self.connection, topic)

    async def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        await kafka_support.delete_records(self.connection, topic, before)

    async def transaction(self, topic: str, value: bytes, *, kept: bool) -> None:
        options = self.connection.client_options() | {"transactional_id": topic}
        async with AIOKafkaProducer(**options) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, partition=0)
            await (producer.commit_transaction() if kept else producer.abort_transaction())

    async def unreadable(self, topic: str) -> None:
        """With a header's name that is no UTF-8, past aiokafka's own checks."""
        async with AIOKafkaProducer(**self.connection.client_options()) as producer:
            batch = producer.create_batch()
            batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 16_384)
            batch.append(timestamp=None, key=b"x", value=b"{}", headers=[(_NotUtf8("x"), b"")])
            batch.close()
            await (await producer.send_batch(batch, topic, partition=0))

    @asynccontextmanager
    async def member(self, group: str, topic: str, client_id: str) -> AsyncIterator[None]:
        options = self.connection.client_options() | {"client_id": client_id, "group_id": group}
        async with AIOKafkaConsumer(topic, **options, enable_auto_commit=False):
            yield

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[RealWire]:
        async with proxy_to(self.connection.bootstrap_servers) as proxy:
            yield RealWire(proxy)

    async def thrown_out(self, lock: HeldLock) -> None:
        assert isinstance(lock, GroupLock)
        assert lock._consumer is not None
        coordinator = lock._consumer._coordinator
        coordinator.reset_generation()
        coordinator.request_rejoin()
        async with asyncio.timeout(20):
            while not coordinator.member_id:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)


class RealWire:
    """A way to the broker through a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.access = KafkaClients(KafkaConnection(proxy.address))

    def cut(self, *, silently: bool = True) -> None:
        self._proxy.cut(silently=silently)


class _NotUtf8(str):
    """A header name that goes out as bytes no UTF-8 text has."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


def _named(settings: Mapping[str, str | int]) -> dict[str, str]:
    return {name.replace("_", "."): str(value) for name, value in settings.items()}


@asynccontextmanager
async def real_ground(bootstrap_servers: str) -> AsyncIterator[RealGround]:
    """A ground on a broker while the block runs."""
    ground = RealGround(KafkaConnection(bootstrap_servers))
    try:
        yield ground
    finally:
        async with open_admin(ground.connection) as admin:
            if ground.made:
                await admin.delete(ground.made)
