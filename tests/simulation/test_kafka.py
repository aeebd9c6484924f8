"""The Kafka in memory does what the service takes for granted of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, NoOffsetForPartitionError

from tests.simulation.kafka import INITIAL_DELAY, SimulatedConsumer, SimulatedKafka
from tests.virtual.loop import OWNER, VirtualLoop, virtually

TOPIC = "documents"
SESSION, PATIENCE = 45.0, 245.0
P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


class Listener:
    """Notes what it is told; a revocation takes as long as asked for."""

    def __init__(self, drain: float = 0.0) -> None:
        self.drain = drain
        self.told: list[tuple[str, tuple[TopicPartition, ...]]] = []

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await asyncio.sleep(self.drain)
        self.told.append(("revoked", tuple(revoked)))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.told.append(("assigned", tuple(assigned)))


def _kafka(commits: list[tuple[int, str]] | None = None, partitions: int = 1) -> SimulatedKafka:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    seen = commits if commits is not None else []
    return SimulatedKafka(
        loop,
        {TOPIC: partitions},
        happened=lambda what: None,
        commit_seen=lambda partition, offset, owner: seen.append((offset, owner)),
    )


async def _member(
    kafka: SimulatedKafka, owner: str, listener: Listener | None = None
) -> SimulatedConsumer:
    token = OWNER.set(owner)
    consumer = kafka.consumer(
        session_timeout_ms=SESSION * 1000,
        heartbeat_interval_ms=SESSION * 100,
        rebalance_timeout_ms=PATIENCE * 1000,
    )
    consumer.subscribe([TOPIC], listener or Listener())
    await consumer.start()
    OWNER.reset(token)
    await asyncio.sleep(2 * INITIAL_DELAY)
    return consumer


def _write(kafka: SimulatedKafka, *values: str, partition: int = 0) -> None:
    for value in values:
        kafka.append(TOPIC, partition, b"key", value.encode(), (), 0)


async def _read(consumer: SimulatedConsumer) -> list[str]:
    read = []
    while batch := await consumer.getmany(timeout_ms=0, max_records=1):
        read += [str(record.value, "utf-8") for records in batch.values() for record in records]
    return read


async def _begin(consumer: SimulatedConsumer) -> None:
    with pytest.raises(NoOffsetForPartitionError):
        await consumer.getmany(timeout_ms=0, max_records=1)
    for partition in consumer.assignment():
        consumer.seek(partition, 0)


@virtually
async def test_offsets_without_a_record_are_stepped_over() -> None:
    """Also behind the last record: a poll then hands out nothing, and the position is the end."""
    kafka = _kafka()
    _write(kafka, "one")
    kafka.append_nothing(TOPIC, 0)
    _write(kafka, "two")
    kafka.append_nothing(TOPIC, 0)
    consumer = await _member(kafka, "a")
    await _begin(consumer)

    assert await _read(consumer) == ["one", "two"]
    assert await consumer.position(P0) == 4 == kafka.logs[P0].end


@virtually
async def test_partitions_are_shared_and_everything_is_taken_first() -> None:
    """The protocol is eager: who stays loses all, and gets a part back."""
    kafka = _kafka(partitions=2)
    first, second = Listener(), Listener()
    await _member(kafka, "a", first)
    await _member(kafka, "b", second)
    await asyncio.sleep(SESSION / 5)

    assert first.told == [
        ("revoked", ()), ("assigned", (P0, P1)), ("revoked", (P0, P1)), ("assigned", (P0,)),
    ]  # fmt: skip
    assert second.told[-1] == ("assigned", (P1,))


@virtually
async def test_who_drains_keeps_the_group_waiting_and_may_commit_meanwhile() -> None:
    """Until the next generation begins the old one counts."""
    commits: list[tuple[int, str]] = []
    kafka = _kafka(commits)
    slow = await _member(kafka, "a", Listener(drain=100))
    await asyncio.sleep(100)
    newcomer = Listener()
    await _member(kafka, "b", newcomer)
    await asyncio.sleep(20)
    await slow.commit({P0: 3})
    await asyncio.sleep(70)
    assert ("assigned", ()) not in newcomer.told

    await asyncio.sleep(20)
    assert newcomer.told[-1] == ("assigned", ())
    assert commits == [(3, "a")]


@virtually
async def test_who_drains_too_long_is_left_behind() -> None:
    """After the rebalance timeout the group goes on, and refuses what comes late."""
    kafka = _kafka()
    slow = await _member(kafka, "a", Listener(drain=2 * PATIENCE))
    await asyncio.sleep(2 * PATIENCE)
    newcomer = Listener()
    await _member(kafka, "b", newcomer)
    await asyncio.sleep(PATIENCE + 10)

    assert newcomer.told[-1] == ("assigned", (P0,))
    with pytest.raises(CommitFailedError):
        await slow.commit({P0: 3})


@virtually
async def test_who_is_dead_is_noticed_after_the_session_timeout() -> None:
    """Until then nobody gets his partitions."""
    kafka = _kafka()
    await _member(kafka, "a")
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.freeze("a")
    heir = Listener()
    await _member(kafka, "b", heir)
    await asyncio.sleep(SESSION - 10)
    assert heir.told == [("revoked", ())]

    await asyncio.sleep(15)
    assert heir.told[-1] == ("assigned", (P0,))


@virtually
async def test_who_comes_back_from_nowhere_is_told_and_joins_anew() -> None:
    """His commit is refused; his next heartbeat says why."""
    kafka = _kafka()
    listener = Listener()
    lost = await _member(kafka, "a", listener)
    await _begin(lost)
    kafka.cut_off("a")
    await asyncio.sleep(SESSION + 10)
    assert "a" in kafka.idle_since
    other = Listener()
    await _member(kafka, "b", other)
    assert other.told[-1] == ("assigned", (P0,))
    kafka.reconnect("a")
    with pytest.raises(CommitFailedError):
        await lost.commit({P0: 1})
    await asyncio.sleep(SESSION)

    assert [what for what, _ in listener.told[-2:]] == ["revoked", "assigned"]
    assert not kafka.idle_since
    assert len(kafka.group.seats) == 2


@virtually
async def test_metadata_beyond_the_brokers_limit_is_refused() -> None:
    """As with `offset.metadata.max.bytes`; within it, it is kept."""
    kafka = _kafka()
    consumer = await _member(kafka, "a")
    too_much: Any = (1, "x" * 5000)
    with pytest.raises(Exception, match="OffsetMetadataTooLarge"):
        await consumer.commit({P0: too_much})
    await consumer.commit({P0: (1, "few")})

    assert kafka.group.committed[P0] == (1, "few")
