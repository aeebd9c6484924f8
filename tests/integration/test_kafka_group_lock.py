"""The lock by membership, on a real broker: one at a time, and never again after it was lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.group_lock import GroupLock, LockConfig, LockLostError, TakenError, group_lock
from consumer.kafka.groups import GroupOffset, Member
from consumer.kafka.topics import open_admin
from consumer.sandbox.kafka import LocalKafka
from tests.conftest import MakeTopic

SESSION = 2.0


@pytest.fixture
def connection(kafka: LocalKafka) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap_servers)


@pytest.fixture
async def config(
    connection: KafkaConnection, make_topic: MakeTopic, unique_name: Callable[[str], str]
) -> AsyncIterator[LockConfig]:
    """A lock of three partitions, as the operator ``first``."""
    topic = await make_topic(partitions=3)
    config = LockConfig(unique_name("lock"), topic, "first", SESSION)
    yield config
    async with open_admin(connection) as admin:
        await admin.delete_group(config.group)


@asynccontextmanager
async def held(
    connection: KafkaConnection, config: LockConfig, told: list[str] | None = None
) -> AsyncIterator[GroupLock]:
    def waiting(members: tuple[Member, ...]) -> None:
        if told is not None:
            told.extend(member.client_id for member in members)

    async with group_lock(connection, config, waiting=waiting, rng=random.Random(7)) as lock:
        yield lock


async def test_the_second_is_refused_and_told_who_holds_it(
    connection: KafkaConnection, config: LockConfig
) -> None:
    """It waits for as long as a dead holder would take to disappear; the first notices nothing."""
    told: list[str] = []
    async with held(connection, config) as lock:
        with pytest.raises(TakenError, match="first") as refused:
            async with held(connection, replace(config, client_id="second"), told):
                pytest.fail("two of them")
        assert lock.held
        await lock.confirm()

    assert told == ["first"]
    assert [member.client_id for member in refused.value.holders] == ["first"]


async def test_it_is_free_again_at_once(connection: KafkaConnection, config: LockConfig) -> None:
    """Who leaves in order keeps nobody waiting."""
    told: list[str] = []
    async with held(connection, config) as first:
        pass
    async with held(connection, config, told) as second:
        assert second.held

    assert not first.held
    assert told == []


async def test_of_those_who_come_at_once_one_gets_it(
    connection: KafkaConnection, config: LockConfig
) -> None:
    """Whoever joined together with others is told apart by the first partition."""
    inside = 0
    most = 0

    async def one(name: str) -> bool:
        nonlocal inside, most
        try:
            async with held(connection, replace(config, client_id=name)) as lock:
                inside += 1
                most = max(most, inside)
                # Longer than the others wait.
                await asyncio.sleep(SESSION * 3)
                await lock.confirm()
                inside -= 1
        except TakenError:
            return False
        return True

    got = await asyncio.gather(*(one(name) for name in ("a", "b", "c")))

    assert sorted(got) == [False, False, True]
    assert most == 1


async def test_a_lock_that_was_lost_stays_lost(
    connection: KafkaConnection, config: LockConfig
) -> None:
    """The group takes a member back that it had given up; somebody else may have been there."""
    async with held(connection, config) as lock:
        assert lock._consumer is not None
        coordinator = lock._consumer._coordinator
        coordinator.reset_generation()
        coordinator.request_rejoin()
        async with asyncio.timeout(20):
            while not coordinator.member_id:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)

        assert lock.lost
        with pytest.raises(LockLostError):
            await lock.confirm()


async def test_a_topic_that_is_not_there_is_told(
    connection: KafkaConnection, config: LockConfig
) -> None:
    """A consumer would wait for it for ever."""
    with pytest.raises(KafkaUnavailableError, match="topics create"):
        async with held(connection, replace(config, topic="test-nowhere")):
            pytest.fail("no such topic")


async def test_a_group_without_members_takes_commits_with_texts(
    connection: KafkaConnection, config: LockConfig
) -> None:
    """What is committed is read back, and the group is found by its name; 4 KiB is the limit."""
    places = {(config.topic, 0): GroupOffset(41, "ein Käfer"), (config.topic, 2): GroupOffset(0)}
    group = f"{config.group}-x"
    async with open_admin(connection) as admin:
        before = await admin.places(group)
        await admin.commit(group, places)
        found = await admin.places(group)
        named = await admin.groups(config.group)
        with pytest.raises(KafkaUnavailableError, match="OffsetMetadataTooLarge"):
            await admin.commit(group, {(config.topic, 0): GroupOffset(1, "x" * 5000)})
        await admin.delete_group(group)

    assert before == {}
    assert found == places
    assert group in named
