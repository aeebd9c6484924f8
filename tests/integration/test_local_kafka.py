"""The sandbox's Kafka is a real one: it keeps data, restarts in place, and never outlives us."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumer.kafka.connection import KafkaConnection
from consumer.kafka.probe import broker_answers
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.sandbox.errors import SandboxError, SandboxUnavailable
from consumer.sandbox.kafka import LocalKafka, local_kafka
from consumer.sandbox.kafka.broker import free_ports
from consumer.sandbox.kafka.jars import missing_for_java
from consumer.sandbox.kafka.java import JavaKafka
from tests.conftest import REPOSITORY, MakeTopic

PATIENCE = 30.0  # seconds; a loaded machine is slow, a wrong one never gets there

needs_own_kafka = pytest.mark.skipif(
    bool(os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS")),
    reason="an external Kafka was named; this test is about one of our own",
)
needs_java = pytest.mark.skipif(
    missing_for_java() is not None, reason=f"Kafka on this machine's Java: {missing_for_java()}"
)


@asynccontextmanager
async def producer_at(
    kafka: LocalKafka, codec: str | None = None
) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        compression_type=codec,
        enable_idempotence=True,
        max_request_size=16 * 1024 * 1024,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def read_all(kafka: LocalKafka, topic: str, count: int) -> list[bytes]:
    """The first values of partition 0, read without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(PATIENCE):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


def group_is_there(group: int) -> bool:
    """Whether any process of the group lives: the broker or its watchdog."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true within our patience."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(0.02)
    return True


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_goes_both_ways(
    kafka: LocalKafka, make_topic: MakeTopic, codec: str | None
) -> None:
    """What a publisher compresses with any codec of Kafka's comes back byte for byte."""
    topic = await make_topic("codec")
    sent = [f"{codec} {number} ".encode() * 500 for number in range(20)]

    async with producer_at(kafka, codec) as producer:
        for value in sent:
            await producer.send(topic, value)

    assert sent == await read_all(kafka, topic, len(sent))


async def test_large_records_pass(kafka: LocalKafka, make_topic: MakeTopic) -> None:
    """A record as large as its topic allows is taken: the broker's own limit is above it."""
    topic = await make_topic("large", max_message_bytes=16 * 1024 * 1024)
    sent = random.Random(7).randbytes(12 * 1024 * 1024)

    async with producer_at(kafka) as producer:
        await producer.send_and_wait(topic, sent)

    assert [sent] == await read_all(kafka, topic, 1)


async def test_nothing_comes_into_being_by_asking(
    kafka: LocalKafka, unique_name: Callable[[str], str]
) -> None:
    """A topic nobody created stays absent: a misspelt name must not become an empty topic."""
    asker = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    await asker.start()
    try:
        name = unique_name("absent")
        asker.partitions_for_topic(name)
        await asker.topics()

        assert name not in await asker.topics()
    finally:
        await asker.stop()


async def test_a_restart_keeps_port_and_data(own_kafka: LocalKafka) -> None:
    """After a clean stop as after a power cut the broker is back where it was, with its records."""
    address = own_kafka.bootstrap_servers
    async with open_admin(KafkaConnection(address)) as admin:
        await admin.create([TopicSpec("test-restart", "a test", 1)], replication_factor=1)
    sent = []
    for hard in (False, True):
        sent.append(f"before a restart, hard={hard}".encode())
        async with producer_at(own_kafka) as producer:
            await producer.send_and_wait("test-restart", sent[-1])

        await own_kafka.stop(hard=hard)
        assert not await broker_answers(KafkaConnection(address))
        await own_kafka.start()

        assert address == own_kafka.bootstrap_servers
        assert sent == await read_all(own_kafka, "test-restart", len(sent))


@pytest.mark.kafka
@needs_java
async def test_the_end_leaves_no_process_and_no_file() -> None:
    """Leaving `local_kafka` by an exception too ends broker and watchdog and removes the data."""
    groups: list[int | None] = []
    folders: list[Path | None] = []

    async def fail_in_the_middle() -> None:
        async with local_kafka("java") as kafka:
            assert isinstance(kafka, JavaKafka)
            groups.append(kafka.pid)
            folders.append(kafka.data_folder)
            raise RuntimeError("the demo failed")

    with pytest.raises(RuntimeError, match="the demo failed"):
        await fail_in_the_middle()

    (group,), (folder,) = groups, folders
    assert group is not None
    assert folder is not None
    assert await until(lambda: not group_is_there(group))
    assert not folder.exists()


@pytest.mark.kafka
@needs_java
async def test_the_broker_dies_with_us() -> None:
    """Killed without a chance to clean up, we leave no broker behind and no data."""
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _START_AND_SAY_WHO, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    assert victim.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            group, folder = (await victim.stdout.readline()).decode().split()
        assert group_is_there(int(group))
        assert Path(folder).is_dir()
    finally:
        victim.kill()
        await victim.wait()

    assert await until(lambda: not group_is_there(int(group)))
    assert await until(lambda: not Path(folder).exists())


@pytest.mark.kafka
@needs_java
async def test_a_broker_that_dies_says_why() -> None:
    """A broker that does not come up is an error with its last words, at once, not a timeout."""
    kafka = JavaKafka(random.Random())
    port = int(kafka.bootstrap_servers.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        try:
            with pytest.raises(SandboxError, match="Address already in use"):
                await kafka.start()
        finally:
            await kafka.close()

    assert kafka.pid is None


async def test_an_external_kafka_is_never_stopped(kafka: LocalKafka) -> None:
    """A Kafka that was named is used and left as it is."""
    async with local_kafka("external", external=kafka.bootstrap_servers) as theirs:
        with pytest.raises(SandboxError, match="not ours to stop"):
            await theirs.stop()

    assert await broker_answers(KafkaConnection(kafka.bootstrap_servers))


async def test_an_external_kafka_that_does_not_answer_is_named() -> None:
    """A wrong address is told as such, and nothing else is started in its place."""
    (port,) = free_ports(1, random.Random())
    with pytest.raises(SandboxUnavailable, match=f"127.0.0.1:{port}"):
        async with local_kafka("external", external=f"127.0.0.1:{port}"):
            pytest.fail("this Kafka does not exist")


_START_AND_SAY_WHO = """
import asyncio
from consumer.sandbox.kafka import local_kafka

async def main():
    async with local_kafka("java") as kafka:
        print(kafka.pid, kafka.data_folder, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""
